"""Faults that end a connection: by close frame, FIN or RST, at once, later, or on one way only."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ..effects import Break, Close, CutLater, Effect, EndLater, Finish, HalfClose, Leg, Other, Then
from ..units import Duration, Flag, Integer, Size, expected
from .base import OF_SINGLE_MESSAGES, Fault, Hits, Moment

_REASON_MAX = 123  # bytes: a control frame holds 125 (RFC 6455, section 5.5), the code takes two of them
_OVERSIZED_MAX = 65533  # what a reader that takes a close frame for any frame may be asked to hold
_ENDING = frozenset({Moment.PHASE, Moment.OPEN, Moment.MESSAGE})
_STANDING = frozenset({Moment.PHASE, Moment.OPEN})
_STAYS_ENDED = "the connection stays ended; new ones live"
# What RFC 6455, section 7.4, and its registry let an endpoint send.
_SENDABLE = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class _Blow(Fault):
    """An end dealt to connections: to live ones as the phase begins, to new ones as they open, or by a message."""

    family: ClassVar = "ending"
    moments: ClassVar = _ENDING
    heals: ClassVar = _STAYS_ENDED

    hits: Hits = Hits.LIVE
    """live connections, once, as the phase begins; new ones as they open; or all."""
    over: Duration = 0
    """Strike live connections one after the other, evenly over this time, in the order of their numbers."""

    @model_validator(mode="after")
    def _over_live_ones(self) -> "_Blow":
        if self.over and (self.hits is Hits.NEW or getattr(self, "at", None)):
            raise expected("no over: where no live connections are hit")
        return self


class _CloseFrame(Fault):
    """What a close frame says, and what follows it."""

    code: Annotated[Integer, Field(ge=0, le=65535)] | Literal["none"]
    """Any 16-bit number, registered or not; none sends a close frame without a status."""
    reason: str = ""
    """At most 123 bytes, unless `oversized`."""
    reason_hex: str = ""
    """The reason as bytes in hexadecimal, such as "ff fe": to send what is no UTF-8."""
    oversized: Flag = False
    """Allow a reason of more than 123 bytes, in a control frame larger than RFC 6455 allows."""
    to: Leg = Leg.CLIENT
    """Who gets this code: client, server or both. What a server must not be told is only sent to one of your own."""
    then: Then = Then.REPLY
    """What follows: reply awaits the peer's close frame for at most 5 s, then FIN; fin sends FIN at once; reset sends
    RST once the frame has left; nothing leaves the TCP connection open until the peer ends it."""
    after_held: Flag = False
    """Wait until held messages have been delivered, instead of discarding them."""

    @property
    def _reason(self) -> bytes:
        return bytes.fromhex(self.reason_hex) or self.reason.encode()

    @field_validator("reason_hex")
    @classmethod
    def _is_hex(cls, value: str) -> str:
        try:
            bytes.fromhex(value)
        except ValueError:
            raise expected('bytes in hexadecimal, such as "ff fe"') from None
        return value

    @model_validator(mode="after")
    def _reason_fits(self) -> "_CloseFrame":
        if self.reason and self.reason_hex:
            raise expected("reason: or reason_hex:, not both")
        reason = self._reason
        if self.code == "none" and reason:
            raise expected("no reason where there is no code: the reason stands behind it")
        if len(reason) > _REASON_MAX and not self.oversized:
            raise expected(f"a reason of at most {_REASON_MAX} bytes (with oversized: true, a longer one is sent)")
        if len(reason) > _OVERSIZED_MAX:
            raise expected(f"a reason of at most {_OVERSIZED_MAX} bytes, even where it is oversized")
        return self


class CloseFault(_Blow, _CloseFrame):
    """Sends a close frame with any code and reason; what follows it is up to `then`.

    The other leg gets 1001 and FIN.
    """

    name: ClassVar = "close"
    shorthand: ClassVar = "code"
    needs: ClassVar = "frames"
    on_bytes_instead: ClassVar = "fin or reset"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: kicked
    rules:
      - close: {code: 4200, reason: "please reconnect"}
"""

    @property
    def harms_server(self) -> bool:  # type: ignore[override]
        if self.to is Leg.CLIENT or self.code == "none":
            return False
        is_private = 4000 <= self.code <= 4999
        return is_private or self.code not in _SENDABLE or len(self._reason) > _REASON_MAX or not _is_utf8(self._reason)

    @property
    def acts_behind(self) -> bool:  # type: ignore[override]
        return self.after_held

    def effect(self) -> Effect:
        code = None if self.code == "none" else self.code
        return Close(self.to, code, self._reason, self.after_held, self.then)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class _OneSided(Fault):
    """What both kinds of cut say of the two legs."""

    leg: Leg = Leg.BOTH
    """client, server or both."""
    other: Other = Other.FIN
    """What the other leg gets when only one is aimed at: fin, reset, or keep (it lives on, and is sent nothing)."""
    keep_for: Duration | None = None
    """How long the other leg is kept (with other: keep): not even its peer's FIN is answered, then it gets FIN. Without
    it, the leg lives on until its peer ends it."""

    @model_validator(mode="after")
    def _keeps_a_leg(self) -> "_OneSided":
        if self.keep_for is not None and (self.other is not Other.KEEP or self.leg is Leg.BOTH):
            raise expected("leg: client or server and other: keep beside keep_for:")
        return self


