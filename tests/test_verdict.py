"""What is judged without being asked: a client came, each phase was entered, each fault struck."""

from typing import Any

import pytest

from chaosproxy.expectations import Outcome
from chaosproxy.verdict import Row
from tests.expectations.trial import CLIENT, SERVER, S, Trial
from tests.virtual import live_rule

CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
CUT: dict[str, Any] = {"name": "cut", "lasts": "2s", "rules": ["reset"]}
WELL: dict[str, Any] = {"name": "well"}


def row(trial: Trial, name: str, *, is_over: bool = False) -> Row:
    return next(row for row in trial.verdict(is_over=is_over).rows if row.name == name)


class TestClients:
    def test_none_is_a_failure_once_the_run_is_over(self) -> None:
        trial = Trial(CALM)
        assert row(trial, "a client came").outcome is Outcome.OPEN
        found = row(trial, "a client came", is_over=True)
        assert found.outcome is Outcome.FAILED
        assert found.seen.startswith("no client was seen: does it connect to the proxy")

    def test_a_probe_is_no_client(self) -> None:
        trial = Trial(CALM)
        trial.network.connect().fin(CLIENT)
        assert row(trial, "a client came", is_over=True).outcome is Outcome.FAILED

    def test_they_are_counted(self) -> None:
        trial = Trial(CALM, identify={"query": "client"})
        trial.connect(client="a")
        assert row(trial, "a client came").seen == "1 attempt"
        trial.connect(client="b")
        assert row(trial, "a client came").seen == "2 clients, 2 attempts"


class TestPhases:
    def test_each_must_be_entered(self) -> None:
        trial = Trial(CALM, CUT, WELL)
        trial.connect()
        assert (row(trial, "phases").outcome, row(trial, "phases").seen) == (Outcome.OPEN, "never entered: cut, well")
        trial.wait(3 * S)
        assert (row(trial, "phases").outcome, row(trial, "phases").seen) == (Outcome.PASSED, "all 3 entered")

    def test_a_run_that_ends_early_names_those_that_were_not(self) -> None:
        trial = Trial(CALM, CUT, WELL)
        trial.connect()
        trial.wait(2 * S)
        assert row(trial, "phases", is_over=True).seen == "never entered: well"

    def test_one_that_did_not_end_as_it_should_is_a_failure(self) -> None:
        trial = Trial({"name": "joining", "until": {"subscribed": 2, "within": "5s"}}, WELL)
        trial.connect("news")
        trial.wait(5 * S)
        found = row(trial, "phases")
        assert (found.outcome, found.seen) == (Outcome.FAILED, "phase joining did not end: 1 of 2 subscribed")

    def test_without_phases_there_is_no_such_row(self) -> None:
        assert [row.name for row in Trial().verdict().rows] == ["a client came"]


class TestFaults:
    def test_one_that_strikes_is_exercised(self) -> None:
        trial = Trial(CALM, CUT, WELL)
        trial.connect()
        assert row(trial, "reset struck").outcome is Outcome.OPEN
        trial.wait(1 * S)
        assert (row(trial, "reset struck").outcome, row(trial, "reset struck").seen) == (Outcome.PASSED, "once")

    def test_one_that_never_does_is_not_and_that_fails(self) -> None:
        trial = Trial(CALM, {**CUT, "rules": [{"drop": {}, "when": {"event": "never"}}]}, {**WELL, "lasts": "1s"})
        trial.connect()
        trial.wait(3 * S)
        assert row(trial, "drop struck").outcome is Outcome.OPEN
        trial.wait(1 * S)
        found = row(trial, "drop struck")
        assert (found.outcome, found.seen) == (Outcome.FAILED, "not exercised: it never struck")
        assert found.about == "phase cut"

    def test_one_that_was_kept_from_striking_says_by_what(self) -> None:
        silent = {"id": "silent", "half_open": {"hits": "live"}}
        closed = {**CUT, "rules": [silent, {"close": "4200"}]}
        trial = Trial(CALM, {"name": "silence", "lasts": "1s", "rules": [silent]}, closed, WELL)
        trial.connect()
        trial.wait(3 * S)
        found = row(trial, "close struck", is_over=True)
        assert found.seen == "not exercised: the connection is half-open: nothing leaves"

    def test_a_closed_listener_is_a_strike(self) -> None:
        trial = Trial(CALM, {**CUT, "rules": ["refuse"]}, WELL)
        trial.connect()
        trial.wait(1 * S)
        assert (row(trial, "refuse struck").outcome, row(trial, "refuse struck").seen) == (
            Outcome.PASSED,
            "the listener was closed",
        )

    def test_only_its_own_phase_closes_the_listener_for_a_rule(self) -> None:
        first, second = ({"name": name, "lasts": "1s", "rules": ["refuse"]} for name in ("one", "two"))
        trial = Trial(CALM, first, {**WELL, "lasts": "1s"}, second, {"name": "end"})
        trial.connect()
        trial.wait(2 * S)
        rows = [each for each in trial.verdict(is_over=True).rows if each.name == "refuse struck"]
        assert [(each.about, each.outcome) for each in rows] == [
            ("phase one", Outcome.PASSED),
            ("phase two", Outcome.FAILED),
        ]

    def test_a_rule_that_goes_on_in_the_next_phase_is_one(self) -> None:
        slow = {"id": "slow", "latency": {"delay": "10ms"}}
        trial = Trial({"name": "one", "lasts": "1s", "rules": [slow]}, {"name": "two", "rules": [slow]})
        trial.connect("news")
        assert [each.title for each in trial.verdict().rows if "struck" in each.name] == ["latency struck (rule slow)"]


