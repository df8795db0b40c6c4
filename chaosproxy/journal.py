"""What happened, as lines of JSON: a header, then one object per event, in the order in which the proxy told them.

The journal serves the data path and never holds it up. What can't be written is counted and the proxy lives on; who
follows the journal reads from a bounded tail and is told what it missed. No line has a byte below 0x20 or above 0x7e
but its newline, and what may be a secret (header values, queries) has not reached the events in the first place.
"""

import asyncio
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic_ns
from typing import NamedTuple, Protocol, get_args

from pydantic import JsonValue

from . import __version__
from .events import Event
from .profile import Profile
from .recording import header_of
from .wire.frames import Side
from .world import DEFAULTS, Options, Told

FORMAT = 1
RUN_ENDED = "run_ended"  # the kind of a note: a verdict is about what stands before it
TAIL_RECORDS_MAX = 10_000
TAIL_BYTES_MAX = 16 * 1024 * 1024

Record = Mapping[str, JsonValue]

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
RENAMED = {"event": "protocol_event"}  # `event` is the kind of the record


class JournalError(ValueError):
    """These lines are not a journal."""


class Sink(Protocol):
    """Where lines go: a raw file, whose `write` says how much it took, and None where it would block."""

    def write(self, data: bytes, /) -> int | None: ...


class Line(NamedTuple):
    """A record in the tail: its number and its JSON."""

    seq: int
    text: str


class Journal:
    """Write what is told, and keep the last of it for followers. All calls come from one thread.

    `file` is unbuffered (see `open_journal`), so that each line has left this process when `tell` returns.
    """

    def __init__(
        self,
        profile: Profile,
        seed: int,
        file: Sink | None = None,
        *,
        options: Options = DEFAULTS,
        on_trouble: Callable[[str], None] = lambda problem: None,
        on_record: Callable[[Record], None] | None = None,
        clock: Callable[[], int] = monotonic_ns,
        tail_records_max: int = TAIL_RECORDS_MAX,
        tail_bytes_max: int = TAIL_BYTES_MAX,
        is_masked: bool = True,
    ) -> None:
        self._clock = clock
        self._on_record = on_record
        self.started_at = clock()
        self._outlet = _Outlet(file, on_trouble) if file else None
        self._tail: deque[Line] = deque()
        self._tail_bytes = 0
        self._tail_records_max = tail_records_max
        self._tail_bytes_max = tail_bytes_max
        self._waiting: set[asyncio.Future[None]] = set()
        self.last = 0  # number of the newest record
        self.header = _encode(
            {
                "journal": FORMAT,
                "version": __version__,
                "profile": profile.name,
                "digest": profile.digest,
                "seed": seed,
                "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **header_of(profile, options, seed, is_masked=is_masked),
            }
        )
        if self._outlet:
            self._outlet.write(self.header)

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return self._outlet.lost if self._outlet else 0

    @property
    def now(self) -> float:
        """Seconds since its start, as records have them in `at`."""
        return self._seconds(self._clock())

    def tell(self, told: Told) -> int:
        """Record an event, and return the number of its record."""
        fields: dict[str, JsonValue] = {}
        if told.session:
            fields["attempt"] = told.session.number
            if told.session.connection:
                fields["client"], fields["connection"] = told.session.client, told.session.connection
        for name, value in told.event._asdict().items():
            fields[RENAMED.get(name, name)] = value.label if isinstance(value, Side) else value
        return self._add(told.at, kind_of(type(told.event)), fields)

    def note(self, kind: str, at: int | None = None, **fields: JsonValue) -> None:
        """Record something about the proxy's surroundings that is no event of a connection."""
        self._add(self._clock() if at is None else at, kind, fields)

    def line(self, seq: int) -> str | None:
        """The record of a number; None where the tail does not go back so far."""
        found = self.after(seq - 1, 1)
        return found[0].text if found and found[0].seq == seq else None

    def record(self, record: Record) -> None:
        """Write an input of a recorded run. It holds what peers said, so it goes to the file and to no follower."""
        if self._outlet:
            self._outlet.write(_encode(record))

    def _add(self, at: int, kind: str, fields: Record) -> int:
        self.last += 1
        record: Record = {"seq": self.last, "at": self._seconds(at), "event": kind, **fields}
        text = _encode(record)
        if self._on_record:
            self._on_record(record)
        self._tail.append(Line(self.last, text))
        self._tail_bytes += len(text)
        while len(self._tail) > self._tail_records_max or (
            self._tail_bytes > self._tail_bytes_max and len(self._tail) > 1
        ):
            self._tail_bytes -= len(self._tail.popleft().text)
        if self._outlet:
            self._outlet.write(text)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
        return self.last

    def _seconds(self, at: int) -> float:
        return (at - self.started_at) // 1000 / 1_000_000

    # -- followers --------------------------------------------------------------------------------------------------

    def after(self, seq: int, most: int = 256) -> list[Line]:
        """The records behind number `seq`, oldest first, as far as the tail goes back."""
        start = max(0, seq + 1 - (self.last + 1 - len(self._tail)))
        return [self._tail[index] for index in range(start, min(start + most, len(self._tail)))]

    def missed(self, seq: int) -> int:
        """How many records behind number `seq` are not in the tail any more."""
        return max(0, self.last - len(self._tail) - seq)

    async def wait(self, seq: int) -> None:
        """Wait for a record behind number `seq`."""
        while self.last <= seq:
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)


class _Outlet:
    """Lines into a file that may fail: a line is written whole or counted as lost, and never torn.

    After a loss the first line to be written says how many are missing before it. It has no number, since it tells of
    the file and not of the run.
    """

    def __init__(self, file: Sink, on_trouble: Callable[[str], None]) -> None:
        self.lost = 0
        self._file = file
        self._on_trouble = on_trouble
        self._rest = b""  # of a line that has been written in part
        self._untold = 0  # lost, and the file does not say so yet
        self._has_said = False

    def write(self, line: str) -> None:
        if self._untold and self._put(_encode({"event": "journal_lost", "records": self._untold})):
            self._untold = 0
        if self._untold or not self._put(line):
            self.lost += 1
            self._untold += 1

    def _put(self, line: str) -> bool:
        """Whether the line has been written, or begun: then its rest goes out before anything else."""
        data = self._rest + line.encode("ascii") + b"\n"
        problem = "it takes no more"
        try:
            written = self._file.write(data) or 0
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            written, problem = 0, str(error)
        has_begun = written > len(self._rest)
        self._rest = data[written:] if has_begun else self._rest[written:]
        if not has_begun and not self._has_said:
            self._has_said = True
            self._on_trouble(f"the journal can't be written: {problem}; the proxy goes on and counts what is lost")
        return has_begun


def open_journal(path: str) -> Sink:
    """Open a file for a new journal, readable only by its owner. Raise OSError where that can't be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb", buffering=0)


def read_journal(lines: Iterable[str]) -> tuple[Record, list[Record]]:
    """Read a journal's header and records. A last line that a crash cut short is left out; any other is an error."""
    records = iter_journal(lines)
    return next(records), list(records)


def iter_journal(lines: Iterable[str]) -> Iterator[Record]:
    """The same one by one, the header first. Raise JournalError, at the place where they are no journal any more."""
    broken = 0
    is_begun = False
    for number, line in enumerate(lines, 1):
        if broken:
            raise JournalError(f"line {broken}: expected a JSON object")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            broken = number
        elif is_begun or record.get("journal") == FORMAT:
            is_begun = True
            yield record
        else:
            break
    if not is_begun:
        raise JournalError(f'line 1: expected the header of a journal of format {FORMAT}: {{"journal": {FORMAT}, …}}')


def _encode(record: Record) -> str:
    """One line: everything but printable ASCII is escaped."""
    return json.dumps(record, separators=(",", ":")).replace("\x7f", "\\u007f")


def kind_of(event: type[Event]) -> str:
    """How an event is called in records."""
    kind = _KINDS.get(event)
    if kind is None:
        kind = _KINDS[event] = _WORD.sub("_", event.__name__).lower()
    return kind


def kinds() -> list[str]:
    """What the field `event` may say of what the proxy tells."""
    return sorted(event_types())


def event_types() -> dict[str, type[Event]]:
    """The event of each of these kinds."""
    return {kind_of(event): event for event in get_args(Event)}


_KINDS: dict[type[Event], str] = {}
