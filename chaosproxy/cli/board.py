"""What the live lines at the foot of a terminal say: one for each connection, and one for the phase and the counters.

Pure: what there is goes in, lines come out, which are never wider than they may be, and never more.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from ..legs import State
from ..observe import Clients
from ..session import Session
from ..units import SECOND
from ..wire.frames import SIDES, Side
from ..world import World
from .narrate import shown

GAP = "  "
TEXT, BINARY = 1, 2
_WIRE = {
    State.HEAD: "connected",
    State.ASKED: "asking",
    State.EXCHANGE: "plain http",
    State.DIALLING: "dialling",
    State.ANSWER: "asking",
    State.REFUSED: "refused",
    State.HUNG: "hanging",
    State.TUNNEL: "open",
    State.ENDING: "ending",
    State.OVER: "over",
}


class Line(NamedTuple):
    """A line, and how it is to look: a click colour, or `bold`, `dim`."""

    text: str
    tone: str = ""


class Notes(NamedTuple):
    """What was told of connections and can't be asked of them; by attempt."""

    established: set[int]
    silent_since: dict[int, int]


class Rates(NamedTuple):
    """Bytes per second, by side."""

    client: float = 0.0
    server: float = 0.0


class _Row(NamedTuple):
    session: Session
    says: str  # the client's own state, where it reports
    notes: Notes
    now: int


class _Column(NamedTuple):
    title: str
    least: int  # it may be cut to so many cells
    most: int
    rank: int  # the highest goes first where there is no room
    is_number: bool
    tell: Callable[[_Row], str]

    @property
    def is_elastic(self) -> bool:
        return self.least < self.most


def board(
    world: World, clients: Clients, notes: Notes, rates: Rates, now: int, columns: int, lines_max: int
) -> list[Line]:
    """The lines, at most `lines_max` of `columns` cells less one: a full line would wrap on some terminals."""
    width = max(1, columns - 1)
    foot = Line(_cut(_status(world, rates, now, width), width), "bold")
    room = lines_max - 1
    if room < 2 or not world.sessions:
        return [foot]
    count = len(world.sessions)
    fits = room - 1 if count <= room - 1 else room - 2  # the titles; and what says how many more there are
    if fits < 1:
        return [foot]
    states = {seen.attempt: seen.state for seen in clients.seen() if seen.source == "reported"}
    sessions = _chosen(world, notes, fits)
    rows = [_Row(session, shown(states.get(session.number, "")), notes, now) for session in sessions]
    lines = _table(rows, width)
    if count > len(rows):
        lines.append(Line(_cut(f"… and {count - len(rows)} more", width), "dim"))
    return [*lines, foot]


def _chosen(world: World, notes: Notes, count: int) -> list[Session]:
    """Where not all fit: those that are silent, then the newest; in their order. Thousands are not all looked at."""
    sessions = world.sessions
    if len(sessions) <= count:
        return list(sessions.values())
    silent = [number for number in sorted(notes.silent_since) if number in sessions and sessions[number].is_silent]
    chosen = set(silent[-count:])
    for number in reversed(sessions):
        if len(chosen) >= count:
            break
        chosen.add(number)
    return [sessions[number] for number in sorted(chosen)]


# -- the table --------------------------------------------------------------------------------------------------------


def _name(row: _Row) -> str:
    """The client's key, or what tells it apart where it has none."""
    session = row.session
    return shown(session.client or (session.request.path if session.request else "") or session.peer)


def _wire(row: _Row) -> str:
    session = row.session
    if session.is_silent:
        return f"silent {age(row.now - row.notes.silent_since.get(session.number, row.now))}"
    if session.state is State.TUNNEL and session.number in row.notes.established:
        return "established"
    return _WIRE[session.state]


def _carried(side: Side) -> Callable[[_Row], str]:
    def tell(row: _Row) -> str:
        splitter = row.session.directions[side].splitter
        return f"{splitter.frames[TEXT] + splitter.frames[BINARY]}/{size(splitter.bytes)}"

    return tell


def _rules(row: _Row) -> str:
    return ", ".join(dict.fromkeys(link.fault.name for link in row.session.links.values()))


_COLUMNS = (
    _Column("#", 9, 9, 0, True, lambda row: str(row.session.number)),
    _Column("CLIENT", 8, 28, 1, False, _name),
    _Column("AGE", 9, 9, 3, True, lambda row: age(row.now - row.session.accepted_at)),
    _Column("WIRE", 14, 14, 0, False, _wire),
    _Column("SAYS", 8, 16, 5, False, lambda row: row.says),
    _Column("UP", 12, 12, 7, True, _carried(Side.CLIENT)),
    _Column("DOWN", 12, 12, 6, True, _carried(Side.SERVER)),
    _Column("RULES", 8, 200, 4, False, _rules),
)


