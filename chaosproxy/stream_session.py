"""One opaque connection (tcp://) as a state machine. It has no head, so it is dialled as soon as it is accepted.

All else is as with a session of frames: how rules act on it, half-closes, resets, what is held. Where that one would
speak HTTP or send a close frame, here is only what TCP has: RST for a failure, FIN for a good end.
"""

from collections.abc import Sequence
from typing import ClassVar

from .effects import Close
from .engine import Direction
from .events import Action, Ended
from .faults import Moment
from .lanes import Limits
from .legs import State, Timer
from .link import Link
from .reading import Reading
from .session import Session
from .stream import Stream
from .tally import Tally
from .wire.frames import SIDES, Side
from .wire.http import parse_response

# What the upstream agrees to without a word.
_AGREED = parse_response(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")


class StreamSession(Session):
    """A client's connection and the upstream's, with bytes between them."""

    direction_type: ClassVar[type[Direction]] = Stream

    def __init__(self, number: int, limits: Limits, reading: Reading, tally: Tally, now: int) -> None:
        super().__init__(number, limits, Reading(), tally, now)  # there is nothing to be read
        self.state = State.ASKED  # there is nothing to wait for
        self._timers.pop((Timer.HEAD, Side.CLIENT))

    def set_reading(self, reading: Reading, now: int) -> None:
        """There is nothing to be read."""

    def greet(self, links: Sequence[Link], now: int) -> list[Action]:
        """A client has been accepted: rules may let it wait before it is dialled. What it sends is kept."""
        self._now = now
        self._begin_wait(Moment.ACCEPT, links)
        return self._take_actions()

    def dialled(self, now: int) -> list[Action]:
        actions = super().dialled(now)
        if self.state is State.ANSWER:
            self._proceed()  # also where a half-open keeps back what the client sends, and nothing else
        return actions + self._take_actions()

    def _ask(self) -> None:
        """The upstream has accepted our dial, and that is its answer."""
        if self.legs[Side.CLIENT].is_lost:
            self._start_ending("client", "reset")  # while a half-open kept that back, and we were still dialling
            self._reset_leg(Side.SERVER)
        else:
            self._open(_AGREED, self._take_late())
            if self.legs[Side.SERVER].read_ended and self.state is State.TUNNEL:
                self._pass_end(Side.SERVER)
        self._maybe_release()

    def _read_answer(self, data: bytes) -> None:
        self._keep_late(data)  # it waits with the opening, for the end of a half-open

    def _proceed(self) -> None:
        """Open what a half-open has kept from opening; what ended meanwhile ends behind what came before."""
        if self.is_mute(Side.CLIENT):
            return
        if self.legs[Side.SERVER].is_lost:
            self._upstream_failed("the upstream reset the connection")
        else:
            self._ask()

    def _upstream_failed(self, reason: str, remedy: str = "") -> None:
        """The upstream is not there: the client learns it as it would from a connection that breaks."""
        self._start_ending("proxy", "reset")
        for side in SIDES:
            self._reset_leg(side)

    def _inject_close(self, close: Close, link: Link | None, by: str, words: bytes = b"") -> None:
        """End it well, without a frame: by FIN to both."""
        self._start_ending(by, "fin")
        for side in SIDES:
            self._finish_leg(side)

    def _tell_end(self, side: Side, how: str) -> None:
        self.events.append(Ended(side, how, None, ""))