class TestEnd:
    def test_a_run_is_finished_when_the_timeline_is_over_and_nothing_is_open(self) -> None:
        trial = Trial(CALM, CUT, WELL, expect={"reconnected_within": "5s"})
        trial.connect()
        trial.wait(4 * S)
        assert not trial.verdict().is_finished
        trial.connect()
        verdict = trial.verdict()
        assert verdict.is_finished
        assert verdict.has_passed

    def test_it_is_not_while_another_phase_is_to_come(self) -> None:
        trial = Trial(CALM, CUT, {**WELL, "lasts": "9s"}, expect={"reconnected_within": "5s"})
        trial.connect()
        trial.wait(3500 * S // 1000)
        trial.connect()
        assert not trial.verdict().is_finished
        trial.wait(9 * S)
        assert trial.verdict().is_finished

    def test_what_holds_has_passed_in_the_end(self) -> None:
        trial = Trial(CALM, WELL, expect="one_connection")
        trial.connect()
        trial.wait(2 * S)
        assert [each.outcome for each in trial.verdict().rows] == [Outcome.PASSED, Outcome.PASSED, Outcome.HOLDS]
        assert trial.verdict(is_over=True).has_passed


def test_an_outage_made_by_hand_is_judged_as_one_of_the_profile() -> None:
    trial = Trial(expect={"reconnected_within": "2s", "after": "fault"})
    trial.connect()
    trial.wait(1 * S)
    trial.network.add(live_rule("reset"))
    trial.wait(1 * S)
    trial.connect()
    assert trial.row.seen == "after 1.0 s from the fault"
    assert trial.outcome is Outcome.PASSED


def test_what_is_beyond_the_bounds_is_said_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaosproxy.history.ATTEMPTS_MAX", 2)
    trial = Trial(CALM, WELL)
    for _ in range(4):
        trial.connect()
    found = row(trial, "all was seen")
    assert (found.outcome, found.seen.partition(" things")[0]) == (Outcome.FAILED, "2")


def test_what_would_grow_with_a_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaosproxy.history.KEPT_MAX", 10)
    trial = Trial(CALM, WELL)
    for number in range(20):
        trial.mark(f"mark {number}")
    trial.verdict()
    assert len(trial.judge.history.marks) == 10
    assert row(trial, "all was seen").outcome is Outcome.FAILED


def test_a_profile_without_rules_may_expect_a_heal_since_rules_are_added_by_hand() -> None:
    trial = Trial(expect={"reconnected_within": "2s"})
    trial.connect()
    trial.network.add(live_rule("reset"))
    trial.wait(1 * S)
    trial.network.heal()
    trial.wait(1 * S)
    trial.connect()
    assert (trial.row.outcome, trial.row.seen) == (Outcome.PASSED, "after 1.0 s from the heal")


@pytest.mark.parametrize("looks", [0, 1])
def test_looking_often_changes_no_verdict(looks: int) -> None:
    names = ("stays_connected", "one_connection", "never_gives_up", "closes_cleanly")
    expect: list[Any] = [*names, {"reconnected_within": "1s"}, {"gives_up_on": 4200}, {"attempts_at_most": 2}]
    silent = {"name": "silence", "lasts": "2s", "rules": [{"half_open": {"hits": "live"}}]}
    trial = Trial(CALM, silent, {"name": "kick", "lasts": "1s", "rules": [{"close": "4200"}]}, WELL, expect=expect)

    def look() -> None:
        if looks:
            trial.verdict()

    first = trial.connect("news")
    look()
    trial.wait(2 * S)
    look()
    second = trial.connect("news")
    look()
    first.fin(CLIENT)
    look()
    trial.wait(2 * S)
    look()
    second.fin(CLIENT)
    second.fin(SERVER)
    look()
    trial.wait(2 * S)
    trial.connect("news")
    found = {each.name: each.seen for each in trial.verdict(is_over=True).rows if each.is_expected}
    assert found == {
        "stays_connected: true": "it was ended by the client (fin)",
        "one_connection: true": "3 connections, one at a time",
        "never_gives_up: true": "it tried again each of 2 times",
        "closes_cleanly: true": "it sent no close frame (fin)",
        "reconnected_within: 1s": "after 2.0 s from the heal",
        "gives_up_on: 4200": "closed with 4200, and it tried again after 3.0 s",
        "attempts_at_most: 2": "3 attempts",
    }
