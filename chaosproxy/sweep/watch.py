"""What a client does when its connection ends, from the proxy's own events. Times are nanoseconds, as in events."""

from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from ..events import Accepted, Answered, Asked, Closed, Ended, Established, Opened, Struck
from ..legs import Fate
from ..session import Session
from ..units import MILLISECOND, SECOND
from ..wire.frames import Side
from ..world import Told

AT_ONCE = 400 * MILLISECOND  # no client is known to pause for less; a busy machine may need some of it
CALM = 700 * MILLISECOND  # without a new connection for so long, a client has those that it opens by itself
CALM_MAX = 5 * SECOND  # one that never comes to rest is taken as it is
LINGER = 500 * MILLISECOND  # for the answer on the old connection, once the client is back
_GROWTH = 1.25  # of one pause over the one before: jitter is seldom taken for it


class Kind(StrEnum):
    """What a client does first."""

    AT_ONCE = "at_once"
    PAUSES = "pauses"
    BACKS_OFF = "backs_off"
    GIVES_UP = "gives_up"
    EXITS = "exits"
    NEVER = "never_connected"


class Answer(StrEnum):
    """How a client ended its side of the old connection."""

    CODE = "code"  # a close frame with a code
    NO_STATUS = "no_status"  # a close frame without one
    FIN = "fin"  # no close frame
    RST = "reset"
    NONE = "none"  # nothing came


class Reaction(NamedTuple):
    """All that was seen."""

    kind: Kind
    attempts: tuple[int, ...] = ()  # each from the end of the old connection on
    is_back: bool = False
    answer: Answer = Answer.NONE
    code: int | None = None  # of its answer
    exit_code: int | None = None
    detail: str = ""  # why it is not back, or was never there


