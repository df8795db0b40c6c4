"""What two runs must have in common to count as the same run: the run digest, taken from a journal's records.

A run's digest is made of stories, without times, sizes or socket ids:

- of each client: its connections, in the order of its requests;
- of each connection: its request, answer and opening; established and subscribed; faults that struck it as a whole,
  were healed or suppressed; and who closed it with which code. Beside that, for each side, its messages (where frames
  were journalled) and the faults that struck them, by ordinal. The two sides race, so they are not interleaved;
- of attempts that never asked for anything: the faults that struck them;
- of the proxy: its phases, whether they were paused, rules added and healed by hand, the listener.

Where another profile is played by hand, or the same anew, a run of its own begins, and what was before is forgotten.

Requests, strikes and closes stand with the phase in which they happened. Left out is what depends on timing alone:
control frames; who was seen to end first (`ended`); held, discarded and unjudged amounts; dials put off by the cap.

What a timer repeats collapses to one: the protocol's own pings and pongs of one side, alike connections in a row that
never opened, alike strikes on attempts in a row. Of such connections, the first one's phases stand for all: how many of
them fall into which phase, and which one is under way as a phase ends, is timing alone. Subscriptions between
`established` and the connection's next event are a set, since the answers of an auth endpoint race.

The states that clients reported are digested separately: they come by another way, and race with the wire.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import zip_longest
from typing import NamedTuple, cast

from .journal import Record

RECORDS_MAX = 500_000
_HEARTBEATS = frozenset({"pusher:ping", "pusher:pong"})
_CONTROL = frozenset({"close", "ping", "pong"})
# What is told of each event of a connection. An event that is not here is left out.
_FIELDS = {
    "asked": ("path",),
    "answered": ("status", "by"),
    "opened": ("extension",),
    "established": (),
    "struck": ("rule", "fault"),
    "healed": ("rule", "fault"),
    "suppressed": ("rule", "fault"),
    "closed": ("by", "code"),
}
_FIELDS_OF_PROXY = {
    "phase_entered": ("phase", "visit"),
    "phase_paused": ("phase",),
    "phase_resumed": ("phase",),
    "rule_changed": ("rule", "fault", "change"),
    "listening": ("is_open",),
}
_BEGINNINGS = frozenset({"profile_changed", "timeline_reset"})
_IN_PHASE = frozenset({"asked", "struck", "closed"})

Item = list[object]


class RunDigest(NamedTuple):
    """Digests in hexadecimal. Two runs whose `whole` is the same went the same way on the wire."""

    whole: str
    clients: dict[str, str]
    states: dict[str, str]  # by client; not part of `whole`


class _Connection:
    """The story of one connection."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._fate: list[Item] = []  # the same without phases and their ends
        self.sides: dict[str, list[Item]] = {"client": [], "server": []}
        self.heartbeats: set[str] = set()
        self.has_opened = False

    def tell(self, phase: str | None, item: Item) -> None:
        """Something happened to it; with a phase, that stands before it."""
        self.items.append(item if phase is None else [phase, *item])
        if item[0] != "healed":
            self._fate.append(item)

    def take_back(self) -> None:
        """Forget the last thing that happened."""
        self.items.pop()
        self._fate.pop()

    def told(self) -> Item:
        return [self.items, *self._beside]

    @property
    def fate(self) -> Item:
        """What became of it, in whatever phase."""
        return [self._fate, *self._beside]

    @property
    def _beside(self) -> Item:
        return [self.sides, sorted(self.heartbeats)]


