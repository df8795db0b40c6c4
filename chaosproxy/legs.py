"""The two TCP connections of a session, as we know them: how each is paused, ended, reset and let go.

What is done to a leg becomes an action, at most once; what a leg is waiting for becomes a timer.
"""

from enum import Enum, auto

from .effects import Other, Then
from .events import Action, End, Pause, Release, Reset, Resume
from .units import SECOND
from .wire.frames import Side

REPLY_TIME = 5 * SECOND  # for the reply to an injected close, and for the peer's FIN behind ours


class Fate(Enum):
    """What becomes of a leg that we are ending."""

    OPEN = auto()
    CUTTING = auto()  # a close frame waits for the end of the frame in flight
    CLOSING = auto()  # a close frame has been sent; its reply is awaited
    LINGERING = auto()  # FIN has been sent; the peer's is awaited
    GONE = auto()  # released, reset or lost


class State(Enum):
    """How far a session has come."""

    HEAD = auto()  # the request head is coming
    ASKED = auto()  # it is complete; the world decides
    EXCHANGE = auto()  # a plain request and its response
    DIALLING = auto()
    ANSWER = auto()  # the upstream's head is coming
    REFUSED = auto()  # the upstream's refusal is passed on
    HUNG = auto()  # never to be answered
    TUNNEL = auto()
    ENDING = auto()  # nothing is carried any more; the legs are being ended
    OVER = auto()


class Timer(Enum):
    HEAD = auto()
    WAIT = auto()  # a rule delays the handshake
    ANSWER = auto()
    CUT = auto()
    REPLY = auto()
    KEEP = auto()  # a leg that was kept for a time
    PASS_END = auto()  # of a side, to be passed on to the other
    AGE = auto()
    RESPONSE = auto()  # a plain response is held back
    LAST = auto()  # the exchange in progress is the last


class LegState:
    """One of the two TCP connections, as we know it."""

    def __init__(self) -> None:
        self.fate = Fate.OPEN
        self.is_connected = False
        self.read_ended = False  # its peer has sent FIN, or it is lost
        self.write_ended = False  # we have sent FIN
        self.is_lost = False
        self.pauses: set[str] = set()  # why it is not being read
        self.farewell = b""  # the close frame to be sent
        self.then: Then | None = None  # what follows that frame, where it was aimed at this leg
        self.kept_end = Other.FIN  # how it ends once it was kept for its time
        self.owed: tuple[Other, int | None] | None = None  # how it ends once it is silent no longer
        self.notifies = True  # over TLS, close_notify goes before our FIN


class Legs:
    """Both legs, the timers that wait for their peers, and the actions not yet taken by the relay."""

    def __init__(self, now: int) -> None:
        self.legs = [LegState(), LegState()]
        self._carries = True  # nothing has begun to end it
        self._timers: dict[tuple[Timer, Side], int] = {}
        self._actions: list[Action] = []
        self._now = now

    def _end_leg(self, side: Side) -> None:
        """FIN toward `side`, once."""
        leg = self.legs[side]
        if leg.is_connected and not leg.write_ended and leg.fate is not Fate.GONE:
            leg.write_ended = True
            self._actions.append(End(side, leg.notifies))

    def _finish_leg(self, side: Side) -> None:
        """End a leg that carries nothing any more: FIN, then its peer's FIN is awaited for a while."""
        leg = self.legs[side]
        if not leg.is_connected or leg.fate is Fate.GONE:
            self._set_gone(side)
            return
        self._end_leg(side)
        self._timers.pop((Timer.REPLY, side), None)
        if leg.read_ended:
            self._release(side)
        elif leg.fate is not Fate.LINGERING:
            leg.fate = Fate.LINGERING
            self._resume(side)
            self._timers[Timer.REPLY, side] = self._now + REPLY_TIME

    def _reset_leg(self, side: Side, *, behind: bool = False) -> None:
        leg = self.legs[side]
        if leg.is_connected and leg.fate is not Fate.GONE:
            self._actions.append(Reset(side, behind))
        self._set_gone(side)

    def _release(self, side: Side) -> None:
        if self.legs[side].fate is not Fate.GONE:
            self._actions.append(Release(side))
        self._set_gone(side)

    def _set_gone(self, side: Side) -> None:
        leg = self.legs[side]
        leg.fate = Fate.GONE
        leg.read_ended = leg.write_ended = True
        for timer in (Timer.REPLY, Timer.CUT, Timer.KEEP):
            self._timers.pop((timer, side), None)

    def _set_pause(self, side: Side, reason: str, is_on: bool) -> None:
        leg = self.legs[side]
        had = bool(leg.pauses)
        if is_on and not self._carries:
            return
        if is_on:
            leg.pauses.add(reason)
        else:
            leg.pauses.discard(reason)
        if had != bool(leg.pauses) and leg.is_connected and leg.fate is not Fate.GONE:
            self._actions.append(Pause(side) if leg.pauses else Resume(side))

    def _resume(self, side: Side) -> None:
        leg = self.legs[side]
        if leg.pauses:
            leg.pauses.clear()
            if leg.is_connected and leg.fate is not Fate.GONE:
                self._actions.append(Resume(side))

    def _take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions
