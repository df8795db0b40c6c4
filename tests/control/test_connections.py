"""Connections over HTTP: which ones are meant, and that they are closed, reset, frozen and healed for real."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chaosproxy import live_rule
from chaosproxy.profile import EMPTY, Profile
from tests.control.conftest import Run
from tests.control.stage import Stage, profile_of, staged

BY_PATH = profile_of(identify={"query": "me"})
NEEDS_A_CHOICE = "expected a condition, such as client: or path:, got none; all: true is for all connections"


async def echoes(client: ClientConnection, text: str = "hello") -> None:
    """See that a message comes back; one that was held before may come first."""
    await client.send(text)
    while await client.recv() != text:
        pass


async def is_silent(client: ClientConnection) -> bool:
    """Whether nothing comes back while another connection has had time for a whole conversation."""
    await client.send("anybody there?")
    try:
        async with asyncio.timeout(0.2):
            await client.recv()
    except TimeoutError:
        return True
    return False


async def attempts(stage: Stage, query: str = "") -> list[int]:
    answer = await stage.ask("GET", f"/api/connections{query}")
    assert answer.status == 200, answer.body
    return [connection["attempt"] for connection in answer.body["connections"]]


class TestListing:
    def test_connections_are_listed_as_in_the_state(self, run: Run) -> None:
        async def story() -> None:
            async with staged(BY_PATH) as stage, stage.client("/a?me=anna"), stage.client("/b?me=ben"):
                answer = (await stage.ask("GET", "/api/connections")).body
                state = await stage.state()
                for each in (*answer["connections"], *state["connections"]):
                    assert each.pop("age_seconds") > 0
                assert answer == {"connections": state["connections"], "left_out": 0, "total": 2}

        run(story())

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("?client=anna", [1]),
            ("?client=nobody", []),
            ("?path=/app/*", [1, 3]),
            ("?path=/app/1&client=anna", [1]),
            ("?state=tunnel", [1, 2, 3]),
            ("?state=hung", []),
            ("?silent=false", [1, 2, 3]),
            ("?silent=true", []),
            ("?older_than=1h", []),
            ("?older_than=0s", [1, 2, 3]),
            ("?limit=2", [1, 2]),
            ("?after=1", [2, 3]),
            ("?after=1&limit=1", [2]),
        ],
    )
    def test_those_are_listed_for_which_all_of_the_query_holds(self, run: Run, query: str, found: list[int]) -> None:
        async def story() -> None:
            async with (
                staged(BY_PATH) as stage,
                stage.client("/app/1?me=anna"),
                stage.client("/other"),
                stage.client("/app/2"),
            ):
                assert await attempts(stage, query) == found

        run(story())

    @pytest.mark.parametrize(
        ("query", "path"),
        [
            ("?limit=0", "limit"),
            ("?limit=many", "limit"),
            ("?state=closed", "state"),
            ("?older_than=5", "older_than"),
            ("?silent=maybe", "silent"),
            ("?color=red", "color"),
            ("?after=-1", "after"),
        ],
    )
    def test_what_it_does_not_know_is_refused(self, run: Run, query: str, path: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("GET", f"/api/connections{query}")
                assert answer.status == 422
                assert [problem["path"] for problem in answer.body["problems"]] == [path]

        run(story())

    def test_what_is_left_out_is_counted(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client(), stage.client(), stage.client():
                answer = (await stage.ask("GET", "/api/connections?limit=1&after=1")).body
                assert (len(answer["connections"]), answer["left_out"], answer["total"]) == (1, 1, 3)

        run(story())


class TestFreezing:
    def test_one_falls_silent_and_gets_at_its_heal_what_was_said_meanwhile(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as first, stage.client() as second:
                answer = await stage.ask("POST", "/api/connections/1/freeze", {})
                assert (answer.status, answer.body) == (200, {"attempt": 1, "rule": "freeze-1"})
                (rule,) = (await stage.state())["rules"]
                assert (rule["id"], rule["live"], rule["connections"]) == ("freeze-1", True, [1])
                assert await is_silent(first)
                await echoes(second)
                assert await attempts(stage, "?silent=true") == [1]
                answer = await stage.ask("POST", "/api/connections/1/heal", {})
                assert answer.body == {"attempt": 1, "rules": ["freeze-1"]}
                assert await first.recv() == "anybody there?"
                assert (await stage.state())["rules"] == []

        run(story())

    def test_those_that_match_fall_silent_and_one_can_be_healed_alone(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as first, stage.client() as second:
                order = {"match": {"state": "tunnel"}, "mode": "blackhole"}
                answer = await stage.ask("POST", "/api/connections/freeze", order)
                assert answer.body == {"attempts": [1, 2], "rule": "freeze-1"}
                async with stage.client() as third:
                    await echoes(third)
                await stage.ask("POST", "/api/connections/2/heal", {})
                await echoes(second)
                assert await is_silent(first)
                answer = await stage.ask("POST", "/api/connections/heal", {"match": {"silent": True}})
                assert answer.body == {"attempts": [1], "rules": ["freeze-1"]}
                await echoes(first)

        run(story())

    def test_all_are_those_that_come_as_well_until_all_are_healed(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as first:
                answer = await stage.ask("POST", "/api/connections/freeze", {"all": True})
                assert answer.body == {"attempts": [1], "rule": "freeze-1"}
                link = connect(f"ws://127.0.0.1:{stage.proxy.port}", compression=None, proxy=None)
                coming = asyncio.ensure_future(link.__aenter__())
                while await attempts(stage, "?silent=true") != [1, 2]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert await is_silent(first)
                assert not coming.done()
                answer = await stage.ask("POST", "/api/connections/heal", {"all": True})
                assert answer.body == {"attempts": [1, 2], "rules": ["freeze-1"]}
                await echoes(await coming)
                await link.__aexit__(None, None, None)
                assert (await stage.state())["rules"] == []
                async with stage.client() as last:
                    await echoes(last)

        run(story())

    def test_one_that_is_silent_is_closed_by_a_reset(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                await stage.ask("POST", "/api/connections/1/freeze", {})
                await stage.ask("POST", "/api/connections/1/close", {"code": 4200})
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert isinstance(closed.value.__cause__, ConnectionResetError), "told by what its document says"

        run(story())

    def test_it_ends_by_itself_where_nobody_ends_it(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                await stage.ask("POST", "/api/connections/1/freeze", {"lasts": "100ms"})
                await echoes(client)
                assert [record["change"] for record in stage.told("rule_changed")] == ["added", "expired"]

        run(story())

    def test_a_heal_frees_from_what_the_profile_does_and_leaves_the_others(self, run: Run) -> None:
        profile = profile_of(
            phases=[{"name": "calm", "until": "step"}, {"name": "dead", "rules": [{"half_open": {"hits": "live"}}]}]
        )

        async def story() -> None:
            async with staged(profile) as stage, stage.client() as first, stage.client() as second:
                await stage.ask("POST", "/api/phase/next", {})
                await stage.ask("POST", "/api/connections/1/heal", {})
                await echoes(first)
                assert await is_silent(second)

        run(story())

    def test_none_that_match_is_no_error_and_no_rule(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client():
                answer = await stage.ask("POST", "/api/connections/freeze", {"match": {"client": "nobody"}})
                assert (answer.status, answer.body) == (200, {"attempts": [], "rule": None})
                assert (await stage.state())["rules"] == []

        run(story())

    def test_there_is_room_for_so_many_rules_by_hand(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live_rule, "LIVE_RULES_MAX", 2)

        async def story() -> None:
            async with staged() as stage, stage.client(), stage.client():
                for attempt, status in ((1, 200), (2, 200), (1, 409)):
                    assert (await stage.ask("POST", f"/api/connections/{attempt}/freeze", {})).status == status
                assert (await stage.ask("POST", "/api/rules", {"rule": "drop"})).status == 409
                assert (await stage.ask("DELETE", "/api/rules/freeze-1", {})).status == 200
                assert (await stage.ask("POST", "/api/rules", {"rule": "drop"})).status == 201

        run(story())


class TestEnding:
    def test_those_that_match_are_closed_with_a_code(self, run: Run) -> None:
        async def story() -> None:
            async with (
                staged() as stage,
                stage.client("/app/1") as first,
                stage.client("/app/2") as second,
                stage.client("/other") as other,
            ):
                order = {"match": {"path": "/app/*"}, "code": 4200, "reason": "come back"}
                answer = await stage.ask("POST", "/api/connections/close", order)
                assert (answer.status, answer.body) == (200, {"attempts": [1, 2]})
                for client in (first, second):
                    with pytest.raises(ConnectionClosed) as closed:
                        await client.recv()
                    assert closed.value.rcvd and (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                        4200,
                        "come back",
                    )
                await echoes(other)

        run(story())

    def test_all_are_reset(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as first, stage.client() as second:
                answer = await stage.ask("POST", "/api/connections/reset", {"all": True})
                assert answer.body == {"attempts": [1, 2]}
                for client in (first, second):
                    with pytest.raises(ConnectionClosed) as closed:
                        await client.recv()
                    assert isinstance(closed.value.__cause__, ConnectionResetError)

        run(story())


class TestWhatIsRefused:
    @pytest.mark.parametrize("verb", ["close", "reset", "freeze", "heal"])
    @pytest.mark.parametrize(
        ("order", "path"),
        [
            ({}, ""),
            ({"match": {}}, "match"),
            ({"all": False}, "all"),
            ({"all": True, "match": {"client": "anna"}}, "all"),
            ({"match": {"colour": "red"}}, "match.colour"),
            ({"match": {"state": "over"}}, "match.state"),
        ],
        ids=str,
    )
    def test_nobody_ends_all_by_a_slip(self, run: Run, verb: str, order: dict[str, Any], path: str) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                before = stage.journal.last
                answer = await stage.ask("POST", f"/api/connections/{verb}", order)
                assert answer.status == 422, answer.body
                assert [problem["path"] for problem in answer.body["problems"]] == [path]
                if path in ("", "match"):
                    assert answer.body["problems"][0]["message"] == NEEDS_A_CHOICE
                assert stage.journal.last == before
                await echoes(client)

        run(story())

    @pytest.mark.parametrize("verb", ["freeze", "heal"])
    @pytest.mark.parametrize("attempt", ["0", "2", "-1", "x", "1.0", "9" * 30, "%00"])
    def test_an_attempt_that_is_not_there(self, run: Run, verb: str, attempt: str) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client():
                answer = await stage.ask("POST", f"/api/connections/{attempt}/{verb}", {})
                assert answer.status == 404

        run(story())

    def test_a_stream_of_bytes_can_be_frozen_and_not_closed(self, run: Run) -> None:
        async def story() -> None:
            async with staged(scheme="tcp") as stage, stage.client() as client:
                answer = await stage.ask("POST", "/api/connections/close", {"all": True})
                assert answer.status == 409
                answer = await stage.ask("POST", "/api/connections/freeze", {"all": True, "heal": "discard"})
                assert [problem["path"] for problem in answer.body["problems"]] == ["heal"]
                assert (await stage.ask("POST", "/api/connections/freeze", {"all": True})).status == 200
                assert await is_silent(client)
                await stage.ask("POST", "/api/connections/heal", {"all": True})
                await echoes(client)

        run(story())


class TestRulesOnChosenConnections:
    def test_only_those_are_hit(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as first, stage.client() as second:
                order = {"rule": {"drop": {}, "when": {"from": "server"}}, "connections": [1]}
                answer = await stage.ask("POST", "/api/rules", order)
                assert (answer.status, answer.body["connections"]) == (201, 1)
                assert await is_silent(first)
                await echoes(second)
                async with stage.client() as third:
                    await echoes(third)

        run(story())

    def test_the_same_rule_on_others_is_another_rule(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client(), stage.client():
                rule = {"rule": {"latency": {"delay": "1ms"}}}
                ids = [
                    (await stage.ask("POST", "/api/rules", rule | {"connections": [number]})).body["id"]
                    for number in (1, 2)
                ]
                assert [each["id"] for each in (await stage.state())["rules"]] == ids

        run(story())

    @pytest.mark.parametrize(
        ("order", "status"),
        [
            ({"rule": "drop", "connections": [1, 7, 9]}, 404),
            ({"rule": "drop", "connections": []}, 422),
            ({"rule": "drop", "connections": [0]}, 422),
            ({"rule": "drop", "connections": "1"}, 422),
            ({"rule": {"reject": {"status": 503}}, "connections": [1]}, 422),
            ({"rule": "refuse", "connections": [1]}, 422),
            ({"rule": {"half_open": {"hits": "new"}}, "connections": [1]}, 422),
        ],
        ids=str,
    )
    def test_what_can_not_be_meant_changes_nothing(self, run: Run, order: dict[str, Any], status: int) -> None:
        async def story(profile: Profile = EMPTY) -> None:
            async with staged(profile) as stage, stage.client() as client:
                before = stage.journal.last
                answer = await stage.ask("POST", "/api/rules", order)
                assert answer.status == status, answer.body
                if status == 404:
                    assert answer.body["error"].startswith("there is no connection of attempt 7, 9;")
                else:
                    assert {each["path"].partition(".")[0] for each in answer.body["problems"]} <= {
                        "connections",
                        "connections[0]",
                    }
                assert stage.journal.last == before
                await echoes(client)

        run(story())