class Digester:
    """The stories of a run, told as its records come."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.phase = ""
        self.proxy: list[Item] = []
        self.attempts: list[Item] = []
        self.clients: dict[str, dict[object, _Connection]] = {}
        self.states: dict[str, list[Item]] = {}
        self._heard = 0

    def hear(self, record: Record) -> None:
        kind = str(record.get("event"))
        if kind in _BEGINNINGS:
            self._begin()
            return
        self._heard += 1
        if self._heard > RECORDS_MAX:
            return  # a run of that length is digested by its beginning
        if kind in _FIELDS_OF_PROXY:
            if kind == "phase_entered":
                self.phase = f"{record.get('phase')} {record.get('visit')}"
            self.proxy.append(_item(record, _FIELDS_OF_PROXY[kind]))
        elif kind == "reported" or (kind == "client_state" and record.get("source") == "reported"):
            _append_new(self.states.setdefault(str(record.get("client")), []), [record.get("state")])
        elif "connection" in record:
            connections = self.clients.setdefault(str(record.get("client")), {})
            self._hear_connection(connections.setdefault(record["connection"], _Connection()), kind, record)
        elif kind == "struck":
            _append_new(self.attempts, [self.phase, *_item(record, _FIELDS[kind])])

    def _hear_connection(self, connection: _Connection, kind: str, record: Record) -> None:
        side = record.get("side")
        if kind == "framed":
            _hear_message(connection, str(side), record)
        elif kind == "struck" and side:
            connection.sides[str(side)].append([self.phase, *_item(record, (*_FIELDS[kind], "turn"))])
        elif kind == "dialled":
            connection.tell(None, [kind, "failed" if record.get("error") else "succeeded"])
        elif kind == "subscribed":
            last = connection.items[-1] if connection.items else []
            channels = set(last[1:]) if last[:1] == [kind] else set()
            if channels:
                connection.take_back()
            connection.tell(None, [kind, *sorted({*map(str, channels), str(record.get("channel"))})])
        elif kind in _FIELDS:
            connection.has_opened = connection.has_opened or kind == "opened"
            connection.tell(self.phase if kind in _IN_PHASE else None, _item(record, _FIELDS[kind]))

    def digest(self) -> RunDigest:
        """Of what has been heard so far."""
        stories = {client: _tell_client(connections) for client, connections in self.clients.items()}
        return RunDigest(
            whole=_digest([self.proxy, self.attempts, stories]),
            clients={client: _digest(story) for client, story in stories.items()},
            states={client: _digest(states) for client, states in self.states.items()},
        )

    def lines(self) -> list[str]:
        """What is digested, a line for each thing that happened."""
        lines = [f"proxy: {_words(item)}" for item in self.proxy]
        lines += [f"attempts: {_words(item)}" for item in self.attempts]
        for client, connections in sorted(self.clients.items()):
            for number, story in enumerate(_tell_client(connections), 1):
                items, sides, heartbeats = story
                place = f"client {client}, connection {number}" if client else f"connection {number}"
                lines += [f"{place}: {_words(item)}" for item in cast(list[Item], items)]
                for side, messages in cast(dict[str, list[Item]], sides).items():
                    lines += [f"{place}, from {side}: {_words(item)}" for item in messages]
                lines += [f"{place}: heartbeats of {side}" for side in cast(list[str], heartbeats)]
        return lines


def first_difference(one: Sequence[str], other: Sequence[str]) -> tuple[str, str] | None:
    """Where two runs part, by their lines; None where they do not."""
    for left, right in zip_longest(one, other, fillvalue="nothing more"):
        if left != right:
            return left, right
    return None


def run_digest(records: Iterable[Record]) -> RunDigest:
    """Digest the records of a journal, as `read_journal` gives them."""
    digester = Digester()
    for record in records:
        digester.hear(record)
    return digester.digest()


def _tell_client(connections: dict[object, _Connection]) -> list[Item]:
    story: list[Item] = []
    before: Item | None = None  # what became of the one before, if it never opened
    for connection in connections.values():
        fate = None if connection.has_opened else connection.fate
        if fate is None or fate != before:
            story.append(connection.told())
        before = fate
    return story


def _hear_message(connection: _Connection, side: str, record: Record) -> None:
    event = record.get("protocol_event")
    if event in _HEARTBEATS:
        connection.heartbeats.add(side)
    elif record.get("opcode") not in _CONTROL:
        connection.sides[side].append(["message", record.get("opcode"), event])


def _item(record: Record, fields: Iterable[str]) -> Item:
    return [record.get("event"), *(record.get(field) for field in fields)]


def _words(item: Item) -> str:
    return " ".join(str(part) for part in item if part not in (None, ""))


def _append_new(items: list[Item], item: Item) -> None:
    if items[-1:] != [item]:
        items.append(item)


def _digest(story: object) -> str:
    return blake2b(json.dumps(story, sort_keys=True).encode(), digest_size=8).hexdigest()
