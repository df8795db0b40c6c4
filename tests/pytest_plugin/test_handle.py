"""The fixture at work, in tests that block and in coroutines: steering, waiting, looking and judging."""

import asyncio
import contextlib
import json
import os
import threading
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException

from chaosproxy.digest import run_digest
from chaosproxy.expectations import Outcome
from chaosproxy.pytest_plugin import ChaosProxy, Fault, NotSeen
from chaosproxy.pytest_plugin.thread import Complaint, LoopThread
from tests.live import LOOPS, run
from tests.pytest_plugin.client import ask, hear, joined

PUSHER = {"protocol": "pusher"}
STEPS = {
    "starts": "launch",
    "phases": [
        {"name": "calm", "until": "step"},
        {"name": "down", "until": "step", "rules": ["reset", {"reject": 503}]},
    ],
}


class TestPlace:
    def test_it_passes_everything_on_until_told_otherwise(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url, "news") as client:
            ask(client)
            hear(client, "pusher:pong")
        assert chaosproxy.url == f"ws://{chaosproxy.host}:{chaosproxy.port}"

    def test_a_process_finds_it_by_its_environment(self, chaosproxy: ChaosProxy) -> None:
        found = chaosproxy.environment
        assert (found["CHAOSPROXY_URL"], found["CHAOSPROXY_PORT"]) == (chaosproxy.url, str(chaosproxy.port))
        assert found["PATH"] == os.environ["PATH"]

    @pytest.mark.chaos(upstream="tcp://127.0.0.1:9")
    def test_a_stream_of_bytes_has_an_url_too(self, chaosproxy: ChaosProxy) -> None:
        assert chaosproxy.url.startswith("tcp://127.0.0.1:")


