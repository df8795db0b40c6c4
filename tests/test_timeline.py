"""The timeline by itself: time, counts and steps by hand move it."""

from chaosproxy.timeline import Standing, Timeline
from chaosproxy.units import SECOND

from .virtual import profile

NOTHING = Standing(0, 0, 0, 0, frozenset())


def test_it_stands_still_until_it_is_started_and_starts_once() -> None:
    timeline = Timeline(profile({"name": "a", "lasts": "1s"}))
    assert timeline.phase is None and timeline.deadline is None
    assert timeline.start(5) and not timeline.start(6)
    assert timeline.deadline == 5 + SECOND


def test_without_phases_it_never_moves() -> None:
    timeline = Timeline(profile())
    assert not timeline.start(0)
    assert timeline.reason_to_move(10**18, NOTHING) is None


def test_seconds_are_the_same_as_lasts() -> None:
    timeline = Timeline(profile({"name": "a", "until": {"seconds": 2}}, {"name": "b"}))
    timeline.start(0)
    assert timeline.reason_to_move(2 * SECOND - 1, NOTHING) is None
    assert timeline.reason_to_move(2 * SECOND, NOTHING) == "time"
    assert timeline.failures == []


def test_a_step_by_hand_that_nobody_takes_within_its_time_is_a_failure() -> None:
    timeline = Timeline(profile({"name": "a", "until": {"step": "true", "within": "1s"}}, {"name": "b"}))
    timeline.start(0)
    assert timeline.reason_to_move(SECOND, NOTHING) == "phase a did not end: nobody stepped on"


def test_missing_channels_are_named() -> None:
    until = {"subscribed": ["a", "b"], "within": "1s"}
    timeline = Timeline(profile({"name": "p", "until": until}, {"name": "q"}, protocol="pusher"))
    timeline.start(0)
    standing = NOTHING._replace(channels=frozenset({"a"}))
    assert timeline.reason_to_move(SECOND, standing) == "phase p did not end: no subscription to b"


def test_a_condition_met_at_the_very_end_of_its_time_is_met() -> None:
    timeline = Timeline(profile({"name": "a", "until": {"opened": 1, "within": "1s"}}, {"name": "b"}))
    timeline.start(0)
    assert timeline.reason_to_move(SECOND, NOTHING._replace(opened=1)) == "opened"
    assert timeline.failures == []


def test_a_jump_goes_to_a_phase_by_name_even_after_the_end() -> None:
    timeline = Timeline(profile({"name": "a", "lasts": "1s"}, {"name": "b", "lasts": "1s"}))
    timeline.start(0)
    timeline.move(1)
    timeline.move(2)
    assert timeline.is_over and timeline.phase is None
    assert not timeline.jump("c", 3)
    assert timeline.jump("b", 3)
    assert timeline.phase and timeline.phase.name == "b" and timeline.visit_of_phase == 2
    timeline.move(4)
    assert timeline.is_over


def test_the_last_phase_without_an_end_lasts_for_ever() -> None:
    timeline = Timeline(profile({"name": "a"}))
    timeline.start(0)
    assert timeline.deadline is None


class TestPausing:
    def test_what_was_left_of_the_phase_is_left_when_it_goes_on(self) -> None:
        timeline = Timeline(profile({"name": "a", "lasts": "10s"}))
        timeline.start(0)
        assert timeline.pause(4 * SECOND)
        assert timeline.deadline is None and timeline.time_left == 6 * SECOND
        assert timeline.reason_to_move(100 * SECOND, NOTHING) is None
        assert timeline.resume(100 * SECOND)
        assert timeline.deadline == 106 * SECOND
        assert timeline.elapsed(101 * SECOND) == 5 * SECOND

    def test_a_second_pause_and_a_second_resume_change_nothing(self) -> None:
        timeline = Timeline(profile({"name": "a", "lasts": "10s"}))
        timeline.start(0)
        assert not timeline.resume(1)
        assert timeline.pause(4 * SECOND) and not timeline.pause(5 * SECOND)
        assert timeline.resume(6 * SECOND) and not timeline.resume(7 * SECOND)
        assert timeline.deadline == 12 * SECOND

    def test_a_phase_entered_meanwhile_has_all_of_its_time_left(self) -> None:
        timeline = Timeline(profile({"name": "a", "lasts": "10s"}, {"name": "b", "lasts": "3s"}))
        timeline.start(0)
        timeline.pause(4 * SECOND)
        timeline.move(5 * SECOND)
        assert timeline.is_paused and timeline.elapsed(6 * SECOND) == 0
        timeline.resume(7 * SECOND)
        assert timeline.deadline == 10 * SECOND

    def test_neither_a_condition_nor_its_time_ends_the_phase(self) -> None:
        until = {"opened": 1, "within": "2s"}
        timeline = Timeline(profile({"name": "a", "until": until}, {"name": "b"}))
        timeline.start(0)
        timeline.pause(SECOND)
        assert timeline.reason_to_move(5 * SECOND, NOTHING._replace(opened=1)) is None
        timeline.resume(5 * SECOND)
        assert timeline.reason_to_move(6 * SECOND - 1, NOTHING) is None
        assert timeline.reason_to_move(5 * SECOND, NOTHING._replace(opened=1)) == "opened"
