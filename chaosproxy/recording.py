"""What comes into the pure core from outside, written down as it comes, with what was decided about it.

World and sessions decide by nothing but these inputs and their `now`, so whoever has them can let it all happen again
(`replay.py`). They hold what peers said, word for word. A recorded run sends every byte through `Session.receive`; one
that is not recorded has none of this on its way.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from inspect import signature
from typing import Any, assert_never

from pydantic import JsonValue

from .canonical import dump_profile, dump_rule, mask_profile
from .events import Action, Dial, End, Pause, Release, Reset, Resume, Send
from .profile import BoundRule, Profile
from .session import Session
from .wire.frames import Side
from .world import Options, World

INPUT, END = "input", "recorded"  # kinds of records

OF_WORLD = (
    "launch",
    "accept",
    "settle",
    "tick",
    "report",
    "step",
    "pause",
    "resume",
    "add_rule",
    "heal",
    "free",
    "clear",
    "play",
    "drain",
)
"""What a world is told by its proxy."""
OF_SESSIONS = (
    "receive",
    "ended",
    "lost",
    "broken",
    "blocked",
    "tick",
    "dialled",
    "dial_failed",
    "found_ended",
    "secured",
    "refuse_plaintext",
    "close",
    "reset",
)
"""What a session is told by its relay, or by hand."""

Write = Callable[[Mapping[str, JsonValue]], None]


@cache
def parameters_of(method: Callable[..., Any]) -> tuple[str, ...]:
    """The names of what an input takes, by the function that its class has for it."""
    return tuple(signature(method).parameters)[1:]


def header_of(profile: Profile, options: Options, seed: int, *, is_masked: bool = False) -> dict[str, JsonValue]:
    """What a journal's header has so that the run can be had again; where it can't be had anyway, without secrets."""
    told: dict[str, JsonValue] = dict(options._asdict())
    return {
        "profile_in_full": mask_profile(profile) if is_masked else dump_profile(profile),
        "options": {**told, "seed": seed},
    }


def digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=4).hexdigest()


def words_of(action: Action) -> str:
    """An action as it is recorded: of what is sent, its size and digest."""
    match action:
        case Send(side, data):
            return f"send {side.label} {len(data)} {digest_of(data)}"
        case Pause(side):
            return f"pause {side.label}"
        case Resume(side):
            return f"resume {side.label}"
        case End(side, notify):
            return f"end {side.label}" + ("" if notify else " without close_notify")
        case Release(side):
            return f"release {side.label}"
        case Reset(side, behind):
            return f"reset {side.label}" + (" behind" if behind else "")
        case Dial():
            return "dial"
        case _:
            assert_never(action)


def decided(result: object) -> list[str]:
    """What an input has led to: actions of its session, or those of several, each behind its attempt's number."""
    if result is None or isinstance(result, Session):
        return []  # nothing to do; what an accept leads to comes with the world's next steps
    assert isinstance(result, list)
    words: list[str] = []
    for each in result:
        if isinstance(each[0], Session):  # a step of the world
            words += [f"{each[0].number}: {words_of(action)}" for action in each[1]]
        else:
            words.append(words_of(each))
    return words


class Chain:
    """The decision digest, input by input: any two runs with the same one had the same inputs and did the same."""

    def __init__(self) -> None:
        self.inputs = 0
        self.actions = 0
        self.digest = ""

    def add(self, record: Mapping[str, JsonValue], did: list[str]) -> str:
        """Take an input with its time, and what was done about it; return the digest so far."""
        self.inputs += 1
        self.actions += len(did)
        text = json.dumps([self.digest, record, did], sort_keys=True)
        self.digest = blake2b(text.encode(), digest_size=8).hexdigest()
        return self.digest


class Recorder:
    """Writes inputs as they come. What the core tells itself while it decides is none."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._chain = Chain()
        self._is_deciding = False

    def listen(self, target: Session | World, methods: tuple[str, ...]) -> None:
        """Put ourselves before these methods of one object."""
        for method in methods:
            _put(target, method, self._recorded(target, method))

    def finish(self) -> None:
        """Say that the record is whole."""
        chain = self._chain
        self._write({"event": END, "inputs": chain.inputs, "actions": chain.actions, "digest": chain.digest})

    def _recorded(self, target: Session | World, method: str) -> Callable[..., Any]:
        decide: Callable[..., Any] = getattr(target, method)
        names = parameters_of(getattr(type(target), method))

        def recorded(*given: Any, **named: Any) -> Any:
            if self._is_deciding:
                return decide(*given, **named)
            self._is_deciding = True
            arguments = {**dict(zip(names, given, strict=False)), **named}
            attempt = target.number if isinstance(target, Session) else None
            try:
                result = decide(*given, **named)
            except Exception as error:
                self._note(method, attempt, arguments, [f"raise {type(error).__name__}"])
                raise
            finally:
                self._is_deciding = False
            self._note(method, attempt, arguments, decided(result))
            return result

        return recorded

    def _note(self, what: str, attempt: int | None, arguments: dict[str, Any], did: list[str]) -> None:
        record: dict[str, JsonValue] = {"input": self._chain.inputs + 1, "now": arguments.pop("now"), "what": what}
        if attempt is not None:
            record["attempt"] = attempt
        record["with"] = {name: _encoded(value) for name, value in arguments.items()}
        digest = self._chain.add(record, did)
        told: list[JsonValue] = [*did]
        self._write({"event": INPUT, **record, "did": told, "digest": digest})


class RecordedWorld(World):
    """A world whose inputs, and those of its sessions, are written down."""

    def __init__(self, profile: Profile, options: Options, now: int, write: Write) -> None:
        super().__init__(profile, options, now)
        self._recorder = Recorder(write)
        self._recorder.listen(self, OF_WORLD)

    def accept(self, peer: str, now: int) -> Session:
        session = super().accept(peer, now)
        self._recorder.listen(session, OF_SESSIONS)
        _put(session, "passes", _never)  # by `receive`, as everything that is to be written down
        return session

    def finish(self) -> None:
        """The run is over."""
        self._recorder.finish()


def _never(side: Side) -> bool:
    return False


def _put(target: Session | World, name: str, method: Callable[..., Any]) -> None:
    setattr(target, name, method)


def _encoded(value: Any) -> JsonValue:
    match value:
        case bytes():
            return b64encode(value).decode()
        case Side():
            return value.label
        case StrEnum():
            return value.value
        case Session():
            return value.number
        case BoundRule():
            return dump_rule(value)
        case Profile():
            return dump_profile(value)
        case frozenset():
            return sorted(value)
        case None | bool() | int() | str():
            return value
        case _:
            raise TypeError(f"{value!r} can't be recorded")
