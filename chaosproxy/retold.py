"""A run from its journal alone: its events, made again of the records; its picture; its verdict, judged again.

Nothing is repeated, so it needs neither what was recorded of the bytes nor the profile's file: the header has the
profile in full, and a judge hears events and not connections. The verdict is about what stands before the end of the
run. A journal without one is of a run that goes on, or was cut off: what is open in its verdict stays open.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import JsonValue

from .attempt import Attempt, Spot
from .canonical import NotCanonical, load_profile
from .digest import Digester
from .events import ClientSaid, ClientState, Event, Framed
from .journal import RENAMED, RUN_ENDED, JournalError, Record, event_types
from .observations import tell_clients
from .picture import Picture
from .profile import Profile
from .recording import END, INPUT
from .report import Judged
from .units import MICROSECOND, SECOND
from .verdict import Judge, Verdict
from .wire.frames import SIDES, Side

KEPT_MAX = 300_000  # records that may be named as evidence
_PASSED_OVER = frozenset({INPUT, END, "framed", "journal_lost"})
_RUNS = frozenset({"profile_changed", "timeline_reset"})
_NOT_OF_CONNECTIONS = (ClientState, ClientSaid)  # they have an attempt and a client among their own fields

Prepare = Callable[[Profile], Profile]


class Retold(NamedTuple):
    """What a journal tells."""

    judged: Judged
    is_ended: bool  # and not cut off, or going on
    lost: int  # records that could not be written
    has_expectations: bool  # of whatever kind: a profile without any gives no verdict


def retell(header: Record, records: Iterable[Record], prepare: Prepare = lambda profile: profile) -> Retold:
    """Read a journal as `iter_journal` gives it; `prepare` may add to the profile. Raise JournalError."""
    retelling = _Retelling(header, prepare)
    for line, record in enumerate(records, 2):  # the first one is the header
        try:
            retelling.hear(record)
        except BadRecord as bad:
            raise JournalError(f"line {line}: {bad}") from None
    return retelling.end()


class _Retelling:
    def __init__(self, header: Record, prepare: Prepare) -> None:
        self._prepare = prepare
        self._seed = header.get("seed")
        self._picture = Picture(header, str(header.get("started")))
        self._digester = Digester()
        self._kept: dict[int, str] = {}
        self._now = 0.0
        self._began = 0.0  # of the last run
        self._lost = 0
        self._ended: Judged | None = None
        if "profile_in_full" not in header:
            raise JournalError("line 1: the whole profile is missing; it was written by an older chaosproxy")
        try:
            self._judge = self._judge_of(header["profile_in_full"], 0)
        except BadRecord as bad:
            raise JournalError(f"line 1: {bad}") from None

    def hear(self, record: Record) -> None:
        kind = record.get("event")
        if not isinstance(kind, str):
            raise BadRecord("expected a record with event:")
        if kind in _PASSED_OVER:
            lost = record.get("records")
            self._lost += lost if kind == "journal_lost" and isinstance(lost, int) else 0
            return
        seq, at = _read("seq", record.get("seq"), int), _read("at", record.get("at"), float)
        spot = Spot(round(at * 1_000_000) * MICROSECOND, seq)
        if kind in _RUNS:
            self._begin_run(kind, record, spot)
        if kind in _EVENTS:
            number, client, event = event_of(kind, record)
            self._judge.history.hear(spot, number, client, event)
        self._picture.hear(record)
        self._digester.hear(record)
        self._now = at
        if len(self._kept) < KEPT_MAX:
            self._kept[seq] = json.dumps(record)
        if kind == RUN_ENDED:
            self._ended = self._judged(is_over=True)

    def _begin_run(self, kind: str, record: Record, spot: Spot) -> None:
        """Another run: judge anew, with the connections that live on as if they had just come."""
        before = self._judge
        if kind == "profile_changed":
            self._seed = record.get("seed")
            self._judge = self._judge_of(record.get("profile_in_full"), spot.at)
        else:
            self._judge = Judge(before.profile, spot.at)
        living = (attempt for attempt in before.history.attempts.values() if _lives_on(attempt))
        self._judge.history.take_over(_carried(attempt, spot) for attempt in living)
        self._began = spot.at / SECOND
        self._ended = None

    def end(self) -> Retold:
        judged = self._ended or self._judged(is_over=False)
        profile = self._judge.profile
        return Retold(
            judged._replace(picture=self._picture.since(0, self._now)),
            self._ended is not None,
            self._lost,
            bool(profile.phases or profile.rules or profile.expect),
        )

    def _judge_of(self, profile: JsonValue, at: int) -> Judge:
        try:
            return Judge(self._prepare(load_profile(profile)), at)
        except NotCanonical as bad:
            raise BadRecord(str(bad)) from None

    def _judged(self, *, is_over: bool) -> Judged:
        now = round(self._now * 1_000_000) * MICROSECOND
        verdict: Verdict = self._judge.verdict(now, is_over=is_over)
        named = {seq for row in verdict.rows for seq in row.evidence}
        return Judged(
            profile=self._judge.profile.name or "profile",
            seed=self._seed if isinstance(self._seed, int) else self._judge.profile.seed,
            took=round((self._now - self._began) * SECOND),
            digest=self._digester.digest().whole,
            rows=verdict.rows,
            evidence={seq: self._kept[seq] for seq in named if seq in self._kept},
            clients=[*tell_clients(self._judge, now)],
            began=round(self._began * SECOND),
        )


def _lives_on(attempt: Attempt) -> bool:
    """Whether a connection carries something, or is on its way to it; a silenced one may, though its peer has gone."""
    return attempt.closed is None and (attempt.down is None or any(hush.healed is None for hush in attempt.hushes))


def _carried(attempt: Attempt, now: Spot) -> Attempt:
    """A connection as the judge of another run shall know it; as `carried` has it of a session."""
    came = Spot(attempt.accepted.at, now.seq)
    carried = Attempt(attempt.number, came, attempt.client, attempt.connection, attempt.is_plain)
    carried.asked = came if attempt.asked else None
    if attempt.opened:
        opened = carried.opened = Spot(attempt.opened.at, now.seq)
        if attempt.established:
            carried.established, carried.socket_id = opened, attempt.socket_id
        carried.subscribed = [(opened, channel) for channel in sorted(attempt.channels_at(now.at))]
    return carried


# -- events of records ----------------------------------------------------------------------------------------------


class BadRecord(ValueError):
    """A record does not have what its kind has."""


def event_of(kind: str, record: Record) -> tuple[int | None, str | None, Event]:
    """The attempt, its client once known, and the event of which a record tells. Raise BadRecord."""
    event_type, hints = _EVENTS[kind]
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        key = RENAMED.get(name, name)
        fields[name] = _read(key, record.get(key), hint)
    event = event_type(**fields)
    if isinstance(event, _NOT_OF_CONNECTIONS) or "attempt" not in record:
        return None, None, event
    client = _read("client", record.get("client"), str) if "connection" in record else None
    return _read("attempt", record["attempt"], int), client, event


def _read(name: str, value: JsonValue, hint: Any) -> Any:
    if isinstance(hint, UnionType):
        if value is None:
            return None
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    is_right, words, convert = _TYPES[get_origin(hint) or hint]
    if not is_right(value):
        raise BadRecord(f"expected {name}: to be {words}, got {json.dumps(value)[:80]}")
    return convert(value)


def _same(value: Any) -> Any:
    return value


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and abs(value) < 1e12


def _are_texts(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_TYPES: dict[Any, tuple[Callable[[JsonValue], bool], str, Callable[[Any], Any]]] = {
    str: (lambda value: isinstance(value, str), "text", _same),
    int: (lambda value: type(value) is int, "a whole number", _same),
    float: (_is_number, "a number", float),
    bool: (lambda value: isinstance(value, bool), "true or false", _same),
    tuple: (_are_texts, "a list of texts", tuple),
    Mapping: (lambda value: isinstance(value, dict), "an object", _same),
    Side: (lambda value: isinstance(value, str) and value in _SIDES, "client or server", lambda value: _SIDES[value]),
}
"""What there is in the fields of events: which values are of that type, in which words, and what makes it of JSON."""
_SIDES: dict[JsonValue, Side] = {side.label: side for side in SIDES}
_EVENTS = {kind: (event, get_type_hints(event)) for kind, event in event_types().items() if event is not Framed}
