"""Pause and resume, reset and another profile over HTTP, with the verdict that begins anew."""

import re
from typing import Any

import pytest

from chaosproxy.canonical import load_profile
from tests.control.conftest import Run
from tests.control.stage import profile_of, staged
from tests.control.test_connections import echoes, is_silent

STEPPED = profile_of(
    name="stepped",
    rules=[{"latency": {"delay": "1ms"}}],
    phases=[
        {"name": "calm", "about": "Nothing yet.", "lasts": "1h"},
        {"name": "dead", "until": {"opened": 1, "within": "90s"}, "rules": ["half_open"]},
    ],
)
OTHER: dict[str, Any] = {
    "version": 1,
    "name": "other",
    "seed": 4,
    "phases": [{"name": "dropping", "rules": [{"drop": {}, "when": {"from": "server"}}]}],
}


class TestPausing:
    def test_a_paused_phase_says_so_and_goes_on_where_it_stopped(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client():
                assert (await stage.state())["phase"]["paused"] is False
                for _ in range(2):
                    answer = await stage.ask("POST", "/api/phase/pause", {})
                    assert answer.status == 200 and answer.body["paused"] is True
                left = answer.body["ends_in_seconds"]
                assert 3500 < left < 3600
                assert (await stage.state())["phase"]["ends_in_seconds"] == left
                for _ in range(2):
                    answer = await stage.ask("POST", "/api/phase/resume", {})
                    assert answer.status == 200 and answer.body["paused"] is False
                assert answer.body["ends_in_seconds"] <= left
                kinds = [len(stage.told(kind)) for kind in ("phase_paused", "phase_resumed")]
                assert kinds == [1, 1]
                assert stage.told("phase_paused")[0]["phase"] == "calm"

        run(story())

    def test_one_can_step_while_it_is_paused(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client():
                await stage.ask("POST", "/api/phase/pause", {})
                answer = await stage.ask("POST", "/api/phase/next", {})
                assert (answer.body["name"], answer.body["paused"]) == ("dead", True)

        run(story())

    @pytest.mark.parametrize("order", ["pause", "resume"])
    def test_without_phases_there_is_nothing_to_pause(self, run: Run, order: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                assert (await stage.ask("POST", f"/api/phase/{order}", {})).status == 409

        run(story())

    def test_all_phases_are_listed(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client():
                await stage.ask("POST", "/api/phase/pause", {})
                calm = {"name": "calm", "about": "Nothing yet.", "lasts_seconds": 3600.0, "until": None, "rules": 0}
                dead = {"name": "dead", "about": "", "lasts_seconds": None, "rules": 1}
                assert (await stage.ask("GET", "/api/phases")).body == {
                    "phases": [
                        calm | {"current": True},
                        dead | {"until": {"opened": 1, "within": "90s"}, "current": False},
                    ],
                    "current": "calm",
                    "paused": True,
                    "over": False,
                    "repeat": 1,
                    "rules_of_all": 1,
                }

        run(story())


class TestReset:
    def test_it_heals_and_waits_for_the_next_connection(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client() as client:
                await stage.ask("POST", "/api/rules", {"rule": "stall"})
                await stage.ask("POST", "/api/phase/pause", {})
                await stage.ask("POST", "/api/phase", {"phase": "dead"})
                assert await is_silent(client)
                for _ in range(2):
                    answer = await stage.ask("POST", "/api/reset", {})
                    assert answer.status == 200
                    phase = answer.body["phase"]
                    assert (phase["name"], phase["running"], phase["paused"]) == ("", False, False)
                await echoes(client)
                async with stage.client():
                    assert (await stage.state())["phase"]["name"] == "calm"

        run(story())

    def test_the_verdict_begins_anew_with_the_connections_there_are(self, run: Run) -> None:
        profile = profile_of(expect=[{"marked": "shown"}])

        async def story() -> None:
            async with staged(profile) as stage, stage.client():
                await stage.ask("POST", "/api/marks", {"name": "shown"})
                rows = (await stage.ask("GET", "/api/verdict")).body["rows"]
                assert [row["outcome"] for row in rows] == ["passed", "passed"]
                await stage.ask("POST", "/api/reset", {})
                rows = (await stage.ask("GET", "/api/verdict")).body["rows"]
                assert [row["outcome"] for row in rows] == ["passed", "open"]
                assert rows[0]["evidence"][0]["event"] == "timeline_reset"
                reset_at = rows[0]["evidence"][0]["at"]
                async with stage.http.get(f"{stage.url}/api/report") as answer:
                    (told,) = re.findall(r'"began_seconds": ?([\d.]+)', await answer.text())
                assert float(told) == pytest.approx(reset_at, abs=0.001), "the report says of which run it judges"

        run(story())

    def test_what_one_waits_for_is_counted_anew(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client() as client:
                await echoes(client)
                await stage.ask("POST", "/api/marks", {"name": "seen"})
                for name in ("phase:calm", "struck:latency", "opened", "mark:seen"):
                    path = f"/api/wait?for={name}&timeout=1ms"
                    assert (await stage.ask("GET", path)).status == 200
                    await stage.ask("POST", "/api/reset", {})
                    assert (await stage.ask("GET", path)).body["there"] == 0, name
                    async with stage.client() as other:
                        await echoes(other)
                        await stage.ask("POST", "/api/marks", {"name": "seen"})
                        assert (await stage.ask("GET", f"/api/wait?for={name}")).body["there"] >= 1

        run(story())


class TestPlaying:
    def test_another_profile_hits_connections_that_are_open(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client() as client:
                await echoes(client)
                answer = await stage.ask("POST", "/api/profile", {"profile": OTHER, "seed": 9})
                assert answer.status == 200, answer.body
                assert answer.body["phase"]["name"] == "dropping"
                assert (answer.body["profile"]["name"], answer.body["seed"]) == ("other", 9)
                assert await is_silent(client)
                record = await stage.until_told("profile_changed")
                assert (record["profile"], record["seed"]) == ("other", 9)
                assert load_profile(record["profile_in_full"]) == stage.proxy.world.profile
                assert record["digest"] == answer.body["profile"]["digest"]
                played = f'digest="{record["digest"]}",profile="other",seed="9"'
                assert f"chaosproxy_profile_info{{{played}}} 1.0" in (await stage.ask("GET", "/metrics")).body

        run(story())

    def test_it_waits_for_a_connection_where_there_is_none(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/profile", {"profile": OTHER})
                assert answer.body["phase"]["running"] is False
                answer = await stage.ask("POST", "/api/profile", {"profile": OTHER, "starts": "launch"})
                assert answer.body["phase"]["name"] == "dropping"

        run(story())

    def test_it_can_be_named_written_as_yaml_and_expect_more(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client():
                answer = await stage.ask("POST", "/api/profile", {"profile": "extended-outage"})
                assert answer.body["profile"]["name"] == "extended-outage"
                order = {"profile_yaml": "version: 1\nname: mine\n", "expect": [{"marked": "shown"}]}
                answer = await stage.ask("POST", "/api/profile", order)
                assert answer.body["profile"]["name"] == "mine"
                verdict = (await stage.ask("GET", "/api/verdict")).body
                assert [row["outcome"] for row in verdict["rows"]] == ["passed", "open"]
                await stage.ask("POST", "/api/marks", {"name": "shown"})
                assert (await stage.ask("GET", "/api/verdict")).body["passed"] is True

        run(story())

    @pytest.mark.parametrize(
        ("order", "paths"),
        [
            ({}, [""]),
            ({"profile": "no-such-profile"}, ["profile"]),
            ({"profile": OTHER, "profile_yaml": "version: 1"}, ["profile_yaml"]),
            ({"profile": {"version": 1, "rules": ["dorp"], "seed": "x"}}, ["profile.rules[0]", "profile.seed"]),
            ({"profile_yaml": "version: 1\nrules:\n  - dorp\nsede: 1\n"}, ["rules[0]", "sede"]),
            ({"profile": OTHER, "listen": "127.0.0.1"}, ["listen"]),
        ],
        ids=str,
    )
    def test_one_with_problems_changes_nothing(self, run: Run, order: dict[str, Any], paths: list[str]) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage, stage.client() as client:
                before = stage.journal.last
                answer = await stage.ask("POST", "/api/profile", order)
                assert answer.status == 422
                assert sorted(problem["path"] for problem in answer.body["problems"]) == paths
                assert stage.journal.last == before
                state = await stage.state()
                assert (state["profile"]["name"], state["phase"]["name"]) == ("stepped", "calm")
                await echoes(client)

        run(story())

    def test_one_that_can_not_be_played_before_this_server_changes_nothing(self, run: Run) -> None:
        async def story() -> None:
            async with staged(scheme="tcp") as stage, stage.client():
                answer = await stage.ask("POST", "/api/profile", {"profile": {"version": 1, "protocol": "pusher"}})
                assert answer.status == 422 and stage.proxy.world.profile.name == "none"
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/profile", {"profile": {"version": 1, "rules": ["tls_stall"]}})
                assert answer.status == 422 and stage.proxy.world.profile.name == "none"
            async with staged(fence=lambda rule: "not here") as stage:
                answer = await stage.ask("POST", "/api/profile", {"profile": OTHER})
                assert (answer.status, answer.body["error"]) == (403, "not here")

        run(story())

    def test_it_says_how_many_connections_can_not_be_read(self, run: Run) -> None:
        reading = {"version": 1, "rules": [{"drop": {}, "when": {"text": "x"}}]}

        async def story() -> None:
            async with staged() as stage, stage.client(), stage.client(compression="deflate") as deflated:
                await echoes(deflated)
                answer = await stage.ask("POST", "/api/profile", {"profile": reading})
                assert answer.body["note"].startswith("new connections only: 1 ")

        run(story())

    def test_a_session_plays_another_one_too(self, run: Run) -> None:
        async def story() -> None:
            async with staged(STEPPED) as stage:
                control = (await stage.ask("POST", "/api/sessions", {})).body["control"]
                answer = await stage.ask("POST", f"{control}/profile", {"profile": OTHER})
                assert answer.body["profile"]["name"] == "other"
                assert (await stage.ask("POST", f"{control}/reset", {})).status == 200
                assert (await stage.state())["profile"]["name"] == "stepped"

        run(story())
