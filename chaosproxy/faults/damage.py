"""Faults of damage: what a message says is changed on its way. It stays one message, in one well-formed frame.

A message that can't be changed as asked (nothing in it to flip, no JSON, no such field) passes as it came, and that is
no strike. Control frames keep their kind, and stay as they came where the change would not fit into one.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..json_values import JsonPointer, JsonValue
from ..units import Hex, Integer, Share, Size, expected
from ..wire.frames import Opcode
from ..wire.pointer import MISSING, Json, read, refuse, rewrite, write
from .base import BLOCK_BYTES, Delivery, Dice, Fault, Moment

COUNT_MAX = 1000
_CONTROL_PAYLOAD_MAX = 125  # RFC 6455, section 5.5
_NEVER_IN_UTF8 = bytes((0xC0, 0xC1, *range(0xF5, 0x100)))  # RFC 3629, section 1
_JSON_SIGN = re.compile(rb'[{}\[\],:"]')


class Damage(Fault):
    """Base of the faults that change what a message says."""

    family: ClassVar = "damage"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "later messages pass as they came"
    is_loss: ClassVar = True
    may_miss: ClassVar = True

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        message, body = delivery.message, delivery.body
        if message is None or body is None:
            return (delivery,)
        opcode = message.opcode if delivery.opcode is None else delivery.opcode
        payload = self.damage(body, opcode, dice)
        opcode_then = opcode if message.is_control else self.opcode_of(opcode)
        if payload is None or (payload, opcode_then) == (body, opcode):
            return (delivery,)
        if message.is_control and len(payload) > _CONTROL_PAYLOAD_MAX:
            return (delivery,)
        return (delivery._replace(payload=payload, opcode=opcode_then),)

    @abstractmethod
    def damage(self, body: bytes, opcode: int, dice: Dice) -> bytes | None:
        """What a message says in place of `body`; None where it stays as it is."""

    def opcode_of(self, opcode: int) -> int:
        """The opcode under which it says so."""
        return opcode


class Kind(StrEnum):
    """What is broken."""

    BITS = "bits"
    BYTES = "bytes"
    JSON = "json"
    UTF8 = "utf8"


class Corrupt(Damage):
    """Corrupts what messages say: bits, bytes, their JSON or their UTF-8. Their frames stay well-formed.

    TCP's checksum and TLS let hardly any such error through; broken serializers, encoders and middleboxes make them.
    """

    name: ClassVar = "corrupt"
    shorthand: ClassVar = "kind"
    harms_receiver: ClassVar = True
    acts_on_bytes: ClassVar = True
    garbles: ClassVar = True
    example: ClassVar = """\
seed: 7
phases:
  - name: garbled
    rules:
      - corrupt: {kind: json}
        when: {from: server, chance: 10%}
