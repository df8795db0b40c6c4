"""How a client tries to come back: in virtual time."""

from collections.abc import Sequence
from typing import Any

import pytest

from chaosproxy.events import Closed
from tests.expectations.trial import CLIENT, MS, SERVER, Outcome, S, Trial
from tests.virtual import close_frame

CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
DOWN: dict[str, Any] = {"name": "down", "lasts": "60s", "rules": ["reset", {"reject": "503"}]}
WELL: dict[str, Any] = {"name": "well", "lasts": "20s"}


def down(expect: Any, **top: Any) -> Trial:
    """A client is connected, and the outage has just begun."""
    trial = Trial(CALM, DOWN, WELL, expect=expect, **top)
    trial.connect("news")
    trial.wait(1 * S)
    return trial


def try_after(trial: Trial, waits: Sequence[int], client: str = "1") -> None:
    for wait in waits:
        trial.wait(wait)
        trial.fail(client=client)


class TestCounts:
    def test_at_most_holds_until_the_phase_is_over_and_fails_with_one_too_many(self) -> None:
        trial = down({"attempts_at_most": "2", "phase": "down"})
        try_after(trial, [1 * S, 1 * S])
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "2 attempts")
        try_after(trial, [1 * S])
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "3 attempts")

    def test_what_comes_before_and_behind_the_phase_does_not_count(self) -> None:
        trial = down({"attempts_at_most": "2", "phase": "down"})
        try_after(trial, [1 * S])
        trial.wait(60 * S)
        trial.connect()
        trial.connect()
        assert (trial.outcome, trial.row.seen) == (Outcome.PASSED, "1 attempt")

    def test_at_least_waits_for_them_and_fails_when_the_phase_is_over(self) -> None:
        trial = down({"attempts_at_least": "2", "phase": "down"})
        try_after(trial, [1 * S])
        assert (trial.outcome, trial.row.seen) == (Outcome.OPEN, "1 attempt so far")
        trial.wait(60 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "1 attempt")

    def test_without_a_phase_all_of_the_run_counts(self) -> None:
        trial = down({"attempts_at_least": "3"})
        try_after(trial, [1 * S, 1 * S])
        assert trial.outcome is Outcome.PASSED

    def test_attempts_that_a_fault_ends_at_accept_count_where_there_is_one_client(self) -> None:
        closed = {"name": "down", "lasts": "60s", "rules": [{"reset": {"at": "accept"}}]}
        trial = Trial(CALM, closed, expect={"attempts_at_most": "1", "phase": "down"})
        trial.connect()
        trial.wait(2 * S)
        trial.network.connect()
        trial.network.connect()
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "2 attempts")


class TestBackoff:
    def test_waits_that_grow(self) -> None:
        trial = down({"backoff": {"grows": "true"}})
        try_after(trial, [1 * S, 1 * S, 2 * S, 4 * S])
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "waits: 1.0 s, 2.0 s, 4.0 s")

    def test_waits_that_do_not(self) -> None:
        trial = down({"backoff": {"grows": "true"}})
        try_after(trial, [1 * S] * 5)
        assert trial.outcome is Outcome.OPEN
        assert trial.end().seen == "they do not grow: 1.0 s, 1.0 s, 1.0 s, 1.0 s"

    def test_one_wait_shows_nothing(self) -> None:
        trial = down({"backoff": {"grows": "true"}})
        try_after(trial, [1 * S, 1 * S])
        assert trial.end().outcome is Outcome.FAILED
        assert "three attempts in a row" in trial.end().seen

    def test_the_wait_for_the_first_attempt_is_none(self) -> None:
        trial = down({"backoff": {"at_least": "1s"}})
        try_after(trial, [1 * MS, 1 * S])
        assert trial.outcome is Outcome.HOLDS

    @pytest.mark.parametrize(("wait", "outcome"), [(940, "failed"), (960, "holds"), (2040, "holds"), (2060, "failed")])
    def test_bounds_with_their_tolerance(self, wait: int, outcome: str) -> None:
        trial = down({"backoff": {"at_least": "1s", "at_most": "2s"}})
        try_after(trial, [1 * S, wait * MS])
        assert trial.outcome.value == outcome

    def test_a_connection_that_served_begins_a_new_row(self) -> None:
        trial = down({"backoff": {"at_most": "2s"}})
        try_after(trial, [1 * S, 2 * S])
        trial.wait(60 * S)
        trial.connect()
        trial.wait(10 * S)
        trial.connect()
        # The last failed attempt and the one that served are a minute apart.
        assert trial.outcome is Outcome.FAILED

    def test_jitter_shows_between_clients(self) -> None:
        expect = {"backoff": {"jitter_at_least": "20%"}, "phase": "down"}
        trial = Trial(CALM, DOWN, WELL, expect=expect, identify={"query": "client"})
        trial.connect(client="a")
        trial.connect(client="b")
        trial.wait(2 * S)
        for client, wait in (("a", 1), ("b", 0), ("a", 1), ("b", 1)):
            trial.wait(wait * S)
            trial.fail(client=client)
        # a waited for 1 s, b for 2 s.
        assert trial.row.seen.startswith("the same wait differs by 67% between 2 of them")
        assert trial.outcome is Outcome.HOLDS

    def test_a_client_without_a_wait_is_waited_for(self) -> None:
        expect = {"backoff": {"jitter_at_least": "20%"}, "phase": "down"}
        trial = Trial(CALM, DOWN, WELL, expect=expect, identify={"query": "client"})
        trial.connect(client="a")
        trial.wait(2 * S)
        for client, wait in (("a", 1), ("b", 0), ("c", 0), ("a", 1), ("b", 1)):
            trial.wait(wait * S)
            trial.fail(client=client)
        assert trial.outcome is Outcome.OPEN
        trial.fail(client="c")
        assert trial.outcome is Outcome.HOLDS

    def test_clients_in_step_have_none(self) -> None:
        expect = {"backoff": {"jitter_at_least": "20%"}, "phase": "down"}
        trial = Trial(CALM, DOWN, WELL, expect=expect, identify={"query": "client"})
        for client in "ab":
            trial.connect(client=client)
        trial.wait(2 * S)
        for _ in range(3):
            trial.wait(1 * S)
            for client in "ab":
                trial.fail(client=client)
        assert trial.end().outcome is Outcome.FAILED

    def test_one_client_alone_shows_no_jitter(self) -> None:
        trial = down({"backoff": {"jitter_at_least": "20%"}})
        try_after(trial, [1 * S, 1 * S, 2 * S])
        assert "shows only between clients or outages" in trial.end().seen


