"""Let a recorded run happen again: the same inputs into a new world, in virtual time, must lead to the same actions."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import JsonValue

from .canonical import NotCanonical, load_profile, load_rule
from .effects import Leg
from .profile import Profile
from .recording import END, INPUT, OF_SESSIONS, OF_WORLD, Chain, decided, parameters_of
from .session import Session
from .wire.frames import SIDES, Side
from .world import Options, World

Record = Mapping[str, JsonValue]
T = TypeVar("T", int, str, bool)


class BadRecording(ValueError):
    """There is nothing here that could be replayed; the message says what is wrong, and where."""


class Difference(NamedTuple):
    """The first input about which something else was decided."""

    line: int  # of the journal
    number: int
    what: str  # the input, in words
    then: list[str]
    now: list[str]


class Replayed(NamedTuple):
    """How a replay went. It stops at the first difference."""

    inputs: int
    actions: int
    digest: str
    difference: Difference | None
    is_whole: bool  # the recording was brought to its end


def setting_of(header: Record) -> tuple[Profile, Options]:
    """The profile and options that a journal's header has in full. Raise BadRecording."""
    given = header.get("options")
    if "profile_in_full" not in header or not isinstance(given, dict):
        raise BadRecording(
            "the header does not have the whole profile, so this journal can't be replayed; it was written by an "
            "older chaosproxy"
        )
    try:
        profile = load_profile(header["profile_in_full"])
    except NotCanonical as bad:
        raise BadRecording(f"the header: {bad}") from None
    wanted = {"seed": int, **{name: type(value) for name, value in Options()._asdict().items() if value is not None}}
    for name, kind in wanted.items():
        if type(given.get(name)) is not kind:
            raise BadRecording(f"the header: expected options.{name} to be of type {kind.__name__}")
    options: dict[str, Any] = {name: given[name] for name in wanted}
    return profile, Options(**options)


def replay(header: Record, records: Iterable[Record]) -> Replayed:
    """Replay the inputs of a journal, as `read_journal` gives it. Raise BadRecording."""
    profile, options = setting_of(header)
    stage = _Stage(profile, options)
    chain = Chain()
    for line, record in enumerate(records, 2):  # the first one is the header
        match record.get("event"):
            case "journal_lost":
                raise BadRecording(f"records are missing behind input {chain.inputs}: the journal could not be written")
            case kind if kind == INPUT:
                if difference := _take(stage, chain, record, line):
                    return Replayed(chain.inputs, chain.actions, chain.digest, difference, is_whole=False)
            case kind if kind == END:
                if (record.get("inputs"), record.get("digest")) != (chain.inputs, chain.digest):
                    raise BadRecording(
                        f"its end tells of {record.get('inputs')} inputs with the digest {record.get('digest')}, and "
                        f"there are {chain.inputs} with {chain.digest}"
                    )
                return Replayed(chain.inputs, chain.actions, chain.digest, None, is_whole=True)
            case _:
                pass
    if not chain.inputs:
        raise BadRecording("it has no inputs: it was not recorded with --journal-bytes")
    return Replayed(chain.inputs, chain.actions, chain.digest, None, is_whole=False)


def _take(stage: "_Stage", chain: Chain, record: Record, line: int) -> Difference | None:
    number = record.get("input")
    if number != chain.inputs + 1:
        raise BadRecording(f"expected input {chain.inputs + 1}, got {number}: inputs are missing, or out of order")
    told = _Input.of(record)
    did = stage.take(told)
    then = [str(each) for each in told.did]
    if did != then:
        return Difference(line, chain.inputs + 1, told.words, then, did)
    digested: dict[str, JsonValue] = {
        key: record[key] for key in ("input", "now", "what", "attempt", "with") if key in record
    }
    if chain.add(digested, did) != told.digest:
        return Difference(line, chain.inputs, told.words, [f"digest {told.digest}"], [f"digest {chain.digest}"])
    return None


