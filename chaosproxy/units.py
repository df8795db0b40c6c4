"""Durations, sizes, shares and other scalars as users write them: a unit is required, and nothing is guessed.

Profiles come from YAML (where every scalar arrives as its source text) and from JSON (where numbers arrive as numbers).
Each type here accepts both, and says what it expected in the words of its error.
"""

import re
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
_TIME_UNITS = {"us": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_SIZE_UNITS = {"B": 1, "kB": 1000, "MB": 1000_000, "KiB": 1024, "MiB": 1024 * 1024, "GiB": 1024**3}
_RATE_UNITS = {f"{unit}/s": bytes_ for unit, bytes_ in _SIZE_UNITS.items()}
_RATE_UNITS |= {"kbit/s": 125, "Mbit/s": 125_000, "Gbit/s": 125_000_000}
DURATION_MAX = 10_000 * 3600 * SECOND
INTEGER_MAX = 10**15 - 1
_NUMBER = r"(?:0|[1-9][0-9]{0,14})"
_DECIMAL = rf"{_NUMBER}(?:\.[0-9]{{1,15}})?"
_DURATION = re.compile(rf"({_DECIMAL})\s*(us|ms|s|m|h)")
_SIZE = re.compile(rf"({_DECIMAL})\s*(B|kB|MB|KiB|MiB|GiB)")
_RATE = re.compile(rf"({_DECIMAL})\s*((?:B|kB|MB|KiB|MiB|GiB|kbit|Mbit|Gbit)/s)")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2} ?)*")
_SHARE = re.compile(rf"({_DECIMAL})\s*%")
_INTEGER = re.compile(_NUMBER)
_RANGE = re.compile(rf"({_NUMBER})(?:-({_NUMBER})?)?")
_FORBIDDEN_ON_THE_WIRE = re.compile(r"[\r\n\0]")


class Nothing:
    """What a key of a profile has where nothing is written behind it. (None would mean that the key was left out.)

    It is no enum: pydantic takes a member of one for text, if text is what it wants.
    """


NOTHING: Final = Nothing()


class Quoted(str):
    """Text that was written in quotes. It matters only where plain text may mean a number, true, false or null."""

    __slots__ = ()


