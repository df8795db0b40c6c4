"""What waits to leave on one direction of a connection: in order, each with its due time.

Order is never broken here: what is due earlier waits for what came before it. Three things hold up what is due: a gate
(half-open), a stall on what is first in the queue, and pacers. What a fault sets aside, or wants to put between, joins
the queue where a message ends.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .effects import Heal
from .events import Discarded, Event, Limited
from .link import Link
from .pacing import LATE_TIME_MAX, Pacer
from .tally import Tally
from .wire.frames import Side


class Held(NamedTuple):
    """Bytes that wait to leave."""

    due: int
    data: bytes
    ends: bool  # a frame ends with it
    completes: bool | None = True  # a message ends with it; None for control frames, which are in nobody's way
    observed: tuple[Event, ...] = ()  # what its peer will know once it has this
    came: int = 0  # where a rule delays it, when it came
    stalls: tuple[Link, ...] = ()  # the rules that keep it here until they heal
    is_mark: bool = False  # no bytes: it tells when all before it has left


class _Aside(NamedTuple):
    """A message that others may overtake."""

    held: Held
    left: int  # so many more messages go first
    until: int  # it waits no longer than this
    link: Link | None  # the rule at whose heal it waits no longer


class Holding:
    """The queue of one direction. `ready` is what shall be sent now, in order."""

    def __init__(
        self, side: Side, bytes_max: int, tally: Tally, events: list[Event], on_paced: Callable[[Link], None]
    ) -> None:
        self.side = side
        self.ready: list[bytes] = []
        self.gate: Heal | None = None  # nothing leaves, and what becomes of it at heal
        self.size = 0  # bytes in here
        self.last_due = 0
        self.is_inside_frame = False  # what has been sent ends inside a frame
        self.is_inside_message = False  # or inside a message
        self.is_shut = False
        self._bytes_max = bytes_max
        self._tally = tally
        self._events = events
        self._on_paced = on_paced
        self._queue: deque[Held] = deque()
        self._gone = 0  # so many bytes of what is first have left
        self._is_frame_open = False  # what was put last ends inside a frame
        self._is_message_open = False  # or inside a message
        self._aside: list[_Aside] = []
        self._waiting: deque[Held] = deque()  # for the end of the message, or frame, in progress
        self._pacers: dict[Link, Pacer] = {}
        self._slot: tuple[int, int] | None = None  # what the pacers have granted: size and time
        self._is_kept = False  # a gate is why it has not left in time
        self._links: frozenset[Link] = frozenset()  # in force
        self._marks = 0
        self._withheld = 0  # bytes not even held, since a reset is to come
        self._has_told_limit = False

    # -- state ------------------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self._queue or self._aside or self._waiting)

    @property
    def waits_for_time(self) -> bool:
        """Whether what waits will leave, or join the queue, at a deadline."""
        return bool(self._aside) or (bool(self._queue) and self.gate is None and not self.is_stalled)

    @property
    def is_full(self) -> bool:
        return self.size >= self._bytes_max

    @property
    def has_marks(self) -> bool:
        return self._marks > 0

    @property
    def has_waiting(self) -> bool:
        """Whether something waits for the end of a message to be put behind it."""
        return bool(self._waiting)

    @property
    def deadline(self) -> int | None:
        """When something may leave, or join the queue."""
        due = min((aside.until for aside in self._aside), default=None)
        if self._queue and self.gate is None and not self.is_stalled:
            head = self._queue[0].due if self._slot is None else max(self._queue[0].due, self._slot[1])
            due = head if due is None else min(due, head)
        return due

    @property
    def is_stalled(self) -> bool:
        """Whether a rule in force keeps what is first, and so all behind it."""
        stalls = self._queue[0].stalls if self._queue else ()
        return bool(stalls) and not self._links.isdisjoint(stalls)

    # -- what is decided elsewhere ----------------------------------------------------------------------------------

    def set_links(self, links: Sequence[Link], pacers: dict[Link, Pacer], now: int) -> None:
        """The rules in force have changed: those that ended let go of what they keep; other pacers ask anew."""
        self._links = frozenset(links)
        aside, self._aside = self._aside, []
        for each in aside:
            if each.link is None or each.link in self._links:
                self._aside.append(each)
            else:
                self._rejoin(each, now)
        if pacers != self._pacers:
            self._pacers = pacers
            self._slot = None

    def begin(self, is_frame_open: bool, is_message_open: bool) -> None:
        """What has been sent by other means ends like this; from here on it is sent from here."""
        self.is_inside_frame = self._is_frame_open = is_frame_open
        self.is_inside_message = self._is_message_open = is_message_open

    # -- in ---------------------------------------------------------------------------------------------------------

    def put(self, held: Held) -> None:
        """Queue behind all that came before."""
        if self.is_shut:
            if self.is_inside_frame:
                self._send(held)
            return
        self._append(held)
        self._is_frame_open = not held.ends
        if held.completes is not None:
            self._is_message_open = not held.completes
        while self._waiting and self._fits(self._waiting[0]):
            waiting = self._waiting.popleft()
            self.size -= len(waiting.data)
            self._append(waiting._replace(due=max(waiting.due, held.due)))

    def put_aside(self, held: Held, overtakers: int, until: int, link: Link | None) -> None:
        """Let so many later messages overtake this one, but no longer than until then."""
        self.size += len(held.data)
        self._aside.append(_Aside(held, overtakers, until, link))

    def insert(self, held: Held) -> None:
        """Put something between messages (a control frame: between frames), as soon as one ends."""
        if self.is_shut:
            return
        if not self._waiting and self._fits(held):
            self._append(held)
        else:
            self.size += len(held.data)
            self._waiting.append(held)

    def pass_by(self, now: int) -> None:
        """A message has been put: those aside that have waited for it follow."""
        aside, self._aside = self._aside, []
        for each in aside:
            if each.left == 1:
                self._rejoin(each, now)
            else:
                self._aside.append(each._replace(left=each.left - 1))

    def mark(self) -> None:
        """Tell, by `has_marks`, when all has left that is in the queue now."""
        if self._queue:
            self._marks += 1
            self._queue.append(Held(self.last_due, b"", ends=True, is_mark=True))

    def gather(self, now: int) -> None:
        """Nothing more will come: what was set aside joins the queue, the one that would have waited least first."""
        aside, self._aside = sorted(self._aside, key=lambda each: each.until), []
        for each in aside:
            self._rejoin(each, now)

    def give_up_waiting(self) -> None:
        """The message that was to end first never will."""
        lost = sum(len(held.data) for held in self._waiting)
        self._waiting.clear()
        self.size -= lost
        if lost:
            self._events.append(Discarded(self.side, lost))

    def _rejoin(self, aside: _Aside, now: int) -> None:
        self.size -= len(aside.held.data)
        self.insert(aside.held._replace(due=max(aside.held.due, now)))

    def _fits(self, held: Held) -> bool:
        return not self._is_frame_open and (held.completes is None or not self._is_message_open)

    def _append(self, held: Held) -> None:
        if self.gate is Heal.RESET:
            self._withheld += len(held.data)  # the heal will lose it
            return
        self.last_due = max(held.due, self.last_due)
        self._queue.append(held._replace(due=self.last_due))
        self.size += len(held.data)

    # -- out --------------------------------------------------------------------------------------------------------

    def release(self, now: int) -> None:
        """Let go of what is due."""
        if self._aside and any(each.until <= now for each in self._aside):
            aside, self._aside = sorted(self._aside, key=lambda each: each.until), []
            for each in aside:
                if each.until <= now:
                    self._rejoin(each, now)
                else:
                    self._aside.append(each)
        if self.gate is not None:
            self._is_kept = True
        else:
            since = self._busy_since(now) if self._pacers else now
            while self._queue and self._queue[0].due <= now and not self.is_stalled:
                if self._pacers and not self._queue[0].is_mark:
                    if not self._send_piece(now, since):
                        break
                else:
                    self._send(self._pop(now))
        if self.is_full and not self._has_told_limit:
            self._has_told_limit = True
            self._events.append(Limited(self.side, self.size))

    def _busy_since(self, now: int) -> int:
        """Since when what is behind the piece that waits for its time could have followed it, were we never late.

        Else each piece would lose the time by which the one before it left late, and all together some of the rate.
        """
        was_kept, self._is_kept = self._is_kept, False
        return now if self._slot is None or was_kept else min(now, max(self._slot[1], now - LATE_TIME_MAX))

    def _send_piece(self, now: int, since: int) -> bool:
        """Let go of what the pacers grant by now, if anything."""
        head = self._queue[0]
        left = len(head.data) - self._gone
        if self._slot is None:
            size = min(left, *(pacer.piece(now) for pacer in self._pacers.values()))
            times = {link: pacer.reserve(size, now, max(since, head.due)) for link, pacer in self._pacers.items()}
            for link, time in times.items():
                if time > now:
                    self._on_paced(link)
            self._slot = size, max(times.values())
        size, at = self._slot
        if at > now:
            return False
        self._slot = None
        if size >= left:
            self._send(self._pop(now))
            return True
        self.ready.append(head.data[self._gone : self._gone + size])
        self._gone += size
        self.size -= size
        self.is_inside_frame = True
        self.is_inside_message = self.is_inside_message or head.completes is not None
        return True

    def _pop(self, now: int) -> Held:
        held = self._queue.popleft()
        if self._gone:
            held = held._replace(data=held.data[self._gone :])
            self._gone = 0
        self.size -= len(held.data)
        if 0 < held.came < held.due <= now:
            self._tally.delays.add(held.due - held.came)
            self._tally.delay_errors.add(now - held.due)
        return held

    def _send(self, held: Held) -> None:
        if held.is_mark:
            self._marks -= 1
            return
        self.ready.append(held.data)
        self.is_inside_frame = not held.ends
        if held.completes is not None:
            self.is_inside_message = not held.completes
        self._events += held.observed

    def take(self) -> bytes:
        """What shall be sent now."""
        data = self.ready[0] if len(self.ready) == 1 else b"".join(self.ready)
        self.ready.clear()
        return data

    def shut(self, now: int, incomplete: int) -> None:
        """Let nothing more go on, but for the rest of a frame that has begun to leave. The rest is discarded."""
        while self._queue and self.is_inside_frame:
            self._send(self._pop(now))
        self.is_shut = True
        self.gate = None
        lost = self.size + incomplete + self._withheld
        self._queue.clear()
        self._aside.clear()
        self._waiting.clear()
        self._marks = 0
        self.size = 0
        if lost:
            self._events.append(Discarded(self.side, lost))