class _Attempt:
    """A connection that the client asked for."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.outcome = "no answer yet"
        self.is_there = False
        self.is_closed = False


class _Course:
    """What has come so far: attempts, in the order in which they asked. What has never asked is no attempt."""

    def __init__(self, now: int, patience: int, needs_established: bool) -> None:
        self._started_at = now
        self._patience = patience
        self._needs_established = needs_established
        self._attempts: dict[int, _Attempt] = {}
        self._exit_code: int | None = None

    def tell(self, told: Told) -> None:
        """Something happened at the proxy."""
        session, event = told.session, told.event
        if session is None:
            return
        attempt = self._attempts.get(session.number)
        if attempt is None and isinstance(event, Asked | Answered):  # what was no request may be answered too
            attempt = self._attempts[session.number] = _Attempt(session)
        if attempt is None:
            return
        match event:
            case Answered(status, by, reason) if status != 101:
                attempt.outcome = f"the server answered {status}" if by == "server" else reason
            case Opened() if self._needs_established:
                attempt.outcome = "open, and not established"
            case Opened() | Established():
                attempt.is_there = True
            case Closed() | Ended(Side.CLIENT):
                attempt.is_closed = True
            case _:
                pass

    @property
    def live(self) -> int:
        """Connections that are there now."""
        return sum(1 for each in self._attempts.values() if each.is_there and not each.is_closed)

    def _never(self, wanted: int) -> Reaction:
        outcome = next((each.outcome for each in reversed(self._attempts.values()) if not each.is_there), "")
        detail = outcome or ("it ended its connection by itself" if self._attempts else "it made no attempt")
        if self.live:
            detail = f"only {self.live} of its {wanted} connections came"
        if self._exit_code is not None:
            why = f"; its last attempt: {outcome}" if outcome else "" if self._attempts else " and made no attempt"
            detail = f"it exited with {self._exit_code}{why}"
        return Reaction(Kind.NEVER, exit_code=self._exit_code, detail=detail)


class Calm(_Course):
    """A run in which nothing is done to the client: whether it connects, and how many connections it has then."""

    def __init__(self, now: int, patience: int, needs_established: bool) -> None:
        super().__init__(now, patience, needs_established)
        self._moved_at = self._there_at = now
        self.side_by_side = 0  # connections that it had asked for when the first one opened

    def tell(self, told: Told) -> None:
        super().tell(told)
        if isinstance(told.event, Accepted | Asked | Opened | Established | Ended | Closed):
            self._moved_at = told.at
        if isinstance(told.event, Opened) and not self.side_by_side:
            self.side_by_side = sum(1 for each in self._attempts.values() if not each.is_closed)
        if not self.live:
            self._there_at = told.at

    def exited(self, code: int, now: int) -> None:
        self._exit_code = code

    @property
    def deadline(self) -> int:
        if not self.live:
            return self._started_at + self._patience
        return min(self._moved_at + CALM, self._there_at + CALM_MAX)

    def is_over(self, now: int) -> bool:
        return now >= self.deadline or self._exit_code is not None

    @property
    def trouble(self) -> str:
        """Why there is nothing to end, if so."""
        if self._exit_code is not None and any(each.is_there for each in self._attempts.values()):
            return f"it exited with {self._exit_code} by itself, before anything was done to it"
        if self._exit_code is not None or not self.live:
            return self._never(1).detail
        return ""


class Watch(_Course):
    """A run in which a fault ends the client's first connections, and what it does about that.

    `firsts` of them are no reaction, even if they come behind the first blow: the client opens so many by itself.
    """

    def __init__(
        self, fault: str, firsts: int, span: int, now: int, patience: int = 15 * SECOND, *, needs_established: bool
    ) -> None:
        super().__init__(now, patience, needs_established)
        self._fault = fault
        self._firsts = firsts
        self._span = span
        self._struck_at: int | None = None
        self._struck: dict[int, Session] = {}
        self._answer: tuple[Answer, int | None] | None = None
        self._decided_at: int | None = None
        self._is_back = False

    def tell(self, told: Told) -> None:
        super().tell(told)
        session, event = told.session, told.event
        if session is None:
            return
        match event:
            case Struck(fault=self._fault):
                self._struck[session.number] = session
                if self._struck_at is None:
                    self._struck_at = told.at
            case Ended(Side.CLIENT, how, code) if session.number in self._struck and self._answer is None:
                self._answer = _answer(session, how, code)
            case _:
                pass
        if not self._is_back and any(each.is_there for each in self._later()):
            self._is_back = True
            self._decide(told.at)

    def exited(self, code: int, now: int) -> None:
        """The command is over."""
        self._exit_code = code
        self._decide(now)

    @property
    def deadline(self) -> int:
        """When there is nothing more to wait for, whatever comes."""
        if self._struck_at is None:
            return self._started_at + self._patience
        end = self._struck_at + self._span
        return end if self._decided_at is None else min(end, self._decided_at + LINGER)

    def is_over(self, now: int) -> bool:
        if now >= self.deadline:
            return True
        if self._decided_at is None:
            return False
        return all(_has_left(session) for session in self._struck.values())

    @property
    def reaction(self) -> Reaction:
        if self._struck_at is None:
            return self._never(self._firsts)
        later = self._later()
        times = tuple(each.session.accepted_at - self._struck_at for each in later)
        answer, code = self._answer or (Answer.NONE, None)
        detail = later[-1].outcome if later and not self._is_back else ""
        kind = _kind(times) if times else Kind.GIVES_UP if self._exit_code is None else Kind.EXITS
        return Reaction(kind, times, self._is_back, answer, code, self._exit_code, detail)

    def _later(self) -> list[_Attempt]:
        """Attempts that are a reaction."""
        struck_at = self._struck_at
        if struck_at is None:
            return []
        others = list(self._attempts.values())[self._firsts :]
        return [each for each in others if each.session.accepted_at >= struck_at]

    def _decide(self, now: int) -> None:
        if self._decided_at is None:
            self._decided_at = now


def _has_left(session: Session) -> bool:
    """Whether all has come that the client has to say."""
    leg = session.legs[Side.CLIENT]
    return leg.read_ended or leg.fate is Fate.GONE


def _answer(session: Session, how: str, code: int | None) -> tuple[Answer, int | None]:
    if code is not None:
        return Answer.CODE, code
    if session.directions[Side.CLIENT].splitter.has_closed:
        return Answer.NO_STATUS, None
    return (Answer.FIN if how == "fin" else Answer.RST), None


def _kind(times: tuple[int, ...]) -> Kind:
    """What attempts at these times are. One alone says nothing of how it would have gone on."""
    pauses = [after - before for before, after in pairwise((0, *times))]
    grows = all(after >= before * _GROWTH for before, after in pairwise(pauses))
    if len(pauses) > 1 and grows:
        return Kind.BACKS_OFF
    return Kind.AT_ONCE if times[0] < AT_ONCE else Kind.PAUSES
