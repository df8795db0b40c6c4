"""Sessions: many tests in one process, each with a port, a profile and a verdict of its own."""

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, ClassVar

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chaosproxy.control.orders import Refused
from chaosproxy.control.room import Kind, Room
from chaosproxy.control.room_order import read_session
from chaosproxy.control.rooms import ROOMS_MAX, Rooms
from chaosproxy.control.shelf import Shelf
from chaosproxy.proxy import Address
from chaosproxy.rule import Rule
from chaosproxy.security import Security
from chaosproxy.stage import Stage as Staged
from chaosproxy.units import SECOND
from tests.control.conftest import Run
from tests.control.stage import Answer, Stage, profile_of, staged
from tests.live import comes_true
from tests.sockets.tls_peer import trust

PHASES = [{"name": "healthy", "until": "step"}, {"name": "outage", "rules": [{"reject": {"status": "503"}}]}]
STEPPED = {"version": 1, "name": "stepped", "phases": PHASES}
PUSHER = {"version": 1, "protocol": "pusher"}
ESTABLISHED = json.dumps({"event": "pusher:connection_established", "data": json.dumps({"socket_id": "1.2"})})
SUBSCRIBED = json.dumps({"event": "pusher_internal:subscription_succeeded", "channel": "news", "data": "{}"})


class Session:
    """A session, as its test sees it."""

    def __init__(self, stage: Stage, told: dict[str, Any]) -> None:
        self.stage = stage
        self.told = told

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        return await self.stage.ask(method, self.told["control"] + path, body)

    async def end(self) -> Answer:
        return await self.stage.ask("DELETE", self.told["control"], {})

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[ClientConnection]:
        options = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 1} | options
        async with connect(self.told["url"] + "/app/key", **options) as link:
            yield link

    async def told_events(self, event: str) -> list[dict[str, Any]]:
        lines = (await self.ask("GET", "/journal?format=jsonl")).body.splitlines()
        return [record for record in map(json.loads, lines) if record.get("event") == event]


async def opened(stage: Stage, **order: Any) -> Session:
    answer = await stage.ask("POST", "/api/sessions", order)
    assert answer.status == 201, answer
    return Session(stage, answer.body)


