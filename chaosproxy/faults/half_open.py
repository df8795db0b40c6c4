"""The half-open connection: nobody ended it, and nothing comes through; or only its heartbeats are lost."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from ..effects import Effect, Heal, Leg, Mode, Silence
from ..units import expected
from ..wire.frames import SIDES
from .base import Delivery, Dice, Fault, Hits, Moment


class HalfOpen(Fault):
    """Makes connections half-open: no FIN, no RST, no pong, nothing at all until it heals.

    Nothing comes through either way. A silent leg sends nothing, and what its peer does on it, even its end, the other
    peer does not learn. The other leg is alive: it is read, a FIN on it is answered, and faults that end it act.
    With `from:` one way only is lost, and no leg is silent.

    Above TCP only: the kernel still acknowledges what arrives.
    """

    model_config = ConfigDict(populate_by_name=True)

    name: ClassVar = "half_open"
    family: ClassVar = "half-open"
    moments: ClassVar = frozenset({Moment.PHASE, Moment.ASK, Moment.MESSAGE})
    heals: ClassVar = "as `heal` says, on the same sockets; a FIN or RST that came meanwhile follows the held bytes"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: silence
    lasts: 90s
    rules:
      - half_open: {leg: both, mode: blackhole, heal: reset}
"""

    leg: Leg = Leg.BOTH
    """The leg that falls silent: client (it is cut off, and the server sees a ghost), server or both."""
    sender: Annotated[Literal["client", "server"] | None, Field(alias="from")] = None
    """Lose only what this side sends, and leave the other way open; in place of `leg`."""
    mode: Mode = Mode.BLACKHOLE
    """blackhole reads what the silent peer sends; freeze stops reading, so that its sending comes to a halt."""
    heal: Heal = Heal.FLUSH
    """flush delivers what was held (up to held_bytes_max, then reading stops); discard loses whole messages; reset ends
    the connection by RST."""
    hits: Hits = Hits.ALL
    """live connections, new ones (read but not dialled until it heals; with from: server, dialled), or all."""

    @model_validator(mode="after")
    def _leg_or_sender(self) -> "HalfOpen":
        if self.sender and "leg" in self.model_fields_set:
            raise expected("leg: (both ways are lost) or from: (one way is), not both")
        return self

    @property
    def is_loss(self) -> bool:  # type: ignore[override]
        return self.heal is Heal.DISCARD

    def misfit_on_bytes(self) -> str:
        if self.heal is not Heal.DISCARD:
            return ""
        return "heal: discard loses whole messages, and tcp:// carries none; use flush or reset"

    def effect(self) -> Effect:
        sender = next((side for side in SIDES if side.label == self.sender), None)
        return Silence(self.leg, self.mode, self.heal, sender)


class _Swallow(Fault):
    family: ClassVar = "half-open"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "later ones pass; what was swallowed stays lost"
    frame: ClassVar[str]

    def conditions(self) -> Mapping[str, Any]:
        return {"opcode": (self.frame,)}

    def unfit(self) -> Mapping[str, str]:
        keys = ("opcode", "event", "channel")
        return dict.fromkeys(keys, f"{self.name} acts on {self.frame} frames (drop takes any message)")

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        return ()


class SwallowPong(_Swallow):
    """Drops pong frames, so that heartbeats on the WebSocket level go unanswered; messages pass.

    Only control frames: pusher:pong is a text message (drop, with when: {event: "pusher:pong"}).
    """

    name: ClassVar = "swallow_pong"
    frame: ClassVar = "pong"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: no-pongs
    rules:
      - swallow_pong: {}
        when: {from: client}
"""


class SwallowPing(_Swallow):
    """Drops ping frames, so that heartbeats on the WebSocket level do not arrive; messages pass.

    Only control frames: pusher:ping is a text message (drop, with when: {event: "pusher:ping"}).
    """

    name: ClassVar = "swallow_ping"
    frame: ClassVar = "ping"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: no-pings
    rules:
      - swallow_ping
"""
