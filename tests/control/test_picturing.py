"""The picture over HTTP: at once, when it changes, or with nothing new when the wait is over."""

import asyncio
import json
import re
from typing import Any

import pytest

from chaosproxy.control.picturing import VIEWERS_MAX
from chaosproxy.control.room import Kind
from chaosproxy.journal import iter_journal
from chaosproxy.retold import retell
from tests.control.conftest import Run
from tests.control.stage import Answer, Stage, profile_of, staged

TWO_PHASES = profile_of(
    name="outage",
    seed=7,
    phases=[{"name": "healthy", "until": "step"}, {"name": "outage", "rules": ["half_open"]}],
)


@pytest.fixture(params=["run", "run_on_uvloop"])
def run_on_both(request: pytest.FixtureRequest) -> Run:
    """Run a story on a loop of each kind."""
    run: Run = request.getfixturevalue(request.param)
    return run


async def picture(stage: Stage, query: str = "", base: str = "/api") -> dict[str, Any]:
    answer = await stage.ask("GET", f"{base}/picture{query}")
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


def test_it_is_whole_for_who_knows_nothing(run: Run) -> None:
    async def story() -> None:
        async with staged(TWO_PHASES) as stage, stage.client("/app/key?token=secret") as client:
            await client.send("hello")
            await client.recv()
            told = await picture(stage)

            (lane,) = told["lanes"]
            assert [stretch["what"] for stretch in lane["wire"]] == ["dialling", "open"]
            assert "secret" not in str(told)
            assert (lane["attempt"], lane["live"], lane["path"]) == (1, True, "/app/key")
            assert [band["phase"] for band in told["bands"]] == ["healthy"]
            assert (told["complete"], told["profile"], told["seed"]) == (True, "outage", 7)
            assert told["now"] >= lane["wire"][-1]["from"]

    run(story())


def test_with_it_come_the_numbers_of_now(run: Run) -> None:
    async def story() -> None:
        async with staged(TWO_PHASES) as stage, stage.client() as client:
            await client.send("hello")
            await client.recv()
            meter = (await picture(stage))["meter"]

            phase = meter.pop("phase")
            assert (phase["name"], phase["running"]) == ("healthy", True)
            assert meter == {
                "open": 1,
                "attempts": 1,
                "frames": {"client": 1, "server": 1},
                "bytes": {"client": 11, "server": 7},
                "held_bytes": 0,
                "paused_legs": 0,
                "delays": {"count": 0, "seconds": 0.0},
                "strikes": {},
                "draining": False,
            }

    run(story())


def test_numbers_count_what_is_over_too(run: Run) -> None:
    async def story() -> None:
        async with staged(profile_of(rules=[{"latency": {"delay": "1ms"}, "when": {"from": "client"}}])) as stage:
            for _ in range(2):
                async with stage.client() as client:
                    await client.send("hello")
                    await client.recv()
            await stage.until_told("closed", 2)
            meter = (await picture(stage))["meter"]

            assert (meter["open"], meter["attempts"]) == (0, 2)
            assert meter["bytes"]["client"] >= 22
            assert meter["delays"]["count"] >= 2 and meter["delays"]["seconds"] >= 0.002
            assert meter["strikes"]["latency"] >= 2

    run(story())


def test_who_knows_it_is_told_what_changes_as_soon_as_it_does(run_on_both: Run) -> None:
    async def story() -> None:
        async with staged(TWO_PHASES) as stage, stage.client():
            known = await picture(stage)
            asking = asyncio.create_task(picture(stage, f"?since={known['version']}&wait=20s"))
            await _until_somebody_waits(stage)
            await stage.ask("POST", "/api/phase/next", {})
            told = await asking

            assert not told["complete"] and told["version"] > known["version"]
            assert [(band["phase"], band["to"] is None) for band in told["bands"]] == [
                ("healthy", False),
                ("outage", True),
            ]
            (lane,) = (await picture(stage, f"?since={known['version']}"))["lanes"]
            assert [stretch["what"] for stretch in lane["wire"]] == ["open", "silent"]
            assert [mark["fault"] for mark in lane["marks"]] == ["half_open"]

    run_on_both(story())


def test_when_the_wait_is_over_there_is_nothing_new(run_on_both: Run) -> None:
    async def story() -> None:
        async with staged(TWO_PHASES) as stage, stage.client():
            known = await picture(stage)
            told = await picture(stage, f"?since={known['version']}&wait=10ms")

            assert (told["version"], told["lanes"], told["bands"]) == (known["version"], [], [])
            assert told["now"] >= known["now"] and told["meter"]["open"] == 1

    run_on_both(story())


