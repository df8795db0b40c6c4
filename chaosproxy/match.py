"""What a rule's `when:` says: which connections and which messages it acts on. All conditions given must hold."""

import re
from collections.abc import Mapping
from fnmatch import translate
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import re2
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue

from .json_values import JsonPointer, JsonScalar
from .protocols import Meaning
from .units import Duration, Integer, Range, Share, expected, parse_size
from .wire.frames import Opcode, Side, parse_close
from .wire.http import Request
from .wire.messages import Message
from .wire.pointer import Document, Json, Pointer, is_equal

# RE2's time grows with both the steps of a pattern and the bytes of a text, at worst by some 7 ns for each step and
# byte. Whatever the pattern, one search takes at most some 35 ms.
STEPS_MAX = 150
SEARCHED_BYTES_MAX = 512 * 1024
_SEARCH_MAX = STEPS_MAX * 32 * 1024  # steps times bytes
_PATTERN_MEMORY = 1024 * 1024  # bytes, for each pattern

_SIZE_RULE = re.compile(r"(<=|>=|<|>)?\s*([0-9].*)")
_COMPARE = {
    "<": int.__lt__,
    "<=": int.__le__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "": int.__eq__,
}


def _parse_size_rule(value: Any) -> tuple[str, int]:
    match = _SIZE_RULE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise expected('a size or a comparison with one, such as "> 1KiB"')
    return match[1] or "", parse_size(match[2])


class _Search(NamedTuple):
    """A regular expression, and the largest text that it is searched in."""

    pattern: Any
    bytes_max: int

    def finds(self, text: bytes) -> bool:
        return len(text) <= self.bytes_max and self.pattern.search(text) is not None


