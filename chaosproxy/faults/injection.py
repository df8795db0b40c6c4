"""Damage by frames: messages cut into many, frames that nobody sent, and frames that nobody may send."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ..effects import Effect, Insert, Leg
from ..units import MILLISECOND, Duration, Hex, Integer, Size, expected
from ..wire.frames import FIN, Opcode, Shape
from .base import Delivery, Dice, Fault, Hits, Moment

_CONTROL_PAYLOAD_MAX = 125  # RFC 6455, section 5.5
_RSV2, _RSV3 = 0x20, 0x10


class Fragment(Fault):
    """Sends messages in many small frames; a good receiver puts them together."""

    name: ClassVar = "fragment"
    family: ClassVar = "damage"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    shorthand: ClassVar = "size"
    heals: ClassVar = "later messages pass as they come"
    is_loss: ClassVar = True
    on_bytes_instead: ClassVar = "slice"
    example: ClassVar = """\
phases:
  - name: crumbs
    rules:
      - fragment: {size: 3B}
        when: {from: server}
"""

    size: Annotated[Size, Field(ge=1)]
    """Of each frame's payload; characters may be cut in two."""

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        return (delivery._replace(fragment_bytes=self.size),)


class _Injection(Fault):
    family: ClassVar = "damage"
    moments: ClassVar = frozenset({Moment.PHASE, Moment.OPEN, Moment.MESSAGE})
    heals: ClassVar = "nothing more is sent; what was sent has been"
    acts_behind: ClassVar = True
    needs: ClassVar = "frames"

    to: Leg = Leg.CLIENT
    """Who gets it: client, server or both."""
    interval: Annotated[Duration, Field(ge=MILLISECOND)] | None = None
    """In place of once: again and again, each time after so long, on live and new connections."""
    hits: Hits = Hits.LIVE
    """Without a message being named: live connections, once, as the phase begins; new ones as they open; or all.
    Where `when:` names messages, it follows each of them."""


class Inject(_Injection):
    """Sends a message or control frame that neither peer has sent, between others."""

    name: ClassVar = "inject"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: noise
    rules:
      - inject: {text: '{"event":"pusher:error","data":{"code":4009}}'}
        when: {from: server, nth: 3}
"""

    text: str | None = None
    """A text message."""
    binary: Hex | None = None
    """A binary message, in hexadecimal."""
    ping: Annotated[str, Field(max_length=_CONTROL_PAYLOAD_MAX)] | None = None
    """A ping with this payload."""
    pong: Annotated[str, Field(max_length=_CONTROL_PAYLOAD_MAX)] | None = None
    """A pong that nobody asked for, with this payload."""
    close: Annotated[Integer, Field(ge=0, le=65535)] | None = None
    """A close frame with this code, behind which everything goes on (the fault close ends the connection)."""
    raw: Hex | None = None
    """Any bytes, in hexadecimal; toward a server they are not masked for you."""

    @model_validator(mode="after")
    def _one_content(self) -> "Inject":
        contents = ("text", "binary", "ping", "pong", "close", "raw")
        if sum(getattr(self, name) is not None for name in contents) != 1:
            raise expected("exactly one of " + ", ".join(contents))
        return self

    @property
    def harms_server(self) -> bool:  # type: ignore[override]
        return self.to is not Leg.CLIENT and (self.raw is not None or self.close is not None)

    def effect(self) -> Effect:
        if self.raw is not None:
            return Insert(self.to, (), self.raw)
        contents = {
            Opcode.TEXT: None if self.text is None else self.text.encode(),
            Opcode.BINARY: self.binary,
            Opcode.PING: None if self.ping is None else self.ping.encode(),
            Opcode.PONG: None if self.pong is None else self.pong.encode(),
            Opcode.CLOSE: None if self.close is None else self.close.to_bytes(2, "big"),
        }
        opcode, payload = next((opcode, payload) for opcode, payload in contents.items() if payload is not None)
        return Insert(self.to, (Shape(FIN | opcode, payload),))


class Violation(StrEnum):
    """Frames that RFC 6455 forbids."""

    MASK = "mask"
    RESERVED_BIT = "reserved_bit"
    OPCODE = "opcode"
    CONTROL_OPCODE = "control_opcode"
    CONTROL_SIZE = "control_size"
    CONTROL_FRAGMENT = "control_fragment"
    CONTINUATION = "continuation"
    INTERLEAVED = "interleaved"
    LENGTH = "length"


_TEXT = b"chaos"
_SHAPES: dict[Violation, tuple[Shape, ...]] = {
    Violation.RESERVED_BIT: (Shape(FIN | _RSV2 | _RSV3 | Opcode.TEXT, _TEXT),),
    Violation.OPCODE: (Shape(FIN | 3, _TEXT),),
    Violation.CONTROL_OPCODE: (Shape(FIN | 11, _TEXT),),
    Violation.CONTROL_SIZE: (Shape(FIN | Opcode.PING, bytes(_CONTROL_PAYLOAD_MAX + 1)),),
    Violation.CONTROL_FRAGMENT: (Shape(Opcode.PING, _TEXT),),
    Violation.CONTINUATION: (Shape(FIN | Opcode.CONTINUATION, _TEXT),),
    Violation.INTERLEAVED: (Shape(Opcode.TEXT, _TEXT), Shape(FIN | Opcode.TEXT, _TEXT)),
    Violation.LENGTH: (Shape(FIN | Opcode.BINARY, _TEXT, declares=1 << 63),),
}


class Violate(_Injection):
    """Sends a frame that RFC 6455 forbids, between others; a good receiver ends the connection."""

    name: ClassVar = "violate"
    shorthand: ClassVar = "kind"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: broken
    rules:
      - violate: reserved_bit
"""

    kind: Violation
    """mask (masked to a client, unmasked to a server), reserved_bit, opcode and control_opcode (reserved ones),
    control_size (over 125 bytes), control_fragment, continuation (of nothing), interleaved (a message within another),
    or length (2^63 bytes)."""

    @property
    def harms_server(self) -> bool:  # type: ignore[override]
        return self.to is not Leg.CLIENT

    def effect(self) -> Effect:
        if self.kind is not Violation.MASK:
            return Insert(self.to, _SHAPES[self.kind])
        # Toward a client a frame is wrong with a mask, toward a server without one.
        return Insert(self.to, (Shape(FIN | Opcode.TEXT, _TEXT, has_wrong_mask=True),))