class TestGivingUp:
    REFUSAL: dict[str, Any] = {"name": "refusal", "rules": [{"close": "4001"}]}  # noqa: RUF012

    def refused(self, expect: Any) -> Trial:
        trial = Trial(CALM, self.REFUSAL, expect=expect)
        connection = trial.connect()
        trial.wait(1 * S)
        connection.fin(CLIENT)
        connection.fin(SERVER)
        assert trial.network.events(Closed)
        return trial

    def test_on_a_code_it_tries_no_more(self) -> None:
        trial = self.refused({"gives_up_on": {"codes": ["4001", "4003"], "quiet": "5s"}})
        trial.wait(4 * S)
        assert trial.outcome is Outcome.OPEN
        trial.wait(1 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.PASSED, "closed with 4001, and no attempt in 5.0 s")

    def test_an_attempt_however_late_is_a_failure(self) -> None:
        trial = self.refused({"gives_up_on": {"codes": "4001", "quiet": "5s"}})
        trial.wait(30 * S)
        trial.connect()
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "closed with 4001, and it tried again after 30.0 s")

    def test_without_such_a_code_there_is_nothing_to_judge(self) -> None:
        trial = self.refused({"gives_up_on": "4003"})
        assert trial.end().seen == "no client was closed with such a code"
        assert trial.end().outcome is Outcome.FAILED

    @pytest.mark.parametrize(("heal", "is_told"), [("flush", True), ("discard", True), ("reset", False)])
    def test_a_code_that_silence_keeps_back_is_told_at_the_heal_if_at_all(self, heal: str, is_told: bool) -> None:
        silence = {"name": "silence", "lasts": "5s", "rules": [{"half_open": {"heal": heal, "hits": "live"}}]}
        trial = Trial(CALM, silence, WELL, expect={"gives_up_on": "4001"})
        connection = trial.connect()
        trial.wait(2 * S)
        connection.send(SERVER, close_frame(4001))
        connection.fin(SERVER)
        trial.wait(3 * S)
        assert trial.row.seen == "no client was closed with such a code"
        trial.wait(2 * S)
        trial.connect()
        told, untold = "closed with 4001, and it tried again after 1.0 s", "no client was closed with such a code"
        assert trial.row.seen == (told if is_told else untold)

    def test_a_code_that_comes_to_a_client_that_is_gone_is_told_to_nobody(self) -> None:
        silence = {"name": "silence", "lasts": "5s", "rules": [{"half_open": {"hits": "live"}}]}
        trial = Trial(CALM, silence, WELL, expect={"gives_up_on": "4001"})
        connection = trial.connect()
        trial.wait(2 * S)
        connection.send(SERVER, close_frame(4001))
        connection.fin(CLIENT)
        trial.wait(5 * S)
        trial.connect()
        assert trial.row.seen == "no client was closed with such a code"

    def test_with_a_phase_only_a_code_that_is_told_there_counts(self) -> None:
        assert self.refused({"gives_up_on": "4001", "phase": "refusal"}).end().outcome is Outcome.PASSED
        elsewhere = self.refused({"gives_up_on": "4001", "phase": "calm"})
        assert elsewhere.end().seen == "no client was closed with such a code"

    def test_after_so_many_attempts(self) -> None:
        trial = down({"gives_up_after": {"attempts": "3", "quiet": "5s"}})
        try_after(trial, [1 * S, 1 * S])
        assert trial.outcome is Outcome.OPEN
        try_after(trial, [1 * S])
        trial.wait(5 * S)
        assert trial.outcome is Outcome.PASSED
        try_after(trial, [1 * S])
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "it tried more than 3 times in a row")

    def test_never(self) -> None:
        trial = down({"never_gives_up": {"within": "30s"}})
        try_after(trial, [1 * S, 20 * S])
        assert trial.outcome is Outcome.OPEN
        trial.wait(31 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "it did nothing for 31.0 s")

    def test_never_holds_once_it_is_back(self) -> None:
        trial = down({"never_gives_up": {"within": "61s"}})
        try_after(trial, [1 * S, 20 * S])
        trial.wait(40 * S)
        trial.connect()
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "it tried again each of 3 times")

    def test_never_fails_where_the_run_ends_and_it_has_not_tried(self) -> None:
        trial = down({"never_gives_up": "true"})
        trial.wait(5 * S)
        assert trial.end().outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "expect", [{"never_gives_up": True}, {"backoff": {"at_least": "500ms"}}, {"gives_up_after": {"attempts": 2}}]
)
def test_a_client_that_no_fault_has_met_need_not_try_again(expect: dict[str, Any]) -> None:
    trial = Trial(CALM, {**DOWN, "lasts": "3s"}, WELL, expect=expect, identify={"query": "client"})
    trial.wait(1 * S)
    trial.connect(client="1")
    trial.wait(1 * S)
    try_after(trial, [1 * S, 1 * S], client="1")
    trial.wait(1 * S)
    if "never_gives_up" in expect:
        trial.connect(client="1")
    trial.connect(client="2")
    assert trial.outcome in (Outcome.HOLDS, Outcome.OPEN)
    assert trial.end().outcome is Outcome.PASSED


