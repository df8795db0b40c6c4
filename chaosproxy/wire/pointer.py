"""Look into JSON and change it, by JSON Pointer (RFC 6901).

A pointer that leads into a string looks inside, where the string is a JSON object or array of its own (Pusher's `data`
is one); a change in there is written back as a string. What is not asked for stays as it is: the order of keys, and
fractions to the last digit. Whatever a peer sends, nothing here raises.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import Any, Final, NamedTuple

JSON_BYTES_MAX = 256 * 1024
"""Anything larger counts as not being JSON: reading it could hold up all other connections for over 100 ms."""

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class Number(str):
    """A JSON number as it is written, where it matters that 1.50 stays 1.50."""

    __slots__ = ()

    @property
    def value(self) -> int | float:
        try:
            return int(self)
        except ValueError:
            return float(self)  # infinite where it is beyond all bounds


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""What a pointer finds where there is nothing."""

Json = Any
"""dict, list, str, int, float, Number, True, False or None."""


class Pointer(NamedTuple):
    """A parsed JSON Pointer."""

    text: str
    parts: tuple[str, ...]


def parse_pointer(text: str) -> Pointer | None:
    """Read a pointer; None where it isn't one (section 3)."""
    if (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
        return None
    return Pointer(text, tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]))


def is_equal(one: Json, other: Json) -> bool:
    """Whether two scalars are the same in JSON's terms: 1 is 1.0, and neither "1" nor true."""
    one = one.value if isinstance(one, Number) else one
    other = other.value if isinstance(other, Number) else other
    return _kind(one) is _kind(other) and bool(one == other)


def _kind(value: Json) -> type:
    return float if type(value) is int else type(value)


class Document:
    """Bytes as JSON. They are parsed when first asked for, and what is found inside strings is kept."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._inside: dict[str, Json] = {}

    @cached_property
    def value(self) -> Json:
        """What it says, or MISSING where it is no JSON, or too large."""
        return read(self._content, float)

    def get(self, pointer: Pointer) -> Json:
        """What a pointer leads to, or MISSING."""
        value = self.value
        for part in pointer.parts:
            if type(value) is str:
                value = self._look_inside(value)
            value = _child(value, part)
        return value

    def _look_inside(self, text: str) -> Json:
        if text not in self._inside:
            self._inside[text] = _container_in(text)
        return self._inside[text]


def rewrite(content: bytes, values: Mapping[Pointer, Json], gone: Iterable[Pointer]) -> bytes | None:
    """Set values and remove what shall be gone, wherever there is a place for it; None where nothing changes."""
    whole = read(content)
    if whole is MISSING:
        return None
    is_changed = False
    try:
        for pointer, value in values.items():
            whole, has_set = set_at(whole, pointer, _copy(value))
            is_changed = is_changed or has_set
        for pointer in gone:
            whole, has_removed = remove_at(whole, pointer)
            is_changed = is_changed or has_removed
        return write(whole).encode() if is_changed else None
    except RecursionError:  # too deep to be written
        return None


def read(content: bytes, parse_float: Callable[[str], float | str] = Number) -> Json:
    """Read bytes to change and write them again; MISSING where they are no JSON, or too large."""
    if len(content) > JSON_BYTES_MAX:
        return MISSING
    try:
        return _parse(content.decode(), parse_float)
    except UnicodeDecodeError:
        return MISSING


def set_at(value: Json, pointer: Pointer, new: Json) -> tuple[Json, bool]:
    """Put a value in its place; return the whole, and whether anything was changed.

    What it shall stand in must be there. An array takes the index of an element, its length or - to append.
    """
    return _change(value, pointer.parts, lambda around, part: _put(around, part, new), lambda _: new)


def remove_at(value: Json, pointer: Pointer) -> tuple[Json, bool]:
    """Take a member or an element out; return the whole, and whether anything was changed."""
    return _change(value, pointer.parts, _take_out, lambda value: value)


def write(value: Json) -> str:
    """Write JSON in its shortest form, characters as they are. (Half a surrogate pair can only be an escape.)"""
    return _write(value).encode("utf-8", "backslashreplace").decode()


def _parse(text: str, parse_float: Callable[[str], float | str] = float) -> Json:
    try:
        return json.loads(text, parse_float=parse_float, parse_constant=refuse)
    except (ValueError, RecursionError):
        return MISSING


def refuse(constant: str) -> None:
    """Python reads NaN and Infinity; JSON has none."""
    raise ValueError(f"{constant} is not JSON")


def _container_in(text: str, parse_float: Callable[[str], float | str] = float) -> Json:
    """The object or array that a string holds, or MISSING."""
    return _parse(text, parse_float) if text.lstrip(" \t\r\n")[:1] in ("{", "[") else MISSING


def _child(value: Json, part: str) -> Json:
    if isinstance(value, dict):
        return value.get(part, MISSING)
    if isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
        return value[int(part)]
    return MISSING


def _change(
    value: Json, parts: Sequence[str], change: Callable[[Json, str], bool], at_root: Callable[[Json], Json]
) -> tuple[Json, bool]:
    """Change the last part's container in place, and write anew the strings that lead there."""
    if not parts:
        changed = at_root(value)
        return changed, not _is_same(changed, value)
    if type(value) is str:
        inside, is_changed = _change(_container_in(value, Number), parts, change, at_root)
        return (write(inside), True) if is_changed else (value, False)
    part, *below = parts
    if not below:
        return value, change(value, part)
    child, is_changed = _change(_child(value, part), below, change, at_root)
    if is_changed:
        _put(value, part, child)
    return value, is_changed


def _copy(value: Json) -> Json:
    """The same value in containers of its own: what is put into a message may be changed there."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _put(around: Json, part: str, new: Json) -> bool:
    if _is_same(_child(around, part), new):
        return False
    if isinstance(around, dict):
        around[part] = new
        return True
    if not isinstance(around, list) or not (part == "-" or _INDEX.fullmatch(part)):
        return False
    index = len(around) if part == "-" else int(part)
    if index > len(around):
        return False
    around[index : index + 1] = [new]
    return True


def _take_out(around: Json, part: str) -> bool:
    if _child(around, part) is MISSING:
        return False
    del around[part if isinstance(around, dict) else int(part)]
    return True


def _is_same(one: Json, other: Json) -> bool:
    """Whether two values would be written in the same way."""
    if isinstance(one, _Missing) or isinstance(other, _Missing):
        return one is other
    return _write(one) == _write(other)


_text = json.JSONEncoder(ensure_ascii=False).encode
_CONSTANTS = {None: "null", True: "true", False: "false"}


def _write(value: Json) -> str:
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int or kind is Number:
        return str(value)
    if kind is dict:
        return "{" + ",".join([f"{_text(key)}:{_write(item)}" for key, item in value.items()]) + "}"
    if kind is list:
        return "[" + ",".join([_write(item) for item in value]) + "]"
    return _CONSTANTS[value]