def expected(what: str) -> PydanticCustomError:
    """An error that says what a value should have been; the reader of the profile adds what it got and where."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def _scaled(pattern: re.Pattern[str], units: dict[str, int], value: str, what: str) -> int:
    match = pattern.fullmatch(value.strip())
    if not match:
        raise expected(what)
    scaled = Fraction(match[1]) * units[match[2]]
    if scaled.denominator != 1:
        raise expected(what + ", not finer than a whole number of the smallest unit")
    return scaled.numerator


def parse_duration(value: Any) -> int:
    """Read a duration into nanoseconds."""
    what = "a duration with a unit, such as 500ms, 1.5s or 2m"
    if not isinstance(value, str):
        raise expected(what)
    nanoseconds = _scaled(_DURATION, _TIME_UNITS, value, what)
    if nanoseconds % MICROSECOND:
        raise expected(what + ", not finer than 1us")
    if nanoseconds > DURATION_MAX:
        raise expected("a duration of at most 10000h")
    return nanoseconds


def _at_least_a_millisecond(duration: int) -> int:
    if duration < MILLISECOND:
        raise expected("a duration of at least 1ms")
    return duration


def parse_size(value: Any) -> int:
    """Read a size into bytes."""
    what = "a size with a unit, such as 512B, 64KiB or 1MB"
    if not isinstance(value, str):
        raise expected(what)
    return _scaled(_SIZE, _SIZE_UNITS, value, what)


def _parse_rate(value: Any) -> int:
    what = "a rate with a unit, such as 64KiB/s or 2Mbit/s"
    if not isinstance(value, str):
        raise expected(what)
    return _scaled(_RATE, _RATE_UNITS, value, what)


def _parse_hex(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not _HEX.fullmatch(value.strip()):
        raise expected('bytes in hexadecimal, two digits each, such as "81 00"')
    return bytes.fromhex(value)


def _parse_share(value: Any) -> float:
    match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match or float(match[1]) > 100:
        raise expected("a percentage from 0% to 100%, such as 5%")
    return float(match[1]) / 100


def _parse_integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INTEGER_MAX:
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise expected("a whole number in plain digits")


def _parse_true(value: Any) -> bool:
    if value is True or value == "true":
        return True
    raise expected("true")


def _parse_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise expected("true or false")


def _parse_range(value: Any) -> tuple[int, int | None]:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if not match or match[1] == "0":
        raise expected("a number from 1 or a range, such as 1, 2-5 or 3-")
    first = int(match[1])
    last = first if "-" not in value else int(match[2]) if match[2] else None
    if last is not None and last < first:
        raise expected("a range whose end is not before its beginning")
    return first, last


def _parse_wire_text(value: Any) -> str:
    if not isinstance(value, str):
        raise expected("text")
    if _FORBIDDEN_ON_THE_WIRE.search(value):
        raise expected("text without CR, LF or NUL, since it goes into a head")
    return value


def format_duration(nanoseconds: int) -> str:
    """Write a duration as a user would."""
    for unit in ("h", "m", "s", "ms", "us"):
        scale = _TIME_UNITS[unit]
        if nanoseconds >= scale and nanoseconds % scale == 0:
            return f"{nanoseconds // scale}{unit}"
    if nanoseconds >= SECOND:
        return f"{nanoseconds / SECOND:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{nanoseconds / MILLISECOND:g}ms"


def _format_range(value: tuple[int, int | None]) -> str:
    first, last = value
    return f"{first}-" if last is None else str(first) if last == first else f"{first}-{last}"


def _schema(pattern: re.Pattern[str], description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$", "description": description})


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    _schema(_DURATION, "a duration with its unit: us, ms, s, m or h"),
]
"""Nanoseconds."""

Span = Annotated[Duration, AfterValidator(_at_least_a_millisecond)]
"""Nanoseconds, at least a millisecond."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(lambda size: f"{size}B", return_type=str),
    _schema(_SIZE, "a size with its unit: B, kB, MB, KiB, MiB or GiB"),
]
"""Bytes."""

Rate = Annotated[
    int,
    BeforeValidator(_parse_rate),
    PlainSerializer(lambda rate: f"{rate}B/s", return_type=str),
    _schema(_RATE, "a rate with its unit: B/s, kB/s, MB/s, KiB/s, MiB/s, GiB/s, kbit/s, Mbit/s or Gbit/s"),
]
"""Bytes per second."""

Hex = Annotated[
    bytes,
    BeforeValidator(_parse_hex),
    PlainSerializer(lambda data: data.hex(" "), return_type=str),
    _schema(_HEX, "bytes in hexadecimal"),
]
"""Bytes, written in hexadecimal."""

Share = Annotated[
    float,
    BeforeValidator(_parse_share),
    PlainSerializer(lambda share: f"{share * 100:.12g}%", return_type=str),
    _schema(_SHARE, "a percentage"),
]
"""From 0 to 1."""

Integer = Annotated[int, BeforeValidator(_parse_integer)]
Count = Annotated[Integer, Field(ge=1)]
Flag = Annotated[bool, BeforeValidator(_parse_flag)]
Set = Annotated[Literal[True], BeforeValidator(_parse_true)]
"""For what can only be said or left out."""
WireText = Annotated[
    str, BeforeValidator(_parse_wire_text), WithJsonSchema({"type": ["string", "integer"], "pattern": r"^[^\r\n\0]*$"})
]
"""Text that may stand in an HTTP head."""

Range = Annotated[
    tuple[int, int | None],
    BeforeValidator(_parse_range),
    PlainSerializer(_format_range, return_type=str),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_RANGE.pattern}$"}]}
    ),
]
"""First and last ordinal, from 1; None for no end."""
