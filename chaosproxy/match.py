"""What a rule's `when:` says: which connections and which messages it acts on. All conditions given must hold."""

import re
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue

from .protocols import Meaning
from .units import Duration, Integer, Range, Share, expected, parse_size
from .wire.frames import Opcode, Side
from .wire.http import Request
from .wire.messages import Message

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
        """Whether a message must be complete, and inflated, before this can be decided."""
        return bool(self.event or self.channel or self.size or self.opcode)

    @cached_property
    def names_messages(self) -> bool:
        """Whether it speaks of single messages and not of whole connections."""
        return self.reads_content or bool(self.nth or self.every or self.first)

    def given(self, *fields: str) -> list[str]:
        """Those of the fields that are given, by the keys that users write."""
        return [type(self).model_fields[field].alias or field for field in fields if getattr(self, field) is not None]

    @cached_property
    def is_of_protocol(self) -> bool:
        return self.event is not None or self.channel is not None

    @cached_property
    def _opcodes(self) -> frozenset[int]:
        return frozenset(Opcode[name.upper()] for name in self.opcode or ("text", "binary"))

    def takes_connection(self, ordinal: int, request: Request) -> bool:
        """The static conditions: decided once per connection."""
        if self.request == "http":
            return False
        if self.connection:
            first, last = self.connection
            if ordinal < first or (last is not None and ordinal > last):
                return False
        return self._takes_head(request)

    def takes_request(self, request: Request) -> bool:
        """Whether a plain request satisfies all conditions but those that count."""
        return self.request is not None and self._takes_head(request)

    @cached_property
    def is_of_all(self) -> bool:
        """Whether it leaves nothing out."""
        return self in (type(self)(), type(self)(request="any"))

    def _takes_head(self, request: Request) -> bool:
        if self.path is not None and not _glob(self.path).fullmatch(request.path):
            return False
        return all(
            (value := request.header(name)) is not None and _glob(pattern).fullmatch(value)
            for name, pattern in (self.header or {}).items()
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
        if self.event is not None and not _glob(self.event).fullmatch(meaning.event):
            return False
        return self.channel is None or bool(_glob(self.channel).fullmatch(meaning.channel))

    def takes_ordinal(self, ordinal: int) -> bool:
        """The conditions that count; `ordinal` is from 1 among the messages that satisfy all others."""
        return (
            (self.nth is None or ordinal in self.nth)
            and (self.every is None or ordinal % self.every == 0)
            and (self.first is None or ordinal <= self.first)
        )


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """Compile a wildcard pattern, in which only * and ? are special. `translate` makes one that can't backtrack far."""
    return re.compile(translate(pattern.replace("[", "[[]")))
