"""Several proxies in one process: each has a name, a port that its user chose, a profile, and all routes of a stage."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chaosproxy.addresses import parse_upstream
from chaosproxy.control.loops import Listener, loop_in
from chaosproxy.control.rooms import ROOMS_MAX, Terms
from chaosproxy.security import PLAIN
from chaosproxy.sockets import Address
from chaosproxy.world import DEFAULTS
from tests.control.conftest import Run
from tests.control.stage import Answer, Stage, echo, profile_of, staged
from tests.interop.processes import free_ports
from tests.interop.proxy import Proxy

PHASES = [{"name": "healthy", "until": "step"}, {"name": "outage", "rules": [{"reject": {"status": "503"}}]}]
STEPPED = {"version": 1, "name": "stepped", "phases": PHASES}


async def anywhere(upstream: str | None) -> Terms:
    """Grounds that take whatever upstream is named."""
    return Terms(parse_upstream(upstream or "ws://127.0.0.1:9"), DEFAULTS, PLAIN, lambda rule: None)


async def put_up(stage: Stage, **order: Any) -> dict[str, Any]:
    answer = await stage.ask("POST", "/api/proxies", order)
    assert answer.status == 201, answer
    told: dict[str, Any] = answer.body
    return told


@contextlib.asynccontextmanager
async def client(told: dict[str, Any], **options: Any) -> AsyncIterator[ClientConnection]:
    options = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 1} | options
    async with connect(told["url"] + "/app/key", **options) as link:
        yield link


async def is_echoed(told: dict[str, Any]) -> bool:
    async with client(told) as link:
        await link.send("hello")
        return await link.recv() == "hello"


class TestPuttingUp:
    def test_a_proxy_has_its_name_and_all_that_a_stage_has(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                told = await put_up(stage, name="other", profile=STEPPED, seed=7)
                port, token = told["port"], told["client_reports"].removeprefix("/client/")
                assert told == {
                    "name": "other",
                    "listen": f"127.0.0.1:{port}",
                    "upstream": f"ws://{stage.proxy.upstream}",
                    "judged": False,
                    "url": f"ws://127.0.0.1:{port}",
                    "host": "127.0.0.1",
                    "port": port,
                    "profile": "stepped",
                    "seed": 7,
                    "control": "/api/proxies/other",
                    "client_script": f"/client/{token}/chaosproxy.js",
                    "client_reports": f"/client/{token}",
                }
                assert await is_echoed(told)
                assert (await stage.ask("GET", "/api/proxies/other")).body == told
                state = (await stage.ask("GET", "/api/proxies/other/state")).body
                assert (state["profile"]["name"], state["counters"]["attempts"]) == ("stepped", 1)
                assert (await stage.ask("POST", "/api/proxies/other/phase/next")).body["name"] == "outage"
                with pytest.raises(InvalidStatus, match="503"):
                    await is_echoed(told)
                async with stage.client() as link:  # that of `run` goes on
                    await link.send("hello")
                    assert await link.recv() == "hello"

        run(story())

    def test_that_of_run_is_main(self, run: Run) -> None:
        async def story() -> None:
            async with staged(TWO := profile_of(name="two", phases=PHASES)) as stage:
                (told,) = (await stage.ask("GET", "/api/proxies")).body["proxies"]
                assert (told["name"], told["port"], told["profile"]) == ("main", stage.proxy.port, TWO.name)
                assert told["client_reports"] == stage.control.client_path
                other = await put_up(stage, name="b")
                listed = (await stage.ask("GET", "/api/proxies")).body
                assert listed == {"proxies": [told, other], "at_most": ROOMS_MAX}
                assert (await stage.ask("GET", "/api/sessions")).body["sessions"] == []
                assert (await stage.ask("POST", "/api/proxies/main/phase/next")).status == 200
                assert (await stage.state())["phase"]["visit"] == 1
                for method in ("POST", "DELETE"):
                    path = "/api/proxies" if method == "POST" else "/api/proxies/main"
                    answer = await stage.ask(method, path, {"name": "main"} if method == "POST" else {})
                    assert answer.status == 409, answer
                assert await is_echoed(other)

        run(story())

    def test_it_listens_on_the_port_that_is_asked_for_and_gives_it_back_at_once(self, run: Run) -> None:
        async def story() -> None:
            (port,) = free_ports(1)
            async with staged() as stage:
                for _ in range(3):
                    told = await put_up(stage, name="fixed", listen=f"127.0.0.1:{port}")
                    assert told["port"] == port
                    async with client(told) as link:
                        await link.send("hello")
                        assert await link.recv() == "hello"
                        answer = await stage.ask("DELETE", "/api/proxies/fixed", {})
                        assert (answer.status, answer.body) == (200, {"name": "fixed", "verdict": None})
                        with pytest.raises(ConnectionClosed):
                            await link.recv()
                    with pytest.raises(ConnectionRefusedError):
                        await is_echoed(told)
                    assert (await stage.ask("GET", "/api/proxies/fixed/state")).status == 404

        run(story())

    def test_a_busy_port_is_told_in_the_words_of_the_command_line(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                address = f"127.0.0.1:{stage.proxy.port}"
                answer = await stage.ask("POST", "/api/proxies", {"name": "b", "listen": address})
                assert answer.status == 409
                another = f"127.0.0.1:{stage.proxy.port + 10}"
                assert answer.body["error"].startswith(f"port {stage.proxy.port} (listen) is taken by ")
                assert answer.body["error"].endswith(f"; choose another: listen {another}")
                assert (await put_up(stage, name="b"))["port"]  # the name is free

        run(story())

    def test_a_name_is_taken_once_even_by_two_at_a_time(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                answers = await asyncio.gather(
                    *(stage.ask("POST", "/api/proxies", {"name": "b"}) for _ in range(4)), return_exceptions=False
                )
                assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
                refused = next(answer for answer in answers if answer.status == 409)
                assert refused.body == {
                    "error": "there is a proxy b already; choose another name, or DELETE it first",
                }

        run(story())

    def test_it_is_judged_only_where_something_is_expected_of_clients(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                await put_up(stage, name="free")
                assert (await stage.ask("GET", "/api/proxies/free/verdict")).status == 409
                told = await put_up(stage, name="judged", expect=[{"marked": "seen"}])
                assert told["judged"]
                assert await is_echoed(told)
                await stage.ask("POST", "/api/proxies/judged/marks", {"name": "seen"})
                verdict = (await stage.ask("DELETE", "/api/proxies/judged", {})).body["verdict"]
                assert verdict["passed"]

        run(story())

    def test_it_has_metrics_of_its_own(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                told = await put_up(stage, name="b")
                assert await is_echoed(told)
                for path, attempts in (("/metrics", 0), ("/api/metrics", 0), ("/api/proxies/b/metrics", 1)):
                    page = (await stage.ask("GET", path)).body
                    assert f"chaosproxy_attempts_total {float(attempts)}" in page, path
                    assert f"chaosproxy_handshake_seconds_count {float(attempts)}" in page, path

        run(story())

    @pytest.mark.parametrize(
        ("order", "path", "words"),
        [
            ({}, "name", "expected name:, got none"),
            ({"name": ".hidden"}, "name", "not beginning with a dot, got .hidden"),
            ({"name": "a/b"}, "name", "1 to 64 of letters"),
            ({"name": "x" * 65}, "name", "1 to 64 of letters"),
            ({"name": "\u00e9"}, "name", "1 to 64 of letters"),
            ({"name": "a\n"}, "name", "1 to 64 of letters"),
            ({"name": "b", "listen": "localhost"}, "listen", "expected HOST:PORT, such as 127.0.0.1:7001"),
            ({"name": "b", "listen": "::1:7001"}, "listen", "expected [HOST]:PORT for an IPv6 address"),
            ({"name": "b", "listen": "127.0.0.1:70000"}, "listen", "expected HOST:PORT"),
            ({"name": "b", "listen": "203.0.113.1:0"}, "listen", "can't listen on 203.0.113.1:0"),
            ({"name": "b", "profile": "no-such"}, "profile", "unknown profile no-such"),
            ({"name": "b", "id": "x"}, "id", "got id"),
        ],
    )
    def test_a_wrong_order_is_told_so_and_nothing_is_put_up(
        self, run: Run, order: dict[str, Any], path: str, words: str
    ) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/proxies", order)
                assert answer.status == 422, answer
                (problem,) = answer.body["problems"]
                assert problem["path"] == path
                assert words in problem["message"]
                assert list(stage.control.rooms) == []

        run(story())

    def test_proxies_and_sessions_share_their_room_and_all_end_with_the_process(self, run: Run) -> None:
        async def story() -> None:
            async with contextlib.AsyncExitStack() as clients:
                async with staged() as stage:
                    told = [await put_up(stage, name=f"p{number}") for number in range(ROOMS_MAX - 1)]
                    assert (await stage.ask("POST", "/api/sessions", {})).status == 201
                    answer = await stage.ask("POST", "/api/proxies", {"name": "more"})
                    assert answer.status == 503
                    link = await clients.enter_async_context(client(told[0]))
                with pytest.raises(ConnectionClosed):
                    await link.recv()

        run(story())

    def test_none_is_put_up_while_the_process_drains(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                stage.proxy.steer(lambda world, now: world.drain(now))
                assert (await stage.ask("POST", "/api/proxies", {"name": "b"})).status == 503

        run(story())

    def test_it_is_told_on_uvloop_too(self, run_on_uvloop: Run) -> None:
        async def story() -> None:
            (port,) = free_ports(1)
            async with staged() as stage:
                for _ in range(2):
                    told = await put_up(stage, name="fixed", listen=f"127.0.0.1:{port}")
                    async with client(told) as link:
                        await stage.ask("DELETE", "/api/proxies/fixed", {})
                        with pytest.raises(ConnectionClosed):
                            await link.recv()

        run_on_uvloop(story())


def refusal(answer: Answer) -> str:
    assert answer.status == 422, answer
    (problem,) = answer.body["problems"]
    assert problem["path"] == "upstream"
    return str(problem["message"])


SPELT = ["127.0.0.1", "localhost", "0.0.0.0", "0", "127.1", "[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]"]


class TestLoops:
    @pytest.mark.parametrize("host", SPELT)
    def test_nobody_is_put_before_the_control_address(self, run: Run, host: str) -> None:
        async def story() -> None:
            async with staged(grounds=anywhere) as stage:
                upstream = f"ws://{host}:{stage.control.port}"
                for path, order in (("/api/proxies", {"name": "b"}), ("/api/sessions", {})):
                    said = refusal(await stage.ask("POST", path, order | {"upstream": upstream}))
                    assert "is the control address: clients would reach the control API" in said
                assert list(stage.control.rooms) == []

        run(story())

    @pytest.mark.parametrize("host", SPELT)
    def test_no_proxy_calls_itself(self, run: Run, host: str) -> None:
        async def story() -> None:
            (port,) = free_ports(1)
            async with staged(grounds=anywhere) as stage:
                order = {"name": "b", "listen": f"127.0.0.1:{port}", "upstream": f"tcp://{host}:{port}"}
                assert "the proxy would call itself" in refusal(await stage.ask("POST", "/api/proxies", order))
                order = {"name": "b", "listen": f"0.0.0.0:{port}", "upstream": f"tcp://{host}:{port}"}
                assert "the proxy would call itself" in refusal(await stage.ask("POST", "/api/proxies", order))
                assert await put_up(stage, name="b", listen=f"127.0.0.1:{port}")

        run(story())

    def test_another_proxy_may_be_the_server_unless_that_makes_a_ring(self, run: Run) -> None:
        async def story() -> None:
            first, second, third = free_ports(3)
            async with staged(grounds=anywhere) as stage:
                upstream = f"ws://{stage.proxy.address}"
                assert await is_echoed(await put_up(stage, name="chained", upstream=upstream))
                await put_up(stage, name="a", listen=f"127.0.0.1:{first}", upstream=f"ws://127.0.0.1:{second}")
                await put_up(stage, name="b", listen=f"0.0.0.0:{second}", upstream=f"ws://localhost:{third}")
                order = {"name": "c", "listen": f"127.0.0.1:{third}", "upstream": f"ws://127.0.0.1:{first}"}
                said = refusal(await stage.ask("POST", "/api/proxies", order))
                assert said == (
                    f"127.0.0.1:{first} leads to where it listens, over the proxy on 0.0.0.0:{second}: "
                    "the proxy would call itself"
                )

        run(story())

    def test_of_two_that_would_close_a_ring_at_a_time_one_at_most_is_put_up(self, run: Run) -> None:
        async def story() -> None:
            first, second = free_ports(2)
            orders = [
                {"name": f"p{here}", "listen": f"127.0.0.1:{here}", "upstream": f"ws://127.0.0.1:{there}"}
                for here, there in ((first, second), (second, first))
            ]
            async with staged(grounds=anywhere) as stage:
                answers = await asyncio.gather(*(stage.ask("POST", "/api/proxies", order) for order in orders))
                assert [answer.status for answer in answers].count(201) <= 1
                assert {answer.status for answer in answers} <= {201, 422}

        run(story())

    def test_a_ring_of_others_does_not_hold_up_the_search(self) -> None:
        a, b, c = (Address("127.0.0.1", port) for port in (1001, 1002, 1003))
        ring = [Listener(a, b), Listener(b, a)]
        assert loop_in(Listener(c, a), ring, None) == ""
        assert "call itself" in loop_in(Listener(c, a), [*ring, Listener(b, c)], None)


def test_what_is_told_of_a_proxy_is_valid_json_with_hostile_names_of_profiles(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            answer = await stage.ask("POST", "/api/proxies", {"name": "b", "profile_yaml": 'version: 1\nname: "<b>"'})
            assert answer.status == 422
            assert "<b>" in json.dumps(answer.body)  # quoted in a problem, as JSON, under nosniff
            assert answer.headers["X-Content-Type-Options"] == "nosniff"

    run(story())


def test_a_signal_drains_all_proxies_of_the_process(tmp_path: Path) -> None:
    async def story() -> None:
        async with serve(echo, "127.0.0.1", 0, ping_interval=None) as server:
            upstream = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            proxy = Proxy(tmp_path, upstream)
            await asyncio.to_thread(proxy.start)
            try:
                other = await asyncio.to_thread(proxy.control, "POST", "/api/proxies", {"name": "b"}, expect=201)
                async with client({"url": proxy.url}) as ours, client(other) as theirs:
                    proxy.signal_stop()
                    for link in (ours, theirs):
                        with pytest.raises(ConnectionClosed) as closed:
                            await link.recv()
                        assert closed.value.rcvd
                        assert closed.value.rcvd.code == 1001
            finally:
                await asyncio.to_thread(proxy.wait_stopped)
            assert "draining 2 connections" in proxy.log_path.read_text()

    asyncio.run(story())