class Reset(_Blow, _OneSided):
    """Ends connections by a real RST.

    With `request: http` in `when:`, each connection on which a plain request comes, as it comes.
    """

    name: ClassVar = "reset"
    shorthand: ClassVar = "leg"
    moments: ClassVar = _ENDING | {Moment.ACCEPT}
    acts_on_bytes: ClassVar = True
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

    @property
    def acts_at(self) -> frozenset[Moment]:
        return frozenset({Moment.ACCEPT}) if self.at else _ENDING

    def effect(self) -> Effect:
        return Break(self.leg, self.other, self.keep_for)


class Fin(_Blow, _OneSided):
    """Ends connections by FIN, without a close frame."""

    name: ClassVar = "fin"
    shorthand: ClassVar = "leg"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: gone
    rules:
      - fin: {leg: client}
"""

    notify: Flag = False
    """Over TLS, say close_notify before the FIN; without it the client sees a truncated stream."""

    def effect(self) -> Effect:
        return Finish(self.leg, self.other, self.keep_for, self.notify)


class _OneLeg(Fault):
    leg: Literal[Leg.CLIENT, Leg.SERVER]
    """Who gets the FIN: client or server."""


class HalfCloseFault(_Blow, _OneLeg):
    """Sends FIN toward one leg and goes on reading it: what comes from it still reaches the other.

    What was to be sent to it is read and discarded.
    """

    name: ClassVar = "half_close"
    shorthand: ClassVar = "leg"
    heals: ClassVar = "a FIN can't be taken back: that way stays closed; new connections live"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: one-way
    rules:
      - half_close: {leg: client}
"""

    def effect(self) -> Effect:
        return HalfClose(self.leg)


class SlowClose(Fault):
    """Lets the FIN of one peer wait before it is passed on to the other, also behind a finished close handshake."""

    name: ClassVar = "slow_close"
    family: ClassVar = "ending"
    moments: ClassVar = _STANDING
    shorthand: ClassVar = "delay"
    heals: ClassVar = "a FIN that waits keeps its due time; later ones pass at once"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: slow-to-end
    rules:
      - slow_close: 5s
        when: {from: server}
"""

    delay: Duration
    """How long each FIN waits; a reset does not, unless `resets`."""
    resets: Flag = False
    """Let a reset wait as long, so that the other peer learns of a lost connection late."""
    hits: Hits = Hits.ALL
    """live connections, new ones, or all."""

    def unfit(self) -> Mapping[str, str]:
        return dict.fromkeys(OF_SINGLE_MESSAGES, "slow_close acts on FINs, which are no messages")

    def effect(self) -> Effect:
        return EndLater(self.delay, self.resets)


class _Measure(Fault):
    """How much is let through."""

    bytes: Annotated[Size, Field(ge=1)] | None = None
    """So many bytes are let through, exactly, in the middle of a frame if it falls so."""
    messages: Annotated[Integer, Field(ge=1)] | None = None
    """So many messages are let through, of those that `when:` names; one that another rule drops counts too."""
    age: Duration | None = None
    """So long after it opened, a connection is cut; one that is older already, at once."""
    by: Literal["reset", "fin"] = "reset"
    """reset sends RST, fin sends FIN, each behind what was let through. (Of much at once, a reset may destroy the last
    on its way to a slow reader; fin destroys nothing.)"""


class CutAfter(_OneSided, _Measure):
    """Ends connections behind so many bytes or messages, or at an age, whatever else goes on.

    Bytes and messages are counted from the opening, or from the start of the rule on connections that are older; those
    of each side on its own, or only of one with `when: {from: …}`.
    """

    name: ClassVar = "cut_after"
    family: ClassVar = "ending"
    moments: ClassVar = _ENDING
    acts_behind: ClassVar = True
    heals: ClassVar = "what was cut stays so; the rest is no longer counted and lives on"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
rules:
  - cut_after: {age: 60s, by: fin}
"""

    hits: Hits = Hits.ALL
    """live connections, new ones, or all."""

    @model_validator(mode="after")
    def _one_measure(self) -> "CutAfter":
        given = [name for name in ("bytes", "messages", "age") if getattr(self, name) is not None]
        if len(given) != 1:
            raise expected(f"exactly one of bytes, messages or age, got {' and '.join(given) or 'none'}")
        if self.messages is not None and "hits" in self.model_fields_set:
            raise expected("no hits: beside messages:, which are counted on every connection")
        return self

    def conditions(self) -> Mapping[str, Any]:
        return {} if self.messages is None else {"nth": (self.messages,)}

    def unfit(self) -> Mapping[str, str]:
        if self.messages is not None:
            return dict.fromkeys(("nth", "every", "first"), "messages: counts already")
        unfit = dict.fromkeys(OF_SINGLE_MESSAGES, "only messages: looks at messages")
        return unfit if self.age is None else {**unfit, "sender": "both sides' connections have the same age"}

    def misfit_on_bytes(self) -> str:
        return "" if self.messages is None else "messages: counts messages, and tcp:// carries none; use bytes: or age:"

    def effect(self) -> Effect:
        end = Break if self.by == "reset" else Finish
        after = 0 if self.messages is not None else self.bytes
        return CutLater(after, self.age, end(self.leg, self.other, self.keep_for))