"""

    kind: Kind = Kind.BITS
    """bits flips bits and bytes puts other bytes in place of some (text may then be invalid UTF-8, which ends most
    connections with 1007); json takes signs such as quotes and braces away until nothing can parse it; utf8 puts bytes
    into text that UTF-8 never has. json leaves alone what is no JSON or over 256 KiB, utf8 what is not text."""
    count: Annotated[Integer, Field(ge=1, le=COUNT_MAX)] = 1
    """How many bits, bytes or signs of each message (tcp://: of each KiB), at places of chance; all of them where there
    are fewer."""

    def misfit_on_bytes(self) -> str:
        if self.kind in (Kind.BITS, Kind.BYTES):
            return ""
        return f"kind: {self.kind} breaks messages, and tcp:// carries none; use bits or bytes"

    def garble(self, data: bytes, within: int, dice: Dice) -> bytes:
        changed = bytearray(data)
        for _ in range(self.count):
            at = int(dice.throw() * BLOCK_BYTES) - within
            throw = dice.throw()
            if 0 <= at < len(data):
                changed[at] ^= 1 << int(throw * 8) if self.kind is Kind.BITS else 1 + int(throw * 255)
        return bytes(changed)

    def damage(self, body: bytes, opcode: int, dice: Dice) -> bytes | None:
        match self.kind:
            case Kind.BITS:
                return _flip_bits(body, self.count, dice)
            case Kind.BYTES:
                return _change_bytes(body, self.count, dice, bytes(range(256)))
            case Kind.UTF8:
                return _change_bytes(body, self.count, dice, _NEVER_IN_UTF8) if opcode == Opcode.TEXT else None
            case Kind.JSON:
                return _break_json(body, self.count, dice)


class Truncate(Damage):
    """Cuts messages off at their end. Each stays a well-formed frame, so its length is no hint that something is lost.

    A cut inside a character leaves a text that is no UTF-8, which ends most connections with 1007.
    """

    name: ClassVar = "truncate"
    shorthand: ClassVar = "to"
    harms_receiver: ClassVar = True
    example: ClassVar = """\
seed: 7
phases:
  - name: cut-short
    rules:
      - truncate: {keep: 50%}
        when: {from: server, chance: 10%}
"""

    to: Size | None = None
    """The size they are cut to; shorter ones pass as they came."""
    by: Size | None = None
    """How much is cut off."""
    keep: Share | None = None
    """The share that is kept, rounded down to whole bytes."""

    @model_validator(mode="after")
    def _one_measure(self) -> "Truncate":
        if [self.to, self.by, self.keep].count(None) != 2:
            raise expected("exactly one of to:, by: and keep:")
        return self

    def damage(self, body: bytes, opcode: int, dice: Dice) -> bytes | None:
        if self.to is not None:
            return body[: self.to]
        if self.by is not None:
            return body[: max(0, len(body) - self.by)]
        return body[: int(len(body) * (self.keep or 0))]


def _check_content(content: Json) -> Json:
    if content is None:
        raise expected('a value of JSON (for a message that is null, write text: "null")')
    return content


class Replace(Damage):
    """Puts a message of your own in the place of each: a text, bytes or JSON."""

    name: ClassVar = "replace"
    example: ClassVar = """\
protocol: pusher
phases:
  - name: unwelcome
    rules:
      - replace:
          json: {event: "pusher:error", data: {code: 4201, message: Pong reply not received}}
        when: {from: server, event: "pusher:pong"}
"""

    text: str | None = None
    """A text message."""
    binary: Hex | None = None
    """A binary message, in hexadecimal."""
    json_content: Annotated[JsonValue, AfterValidator(_check_content), Field(alias="json")] = None
    """A text message that is this value, written as JSON."""

    @model_validator(mode="after")
    def _one_content(self) -> "Replace":
        if [self.text, self.binary, self.json_content].count(None) != 2:
            raise expected("exactly one of text:, binary: and json:")
        return self

    def damage(self, body: bytes, opcode: int, dice: Dice) -> bytes | None:
        if self.binary is not None:
            return self.binary
        return (write(self.json_content) if self.text is None else self.text).encode()

    def opcode_of(self, opcode: int) -> int:
        return Opcode.TEXT if self.binary is None else Opcode.BINARY


class Rewrite(Damage):
    """Sets and removes fields of messages that are JSON, also inside strings that are JSON themselves.

    What is not named keeps its order, characters and numbers; blanks between them are not kept. What is no JSON or over
    256 KiB passes as it came.
    """

    name: ClassVar = "rewrite"
    example: ClassVar = """\
protocol: pusher
phases:
  - name: impatient
    rules:
      - rewrite:
          set: {/data/activity_timeout: 5}
        when: {from: server, event: "pusher:connection_established"}
"""

    set: dict[JsonPointer, JsonValue] = Field(default_factory=dict)
    """Values by JSON Pointer (/data/id; a number as last part is an element, - appends one). An object or array around
    it must be there. Plain values are read as JSON, quoted ones as text: 1 is a number and "1" is not."""
    remove: Annotated[
        tuple[JsonPointer, ...],
        BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value]),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = ()
    """JSON Pointers of what is taken out, once all is set; one or a list."""

    @model_validator(mode="after")
    def _something_to_do(self) -> "Rewrite":
        if not self.set and not self.remove:
            raise expected("set: or remove:")
        if any(not pointer.parts for pointer in self.remove):
            raise expected("what to remove from a message (a whole one is lost by drop)")
        return self

    def damage(self, body: bytes, opcode: int, dice: Dice) -> bytes | None:
        return rewrite(body, self.set, self.remove)


# --- places of chance ----------------------------------------------------------------------------------------------


def _below(dice: Dice, count: int) -> int:
    """A number from 0 up to below `count`."""
    return min(int(dice.throw() * count), count - 1)


def _places(dice: Dice, count: int, size: int) -> list[int]:
    """Different places out of so many, each set of them as likely as any other (R. W. Floyd's way of sampling)."""
    chosen: set[int] = set()
    for top in range(max(0, size - count), size):
        place = _below(dice, top + 1)
        chosen.add(top if place in chosen else place)
    return sorted(chosen)


def _flip_bits(body: bytes, count: int, dice: Dice) -> bytes:
    payload = bytearray(body)
    for place in _places(dice, count, len(body) * 8):
        payload[place >> 3] ^= 1 << (place & 7)
    return bytes(payload)


def _change_bytes(body: bytes, count: int, dice: Dice, values: bytes) -> bytes:
    """Put others of `values` in the place of bytes."""
    payload = bytearray(body)
    for place in _places(dice, count, len(body)):
        others = values.replace(payload[place : place + 1], b"")
        payload[place] = others[_below(dice, len(others))]
    return bytes(payload)


def _break_json(body: bytes, count: int, dice: Dice) -> bytes | None:
    """Take signs out of JSON so that no parser takes what is left for JSON."""
    if read(body) is MISSING:
        return None
    signs = [found.start() for found in _JSON_SIGN.finditer(body)]
    payload = bytearray(body)
    for place in reversed(_places(dice, count, len(signs))):
        del payload[signs[place]]
    # Signs inside a string may go without harm. A closing brace behind a whole value never does.
    return bytes(payload) if _is_broken(bytes(payload)) else body + b"}"


def _is_broken(payload: bytes) -> bool:
    """Whether it surely is no JSON, for any parser."""
    try:
        json.loads(payload.decode(), parse_int=str, parse_constant=refuse)
    except RecursionError:
        return False
    except ValueError:
        return True
    return False