class TestOpening:
    def test_a_session_is_a_port_with_a_profile_of_its_own(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, profile=STEPPED, seed=7)
                told = dict(session.told)
                name, port = told["id"], told["port"]
                token = told["client_reports"].removeprefix("/client/")
                assert told == {
                    "id": name,
                    "url": f"ws://127.0.0.1:{port}",
                    "host": "127.0.0.1",
                    "port": port,
                    "profile": "stepped",
                    "seed": 7,
                    "control": f"/api/sessions/{name}",
                    "client_script": f"/client/{token}/chaosproxy.js",
                    "client_reports": f"/client/{token}",
                }
                assert port not in (0, stage.proxy.port, stage.control.port)
                assert len(token) >= 22  # 128 bits in base64
                async with session.client() as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"
                state = (await session.ask("GET", "")).body
                assert (state["profile"]["name"], state["seed"]) == ("stepped", 7)
                assert state["counters"]["attempts"] == 1
                assert (await stage.state())["counters"]["attempts"] == 0
                assert (await stage.ask("GET", "/api/sessions")).body == {"sessions": [told], "at_most": ROOMS_MAX}

        run(story())

    def test_a_profile_comes_by_name_as_json_as_yaml_or_not_at_all(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                for order, name in (
                    ({"profile": "brief-interruption"}, "brief-interruption"),
                    ({"profile": STEPPED}, "stepped"),
                    ({"profile_yaml": "version: 1\nname: of-yaml\nrules: [drop]"}, "of-yaml"),
                    ({}, "none"),
                ):
                    assert (await opened(stage, **order)).told["profile"] == name

        run(story())

    def test_what_is_expected_is_added_to_the_profile(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                profile = STEPPED | {"expect": [{"marked": "one"}]}
                session = await opened(stage, profile=profile, expect=[{"marked": "two"}, {"close_code": "4200"}])
                rows = (await session.ask("GET", "/verdict")).body["rows"]
                expected = [row["name"] for row in rows if row["expected"]]
                assert expected == ["marked: one", "marked: two", "close_code: 4200"]

        run(story())

    def test_the_timeline_may_start_at_once(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                assert not (await (await opened(stage, profile=STEPPED)).ask("GET", "")).body["phase"]["running"]
                session = await opened(stage, profile=STEPPED, starts="launch")
                assert (await session.ask("GET", "")).body["phase"]["name"] == "healthy"

        run(story())

    PROBLEMS: ClassVar[dict[str, Any]] = {
        "an unknown name": (
            {"profile": "brief-interuption"},
            [("profile", "unknown profile brief-interuption; nearest: brief-interruption")],
        ),
        "a list": ({"profile": ["x"]}, [("profile", "expected text or a mapping, got a list")]),
        "json with two problems": (
            {"profile": {"version": 1, "seed": "many", "rules": [{"rest": {}}]}},
            [
                ("profile.rules[0].rest", "expected a fault, got rest; did you mean reset?"),
                ("profile.seed", "expected a whole number in plain digits, got many"),
            ],
        ),
        "json without a version": (
            {"profile": {"rules": ["drop"]}},
            [("profile.version", "expected version:, got none; add version: (the format's version: 1)")],
        ),
        "two profiles": (
            {"profile": "fin", "profile_yaml": "version: 1"},
            [("profile_yaml", "expected one of profile and profile_yaml, got both")],
        ),
        "an unknown key": ({"profil": "x"}, [("profil", "got profil; did you mean profile")]),
        "a seed that is none": ({"seed": "x"}, [("seed", "expected a whole number in plain digits, got x")]),
        "a port": (
            {"listen": "127.0.0.1:7001"},
            [
                (
                    "listen",
                    "expected a host, such as 127.0.0.1 or 0.0.0.0 (its port is any that is free), got 127.0.0.1:7001",
                )
            ],
        ),
        "an unknown expectation": (
            {"expect": [{"reconected_within": "5s"}]},
            [("expect[0].reconected_within", "expected an expectation, got reconected_within")],
        ),
        "an expectation that needs a protocol": (
            {"profile": STEPPED | {"expect": [{"marked": "x"}]}, "expect": [{"marked": "y"}, {"subscribes_once": {}}]},
            [("expect[1].subscribes_once", "subscribes_once needs protocol: at the top (one of pusher)")],
        ),
        "a start that does not go with the profile": (
            {
                "profile": {"version": 1, "starts": "launch", "phases": [{"name": "a", "rules": ["refuse"]}]},
                "starts": "connection",
            },
            [("profile.phases[0]", "the timeline starts with the first upgrade request, and none can come")],
        ),
        "a fault of tls": ({"profile": {"version": 1, "rules": ["tls_stall"]}}, [("profile", "tls_stall needs TLS")]),
    }

    @pytest.mark.parametrize("what", PROBLEMS)
    def test_a_wrong_order_is_answered_with_all_its_problems_and_opens_nothing(self, run: Run, what: str) -> None:
        order, expected = self.PROBLEMS[what]

        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/sessions", order)
                assert answer.status == 422, answer
                problems = answer.body["problems"]
                assert [problem["path"] for problem in problems] == [path for path, _ in expected]
                for problem, (_, words) in zip(problems, expected, strict=True):
                    assert words in problem["message"]
                assert list(stage.control.rooms) == []

        run(story())

    def test_problems_of_yaml_have_their_places(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                text = "version: 1\nrules:\n  - rest\n  - latency: 5\n"
                answer = await stage.ask("POST", "/api/sessions", {"profile_yaml": text})
                assert (answer.status, answer.body["error"]) == (422, "the profile is not valid")
                places = [(each["source"], each["line"], each["column"]) for each in answer.body["problems"]]
                assert places == [("profile_yaml", 3, 5), ("profile_yaml", 4, 14)]
                assert [each["path"] for each in answer.body["problems"]] == ["rules[0]", "rules[1].latency"]

        run(story())

    @pytest.mark.parametrize(
        ("listen", "host"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]:0", "::1"),
            ("localhost", "localhost"),
        ],
    )
    def test_it_listens_where_it_is_told(self, run: Run, listen: str, host: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, listen=listen)
                assert session.told["host"] == host
                async with session.client() as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"

        run(story())

    def test_it_speaks_tls_where_the_proxy_does(self, run: Run) -> None:
        async def story() -> None:
            async with staged(security=Security({"": trust().server})) as stage:
                session = await opened(stage)
                assert session.told["url"] == f"wss://127.0.0.1:{session.told['port']}"
                async with session.client(ssl=trust().client) as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"

        run(story())

    def test_before_a_stream_of_bytes_it_carries_bytes_and_takes_no_profile_of_messages(self, run: Run) -> None:
        async def story() -> None:
            async with staged(scheme="tcp") as stage:
                assert (await opened(stage)).told["url"].startswith("tcp://127.0.0.1:")
                answer = await stage.ask("POST", "/api/sessions", {"profile": PUSHER})
                assert answer.status == 422
                assert "protocol: it is read from messages, and tcp:// carries none" in answer.body["error"]

        run(story())

    @pytest.mark.parametrize("listen", ["203.0.113.1", "nobody.invalid", "x" * 300])
    def test_where_it_can_not_listen_it_is_not_opened(self, run: Run, listen: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/sessions", {"listen": listen})
                assert (answer.status, answer.body["problems"][0]["path"]) == (422, "listen")
                assert list(stage.control.rooms) == []

        run(story())

    def test_a_fence_forbids_profiles_and_rules(self, run: Run) -> None:
        harmful = {"close": {"code": "4200", "to": "server"}}

        def fence(rule: Rule) -> str | None:
            return "this server is not yours" if rule.harms_server else None

        async def story() -> None:
            async with staged(fence=fence) as stage:
                answer = await stage.ask("POST", "/api/sessions", {"profile": {"version": 1, "rules": [harmful]}})
                assert (answer.status, answer.body) == (403, {"error": "this server is not yours"})
                session = await opened(stage)
                assert (await session.ask("POST", "/rules", {"rule": harmful})).status == 403
                assert (await stage.ask("POST", "/api/sessions", {"upstream": "ws://127.0.0.1:1"})).status == 403

        run(story())

    def test_there_are_so_many_at_most(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                sessions = [await opened(stage) for _ in range(ROOMS_MAX)]
                answer = await stage.ask("POST", "/api/sessions", {})
                assert answer.status == 503
                assert "100 proxies and sessions are open already" in answer.body["error"]
                assert (await sessions[0].end()).status == 200
                await opened(stage)

        run(story())

    def test_none_is_opened_while_the_proxy_drains(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                stage.proxy.steer(lambda world, now: world.drain(now))
                assert (await stage.ask("POST", "/api/sessions", {})).status == 503

        run(story())


class TestEnding:
    def test_it_ends_with_its_verdict_and_leaves_nothing(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, expect=[{"marked": "seen"}])
                async with session.client() as client:
                    await client.send("hello")
                    await client.recv()
                    verdict = (await session.end()).body
                    assert (verdict["passed"], verdict["finished"]) == (False, True)
                    rows = {row["name"]: (row["outcome"], row["seen"]) for row in verdict["rows"]}
                    assert rows == {
                        "a client came": ("passed", "1 attempt"),
                        "marked: seen": ("failed", "no client set it"),
                    }
                    with pytest.raises(ConnectionClosed):
                        await client.recv()
                with pytest.raises(ConnectionRefusedError):
                    async with session.client():
                        pass
                for method, path in (("GET", ""), ("GET", "/verdict"), ("POST", "/phase/next"), ("DELETE", "")):
                    answer = await session.ask(method, path, {})
                    assert (answer.status, answer.body) == (
                        404,
                        {"error": "there is no session of this id; GET /api/sessions lists them"},
                    )
                reports = json.dumps({"instance": "i", "reports": []})
                answer = await stage.send("POST", f"{session.told['client_reports']}/reports", reports, {})
                assert answer.status == 404
                async with stage.client() as client:  # the proxy itself goes on
                    await client.send("hello")
                    assert await client.recv() == "hello"

        run(story())

    def test_what_it_held_is_free_again(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, profile="brief-interruption", starts="launch")
                held = weakref.ref(stage.control.rooms.find(Kind.SESSION, session.told["id"]).stage)
                async with session.client() as client:
                    await session.ask("GET", "/wait?for=opened")
                    await session.end()
                    with pytest.raises(ConnectionClosed):
                        await client.recv()
                gc.collect()
                assert held() is None

        run(story())

    def test_who_waits_or_follows_is_let_go(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage)
                waiting = asyncio.ensure_future(session.ask("GET", "/wait?for=opened&timeout=4m"))
                following = asyncio.ensure_future(follow(stage, session.told["control"]))
                room = stage.control.rooms.find(Kind.SESSION, session.told["id"])
                await comes_true(lambda: bool(room.waits.count and room.streams.count))
                await session.end()
                answer = await waiting
                assert (answer.status, answer.body) == (410, {"error": "it has ended meanwhile"})
                assert "journal" in await following

        run(story())

    def test_one_that_nobody_asks_about_ends_by_itself(self, run: Run) -> None:
        async def story() -> None:
            main = Room(Staged(Address("127.0.0.1", 1)), lambda rule: None, "token-of-main")
            rooms = Rooms(main, idle_max=SECOND // 50)
            room = await rooms.open(Kind.SESSION, read_session(b"{}", Shelf()))
            condition = room.waits.condition("opened", 1)
            assert None is await room.waits.wait(condition, SECOND // 10)  # while somebody waits, it lives
            assert list(rooms) == [room]
            await main.stage.journal.wait(0)
            assert list(rooms) == []
            record = json.loads(main.stage.journal.line(1) or "")
            assert (record["event"], record["session"]) == ("session_ended", room.name)
            with pytest.raises(Refused, match="no session of this id"):
                rooms.find(Kind.SESSION, room.name)
            await rooms.close()

        run(story())

    def test_all_end_with_the_control_address(self, run: Run) -> None:
        async def story() -> None:
            async with contextlib.AsyncExitStack() as clients:
                async with staged() as stage:
                    sessions = [await opened(stage) for _ in range(3)]
                    links = [await clients.enter_async_context(session.client()) for session in sessions]
                for link in links:
                    with pytest.raises(ConnectionClosed):
                        await link.recv()

        run(story())


async def follow(stage: Stage, base: str) -> str:
    """What a follower of the journal hears before it is cut off."""
    heard = b""
    async with stage.http.get(f"{stage.url}{base}/journal") as answer:
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async for part in answer.content.iter_any():
                heard += part
    return heard.decode()


class TestSteering:
    """Every order of the API reaches the session that is named, and no other."""

    def test_steps_rules_and_ends_are_the_sessions_own(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(name="main", phases=PHASES)) as stage:
                one, other = [await opened(stage, profile=STEPPED) for _ in range(2)]
                async with stage.client() as main, one.client() as mine, other.client() as theirs:
                    assert (await one.ask("POST", "/phase/next")).body["name"] == "outage"
                    with pytest.raises(InvalidStatus, match="503"):
                        async with one.client():
                            pass
                    for link in (main, mine, theirs):
                        await link.send("hello")
                        assert await link.recv() == "hello"
                    assert (await one.ask("POST", "/phase", {"phase": "healthy"})).body["name"] == "healthy"
                    rule = {"drop": {}, "when": {"from": "client"}, "id": "lossy"}
                    assert (await one.ask("POST", "/rules", {"rule": rule})).body == {"id": "lossy", "connections": 1}
                    assert (await other.ask("DELETE", "/rules/lossy")).status == 404
                    await mine.send("dropped")
                    assert (await one.ask("GET", "/wait?for=struck:lossy")).status == 200
                    assert (await one.ask("DELETE", "/rules")).body == {"healed": ["lossy"]}
                    await one.ask("POST", "/connections/1/close", {"code": 4200})
                    with pytest.raises(ConnectionClosed) as closed:
                        await mine.recv()
                    assert closed.value.rcvd.code == 4200
                    await other.ask("POST", "/connections/1/reset")
                    with pytest.raises(ConnectionClosed):
                        await theirs.recv()
                    await main.send("untouched")
                    assert await main.recv() == "untouched"
                    assert (await stage.state())["phase"]["name"] == "healthy"

        run(story())

    def test_reports_and_marks_stand_in_the_sessions_journal(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                one, other = await opened(stage), await opened(stage)
                await one.ask("POST", "/reports", {"client": "anna", "state": "unavailable"})
                await one.ask("POST", "/marks", {"client": "anna", "name": "banner-shown"})
                (state,), (mark,) = await one.told_events("reported"), await one.told_events("client_said")
                assert (state["client"], state["state"]) == ("anna", "unavailable")
                assert (mark["client"], mark["what"], mark["detail"]) == ("anna", "mark", "banner-shown")
                assert await other.told_events("client_said") == stage.told("client_said") == []

        run(story())

    def test_what_the_script_reports_goes_to_the_session_whose_token_it_has(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                one, other = await opened(stage), await opened(stage)
                body = {"instance": "i", "reports": [{"n": 1, "ms": 1, "what": "state", "state": "connected"}]}
                answer = await stage.send("POST", f"{one.told['client_reports']}/reports", json.dumps(body), {})
                assert answer.status == 204
                assert (await stage.ask("GET", one.told["client_script"])).status == 200
                assert [each["state"] for each in await one.told_events("client_state")] == ["connected"]
                assert await other.told_events("client_state") == stage.told("client_state") == []
                tokens = {each["client_reports"] for each in (one.told, other.told)} | {stage.control.client_path}
                assert len(tokens) == 3

        run(story())

    @pytest.mark.parametrize("mark", [{}, {"name": ""}, {"name": "x" * 65}, {"name": "a", "client": "x" * 257}])
    def test_a_mark_has_a_name(self, run: Run, mark: dict[str, str]) -> None:
        async def story() -> None:
            async with staged() as stage:
                assert (await stage.ask("POST", "/api/marks", mark)).status == 422
                assert stage.journal.last == 0

        run(story())


class TestVerdict:
    def test_the_proxy_of_run_is_judged_where_its_profile_expects_something(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(name="judged", expect=[{"marked": "seen"}])) as stage, stage.client():
                verdict = (await stage.ask("GET", "/api/verdict")).body
                assert (verdict["passed"], verdict["finished"]) == (False, False)
                await stage.ask("POST", "/api/marks", {"name": "seen"})
                verdict = (await stage.ask("GET", "/api/verdict")).body
                (row,) = [row for row in verdict["rows"] if row["expected"]]
                assert (row["name"], row["outcome"]) == ("marked: seen", "passed")
                (line,) = row["evidence"]
                assert (line["event"], line["detail"]) == ("client_said", "seen")
                assert (verdict["passed"], verdict["finished"]) == (True, True)
                assert set(verdict["digest"]) == {"whole", "clients", "states"}

        run(story())

    def test_without_expectations_it_is_not_and_the_remedy_is_told(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                for path in ("/api/verdict", "/api/wait?for=verdict"):
                    answer = await stage.ask("GET", path)
                    assert answer.status == 409
                    assert "the profile has no expect:" in answer.body["error"]

        run(story())

    def test_a_verdict_that_time_decides_is_waited_for(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, expect=[{"marked": {"mark": "seen", "within": "300ms"}}])
                async with session.client():
                    answer = await session.ask("GET", "/wait?for=verdict")
                    assert (answer.status, answer.body) == (200, {"for": "verdict", "there": 1, "wanted": 1})
                    assert not (await session.ask("GET", "/verdict")).body["passed"]

        run(story())


class TestWaiting:
    def test_what_is_there_is_answered_at_once_and_what_comes_when_it_comes(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage)
                both = asyncio.ensure_future(session.ask("GET", "/wait?for=opened&count=2"))
                closed = asyncio.ensure_future(session.ask("GET", "/wait?for=closed"))
                async with session.client(), session.client():
                    assert (await both).body == {"for": "opened", "there": 2, "wanted": 2}
                    assert not closed.done()
                assert (await closed).body["there"] in (1, 2)
                assert (await session.ask("GET", "/wait?for=opened&count=2")).status == 200

        run(story())

    def test_states_are_counted_as_they_stand(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, profile=PUSHER)
                waits = ("established", "subscribed", "state:connected")
                waiting = [asyncio.ensure_future(session.ask("GET", f"/wait?for={each}")) for each in waits]
                async with session.client() as client:
                    for message in (ESTABLISHED, SUBSCRIBED):  # our upstream is an echo
                        await client.send(message)
                    for each in waiting:
                        assert (await each).status == 200
                    await session.ask("POST", "/connections/1/reset")
                    answer = await session.ask("GET", "/wait?for=subscribed&timeout=1ms")
                    assert (answer.status, answer.body["there"], answer.body["wanted"]) == (504, 0, 1)
                    assert answer.body["error"] == "subscribed did not come within 1ms: 0 of 1"
                assert (await session.ask("GET", "/wait?for=state:lost")).status == 200

        run(story())

    def test_phases_strikes_and_marks_are_not_missed_by_who_asks_late(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, profile=STEPPED)
                for _ in range(3):  # in, through and out
                    await session.ask("POST", "/phase/next")
                await session.ask("POST", "/marks", {"name": "seen"})
                await session.ask("POST", "/rules", {"rule": "refuse", "lasts": "1ms"})
                for what in ("phase:healthy", "phase:outage", "mark:seen", "struck:refuse"):
                    assert (await session.ask("GET", f"/wait?for={what}")).status == 200, what
                late = await session.ask("GET", "/wait?for=phase:outage&count=2&timeout=1ms")
                assert (late.status, late.body["error"]) == (504, "phase:outage did not come within 1ms: 1 of 2")

        run(story())

    def test_what_was_open_of_a_verdict_is_told_when_the_time_is_over(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, expect=[{"marked": "seen"}])
                answer = await session.ask("GET", "/wait?for=verdict&timeout=1ms")
                assert answer.status == 504
                assert answer.body["error"] == ("verdict did not come within 1ms: open: a client came; marked: seen")

        run(story())

    @pytest.mark.parametrize(
        ("query", "status", "words"),
        [
            ("", 422, "expected for=opened, closed, established, subscribed, verdict, phase:NAME"),
            ("for=subscribd", 422, "did you mean subscribed?"),
            ("for=opened:x", 422, "expected opened alone, got opened:x"),
            ("for=mark", 422, "expected mark:NAME, got mark"),
            ("for=mark:", 422, "expected mark:NAME, got mark:"),
            ("for=phase:outag", 422, "there is no phase of the name outag; did you mean outage?"),
            ("for=struck:halfopen", 422, "there is no fault or rule of the name halfopen; did you mean half_open"),
            ("for=subscribed", 409, "it needs protocol: at the top of the profile"),
            ("for=opened&count=0", 422, "count: expected a whole number from 1"),
            ("for=opened&count=x", 422, "count: expected a whole number from 1"),
            ("for=opened&timeout=5", 422, "timeout: expected a duration with a unit"),
            ("for=opened&timeout=5m", 422, "timeout: expected a time of at most 4m"),
        ],
    )
    def test_what_can_not_be_waited_for_is_told_at_once(self, run: Run, query: str, status: int, words: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, profile=STEPPED)
                answer = await session.ask("GET", f"/wait?{query}")
                assert answer.status == status
                assert words in answer.body["error"]

        run(story())

    def test_marks_of_any_name_do_not_crowd_out_what_else_is_counted(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                session = await opened(stage, profile=STEPPED)
                for number in range(0, 1100, 50):
                    marks = [
                        {"n": number + n, "ms": 1, "what": "mark", "detail": f"{number + n}"} for n in range(1, 51)
                    ]
                    body = json.dumps({"instance": "i", "reports": marks})
                    path = f"{session.told['client_reports']}/reports"
                    assert (await stage.send("POST", path, body, {})).status == 204
                await session.ask("POST", "/phase/next")
                for what in ("mark:1", "phase:healthy"):
                    assert (await session.ask("GET", f"/wait?for={what}&timeout=1ms")).status == 200
                assert (await session.ask("GET", "/wait?for=mark:1100&timeout=1ms")).status == 504

        run(story())

    def test_so_many_wait_at_most_and_who_goes_makes_room(self, run: Run) -> None:
        async def story() -> None:
            stage = Staged(Address("127.0.0.1", 1))
            waits = Room(stage, lambda rule: None, "token").waits
            never = waits.condition("opened", 1)
            waiting = [asyncio.ensure_future(waits.wait(never, 60 * SECOND)) for _ in range(64)]
            await comes_true(lambda: waits.count == 64)
            with pytest.raises(Refused, match="64 others wait already"):
                await waits.wait(never, SECOND)
            waiting[0].cancel()
            await comes_true(lambda: waits.count == 63)
            waits.close()
            ends = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(end) for end in ends] == [asyncio.CancelledError, *[Refused] * 63]

        run(story())


CONTRADICTING: dict[str, dict[str, Any]] = {
    "refuses": {"version": 1, "starts": "launch", "phases": [{"name": "a", "rules": ["refuse"]}]},
    "half-opens": {"version": 1, "rules": [{"half_open": {"leg": "both"}, "when": {"from": "client", "nth": 1}}]},
    "closes": {"version": 1, "rules": [{"close": "4200", "when": {"from": "client", "nth": 1}}]},
    "delays": {"version": 1, "rules": [{"latency": "100ms"}]},
    "drops": {"version": 1, "rules": [{"drop": {}, "when": {"from": "client", "nth": 1}}]},
    "repeats": {"version": 1, "rules": [{"duplicate": {}, "when": {"from": "server"}}]},
    "rejects": {"version": 1, "rules": [{"reject": {"status": "503"}}]},
    "nothing": {"version": 1},
}
DELAY_S = 0.2  # there and back
FAULTS_OF = {
    "refuses": ["refuse"],
    "half-opens": ["half_open"],
    "closes": ["close"],
    "delays": ["latency"],
    "drops": ["drop"],
    "repeats": ["duplicate"],
    "rejects": ["reject"],
    "nothing": [],
}
SEEN: dict[str, object] = {
    "refuses": "refused",
    "half-opens": "silent",
    "closes": 4200,
    "delays": ["1", "2", "end"],
    "drops": ["2", "end"],
    "repeats": ["1", "1", "2", "2", "end"],
    "rejects": 503,
    "nothing": ["1", "2", "end"],
}


async def seen(session: Session) -> object:
    """What a client sees that says three things: the echoes up to the last, or how it ended."""
    try:
        async with session.client() as client:
            began = monotonic()
            for message in ("1", "2", "end"):
                await client.send(f"{session.told['id']} {message}")
            if session.told["profile"] == "half-opens":
                await session.ask("GET", "/wait?for=struck:half_open")
                (connection, *_) = (await session.ask("GET", "")).body["connections"]
                client.transport.abort()
                return "silent" if connection["silent"] else connection
            heard: list[str] = []
            while heard[-1:] != ["end"]:
                own, _, message = str(await client.recv()).partition(" ")
                assert own == session.told["id"]
                heard.append(message)
            if session.told["profile"] == "delays":
                assert monotonic() - began >= DELAY_S
            return heard
    except InvalidStatus as refused:
        return refused.response.status_code
    except ConnectionRefusedError:
        return "refused"
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def eight_sessions_side_by_side() -> None:
    async with staged() as stage:
        sessions = [await opened(stage, profile={"name": name, **CONTRADICTING[name]}) for name in SEEN]
        for _ in range(5):
            assert dict(zip(SEEN, await asyncio.gather(*map(seen, sessions)), strict=True)) == SEEN
        for session in sessions:
            struck = (await session.ask("GET", "")).body["counters"]["faults"]
            assert sorted(struck) == FAULTS_OF[session.told["profile"]]
        assert "chaosproxy_attempts_total 0.0" in (await stage.ask("GET", "/metrics")).body  # those are the proxy's own
        verdicts = await asyncio.gather(*(session.end() for session in sessions))
        passed = [name for name, verdict in zip(SEEN, verdicts, strict=True) if verdict.body["passed"]]
        assert passed == [name for name in SEEN if name != "refuses"]  # nobody could be seen there
        assert (await stage.state())["counters"]["attempts"] == 0


def test_eight_sessions_with_contradicting_profiles_do_not_disturb_each_other(run: Run) -> None:
    run(eight_sessions_side_by_side())


def test_nor_on_uvloop(run_on_uvloop: Run) -> None:
    run_on_uvloop(eight_sessions_side_by_side())


def test_a_session_told_on_uvloop_from_its_opening_to_its_end(run_on_uvloop: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            session = await opened(stage, profile=STEPPED, expect=[{"marked": "seen"}])
            waiting = asyncio.ensure_future(session.ask("GET", "/wait?for=phase:outage"))
            async with session.client() as client:
                await client.send("hello")
                assert await client.recv() == "hello"
                await session.ask("POST", "/phase/next")
                assert (await waiting).status == 200
                with pytest.raises(InvalidStatus, match="503"):
                    async with session.client():
                        pass
                await session.ask("POST", "/marks", {"name": "seen"})
            await session.ask("GET", "/wait?for=closed")
            verdict = (await session.end()).body
            assert verdict["passed"], verdict
            assert list(stage.control.rooms) == []

    run_on_uvloop(story())
