"""The half-open connection: nobody ended it, and nothing comes through."""

from typing import ClassVar

from ..events import Effect, Heal, Leg, Mode, Silence
from .base import Fault, Hits, Moment


class HalfOpen(Fault):
    """Makes connections half-open: no FIN, no RST, no pong, nothing at all until it heals.

    Above TCP only: the kernel still acknowledges what arrives.
    """

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
    """The leg that falls silent: client, server or both. The other one is still read and kept open."""
    mode: Mode = Mode.BLACKHOLE
    """blackhole reads what the silent peer sends; freeze stops reading, so that its sending comes to a halt."""
    heal: Heal = Heal.FLUSH
    """flush delivers what was held (up to held_bytes_max, then reading stops); discard loses whole messages; reset ends
    the connection by RST."""
    hits: Hits = Hits.ALL
    """live connections, new ones (read but not dialled until it heals), or all."""

    @property
    def is_loss(self) -> bool:  # type: ignore[override]
        return self.heal is Heal.DISCARD

    def misfit_on_bytes(self) -> str:
        if self.heal is not Heal.DISCARD:
            return ""
        return "heal: discard loses whole messages, and tcp:// carries none; use flush or reset"

    def effect(self) -> Effect:
        return Silence(self.leg, self.mode, self.heal)
