"""Faults that end a connection: by close frame, FIN or RST."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ..events import Break, Close, Effect, Finish, Leg, Other
from ..units import Flag, Integer, expected
from .base import Fault, Hits, Moment

_CONTROL_PAYLOAD_MAX = 125  # RFC 6455, section 5.5
_ENDING = frozenset({Moment.PHASE, Moment.OPEN, Moment.MESSAGE})


class CloseFault(Fault):
    """Sends a close frame with any code and reason, and finishes the TCP connection properly.

    The client's reply is awaited for at most 5 s. The other leg gets 1001 and FIN.
    """

    name: ClassVar = "close"
    family: ClassVar = "ending"
    moments: ClassVar = _ENDING
    shorthand: ClassVar = "code"
    heals: ClassVar = "the connection stays ended; new ones live"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: kicked
    rules:
      - close: {code: 4200, reason: "please reconnect"}
"""

    code: Annotated[Integer, Field(ge=0, le=65535)] | Literal["none"]
    """Any 16-bit number, registered or not; none sends a close frame without a status."""
    reason: str = ""
    """At most 123 bytes."""
    to: Leg = Leg.CLIENT
    """Who gets this code: client, server or both. A server is only told 4xxx if it is your own."""
    after_held: Flag = False
    """Wait until held messages have been delivered, instead of discarding them."""
    hits: Hits = Hits.LIVE
    """live connections, once, as the phase begins; new ones as they open; or all."""

    @field_validator("reason")
    @classmethod
    def _reason_fits(cls, reason: str) -> str:
        if len(reason.encode()) > _CONTROL_PAYLOAD_MAX - 2:
            raise expected(f"a reason of at most {_CONTROL_PAYLOAD_MAX - 2} bytes")
        return reason

    @model_validator(mode="after")
    def _no_reason_without_code(self) -> "CloseFault":
        if self.code == "none" and self.reason:
            raise expected("no reason where there is no code: the reason stands behind it")
        return self

    @property
    def harms_server(self) -> bool:  # type: ignore[override]
        return self.to is not Leg.CLIENT and self.code != "none" and 4000 <= self.code <= 4999

    def effect(self) -> Effect:
        return Close(self.to, None if self.code == "none" else self.code, self.reason.encode(), self.after_held)


class _Ending(Fault):
    family: ClassVar = "ending"
    moments: ClassVar = _ENDING
    shorthand: ClassVar = "leg"
    heals: ClassVar = "the connection stays ended; new ones live"

    leg: Leg = Leg.BOTH
    """client, server or both."""
    other: Other = Other.FIN
    """What the other leg gets when only one is aimed at: fin, reset, or keep (it lives on until its peer ends it)."""
    hits: Hits = Hits.LIVE
    """live connections, once, as the phase begins; new ones as they open; or all."""


class Reset(_Ending):
    """Ends connections by a real RST.

    With `request: http` in `when:`, each connection on which a plain request comes, as it comes.
    """

    name: ClassVar = "reset"
    moments: ClassVar = _ENDING | {Moment.ACCEPT}
    acts_on_http: ClassVar = True
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: cut
    rules:
      - reset: {}
"""

    at: Literal["accept"] | None = None
    """accept: reset each new connection as soon as it is accepted."""

    def effect(self) -> Effect:
        return Break(self.leg, self.other)


class Fin(_Ending):
    """Ends connections by FIN, without a close frame."""

    name: ClassVar = "fin"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: gone
    rules:
      - fin: {leg: client}
"""

    def effect(self) -> Effect:
        return Finish(self.leg, self.other)