class TestFaults:
    def test_one_is_in_force_once_the_call_returns(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url) as client, chaosproxy.fault("close", code=4200) as fault:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4200
            assert isinstance(fault, Fault)
            assert repr(fault) == "<Fault close-1>"

    def test_a_block_heals_it(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url) as client:
            with chaosproxy.fault("drop", when={"from": "client"}):
                ask(client)
                chaosproxy.wait_for("struck", fault="drop")
            ask(client)
            hear(client, "pusher:pong")
            assert [each["change"] for each in chaosproxy.journal if each["event"] == "rule_changed"] == [
                "added",
                "healed",
            ]

    def test_a_block_that_raises_heals_it_too(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(ZeroDivisionError), chaosproxy.fault("hang"):
            raise ZeroDivisionError
        with joined(chaosproxy.url):
            pass

    def test_two_that_are_alike_are_two(self, chaosproxy: ChaosProxy) -> None:
        first = chaosproxy.fault("latency", delay="1ms")
        second = chaosproxy.fault("latency", delay="1ms")
        first.heal()
        first.heal()  # again, which is nothing
        assert (first.id, second.id) == ("latency-1", "latency-2")
        changes = [(each["rule"], each["change"]) for each in chaosproxy.journal]
        assert changes == [("latency-1", "added"), ("latency-2", "added"), ("latency-1", "healed")]
        assert chaosproxy.fault("latency", delay="1ms").id == "latency-1"

    def test_heal_ends_them_all(self, chaosproxy: ChaosProxy) -> None:
        chaosproxy.fault("hang")
        chaosproxy.fault("refuse")
        chaosproxy.heal()
        with joined(chaosproxy.url):
            pass

    def test_one_heals_by_itself_after_its_time(self, chaosproxy: ChaosProxy) -> None:
        fault = chaosproxy.fault("refuse", lasts="20ms", id="short")
        chaosproxy.wait_for("rule_changed", rule="short", change="expired")
        fault.heal()
        with joined(chaosproxy.url):
            pass

    def test_none_is_in_force_behind_the_end(self, chaosproxy: ChaosProxy) -> None:
        fault = chaosproxy.fault("hang")
        chaosproxy.stop()
        fault.heal()
        with pytest.raises(Complaint, match="the proxy has been stopped"):
            chaosproxy.fault("hang")
        assert chaosproxy.journal[0]["rule"] == fault.id

    @pytest.mark.parametrize(
        ("fault", "options", "complaint"),
        [
            ("latensy", {}, "did you mean latency"),
            ("latency", {"delay": "1"}, "latency.delay: expected a duration"),
            ("close", {"code": "many"}, "close.code"),
            ("drop", {"when": {"event": "a"}}, "needs protocol: at the top of the profile"),
            ("drop", {"when": {"text": b"a"}}, "fault drop: .* bytes is not JSON"),
            ("bad_certificate", {"kind": "expired"}, "bad_certificate needs TLS with the clients"),
        ],
    )
    def test_a_wrong_one_is_a_complaint(
        self, chaosproxy: ChaosProxy, fault: str, options: dict[str, Any], complaint: str
    ) -> None:
        with pytest.raises(Complaint, match=complaint):
            chaosproxy.fault(fault, **options)
        assert chaosproxy.journal == []

    @pytest.mark.chaos({"rules": [{"latency": "1ms", "id": "slow"}]})
    def test_an_id_of_the_profile_is_taken(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(Complaint, match="the profile has a rule slow of its own"):
            chaosproxy.fault("latency", delay="1ms", id="slow")

    @pytest.mark.chaos(upstream="ws://8.8.8.8:1")
    def test_somebody_elses_server_is_not_harmed(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(Complaint, match=r"owns_server=True"):
            chaosproxy.fault("close", code=4200, to="server")

    @pytest.mark.chaos(upstream="ws://8.8.8.8:1", owns_server=True)
    def test_ones_own_server_may_be(self, chaosproxy: ChaosProxy) -> None:
        chaosproxy.fault("close", code=4200, to="server")


class TestPhases:
    @pytest.mark.chaos(STEPS)
    def test_steps_are_in_force_once_the_call_returns(self, chaosproxy: ChaosProxy) -> None:
        assert chaosproxy.phase == "calm"
        with joined(chaosproxy.url) as client:
            assert chaosproxy.step() == chaosproxy.phase == "down"
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=10)
        assert chaosproxy.step("calm") == "calm"
        with joined(chaosproxy.url):
            pass
        chaosproxy.step()
        assert chaosproxy.step() is None
        assert chaosproxy.wait_for_phase(None)["reason"] == "step"
        with pytest.raises(Complaint, match="the last phase is over"):
            chaosproxy.step()

    @pytest.mark.chaos({"phases": [{"name": "first", "until": {"opened": 1}}, {"name": "second"}]})
    def test_a_phase_is_awaited(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url):
            first = chaosproxy.wait_for_phase("first")
            assert chaosproxy.wait_for_phase("second", after=first)["reason"] == "opened"
            with pytest.raises(NotSeen, match="phase=first"):
                chaosproxy.wait_for_phase("first", after=first, timeout=0.01)

    @pytest.mark.chaos(STEPS)
    def test_there_is_no_other_phase(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(Complaint, match="there is no phase up; there are: calm, down"):
            chaosproxy.step("up")
        with pytest.raises(Complaint, match="there is no phase up; there are: calm, down"):
            chaosproxy.wait_for_phase("up")

    def test_there_is_none_without_phases(self, chaosproxy: ChaosProxy) -> None:
        assert chaosproxy.phase is None
        with pytest.raises(Complaint, match="the profile has no phases"):
            chaosproxy.step()


class TestWaits:
    @pytest.mark.chaos(PUSHER)
    def test_what_has_happened_before_is_not_missed(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url, "news", "sport"):
            assert chaosproxy.wait_for("subscribed")["channel"] == "news"
            assert chaosproxy.wait_for("subscribed", 2)["channel"] == "sport"
            assert chaosproxy.wait_for("subscribed", channel="sport")["channel"] == "sport"

    def test_what_comes_behind_a_record_is_awaited(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url):
            first = chaosproxy.wait_for("opened")
            with pytest.raises(NotSeen):
                chaosproxy.wait_for("opened", after=first, timeout=0.01)
            with joined(chaosproxy.url):
                assert chaosproxy.wait_for("opened", after=first)["connection"] == 2

    @pytest.mark.chaos({"identify": {"query": "user"}})
    def test_a_client_is_awaited_by_its_key(self, chaosproxy: ChaosProxy) -> None:
        async def dial(user: str) -> None:
            async with connect(f"{chaosproxy.url}/app/app-key?user={user}", proxy=None):
                pass

        asyncio.run(dial("ann"))
        asyncio.run(dial("bob"))
        assert chaosproxy.wait_for("opened", client="bob")["attempt"] == 2
        assert chaosproxy.wait_for_state("lost", client="bob")["client"] == "bob"
        with pytest.raises(NotSeen, match="client=bob"):
            chaosproxy.wait_for("opened", 2, client="bob", timeout=0.01)

    def test_what_does_not_come_is_told_with_what_came(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url), pytest.raises(NotSeen) as seen:
            chaosproxy.wait_for("opened", count=2, timeout=0.05)
        assert "not seen within 0.05 s: opened (1 of 2). What happened last:\n  #" in str(seen.value)
        assert "s opened attempt=1 connection=1" in str(seen.value)

    @pytest.mark.parametrize(
        ("event", "options", "complaint"),
        [
            ("openend", {}, "no event is called openend; did you mean opened"),
            ("everything", {}, "there are: accepted, answered"),
            ("subscribed", {}, "subscribed is seen only with protocol: pusher"),
            ("framed", {}, r"frames=True"),
            ("opened", {"count": 0}, "expected a count of at least 1, got 0"),
        ],
    )
    def test_what_can_never_come_is_a_complaint(
        self, chaosproxy: ChaosProxy, event: str, options: dict[str, Any], complaint: str
    ) -> None:
        with pytest.raises(Complaint, match=complaint):
            chaosproxy.wait_for(event, **options)

    @pytest.mark.chaos(PUSHER, frames=True)
    def test_messages_are_awaited_where_frames_are_journalled(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url) as client:
            ask(client)
            assert chaosproxy.wait_for("framed", protocol_event="pusher:ping")["side"] == "client"

    def test_states_are_inferred_or_reported(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url):
            connected = chaosproxy.wait_for_state("connected")
        lost = chaosproxy.wait_for_state("lost", after=connected)
        assert lost["source"] == "inferred"
        chaosproxy.report("unavailable", detail="as the page shows")
        assert chaosproxy.wait_for_state("unavailable", after=lost)["detail"] == "as the page shows"


class TestCoroutines:
    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_whole_outage_in_one_loop(self, chaosproxy: ChaosProxy, loop: str) -> None:
        """Client and test share a loop, which goes on while the test waits; steering does not hold it up."""

        async def client() -> None:
            while True:
                with contextlib.suppress(OSError, WebSocketException):
                    async with connect(f"{chaosproxy.url}/app/app-key", proxy=None) as connection:
                        await connection.wait_closed()

        async def story() -> None:
            task = asyncio.create_task(client())
            up = await chaosproxy.aio.wait_for("opened")
            with chaosproxy.fault("reset"):
                await chaosproxy.aio.wait_for("closed", after=up)
                await chaosproxy.aio.wait_for("opened", after=up)
            await chaosproxy.aio.wait_for_state("connected", after=up)
            await chaosproxy.aio.check()
            task.cancel()
            await asyncio.wait([task])

        run(loop, story())

    def test_what_waits_must_be_awaited(self, chaosproxy: ChaosProxy) -> None:
        async def story() -> None:
            with pytest.raises(Complaint, match=r"await chaosproxy\.aio\.wait_for\("):
                chaosproxy.wait_for("opened")
            with pytest.raises(Complaint, match=r"await chaosproxy\.aio\.check\("):
                chaosproxy.check()
            with pytest.raises(Complaint, match=r"await chaosproxy\.aio\.start\("):
                chaosproxy.start("ws://127.0.0.1:1")
            assert chaosproxy.phase is None

        asyncio.run(story())

    def test_a_wait_may_be_given_up(self, chaosproxy: ChaosProxy) -> None:
        async def story() -> None:
            waiting = asyncio.create_task(chaosproxy.aio.wait_for("opened"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(NotSeen):
                await chaosproxy.aio.wait_for("opened", timeout=0.01)

        asyncio.run(story())

    def test_a_loop_in_which_no_task_runs_is_no_obstacle(self, chaosproxy: ChaosProxy) -> None:
        """As around tests of Playwright's sync API."""
        seen: list[str] = []

        def call() -> None:
            try:
                chaosproxy.wait_for("opened", timeout=0.01)
            except NotSeen:
                seen.append("it blocked")

        async def story() -> None:
            asyncio.get_running_loop().call_soon(call)
            await asyncio.sleep(0)

        asyncio.run(story())
        assert seen == ["it blocked"]


class TestServersOfTests:
    """The test starts a server of its own, in its own loop, and tells the proxy then."""

    @pytest.fixture
    def chaosproxy_upstream(self) -> None:
        return None

    def test_messages_are_struck_on_a_compressed_connection_that_was_open_before(self, chaosproxy: ChaosProxy) -> None:
        async def echo(connection: ServerConnection) -> None:
            async for message in connection:
                await connection.send(message)

        async def story() -> None:
            async with serve(echo, "127.0.0.1", 0) as server:
                await chaosproxy.aio.start(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
                async with connect(chaosproxy.url, proxy=None) as client:
                    assert client.protocol.extensions
                    await client.send("one " * 20)
                    assert await client.recv() == "one " * 20
                    with chaosproxy.fault("drop", when={"from": "server", "text": "two"}):
                        await client.send("two " * 30)
                        await client.send("three " * 40)
                        assert await client.recv() == "three " * 40

        asyncio.run(story())

    def test_nothing_can_be_asked_before(self, chaosproxy: ChaosProxy) -> None:
        for ask_for in (lambda: chaosproxy.url, chaosproxy.heal, lambda: chaosproxy.journal, chaosproxy.check):
            with pytest.raises(
                Complaint, match=r"override the fixture chaosproxy_upstream .* call chaosproxy\.start\("
            ):
                ask_for()

    def test_it_starts_once(self, chaosproxy: ChaosProxy, demo_url: str) -> None:
        chaosproxy.start(demo_url)
        with pytest.raises(Complaint, match=f"the proxy stands before {demo_url} already"):
            chaosproxy.start("ws://127.0.0.1:1")
        with joined(chaosproxy.url):
            pass

    @pytest.mark.parametrize(
        ("upstream", "complaint"),
        [
            ("http://localhost:1", "did you mean ws://localhost:1?"),
            (8080, "expected the server's URL as upstream"),
        ],
    )
    def test_it_must_be_an_url(self, chaosproxy: ChaosProxy, upstream: Any, complaint: str) -> None:
        with pytest.raises(Complaint, match=complaint):
            chaosproxy.start(upstream)

    @pytest.mark.chaos({"rules": [{"fragment": {"size": "8B"}, "when": {"from": "server"}}]})
    def test_a_profile_must_suit_it(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(Complaint, match="this profile can't be used with tcp://"):
            chaosproxy.start("tcp://127.0.0.1:1")


class TestVerdict:
    @pytest.mark.chaos(PUSHER, expect=["marked: banner-shown", "states: {containing: [lost, unavailable]}"])
    def test_marks_and_states_of_the_test_are_judged(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url):
            pass
        chaosproxy.wait_for_state("lost")
        assert [row.outcome for row in chaosproxy.verdict().rows] == [Outcome.PASSED, Outcome.OPEN, Outcome.OPEN]
        chaosproxy.mark("banner-shown")
        assert [row.outcome for row in chaosproxy.verdict().rows][1] is Outcome.PASSED
        chaosproxy.report("lost")
        chaosproxy.report("unavailable")
        chaosproxy.check()

    def test_a_check_says_what_it_saw(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(AssertionError, match="a client came  no client was seen") as failed:
            chaosproxy.check()
        assert str(failed.value).startswith("open: none, ")  # a client may still come

    @pytest.mark.chaos(PUSHER, expect=["marked: {mark: seen, within: 50ms}"], judge=False)
    def test_a_check_waits_for_what_time_decides(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url), pytest.raises(AssertionError, match=r"FAIL  marked: .* no client set it"):
            chaosproxy.check(timeout=10)

    @pytest.mark.chaos(
        PUSHER, expect=["{reconnected_within: 5s, after: fault}", {"resubscribed": "5s", "after": "fault"}], seed=7
    )
    def test_an_outage_by_hand_is_judged(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url, "news"), chaosproxy.fault("reset"):
            chaosproxy.wait_for("closed")
        with joined(chaosproxy.url, "news"):
            chaosproxy.check(timeout=10)

    def test_the_digest_is_that_of_the_journal(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url):
            pass
        chaosproxy.wait_for("closed")
        assert chaosproxy.digest == run_digest(chaosproxy.journal).whole


class TestThread:
    def test_it_ends_with_what_it_has_begun(self) -> None:
        thread = LoopThread()
        assert thread.call(lambda: json.dumps([1])) == "[1]"
        with pytest.raises(ZeroDivisionError):
            thread.call(lambda: 1 / 0)
        thread.call(lambda: asyncio.get_running_loop().create_task(asyncio.sleep(1000)))
        thread.close()
        assert thread.troubles == []
        assert thread.name not in {each.name for each in threading.enumerate()}

    def test_what_fails_in_it_unheard_is_told(self) -> None:
        thread = LoopThread()
        thread.call(lambda: asyncio.get_running_loop().call_soon(lambda: 1 / 0))
        thread.call(lambda: None)
        assert "ZeroDivisionError" in thread.troubles.pop()
        thread.close()