@pytest.mark.parametrize("query", ["?since=0&wait=20s", "?since=99999&wait=20s", "?since=1&run=another&wait=20s"])
def test_who_knows_nothing_or_another_run_is_told_everything_at_once(run: Run, query: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            told = await picture(stage, query)

            assert (told["complete"], told["version"], told["lanes"]) == (True, 1, [])

    run(story())


def test_each_session_has_its_own(run: Run) -> None:
    async def story() -> None:
        async with staged(TWO_PHASES) as stage, stage.client():
            session = (await stage.ask("POST", "/api/sessions", {"profile": {"version": 1, "name": "mine"}})).body
            told = await picture(stage, base=session["control"])

            assert (told["profile"], told["lanes"]) == ("mine", [])
            assert told["run"] != (await picture(stage))["run"]

    run(story())


def test_who_waits_for_a_session_is_told_of_its_end(run_on_both: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            session = (await stage.ask("POST", "/api/sessions", {})).body
            asking = asyncio.create_task(stage.ask("GET", f"{session['control']}/picture?since=1&wait=20s"))
            room = stage.control.rooms.find(Kind.SESSION, session["id"])
            while not room.viewers.count:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await stage.ask("DELETE", session["control"])

            answer = await asking
            assert (answer.status, answer.body) == (410, {"error": "it has ended meanwhile"})

    run_on_both(story())


WRONG = {
    "?since=-1": "since: expected a version, as the picture has told it, or 0 for everything",
    "?since=1.5": "since: expected a version, as the picture has told it, or 0 for everything",
    "?wait=5": "wait: expected a duration with a unit, such as 500ms, 1.5s or 2m",
    "?wait=31s": "wait: expected a time of at most 30s; to wait for longer, ask again",
}


@pytest.mark.parametrize("query", WRONG)
def test_a_question_that_is_none_is_refused(run: Run, query: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            answer = await stage.ask("GET", f"/api/picture{query}")

            assert (answer.status, answer.body) == (422, {"error": WRONG[query]})

    run(story())


def test_no_more_wait_than_there_is_room_for(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            ask = "/api/picture?since=1&wait=20s"
            asking = [asyncio.create_task(stage.ask("GET", ask)) for _ in range(VIEWERS_MAX)]
            await _until_somebody_waits(stage, VIEWERS_MAX)
            answer: Answer = await stage.ask("GET", ask)

            assert (answer.status, answer.body) == (
                503,
                {"error": f"{VIEWERS_MAX} others wait for the picture already"},
            )
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    run(story())


async def _until_somebody_waits(stage: Stage, number: int = 1) -> None:
    while stage.control.rooms.main.viewers.count < number:  # noqa: ASYNC110
        await asyncio.sleep(0)


class TestTheReport:
    def test_it_is_a_file_with_the_run_up_to_now_and_its_verdict(self, run: Run) -> None:
        async def story() -> None:
            profile = TWO_PHASES.model_copy(update={"expect": profile_of(expect=[{"one_connection": "true"}]).expect})
            async with staged(profile) as stage, stage.client("/app/key?token=secret"):
                answer = await stage.ask("GET", "/api/report")

                assert answer.headers["Content-Disposition"] == 'attachment; filename="chaosproxy-outage.html"'
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                assert "secret" not in answer.body
                (told,) = runs_in(answer.body)
                assert [lane["path"] for lane in told["picture"]["lanes"]] == ["/app/key"]
                rows = {row["name"]: row for row in told["verdict"]["rows"]}
                assert rows["one_connection: true"]["outcome"] == "holds"
                (came,) = rows["a client came"]["evidence"]
                assert came == told["records"][str(came["seq"])]

        run(story())

    def test_without_expectations_there_is_no_verdict(self, run: Run) -> None:
        async def story() -> None:
            async with staged(TWO_PHASES) as stage, stage.client():
                (told,) = runs_in((await stage.ask("GET", "/api/report")).body)

                assert (told["verdict"], told["records"], len(told["picture"]["lanes"])) == (None, {}, 1)

        run(story())


def runs_in(page: str) -> list[dict[str, Any]]:
    """The runs that a report holds."""
    found = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    runs: list[dict[str, Any]] = json.loads(found[1])
    return runs


ORDERS = {
    "the same profile anew": ("/api/reset", {}),
    "another profile": (
        "/api/profile",
        {"profile": {"version": 1, "phases": [{"name": "calm"}], "expect": [{"one_connection": "true"}]}},
    ),
}


@pytest.mark.parametrize(("path", "order"), ORDERS.values(), ids=list(ORDERS))
def test_another_run_by_hand_is_judged_by_the_journal_as_it_was_live(
    run: Run, path: str, order: dict[str, Any]
) -> None:
    async def story() -> None:
        profile = TWO_PHASES.model_copy(update={"expect": profile_of(expect=[{"one_connection": "true"}]).expect})
        async with staged(profile) as stage, stage.client(), stage.client():
            async with stage.client():
                await stage.until_told("opened", 3)
            await stage.until_told("closed")
            answer = await stage.ask("POST", path, order)
            assert answer.status == 200, answer.body
            async with stage.client():
                await stage.until_told("opened", 4)
            await stage.until_told("closed", 2)

            live = stage.control.rooms.main.stage.verdict(is_over=True)
            lines = [stage.journal.header, *(line.text for line in stage.journal.after(0, stage.journal.last))]
            header, *records = iter_journal(lines)
            assert retell(header, records).judged.rows == live.rows
            assert {row.name: row.seen for row in live.rows}["a client came"] == "3 attempts"

    run(story())