class _Input(NamedTuple):
    number: int
    now: int
    what: str
    attempt: int | None
    arguments: dict[str, JsonValue]
    did: list[JsonValue]
    digest: str

    @classmethod
    def of(cls, record: Record) -> "_Input":
        match record:
            case {
                "input": int(number),
                "now": int(now),
                "what": str(what),
                "with": dict(arguments),
                "did": list(did),
                "digest": str(digest),
            }:
                attempt = record.get("attempt")
                if attempt is None or isinstance(attempt, int):
                    return cls(number, now, what, attempt, arguments, did, digest)
        raise BadRecording(f"input {record.get('input')}: expected now, what, with, did and digest")

    @property
    def words(self) -> str:
        """The input for people; bytes by their number."""
        told = [f"attempt {self.attempt}"] if self.attempt is not None else []
        for name, value in self.arguments.items():
            if name == "data":
                told.append(f"{len(b64decode(str(value)))} bytes")
            elif value is not None and value != "" and not isinstance(value, dict):
                told.append(f"{name} {value}")
        return f"{self.what} ({', '.join(told)})" if told else self.what


class _Stage:
    """A world and its sessions, told what was recorded."""

    def __init__(self, profile: Profile, options: Options) -> None:
        self._world = World(profile, options)
        self._sessions: dict[int, Session] = {}

    def take(self, told: _Input) -> list[str]:
        """Let an input happen; return what is decided."""
        try:
            target = self._target(told)
            names = parameters_of(getattr(type(target), told.what))
            arguments = {name: self._decoded(name, value) for name, value in told.arguments.items()}
            if unknown := arguments.keys() - names:
                raise ValueError(f"{told.what} takes no {', '.join(sorted(unknown))}")
        except (ValueError, KeyError) as error:
            raise BadRecording(f"input {told.number}: {error}") from None
        try:
            result = getattr(target, told.what)(now=told.now, **arguments)
        except Exception as error:  # of our own: it may be what the journal was sent in for
            return [f"raise {type(error).__name__}"]
        self._world.told.clear()
        if isinstance(result, Session):
            self._sessions[result.number] = result
        return decided(result)

    def _target(self, told: _Input) -> Session | World:
        if told.attempt is None and told.what in OF_WORLD:
            return self._world
        if told.attempt is not None and told.what in OF_SESSIONS:
            return self._session(told.attempt)
        raise ValueError(f"{told.what!r} is no input")

    def _session(self, number: JsonValue) -> Session:
        session = self._sessions.get(number) if isinstance(number, int) else None
        if session is None:
            raise ValueError(f"there is no attempt {number}")
        return session

    def _decoded(self, name: str, value: JsonValue) -> object:
        if name == "session":
            return self._session(value)
        if name not in _DECODERS:
            raise ValueError(f"{name!r} is unknown")
        return _DECODERS[name](value)


def _of(kind: type[T]) -> Callable[[JsonValue], T]:
    def decode(value: JsonValue) -> T:
        if type(value) is not kind:
            raise ValueError(f"expected {kind.__name__}, got {value!r}")
        return value

    return decode


def _or_none(decode: Callable[[JsonValue], object]) -> Callable[[JsonValue], object]:
    return lambda value: None if value is None else decode(value)


def _side(value: JsonValue) -> Side:
    found = [side for side in SIDES if side.label == value]
    if not found:
        raise ValueError(f"expected client or server, got {value!r}")
    return found[0]


def _data(value: JsonValue) -> bytes:
    return b64decode(_of(str)(value), validate=True)


def _attempts(value: JsonValue) -> frozenset[int]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of attempts, got {value!r}")
    return frozenset(_of(int)(each) for each in value)


_DECODERS: dict[str, Callable[[JsonValue], object]] = {
    "side": _side,
    "data": _data,
    "leg": lambda value: Leg(_of(str)(value)),
    "rule": load_rule,
    "profile": _or_none(load_profile),
    "only": _or_none(_attempts),
    "attempts": _attempts,
    "is_truncated": _of(bool),
    "is_blocked": _of(bool),
    "lasts": _or_none(_of(int)),
    "seed": _or_none(_of(int)),
    "code": _or_none(_of(int)),
    "phase": _or_none(_of(str)),
    "rule_id": _or_none(_of(str)),
    **dict.fromkeys(("peer", "error", "remedy", "version", "reason", "by", "client", "state", "detail"), _of(str)),
}