def _table(rows: Sequence[_Row], width: int) -> list[Line]:
    """Titles and rows. A column that says nothing of any connection is left out, as is one that has no room."""
    cells = {column: [column.tell(row) for row in rows] for column in _COLUMNS}
    columns = [column for column in _COLUMNS if any(cells[column])]
    while (widths := _widths(columns, cells, width)) is None:
        columns.remove(max(columns, key=lambda column: column.rank))
    titles = GAP.join(_fit(column.title, of, column.is_number) for column, of in widths.items())
    lines = [Line(_cut(titles, width).rstrip(), "dim")]
    for index, row in enumerate(rows):
        texts = (_fit(cells[column][index], of, column.is_number) for column, of in widths.items())
        lines.append(Line(_cut(GAP.join(texts), width).rstrip(), _tone(row)))
    return lines


def _widths(columns: Sequence[_Column], cells: dict[_Column, list[str]], width: int) -> dict[_Column, int] | None:
    """How wide each column is to be; None where there is no room for all, even cut."""
    widths = {column: _natural(column, cells[column]) for column in columns}
    excess = sum(widths.values()) + len(GAP) * (len(columns) - 1) - width
    for column in sorted(columns, key=lambda column: -column.rank):
        if column.is_elastic and excess > 0:
            cut = max(0, min(excess, widths[column] - column.least))
            widths[column] -= cut
            excess -= cut
    return widths if excess <= 0 or len(columns) == 1 else None


def _natural(column: _Column, texts: Sequence[str]) -> int:
    return min(column.most, max(cell_len(text) for text in (column.title, *texts)))


def _tone(row: _Row) -> str:
    if row.session.is_silent:
        return "red"
    if row.session.state is State.TUNNEL:
        return "green"
    return "yellow"


def _fit(text: str, width: int, is_number: bool) -> str:
    """A text in so many cells; wide characters count as two."""
    cut = _cut(text, width)
    space = " " * (width - cell_len(cut))
    return space + cut if is_number else cut + space


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


# -- the last line ----------------------------------------------------------------------------------------------------


def _status(world: World, rates: Rates, now: int, width: int) -> str:
    """The phase and the counters; what has no room is left out, from the right."""
    totals = world.totals
    strikes = sum(world.tally.strikes.values())
    parts = [
        _phase(world, now),
        f"{len(world.sessions)} open",
        f"{totals.attempts} attempts",
        f"{strikes} strikes",
        f"up {size(rates.client)}/s",
        f"down {size(rates.server)}/s",
    ]
    if world.is_draining:
        parts[0] = "ending"
    elif not world.is_listening:
        parts.insert(1, "refusing")
    while len(parts) > 1 and cell_len(" | ".join(parts)) > width:
        parts.pop()
    return " | ".join(parts)


def _phase(world: World, now: int) -> str:
    timeline = world.timeline
    phase = timeline.phase
    if not world.profile.phases:
        return world.profile.name or "no profile"
    if timeline.is_over:
        return "timeline over"
    if phase is None:
        return "waiting for a client"
    words = f"phase {phase.name}"
    if timeline.is_paused:
        return f"{words}, paused"
    if timeline.deadline is not None and phase.lasts is not None:
        return f"{words}, {age(max(0, timeline.deadline - now))} left"
    if phase.until:
        within = f", {age(max(0, timeline.deadline - now))} left" if timeline.deadline is not None else ""
        return f"{words}, until {phase.until.condition}{within}"
    return words


def age(duration: int) -> str:
    """A time in whole seconds: 7s, 1:05, 1:00:05."""
    seconds = duration // SECOND
    minutes, rest = divmod(seconds, 60)
    if minutes < 1:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes in at most four characters: 0B, 999B, 1.5K, 12K, 1.5M."""
    if count < 999.5:
        return f"{count:.0f}B"
    for unit in "KMGT":
        count /= 1024
        if count < 999.5:
            return f"{count:.1f}{unit}" if count < 9.95 else f"{count:.0f}{unit}"
    return f"{count:.0f}T"


def bytes_of(world: World) -> tuple[int, int]:
    """All that has come from each side so far."""
    directions = [session.directions for session in world.sessions.values()]
    client, server = (
        world.totals.bytes[side] + sum(each[side].splitter.bytes for each in directions) for side in SIDES
    )
    return client, server
