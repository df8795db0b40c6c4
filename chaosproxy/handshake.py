"""What rules do to a handshake on its way: they make it wait, and spoil the upstream's 101.

Each moment of a handshake waits at most once, for the sum of what the rules of that moment say. A wait keeps its due
time when its rules end, and is cut short when the client has ended: who has given up is not kept waiting for.
"""

from abc import abstractmethod
from collections.abc import Iterable

from .effects import HoldHandshake, Present, Spoil
from .events import Action, Event, Secured, Struck, Suppressed
from .faults import Moment
from .legs import Legs, Timer
from .link import Link
from .tally import Tally
from .wire.flaws import is_offered, spoil
from .wire.frames import Side
from .wire.http import Request, Response


class Handshake(Legs):
    """A connection whose opening rules may delay and alter."""

    def __init__(self, tally: Tally, now: int) -> None:
        super().__init__(now)
        self.events: list[Event] = []
        self.links: dict[str, Link] = {}  # the rules in play, by id
        self._tally = tally
        self.is_cut_off = False  # by a half-open that keeps all new connections waiting
        self._at_handshake: dict[str, Present | HoldHandshake] = {}  # what rules do to the client's TLS handshake

    @abstractmethod
    def _end_wait(self) -> None:
        """What has waited goes on."""

    @property
    def is_waiting(self) -> bool:
        """Whether a rule makes the handshake wait."""
        return (Timer.WAIT, Side.CLIENT) in self._timers

    # -- of TLS -------------------------------------------------------------------------------------------------------

    @property
    def holds_handshake(self) -> bool:
        """Whether a TLS handshake with the client must not go on now."""
        return self.is_cut_off or any(isinstance(effect, HoldHandshake) for effect in self._at_handshake.values())

    @property
    def certificate(self) -> str:
        """What shall be wrong with the certificate that the client is shown; nothing where it is empty."""
        bad = (effect.certificate for effect in self._at_handshake.values() if isinstance(effect, Present))
        return next(bad, "")

    def secured(self, side: Side, version: str, now: int) -> list[Action]:
        """TLS with a peer is set up."""
        self._now = now
        self.events.append(Secured(side, version, ""))
        return self._take_actions()

    # -- of WebSocket -------------------------------------------------------------------------------------------------

    def _begin_wait(self, moment: Moment, links: Iterable[Link]) -> bool:
        """Wait as long as the rules of this moment say; whether they say anything."""
        if self.legs[Side.CLIENT].read_ended:
            return False
        total = 0
        for link in links:
            if moment in link.fault.acts_at and link.fault.is_timing and link.hits_connection():
                self._struck(link, None, None)
                total += link.fault.wait(link.dice[Side.CLIENT])
        if not total:
            return False
        self._timers[Timer.WAIT, Side.CLIENT] = self._now + total
        return True

    def _cut_wait_short(self) -> None:
        if self._timers.pop((Timer.WAIT, Side.CLIENT), None) is not None:
            self._end_wait()

    def _spoiled(self, response: Response, request: Request) -> bytes:
        """The upstream's 101 as the client gets it."""
        head = response.raw
        for link in self.links.values():
            effect = link.fault.effect()
            if not isinstance(effect, Spoil) or not link.hits_connection():
                continue
            if is_offered(request, effect.flaw, effect.named):
                self._suppress(link, f"the client has offered {effect.named.decode()} itself")
                continue
            self._struck(link, None, None)
            head = spoil(head, effect.flaw, effect.named)
        return head

    def _struck(self, link: Link | None, side: Side | None, message: int | None) -> None:
        if link and (message is not None or not link.strikes):
            link.has_acted = True
            link.strikes += 1
            turn = None if side is None else link.dice[side].ordinal
            self._tally.strike(link.fault.name)
            self.events.append(Struck(link.rule.id, link.fault.name, side, message, turn))

    def _suppress(self, link: Link | None, reason: str) -> None:
        if link:
            self.events.append(Suppressed(link.rule.id, link.fault.name, reason))
