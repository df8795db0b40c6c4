"""--fault NAME[=VALUE][@START[+LENGTH]]"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.fault_options import parse_fault_option, profile_from_faults
from chaosproxy.faults import FAULTS
from chaosproxy.problems import BadProfile
from chaosproxy.profile import Profile
from chaosproxy.units import SECOND


def lines(*options: str) -> list[str]:
    with pytest.raises(BadProfile) as caught:
        profile_from_faults(options)
    return [str(problem) for problem in caught.value.problems]


def timeline(made: Profile) -> list[tuple[str, int | None, list[str | None]]]:
    return [
        (phase.name, phase.lasts and phase.lasts // SECOND, [rule.id for rule in phase.rules]) for phase in made.phases
    ]


@pytest.mark.parametrize(
    ("text", "options", "start", "end"),
    [
        ("refuse", {}, 0, None),
        ("close=4200@5s", {"code": 4200}, 5, None),
        ("latency=300ms@5s+10s", {"delay": "300ms"}, 5, 15),
        ("latency={delay: 1s, jitter: 1ms}", {"delay": "1s", "jitter": "1ms"}, 0, None),
        ('reject={status: 503, body: "a@b+c"}@1s', {"status": 503, "body": "a@b+c"}, 1, None),
        ("reject={status: 503, body: a@b}", {"status": 503, "body": "a@b"}, 0, None),
    ],
)
def test_an_option_is_a_fault_its_value_and_its_time(
    text: str, options: dict[str, object], start: int, end: int | None
) -> None:
    option = parse_fault_option(text)

    assert option.rule.fault.model_dump(exclude_defaults=True) == options
    assert (option.start, option.end) == (start * SECOND, None if end is None else end * SECOND)


def test_options_without_times_hold_all_the_time() -> None:
    made = profile_from_faults(["latency=300ms", "drop"], seed=7)

    assert made.phases == ()
    assert [rule.id for rule in made.rules] == ["latency-1", "drop-2"]
    assert made.seed == 7


def test_phases_are_cut_where_a_fault_begins_or_ends() -> None:
    made = profile_from_faults(["latency=300ms@5s+10s", "close=4200@10s", "drop@10s+2s"])

    assert timeline(made) == [
        ("from-0ms", 5, []),
        ("from-5s", 5, ["latency-1"]),
        ("from-10s", 2, ["latency-1", "close-2", "drop-3"]),
        ("from-12s", 3, ["latency-1", "close-2"]),
        ("from-15s", None, ["close-2"]),
    ]


def test_when_every_fault_has_ended_nothing_is_left() -> None:
    assert timeline(profile_from_faults(["drop@1s+2s"])) == [("from-0ms", 1, []), ("from-1s", 2, ["drop-1"])]


def test_what_goes_on_over_an_edge_keeps_its_id() -> None:
    made = profile_from_faults(["half_open@1s", "drop@2s"])

    assert [bound.id for bound in made.bound_rules(made.phases[1])] == ["half_open-1"]
    assert [bound.id for bound in made.bound_rules(made.phases[2])] == ["half_open-1", "drop-2"]


def test_a_timeline_that_begins_by_refusing_starts_at_launch() -> None:
    assert profile_from_faults(["refuse@0s+10s"]).starts == "launch"
    assert profile_from_faults(["refuse@1s+10s"]).starts == "connection"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("kill", "1:1: kill: expected a fault, got kill; did you mean reset?"),
        ("half-open@5s", "1:1: half-open: expected a fault, got half-open; did you mean half_open?"),
        ("latency=300", "1:9: latency: expected a duration with a unit, such as 500ms, 1.5s or 2m, got 300"),
        (
            "latency={dely: 1s}",
            "1:10: latency.dely: expected delay, jitter, distribution or at, got dely; did you mean delay?",
        ),
        (
            "latency={delay: 1:30}",
            "1:17: latency.delay: expected a duration with a unit, such as 500ms, 1.5s or 2m, got 1:30",
        ),
        ("latency={delay: 1s", "1:19: expected a comma or } in the { from line 1, got the end"),
        (
            "drop@5",
            "1:6: start: expected a duration with a unit, such as 500ms, 1.5s or 2m, got 5; "
            "an option is NAME=VALUE@START+LENGTH",
        ),
        (
            "drop@5s+0s",
            "1:9: length: expected a duration of at least 1ms in whole milliseconds, got 0s; "
            "an option is NAME=VALUE@START+LENGTH",
        ),
        (
            "close=4200",
            "1:1: close strikes live connections, and at the start there are none; "
            "say when, as in close@5s, or which, as in {hits: new}",
        ),
    ],
)
def test_a_bad_option_is_explained(option: str, line: str) -> None:
    assert lines(option) == [f"--fault:{line}"]


def test_the_problems_of_all_options_come_at_once_one_line_each() -> None:
    assert lines("kill", "drop", "fin@x") == [
        "--fault:1:1: kill: expected a fault, got kill; did you mean reset?",
        "--fault:3:5: start: expected a duration with a unit, such as 500ms, 1.5s or 2m, got x; "
        "an option is NAME=VALUE@START+LENGTH",
    ]


@given(st.lists(st.text() | st.lists(st.sampled_from([*FAULTS, *"=@+{}:, '\"*&!5s0", "1s"])).map("".join), max_size=3))
def test_any_options_make_a_profile_or_are_explained(options: list[str]) -> None:
    try:
        profile_from_faults(options)
    except BadProfile as bad:
        found = bad.problems
    else:
        found = None
    assert found != []
