"""What a client says of itself: in virtual time."""

from typing import Any

from tests.expectations.trial import CLIENT, Outcome, S, Trial

CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
CUT: dict[str, Any] = {"name": "cut", "lasts": "4s", "rules": ["reset"]}
WELL: dict[str, Any] = {"name": "well", "lasts": "5s"}


def trial(expect: Any) -> Trial:
    return Trial(CALM, CUT, WELL, expect=expect)


class TestStates:
    def test_reported_ones_in_their_order(self) -> None:
        story = trial({"states": ["connecting", "connected", "connecting"]})
        for state in ("connecting", "connected"):
            story.report(state)
            assert story.outcome is Outcome.OPEN
        story.report("connecting")
        assert (story.outcome, story.row.seen) == (Outcome.HOLDS, "connecting, connected, connecting")

    def test_another_one_fails_at_once(self) -> None:
        story = trial({"states": ["connecting", "connected"]})
        story.report("connecting")
        story.report("unavailable")
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "connecting, unavailable")

    def test_one_too_many_fails_too(self) -> None:
        story = trial({"states": ["connecting", "connected"]})
        for state in ("connecting", "connected", "disconnected"):
            story.report(state)
        assert story.outcome is Outcome.FAILED

    def test_those_that_are_contained_may_have_others_between(self) -> None:
        story = trial({"states": {"containing": ["connecting", "connected"]}})
        for state in ("connecting", "unavailable", "connected"):
            story.report(state)
        assert story.outcome is Outcome.PASSED

    def test_in_a_phase_those_that_are_entered_there(self) -> None:
        story = trial({"states": ["connecting"], "phase": "cut"})
        story.connect()
        story.report("connected")
        story.wait(2 * S)
        story.report("connecting")
        story.wait(4 * S)
        story.report("connected")
        assert (story.outcome, story.row.seen) == (Outcome.PASSED, "connecting")

    def test_without_reports_what_the_wire_shows(self) -> None:
        story = trial({"states": {"containing": ["connected", "lost", "connected"]}})
        story.connect().fin(CLIENT)
        story.connect()
        assert story.outcome is Outcome.PASSED

    def test_no_state_at_all_is_a_failure(self) -> None:
        story = trial({"states": ["connected"]})
        assert story.end().seen == "the state of no client is known"
        assert story.end().outcome is Outcome.FAILED


class TestMarks:
    def test_it_is_waited_for(self) -> None:
        story = trial({"marked": "banner-shown"})
        story.mark("other")
        assert story.outcome is Outcome.OPEN
        story.wait(2 * S)
        story.mark("banner-shown")
        assert (story.outcome, story.row.seen) == (Outcome.PASSED, "after 2.0 s")

    def test_it_must_come_in_its_phase_and_in_time(self) -> None:
        story = trial({"marked": {"mark": "banner-shown", "within": "1s"}, "phase": "cut"})
        story.connect()
        story.mark("banner-shown")
        story.wait(1 * S)
        assert story.outcome is Outcome.OPEN
        story.wait(2 * S)
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "no client set it")
        story.mark("banner-shown")
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "after 2.0 s")
