"""Durations, sizes, shares, numbers and ranges, as users write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chaosproxy.units import (
    DURATION_MAX,
    NOTHING,
    Duration,
    Flag,
    Integer,
    Range,
    Set,
    Share,
    Size,
    WireText,
    format_duration,
    parse_duration,
)


def read(kind: Any, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("written", "nanoseconds"),
    [
        ("500ms", 500_000_000),
        ("1.5s", 1_500_000_000),
        ("2m", 120_000_000_000),
        ("1 h", 3_600_000_000_000),
        ("250us", 250_000),
        ("0s", 0),
        ("0.001ms", 1000),
    ],
)
def test_a_duration_is_read_into_nanoseconds(written: str, nanoseconds: int) -> None:
    assert read(Duration, written) == nanoseconds


@pytest.mark.parametrize(
    "written",
    [
        "90",
        "1:30",
        "-1s",
        "+1s",
        "01s",
        "1e3s",
        "1,5s",
        ".5s",
        "5.s",
        "5 sec",
        "5S",
        "٥s",
        "0.5us",
        "0.0000001s",
        "9" * 20 + "s",
    ],
)
def test_what_only_looks_like_a_duration_is_none(written: str) -> None:
    with pytest.raises(ValidationError):
        read(Duration, written)


@given(st.integers(0, DURATION_MAX // 1000))
def test_a_duration_survives_being_written_and_read(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds * 1000)) == microseconds * 1000


@pytest.mark.parametrize(
    ("written", "size"), [("512B", 512), ("64KiB", 65536), ("1MB", 1_000_000), ("1.5 KiB", 1536), ("1GiB", 2**30)]
)
def test_a_size_is_read_into_bytes(written: str, size: int) -> None:
    assert read(Size, written) == size


@pytest.mark.parametrize("written", ["64", "64k", "64KB", "0.5B", "-1B", "0x10B"])
def test_what_only_looks_like_a_size_is_none(written: str) -> None:
    with pytest.raises(ValidationError):
        read(Size, written)


def test_a_share_is_a_percentage() -> None:
    assert [read(Share, written) for written in ("0%", "5%", "12.5 %", "100%")] == [0, 0.05, 0.125, 1]


@pytest.mark.parametrize("written", ["0.05", "5", "%5", "101%", "-1%", "5%%"])
def test_what_only_looks_like_a_share_is_none(written: str) -> None:
    with pytest.raises(ValidationError):
        read(Share, written)


def test_a_number_is_plain_digits_or_json_s_own() -> None:
    assert [read(Integer, written) for written in ("0", "7", 7)] == [0, 7, 7]


@pytest.mark.parametrize(
    "written", ["01006", "0o17", "0x10", "1_000", "1e3", "-1", "1.0", "", " 7", True, 7.0, -1, 10**15]
)
def test_what_only_looks_like_a_number_is_none(written: object) -> None:
    with pytest.raises(ValidationError):
        read(Integer, written)


def test_a_range_has_a_first_and_maybe_a_last() -> None:
    assert [read(Range, written) for written in ("1", 1, "2-5", "3-", "4-4")] == [
        (1, 1),
        (1, 1),
        (2, 5),
        (3, None),
        (4, 4),
    ]


@pytest.mark.parametrize("written", ["0", "0-3", "5-2", "-3", "1--2", "a", True, "1-2-3"])
def test_what_only_looks_like_a_range_is_none(written: object) -> None:
    with pytest.raises(ValidationError):
        read(Range, written)


def test_a_flag_is_true_or_false_and_never_yes() -> None:
    assert [read(Flag, written) for written in ("true", "false", True, False)] == [True, False, True, False]
    for written in ("yes", "on", "1", 1, "True", "y", NOTHING):
        with pytest.raises(ValidationError):
            read(Flag, written)


def test_what_can_only_be_said_is_never_false() -> None:
    assert [read(Set, written) for written in ("true", True)] == [True, True]
    for written in ("false", False, "yes", 1, NOTHING):
        with pytest.raises(ValidationError):
            read(Set, written)


@pytest.mark.parametrize("written", ["a\rb", "a\nb", "a\0b", 5, None])
def test_what_could_split_a_head_never_gets_into_one(written: object) -> None:
    with pytest.raises(ValidationError):
        read(WireText, written)
