"""Pictures in text: rows of signs on one scale, in any width and encoding."""

from typing import Any

import pytest

from chaosproxy.drawing import ASCII, UNICODE, axis, draw, signs_for
from tests.test_picture import Run


def drawn(run: Run, width: int = 60, **options: Any) -> list[str]:
    return [line.plain for line in draw(run.told, width, **options)]


def outage() -> Run:
    """Ten seconds: healthy, then silent; the client notices at 6 s and is back at 8 s."""
    run = Run()
    run.enter("healthy", 1, "start")
    run.open(1, "anna")
    run.state("anna", "connected")
    run.at = 4.0
    run.enter("outage", 2)
    run.strike(1, "half_open", "freeze")
    run.at = 6.0
    run.close(1, "client", "close", 1000)
    run.state("anna", "unavailable")
    run.at = 8.0
    run.enter("", 3)
    run.open(2, "anna")
    run.at = 10.0
    run.state("anna", "connected")
    return run


def test_wire_states_and_phases_stand_below_each_other_on_one_scale() -> None:
    # 7 cells of labels and 50 of ten seconds, so that a cell is 200 ms.
    assert drawn(outage(), 57) == [
        "phases │healthy────────────│outage──────────────",
        "anna   ────────────────────▼╍╍╍╍╍╍╍╍╍×1000     ──────────",
        "  says │connected────────────────────│unavailable───────│",
        "       0         2         4         6         8 s",
        "       · dialling  ─ open  ╍ silenced  ▼ a fault struck",
        "       × ended",
        "▼ half_open (freeze) struck once, at 4.000 s",
    ]


def test_what_knows_only_ascii_is_given_only_that() -> None:
    run = outage()
    run.open(3, "ünï")
    lines = drawn(run, 57, signs=signs_for("ascii"))

    assert "".join(lines).isascii()
    assert lines[1] == "anna   --------------------!~~~~~~~~~x1000     ----------"
    assert lines[3].startswith("?n?    ")


@pytest.mark.parametrize(
    ("encoding", "signs"),
    [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII), ("unheard-of", ASCII)],
)
def test_signs_are_those_that_an_encoding_has(encoding: str | None, signs: object) -> None:
    assert signs_for(encoding) is signs


@pytest.mark.parametrize("width", [30, 37, 58, 100, 211])
def test_no_row_is_wider_than_it_may_be(width: int) -> None:
    run = outage()
    run.open(3, "a client with a name that is longer than there is room for")
    run.tell("rule_changed", rule="by-hand", fault="half_open", change="added")
    rows = [row for row in drawn(run, width) if "struck once" not in row]

    assert max(map(len, rows)) <= width


def test_what_peers_say_is_escaped_and_takes_a_cell_for_each_character() -> None:
    run = Run()
    run.open(1, "\x1b[31m漢字\u202e")
    run.at = 1.0
    run.state("\x1b[31m漢字\u202e", "\x07漢")
    run.at = 5.0
    run.close(1)
    lines = drawn(run)

    assert lines[0].startswith(r"\x1b[31m??\u202e ")
    assert r"│\x07?───" in lines[1]


def test_a_refusal_shows_its_status_and_a_reset_that_it_was_one() -> None:
    run = Run()
    run.open(1)
    run.at = 2.0
    run.close(1, "rule", "reset", None)
    run.at = 5.0
    run.accept(2)
    run.ask(2)
    run.on(2, "answered", status=503, by="rule", reason="")
    run.at = 9.0
    run.close(2, "rule", "answered 503", None)
    run.open(3)
    run.at = 10.0
    run.close(3)

    assert drawn(run, 57)[0] == "client ──────────×RST           ×503                ────×"


def test_rules_of_the_same_time_stand_in_rows_of_their_own() -> None:
    run = Run()
    run.open(1)
    run.tell("rule_changed", rule="one", fault="latency", change="added")
    run.at = 4.0
    run.tell("listening", is_open=False, reason="phase outage")
    run.at = 6.0
    run.tell("rule_changed", rule="one", fault="latency", change="healed")
    run.tell("listening", is_open=True, reason="phase well")
    run.at = 8.0
    run.tell("rule_changed", rule="two", fault="drop", change="added")
    run.at = 10.0
    run.close(1)

    assert drawn(run, 57)[:2] == [
        "rules  │latency───────────────────────         │drop─────",
        "rules                      │refuse────",
    ]


def test_of_many_lanes_some_are_drawn_and_the_rest_is_counted() -> None:
    run = Run()
    for attempt in range(1, 1001):
        run.accept(attempt)
        run.ask(attempt, f"client {attempt}")
        if attempt > 100:
            run.on(attempt, "opened", extension="")
    run.close(1000)
    lines = drawn(run)

    assert sum(line.startswith("client ") for line in lines) == 40
    assert "… and 960 more: 899 open, 60 dialling, 1 over" in lines


def test_where_nobody_came_that_is_said() -> None:
    run = Run()
    run.enter("healthy")

    assert drawn(run)[0] == "no client has asked for a connection"


def test_where_nobody_came_time_goes_on_to_its_end_all_the_same() -> None:
    picture = Run().told | {"now": 8.0}

    assert draw(picture, 60)[1].plain.split() == ["0", "2", "4", "6", "s"]


def test_what_was_left_out_is_said() -> None:
    run = outage()
    picture = run.told | {"left_out": {"lanes": 3, "items": 12}}

    assert draw(picture, 60)[-1].plain == "left out, as there was too much: 3 lanes, 12 items"


@pytest.mark.parametrize(
    ("begin", "end", "line"),
    [
        (0, 10, "0       5 s"),
        (0, 0.4, "0       0.2 s"),
        (3.5, 8, "     5 s"),
        (1000, 5000, "    2000 s"),  # there is no room for 4000
    ],
)
def test_the_axis_has_round_numbers_where_there_is_room(begin: float, end: float, line: str) -> None:
    assert axis(begin, end, 16, 0).plain == line