def _search(text: str) -> _Search:
    """Compile a regular expression. Raise re2.error or UnicodeError."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _PATTERN_MEMORY
    pattern = re2.compile(text, options)
    return _Search(pattern, min(SEARCHED_BYTES_MAX, _SEARCH_MAX // pattern.programsize))


def _check_text(text: str) -> str:
    if not text:
        raise expected("a regular expression, and not an empty one")
    try:
        steps = _search(text).pattern.programsize
    except (re2.error, UnicodeError) as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error, re2.error) else "half a surrogate pair"
        raise expected(
            f"a regular expression as RE2 has it, without look-around or back-references ({reason})"
        ) from None
    if steps > STEPS_MAX:
        raise expected(
            f"a regular expression of at most {STEPS_MAX} steps (this one takes {steps}; counted repetitions such as "
            "{100} and classes such as \\pL take many)"
        )
    return text


def _as_list(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise expected("one or a list of at least one")
    return value if isinstance(value, list | tuple) else [value]


def _one_or_more(schema: JsonSchemaValue) -> JsonSchemaValue:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


SizeRule = Annotated[
    tuple[str, int],
    BeforeValidator(_parse_size_rule),
    PlainSerializer(lambda rule: f"{rule[0]}{rule[1]}B", return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(<=|>=|<|>)?\s*[0-9.]+\s*(B|kB|MB|KiB|MiB|GiB)$",
            "description": 'a size or a comparison, such as "> 1KiB"',
        }
    ),
]
OpcodeName = Literal["text", "binary", "close", "ping", "pong"]
OpcodeNames = Annotated[
    tuple[OpcodeName, ...],
    BeforeValidator(_as_list),
    WithJsonSchema(_one_or_more({"enum": ["text", "binary", "close", "ping", "pong"]})),
]
Regex = Annotated[str, AfterValidator(_check_text), WithJsonSchema({"type": "string", "minLength": 1})]
Ordinals = Annotated[
    tuple[Annotated[Integer, Field(ge=1)], ...],
    BeforeValidator(_as_list),
    WithJsonSchema(_one_or_more({"type": "integer", "minimum": 1})),
]


def _websocket_is_all(request: str | None) -> str | None:
    return None if request == "websocket" else request


class Match(BaseModel):
    """The conditions of a rule."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)

    sender: Annotated[Literal["client", "server"] | None, Field(alias="from")] = None
    """Who sends the message: client or server."""
    request: Annotated[Literal["websocket", "http", "any"] | None, AfterValidator(_websocket_is_all)] = None
    """Which requests: websocket (upgrades and what follows them, the default), http (plain ones), or any. For latency,
    reject, hang and reset."""
    connection: Range | None = None
    """The how-manieth connection of its client, from 1: a number or a range such as 2-5 or 3-."""
    path: str | None = None
    """The request's path; * and ? stand for any characters and one."""
    header: dict[str, str] | None = None
    """Request headers by name, with the value each must have; * and ? as above."""
    opcode: OpcodeNames | None = None
    """text, binary, close, ping or pong, or a list. Control frames match only where they are named here."""
    event: str | None = None
    """The protocol's event name (needs `protocol:`); * and ? as above."""
    channel: str | None = None
    """The protocol's channel name (needs `protocol:`); * and ? as above."""
    code: Annotated[Integer, Field(ge=0, le=65535)] | None = None
    """The status of a close frame, or the code of an error message of the protocol's (with `protocol:`)."""
    text: Regex | None = None
    """A regular expression (RE2's: no look-around, no back-references) that is found anywhere in a text message. In
    messages of up to 32 KiB; short patterns, of a few characters, in larger ones too, up to 512 KiB."""
    json_values: Annotated[dict[JsonPointer, JsonScalar] | None, Field(alias="json", min_length=1)] = None
    """What stands at JSON Pointers in a message: numbers, true, false, null, or text with * and ? as above. A pointer
    looks inside strings that are JSON themselves. In messages of up to 256 KiB."""
    size: SizeRule | None = None
    """The size of the message's payload, uncompressed."""
    age: Duration | None = None
    """Only on connections that have been open for at least so long."""
    chance: Share | None = None
    """Of the messages (or connections) that satisfy all else, this share; the same ones with the same seed."""
    nth: Ordinals | None = None
    """Only the n-th message that satisfies all else on its connection, since the phase began; or a list. Of plain
    requests (request: http), the n-th of its client."""
    every: Annotated[Integer, Field(ge=1)] | None = None
    """Every n-th of them."""
    first: Annotated[Integer, Field(ge=1)] | None = None
    """Only the first n of them."""

    @cached_property
    def reads_content(self) -> bool:
        """Whether a message must be complete before this can be decided."""
        return self.needs_content or bool(self.opcode)

    @cached_property
    def needs_content(self) -> bool:
        """Whether what a message says decides, and so it must be inflated."""
        return any(
            getattr(self, field) is not None for field in ("event", "channel", "code", "text", "json_values", "size")
        )

    @cached_property
    def names_messages(self) -> bool:
        """Whether it speaks of single messages and not of whole connections."""
        return self.reads_content or bool(self.nth or self.every or self.first)

    def joined_by(self, conditions: Mapping[str, Any]) -> "Match":
        """These conditions and others, by their fields; what is given here holds."""
        added = {field: value for field, value in conditions.items() if getattr(self, field) is None}
        # Not model_copy, which would copy the cached properties too.
        return self.model_construct(**{**dict(self), **added}) if added else self

    def given(self, *fields: str) -> list[str]:
        """Those of the fields that are given, by the keys that users write."""
        return [type(self).model_fields[field].alias or field for field in fields if getattr(self, field) is not None]

    @cached_property
    def _opcodes(self) -> frozenset[int]:
        names = self.opcode or (("text", "binary") if self.code is None else ("text", "close"))
        return frozenset(Opcode[name.upper()] for name in names)

    def takes_connection(self, ordinal: int, request: Request | None) -> bool:
        """The static conditions: decided once per connection. An opaque one has no request."""
        if self.request == "http":
            return False
        if self.connection:
            first, last = self.connection
            if ordinal < first or (last is not None and ordinal > last):
                return False
        if request is None:
            return self.path is None and not self.header
        return self._takes_head(request)

    def takes_request(self, request: Request) -> bool:
        """Whether a plain request satisfies all conditions but those that count."""
        return self.request is not None and self._takes_head(request)

    @cached_property
    def is_of_all(self) -> bool:
        """Whether it leaves nothing out."""
        return self in (type(self)(), type(self)(request="any"))

    def _takes_head(self, request: Request) -> bool:
        if self._path and not self._path.fullmatch(request.path):
            return False
        return all(
            (value := request.header(name)) is not None and pattern.fullmatch(value)
            for name, pattern in self._headers.items()
        )

    def takes_side(self, side: Side) -> bool:
        return self.sender is None or self.sender == side.label

    def takes_opcode(self, opcode: int) -> bool:
        return opcode in self._opcodes

    def takes_content(self, message: Message, content: bytes | None, meaning: Meaning) -> bool:
        """Whether a message satisfies all conditions but those that count. `content` is None where it is unreadable."""
        if not self.takes_opcode(message.opcode):
            return False
        if self.size:
            comparison, size = self.size
            if content is None or not _COMPARE[comparison](len(content), size):
                return False
        if self._event and not self._event.fullmatch(meaning.event):
            return False
        if self._channel and not self._channel.fullmatch(meaning.channel):
            return False
        if self.code is not None and self.code != _code_of(message, meaning):
            return False
        if self._text:
            if content is None or message.opcode != Opcode.TEXT or not self._text.finds(content):
                return False
        return not self._members or (content is not None and self._takes_members(message.document(content)))

    def _takes_members(self, document: Document) -> bool:
        return all(_is_as_wanted(document.get(pointer), wanted) for pointer, wanted in self._members)

    # Each pattern is compiled once, when it is first needed.

    @cached_property
    def _path(self) -> re.Pattern[str] | None:
        return None if self.path is None else glob(self.path)

    @cached_property
    def _headers(self) -> dict[str, re.Pattern[str]]:
        return {name: glob(pattern) for name, pattern in (self.header or {}).items()}

    @cached_property
    def _event(self) -> re.Pattern[str] | None:
        return None if self.event is None else glob(self.event)

    @cached_property
    def _channel(self) -> re.Pattern[str] | None:
        return None if self.channel is None else glob(self.channel)

    @cached_property
    def _text(self) -> _Search | None:
        return None if self.text is None else _search(self.text)

    @cached_property
    def _members(self) -> list[tuple[Pointer, Json]]:
        """Pointers, with a pattern for a text and the value itself for all else."""
        values = (self.json_values or {}).items()
        return [(pointer, glob(value) if type(value) is str else value) for pointer, value in values]

    def takes_ordinal(self, ordinal: int) -> bool:
        """The conditions that count; `ordinal` is from 1 among the messages that satisfy all others."""
        return (
            (self.nth is None or ordinal in self.nth)
            and (self.every is None or ordinal % self.every == 0)
            and (self.first is None or ordinal <= self.first)
        )


def _is_as_wanted(found: Json, wanted: Json) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(found, str) and wanted.fullmatch(found) is not None
    return is_equal(found, wanted)


def _code_of(message: Message, meaning: Meaning) -> int | None:
    return parse_close(message.payload)[0] if message.opcode == Opcode.CLOSE else meaning.code


def glob(pattern: str) -> re.Pattern[str]:
    """Compile a wildcard pattern, in which only * and ? are special. `translate` makes one that can't backtrack far."""
    return re.compile(translate(pattern.replace("[", "[[]")))