@pytest.mark.parametrize("expect", [{"never_gives_up": True}, {"backoff": {"grows": True}}, {"gives_up_after": 2}])
def test_where_no_fault_has_met_anyone_there_is_nothing_to_judge(expect: dict[str, Any]) -> None:
    trial = Trial(CALM, DOWN, WELL, expect=expect)
    trial.connect()
    assert trial.end().outcome is Outcome.FAILED
    assert "no attempt failed" in trial.end().seen


class TestHerds:
    def herd(self, expect: Any) -> Trial:
        trial = Trial(CALM, DOWN, WELL, expect=expect, identify={"query": "client"})
        for client in "abc":
            trial.connect(client=client)
        trial.wait(1 * S)
        return trial

    def test_the_peak_is_that_of_any_second(self) -> None:
        trial = self.herd({"attempts_per_second_at_most": "3"})
        trial.wait(700 * MS)
        for client in "ab":
            trial.fail(client=client)
        trial.wait(600 * MS)
        trial.fail(client="c")
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "at most 3 attempts within a second")
        trial.fail(client="c")
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "4 attempts within a second")

    def test_a_second_later_is_another_second(self) -> None:
        trial = self.herd({"attempts_per_second_at_most": "3"})
        for _ in range(4):
            trial.wait(1 * S)
            for client in "abc":
                trial.fail(client=client)
        assert trial.outcome is Outcome.HOLDS

    def test_a_spread_is_from_each_ones_own_end(self) -> None:
        trial = self.herd({"spread_at_least": "2s"})
        trial.fail(client="a")
        trial.wait(1 * S)
        trial.fail(client="b")
        assert trial.outcome is Outcome.OPEN
        trial.wait(1 * S)
        trial.fail(client="c")
        assert (trial.outcome, trial.row.seen) == (
            Outcome.PASSED,
            "the first attempts of 3 clients are spread over 2.0 s",
        )

    def test_a_herd_that_returns_together_thunders(self) -> None:
        trial = self.herd({"spread_at_least": "2s"})
        trial.wait(1 * S)
        for client in "abc":
            trial.fail(client=client)
        assert trial.outcome is Outcome.FAILED

    def test_clients_whose_turn_is_still_to_come_are_waited_for(self) -> None:
        storm = {"name": "storm", "rules": [{"reset": {"over": "4s"}}]}
        trial = Trial(CALM, storm, expect={"spread_at_least": "2s"}, identify={"query": "client"})
        for client in ("1", "2", "3"):
            trial.connect(client=client)
        trial.wait(1 * S)
        trial.connect(client="1")
        trial.wait(2 * S)
        trial.connect(client="2")
        assert trial.row.seen == "2 of 3 have tried again"

    def test_a_spread_needs_two(self) -> None:
        trial = down({"spread_at_least": "2s"})
        try_after(trial, [1 * S])
        assert "at least two clients" in trial.end().seen
