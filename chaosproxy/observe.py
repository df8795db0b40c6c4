"""What clients do, seen over many connections: the states that they report, or else those that the wire lets one infer.

It hears what the journal hears, in the same order, and answers with events of its own, so that a state stands in the
journal beside what the wire did. Nothing of a connection depends on it.

Inferred is only what the wire shows: an attempt (connecting), a connection that is open or established (connected), and
the end of the last one (lost). That a client has given up, or waits, or has not noticed yet, no wire can show; so for a
client that reports, nothing is inferred. Connections without a key (`identify` finds none) may be anybody's: nothing is
inferred of them once anybody reports.
"""

from collections import OrderedDict
from enum import Enum, StrEnum
from typing import NamedTuple, TypeVar

from .events import Asked, ClientSaid, ClientState, Closed, Established, Event, Framed, Opened, Reported
from .legs import Fate
from .session import Session
from .wire.frames import Side
from .world import Told

CLIENTS_MAX = 1000  # the one that has not been heard of for longest is let go
SOCKETS_MAX = 4000  # socket ids that are remembered, for reports that come behind the end of their connection
ORDINALS_REMEMBERED = 64  # of one instance; a report that is later than so many others counts as repeated
CONNECTING, CONNECTED, LOST, OTHER = "connecting", "connected", "lost", "other"
STATES = frozenset({"initialized", CONNECTING, CONNECTED, "unavailable", "failed", "disconnected", LOST})
"""The states that may be labels: pusher-js's six, and `lost`, which is only ever inferred. Any other is `other`."""
DROPS = ("malformed", "rate", "repeated", "too_large")
"""Why reports are not taken."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Source(StrEnum):
    """How a state is known."""

    REPORTED = "reported"
    INFERRED = "inferred"


class Statement(NamedTuple):
    """One report of the script in a client."""

    client: str  # empty where it has no name: then it is the one whose connection has the socket id
    instance: str
    ordinal: int
    client_ms: float
    socket_id: str
    what: str  # state, error, connecting_in, mark or gone
    state: str = ""
    previous: str = ""
    detail: str = ""
    code: int | None = None
    path: str = ""


class Seen(NamedTuple):
    """The last that is known of a client."""

    client: str
    instance: str
    state: str
    since: int
    source: Source
    socket_id: str
    attempt: int | None


class _Client:
    """One client: an instance of the script, or a key on the wire."""

    def __init__(self) -> None:
        self.name = ""
        self.state = ""  # not known
        self.since = 0
        self.source = Source.INFERRED
        self.socket_id = ""
        self.attempt: int | None = None
        self._newest = 0
        self._told = 0  # one bit for each of the last ordinals; the lowest is the newest's

    def is_late(self, ordinal: int) -> bool | None:
        """Note a report: whether a later one came before it, or None where it has come already."""
        behind = self._newest - ordinal
        if behind < 0:
            self._told = (self._told << min(-behind, ORDINALS_REMEMBERED) | 1) & (1 << ORDINALS_REMEMBERED) - 1
            self._newest = ordinal
            return False
        if behind >= ORDINALS_REMEMBERED or self._told >> behind & 1:
            return None
        self._told |= 1 << behind
        return True


class _Stage(Enum):
    """How far a connection has come, for the client at its end."""

    ASKING = CONNECTING
    THERE = CONNECTED
    SILENT = "silent"  # a fault keeps it half-open: there, unless its client tries anew


class _Owner(NamedTuple):
    """Whose connection has, or had, a socket id."""

    attempt: int
    client: str


class Clients:
    """The clients of one proxy. Where a protocol is spoken, a connection counts once that has been established."""

    def __init__(self, *, has_protocol: bool = False) -> None:
        self.has_protocol = has_protocol
        self._clients: OrderedDict[tuple[str, str], _Client] = OrderedDict()  # by key on the wire, or by instance
        self._reporting: OrderedDict[str, None] = OrderedDict()  # names and keys of which nothing is inferred any more
        self._owners: OrderedDict[str, _Owner] = OrderedDict()  # by socket id
        self._stages: dict[int, tuple[str, _Stage]] = {}  # of live connections, by attempt
        self._counts: dict[str, dict[_Stage, int]] = {}  # of live connections, by client
        self._spent: dict[tuple[str, str], int] = {}  # nanoseconds by state and source, up to the last change
        self.transitions: dict[tuple[str, str, str], int] = {}  # by state before, state, source
        self.dropped = dict.fromkeys(DROPS, 0)  # reports that were not taken

    # -- reported ---------------------------------------------------------------------------------------------------

    def hear(self, statement: Statement, now: int) -> list[Told]:
        """A client says something of itself; a report that has come already is not told again."""
        owner = self._owners.get(statement.socket_id)
        client = self._client((statement.client, statement.instance), now)
        is_late = client.is_late(statement.ordinal)
        if is_late is None:
            self.drop("repeated")
            return []
        client.name = statement.client or client.name or (owner.client if owner else "")
        for name in ("", client.name, *([owner.client] if owner else [])):
            self._note_reporting(name, now)
        attempt = owner.attempt if owner else None
        tail = (attempt, statement.socket_id, statement.instance, statement.ordinal, statement.client_ms, is_late)
        if statement.what == "state":
            previous = statement.previous or ("" if is_late else client.state)
            self._count(previous, statement.state, Source.REPORTED)
            if not is_late:
                self._enter(client, statement.state, Source.REPORTED, now)
                client.socket_id, client.attempt = statement.socket_id, attempt
            return [Told(now, None, ClientState(client.name, previous, statement.state, Source.REPORTED, *tail))]
        if statement.what == "gone" and not is_late:
            self._enter(client, "", Source.REPORTED, now)
        said = ClientSaid(client.name, statement.what, statement.detail, statement.code, statement.path, *tail)
        return [Told(now, None, said)]

    def drop(self, reason: str, reports: int = 1) -> None:
        """Count reports that are not taken."""
        self.dropped[reason] += reports

    def _hear_program(self, event: Reported, now: int) -> None:
        """A program reported over the API. It has no script, so no ordinals; its record is in the journal as it is."""
        for name in ("", event.client):
            self._note_reporting(name, now)
        client = self._client((event.client, ""), now)
        client.name = event.client
        self._count(client.state, event.state, Source.REPORTED)
        self._enter(client, event.state, Source.REPORTED, now)

    def _note_reporting(self, name: str, now: int) -> None:
        """From now on nothing is inferred of this client."""
        if name not in self._reporting:
            inferred = self._clients.get((name, ""))
            if inferred and inferred.source is Source.INFERRED:
                self._enter(inferred, "", Source.INFERRED, now)
        _remember(self._reporting, name, None, CLIENTS_MAX)

    # -- inferred ---------------------------------------------------------------------------------------------------

    def tell(self, told: Told) -> list[Told]:
        """Something happened; return what it shows of a client's state, if anything new."""
        session, event = told.session, told.event
        if session is None:
            if isinstance(event, Reported):
                self._hear_program(event, told.at)
            return []
        if isinstance(event, Framed):
            return []
        if isinstance(event, Established) and event.socket_id:
            _remember(self._owners, event.socket_id, _Owner(session.number, session.client), SOCKETS_MAX)
        before = self._stages.get(session.number)
        stage = before[1] if before else None
        after = self._stage(session, event, stage)
        if after is stage:
            return []
        self._move(session, before, after)
        return self._infer(session, told.at)

    def _stage(self, session: Session, event: Event, stage: _Stage | None) -> _Stage | None:
        """How far a connection has come with this event; None where it is none, or over for its client.

        What is told has happened some moments ago, and the session is as it is now: by then it may have ended.
        """
        match event:
            case Asked():
                return _Stage.ASKING
            case Opened() if self.has_protocol:
                return stage or _Stage.ASKING
            case Opened() | Established():
                return _Stage.SILENT if session.is_silent else _Stage.THERE
            case Closed():
                return None
            case _ if stage is None or _is_over_for_client(session):
                return None
            case _ if stage is _Stage.ASKING:
                return stage
            case _:
                return _Stage.SILENT if session.is_silent else _Stage.THERE

    def _move(self, session: Session, before: tuple[str, _Stage] | None, after: _Stage | None) -> None:
        """Keep count of a client's connections by stage, so that no event makes us look at all of them."""
        if before:
            client, stage = self._stages.pop(session.number)
            counts = self._counts[client]
            counts[stage] -= 1
            if not any(counts.values()):
                del self._counts[client]
        if after:
            self._stages[session.number] = session.client, after
            self._counts.setdefault(session.client, dict.fromkeys(_Stage, 0))[after] += 1

    def _infer(self, session: Session, now: int) -> list[Told]:
        if session.client in self._reporting:
            return []
        client = self._client((session.client, ""), now)
        state, previous = self._inferred(session.client), client.state
        if state == previous:
            return []
        self._count(previous, state, Source.INFERRED)
        self._enter(client, state, Source.INFERRED, now)
        client.name, client.attempt = session.client, session.number
        tail = (session.number, "", "", None, None, False)
        return [Told(now, None, ClientState(client.name, previous, state, Source.INFERRED, *tail))]

    def _inferred(self, name: str) -> str:
        """One of its connections is there; or it tries; or a fault has silenced the one it has; or it is lost."""
        counts = self._counts.get(name)
        if counts is None:
            return LOST
        return CONNECTING if counts[_Stage.ASKING] and not counts[_Stage.THERE] else CONNECTED

    # -- what is known ----------------------------------------------------------------------------------------------

    def seen(self) -> list[Seen]:
        """The clients whose state is known, the last to be heard of at the end."""
        return [
            Seen(each.name, instance, each.state, each.since, each.source, each.socket_id, each.attempt)
            for (_, instance), each in self._clients.items()
            if each.state
        ]

    def spent(self, now: int) -> dict[tuple[str, str], int]:
        """Nanoseconds that clients have been in each state, by label and source; a change counts when we hear of it."""
        spent = dict(self._spent)
        for client in self._clients.values():
            _add(spent, client, now)
        return spent

    def _client(self, key: tuple[str, str], now: int) -> _Client:
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _Client()
            if len(self._clients) > CLIENTS_MAX:
                _, oldest = self._clients.popitem(last=False)
                _add(self._spent, oldest, now)
        self._clients.move_to_end(key)
        return client

    def _enter(self, client: _Client, state: str, source: Source, now: int) -> None:
        if (client.state, client.source) != (state, source):
            _add(self._spent, client, now)
            client.state, client.source, client.since = state, source, now

    def _count(self, previous: str, state: str, source: Source) -> None:
        """Count a change; the first state that is known of a client is none."""
        if previous and previous != state:
            key = label_of(previous), label_of(state), source.value
            self.transitions[key] = self.transitions.get(key, 0) + 1


def label_of(state: str) -> str:
    """A bounded label, whatever a client may call its state."""
    return state if state in STATES else OTHER


def _is_over_for_client(session: Session) -> bool:
    """Whether the client has ended its leg, or we have: it can't go on, whatever becomes of the other leg."""
    leg = session.legs[Side.CLIENT]
    return leg.read_ended or leg.write_ended or leg.fate is not Fate.OPEN


def _add(spent: dict[tuple[str, str], int], client: _Client, now: int) -> None:
    """Add the time that a client has been in its state."""
    if client.state:
        key = label_of(client.state), client.source.value
        spent[key] = spent.get(key, 0) + now - client.since


def _remember(memory: "OrderedDict[Key, Value]", key: Key, value: Value, most: int) -> None:
    """Keep the newest `most`."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > most:
        memory.popitem(last=False)
