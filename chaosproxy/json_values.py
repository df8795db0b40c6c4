"""JSON in the options of faults and in conditions: values, and pointers into messages.

A profile's scalars arrive as their source text. Read as JSON, plain ones are numbers, true, false or null where that is
how JSON writes them, and text otherwise; quoted ones are text. What YAML 1.1 would take for something else is refused.
"""

import json
import re
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from .units import NOTHING, Quoted, expected
from .wire.pointer import Json, Number, Pointer, parse_pointer

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,999})(?:\.[0-9]{1,999})?(?:[eE][-+]?[0-9]{1,9})?")
_DOUBTFUL = re.compile(
    r"[-+]?(?:\.?[0-9][0-9_]*\.?[0-9_]*(?:e[-+]?[0-9]*)?|0[xob][0-9a-f_]+|[0-9]+(?::[0-9]+)+|\.inf|\.nan)"
    r"|nan|-?infinity|yes|no|on|off|true|false|null",
    re.IGNORECASE,
)
_WORDS = {"true": True, "false": False, "null": None}
_WHAT = (
    "a value as JSON has it: a number such as 1 or 2.5, true, false, null, or text, in quotes where it looks like one"
)


def parse_value(value: Any) -> Json:
    """Read a value of a profile into one of JSON; its numbers keep their source text."""
    match value:
        case Number() | bool() | None:
            return value
        case Quoted():
            return str(value)
        case str():
            return _parse_plain(value)
        case int():
            return Number(value)
        case float() if isfinite(value):
            return Number(json.dumps(value))
        case dict() if all(isinstance(key, str) for key in value):
            return {str(key): parse_value(item) for key, item in value.items()}
        case list() | tuple():
            return [parse_value(item) for item in value]
    if value is NOTHING:
        return None
    raise expected(_WHAT)


def _parse_plain(text: str) -> Json:
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        return Number(text)
    if _DOUBTFUL.fullmatch(text):
        raise expected(_WHAT)
    return text


def _parse_scalar(value: Any) -> Json:
    if isinstance(value, dict | list | tuple):
        raise expected("a number, true, false, null or text (of an object or a list, point at what is in it)")
    return parse_value(value)


def _parse_pointer(value: Any) -> Pointer:
    if isinstance(value, Pointer):
        return value
    pointer = parse_pointer(value) if isinstance(value, str) else None
    if pointer is None:
        raise expected('a JSON Pointer, such as /data/id ("" is the whole; ~1 stands for / and ~0 for ~ in a name)')
    return pointer


def plain(value: Json) -> Any:
    """A value as Python's own JSON has it, to be shown and told apart from others."""
    match value:
        case Number():
            number = value.value
            return number if isinstance(number, int) or isfinite(number) else str(value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


_SCALAR_SCHEMA = {"type": ["string", "number", "boolean", "null"]}

JsonValue = Annotated[
    Any,
    BeforeValidator(parse_value),
    PlainSerializer(plain),
    WithJsonSchema({"type": ["string", "number", "boolean", "null", "object", "array"]}),
]
JsonScalar = Annotated[Any, BeforeValidator(_parse_scalar), PlainSerializer(plain), WithJsonSchema(_SCALAR_SCHEMA)]
JsonPointer = Annotated[
    Pointer,
    BeforeValidator(_parse_pointer),
    PlainSerializer(lambda pointer: pointer.text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(/([^~]|~[01])*)*$"}),
]
