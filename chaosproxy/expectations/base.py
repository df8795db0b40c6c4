"""What an expectation is: immutable data plus one method that looks at what has happened so far.

The class is the only source of an expectation's reference, as with faults: the docstring's first line is its help, the
fields with their descriptions are its options. To add one, write the class and list it in `expectations/__init__.py`.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..attempt import CUTTING, Attempt, Spot
from ..history import History, Visit
from ..units import SECOND

SETTLING = SECOND // 4
"""The proxy learns of some ends late: a leg that is not read is looked at every 100 ms."""
REVIVING = SECOND
"""A connection that outlived an outage must live on for so long; clients end some as soon as they hear again."""
NO_CONNECTION = "no client had a connection that could be hurt"


class Outcome(StrEnum):
    """How it stands with an expectation."""

    PASSED = "passed"
    FAILED = "failed"
    OPEN = "open"
    """It waits for something to happen, or for a time to pass."""
    HOLDS = "holds"
    """It has passed if nothing else happens."""


_BY_WEIGHT = (Outcome.FAILED, Outcome.OPEN, Outcome.HOLDS, Outcome.PASSED)


class After(StrEnum):
    """From when a time runs."""

    FAULT = "fault"
    DETECTED = "detected"
    HEAL = "heal"

    @property
    def moment(self) -> str:
        """As a noun."""
        return "detection" if self is After.DETECTED else self.value


class Finding(NamedTuple):
    """What was seen of an expectation for one client and one outage; `evidence` are numbers of journal records."""

    outcome: Outcome
    seen: str
    evidence: tuple[int, ...] = ()

    @property
    def is_decided(self) -> bool:
        return self.outcome in (Outcome.PASSED, Outcome.FAILED)


class Outage(NamedTuple):
    """A stretch in which faults kept clients from the server: consecutive phases, or a rule added by hand."""

    names: tuple[str, ...]
    began: Spot
    healed: Spot | None
    followed_by: str = ""  # the phase that begins with the heal

    def contains(self, spot: Spot | None) -> bool:
        return spot is not None and spot >= self.began and (self.healed is None or spot < self.healed)

    @property
    def label(self) -> str:
        return "+".join(name for name in self.names if name)


class Scene:
    """What a judge looks at: the history up to now, narrowed to a phase and a client where the profile names them."""

    def __init__(
        self,
        history: History,
        now: int,
        *,
        started_at: int = 0,
        has_protocol: bool = False,
        cutting: frozenset[str] = frozenset(),
        phase: str | None = None,
        client: str | None = None,
        after: After | None = None,
        is_timeline_done: bool = False,
        is_over: bool = False,
        staggering: int = 0,
    ) -> None:
        self.history = history
        self.now = now
        self.started_at = started_at
        self.has_protocol = has_protocol
        self.cutting = cutting  # phases with a rule that cuts
        self.phase = phase
        self.client = client
        self.after = after
        self.is_timeline_done = is_timeline_done  # no other phase will come
        self.is_over = is_over  # nothing more will happen
        self.staggering = staggering  # the longest that blows at live connections are dealt one after the other
        self._striking: dict[Outage, bool] = {}  # whether outages have struck live connections

    # -- who and when -----------------------------------------------------------------------------------------------

    @property
    def clients(self) -> list[str]:
        return [each for each in self.history.clients if self.client in (None, each)]

    def attempts(self, client: str) -> list[Attempt]:
        return self.history.attempts_of(client)

    def up(self, attempt: Attempt) -> Spot | None:
        """Since when a connection serves its client: opened, or established where a protocol is spoken."""
        return attempt.established if self.has_protocol else attempt.opened

    @property
    def visits(self) -> list[Visit]:
        """The visits of the phase that is named; without one, the whole run as if it were a phase."""
        if self.phase is not None:
            return [visit for visit in self.history.visits if visit.name == self.phase]
        return [Visit("", Spot(self.started_at, 0), None)]

    def is_about(self, spot: Spot) -> bool:
        """Whether something happened in the phase that is named, if one is."""
        if self.phase is None:
            return True
        return any(visit.contains(spot) for visit in self.visits)

    def ends(self, visit: Visit) -> bool:
        """Whether a visit is over for good."""
        return visit.left is not None or self.is_over

    @property
    def outages(self) -> list[Outage]:
        """Those that an expectation is about: all, or those of the phase that is named, or right before it."""
        every = [*self._outages_of_phases(), *self._outages_by_hand()]
        if self.phase is None:
            return every
        named = [outage for outage in every if self.phase in outage.names or outage.followed_by == self.phase]
        if named:
            return named
        return [Outage((visit.name,), visit.entered, visit.left) for visit in self.visits]

    @property
    def no_outage(self) -> str:
        """Why there is none, in words."""
        if self.cutting:
            return "its outage has not begun"
        return "no fault of the profile keeps clients from the server"

    def _outages_of_phases(self) -> Iterator[Outage]:
        if not self.history.visits and "" in self.cutting:
            yield Outage(("",), Spot(self.started_at, 0), None)
        current: Outage | None = None
        for visit in self.history.visits:
            if visit.name in self.cutting:
                names = (*current.names, visit.name) if current else (visit.name,)
                current = Outage(names, current.began if current else visit.entered, visit.left)
            elif current:
                yield current._replace(followed_by=visit.name)
                current = None
        if current:
            yield current

    def _outages_by_hand(self) -> Iterator[Outage]:
        for visits in self.history.live.values():
            for visit in visits:
                yield Outage((visit.name,), visit.entered, visit.left)

    # -- connections ------------------------------------------------------------------------------------------------

    def hurt(self, client: str, outage: Outage) -> tuple[Attempt, Spot] | None:
        """The connection that an outage took from a client, and when; None where it had none."""
        kept: Attempt | None = None
        for attempt in self.attempts(client):
            up = self.up(attempt)
            if up is None or (outage.healed and up >= outage.healed):
                continue
            was_up = self._was_up(attempt, outage)
            struck = self._struck(attempt, outage)
            if struck and (was_up or outage.contains(up)):
                return attempt, struck
            if was_up:
                kept = kept or attempt
        if kept is None or (self.now > outage.began.at + self.staggering and self._strikes_live(outage)):
            return None  # others were struck, and it was passed over
        return kept, outage.began

    def _was_up(self, attempt: Attempt, outage: Outage) -> bool:
        """Whether it served its client as an outage began."""
        up = self.up(attempt)
        return up is not None and up <= outage.began and (attempt.down is None or attempt.down.spot >= outage.began)

    def _struck(self, attempt: Attempt, outage: Outage) -> Spot | None:
        return next((strike.spot for strike in attempt.strikes if outage.contains(strike.spot)), None)

    def _strikes_live(self, outage: Outage) -> bool:
        """Whether an outage has struck connections that had been there before it."""
        if outage not in self._striking:
            every = self.history.counted()
            self._striking[outage] = any(self._was_up(each, outage) for each in every if self._struck(each, outage))
        return self._striking[outage]

    def told(self, client: str) -> list[tuple[Spot, str]]:
        """The states that a client has reported, its own words."""
        return [(each.spot, each.state) for each in self.history.states.get(client, []) if each.is_reported]

    # -- putting together -------------------------------------------------------------------------------------------

    def late(self, since: int, within: int, of: str) -> str:
        """Say how a time has run out, if it has; `of` is from when it runs."""
        passed_by = self.now - since
        if passed_by > within:
            return f"within {seconds(passed_by)} of the {of}"
        return f"before the run ended, {seconds(passed_by)} behind the {of}" if self.is_over else ""


def wait(scene: Scene, seen: str, evidence: Sequence[Spot] = ()) -> Finding:
    """Undecided; where nothing more will happen, that is a failure."""
    return Finding(Outcome.FAILED if scene.is_over else Outcome.OPEN, seen, numbers(evidence))


def passed(seen: str, *evidence: Spot | None) -> Finding:
    return Finding(Outcome.PASSED, seen, numbers(evidence))


def failed(seen: str, *evidence: Spot | None) -> Finding:
    return Finding(Outcome.FAILED, seen, numbers(evidence))


def holds(scene: Scene, is_decided: bool, seen: str, *evidence: Spot | None) -> Finding:
    """Well so far; well for good where it can't change any more."""
    is_final = is_decided or scene.is_over
    return Finding(Outcome.PASSED if is_final else Outcome.HOLDS, seen, numbers(evidence))


def numbers(spots: Sequence[Spot | None]) -> tuple[int, ...]:
    """The records, in order, each once; 0 is the beginning of the run, which has none."""
    return tuple(sorted({spot.seq for spot in spots if spot and spot.seq}))


def seconds(duration: int) -> str:
    """A measured time, for people."""
    return f"{duration / SECOND:.3f} s" if duration < SECOND else f"{duration / SECOND:.1f} s"


def counted(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def each_time(number: int) -> str:
    """That something was so every time."""
    return "once" if number == 1 else f"each of {number} times"


def together(findings: Sequence[tuple[str, Finding]]) -> Finding:
    """Of several findings with whom and when they are about, the worst one; `seen` says how many there are of it."""
    worst = next(outcome for outcome in _BY_WEIGHT if any(each.outcome is outcome for _, each in findings))
    such = [(label, each) for label, each in findings if each.outcome is worst]
    label, first = such[-1] if worst in (Outcome.PASSED, Outcome.HOLDS) else such[0]
    if len(findings) == 1:
        return first
    count = "each of" if len(such) == len(findings) else f"{len(such)} of"
    seen = f"{count} {len(findings)}: {f'{label}: ' if label else ''}{first.seen}"
    return first._replace(seen=seen)


class Expectation(BaseModel):
    """Base of all expectations."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ClassVar[str]
    shorthand: ClassVar[str | None] = None
    """The field that a bare value stands for: `detected_within: 5s` is `detected_within: {within: 5s}`."""
    default_after: ClassVar[After | None] = None
    """From when its time runs, where it has one that can be chosen."""
    needs_protocol: ClassVar[bool] = False
    """It speaks of things that only a protocol's messages tell."""
    counts_attempts: ClassVar[bool] = False
    """It counts attempts, which can't be seen while the listener refuses."""
    example: ClassVar[str]
    """As it stands in a profile."""

    def judge(self, scene: Scene) -> Finding:
        """How it stands."""
        raise NotImplementedError

    def misfits(self) -> Iterator[str]:
        """What does not go together in its options."""
        return iter(())

    @property
    def longest(self) -> int | None:
        """The time in which it must come true while a phase lasts, in nanoseconds, if it must."""
        return None

    @classmethod
    def help(cls) -> str:
        """One line."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


class OfOutages(Expectation):
    """One that is judged for each client and each outage that took a connection from it."""

    def judge(self, scene: Scene) -> Finding:
        outages = scene.outages
        findings = [
            (label_of(client, outage if len(outages) > 1 else None), finding)
            for outage in outages
            for client in scene.clients
            if (finding := self.judge_one(scene, client, outage))
        ]
        if not findings:
            began = [outage.began for outage in outages]
            return wait(scene, NO_CONNECTION if outages else scene.no_outage, began)
        return together(findings)

    def judge_one(self, scene: Scene, client: str, outage: Outage) -> Finding | None:
        """How it stands for one client and one outage; None where it was not concerned."""
        raise NotImplementedError


class OfClients(Expectation):
    """One that is judged for each client."""

    def judge(self, scene: Scene) -> Finding:
        if not scene.visits:
            return wait(scene, f"phase {scene.phase} was not entered")
        findings = [
            (label_of(client), finding) for client in scene.clients if (finding := self.judge_client(scene, client))
        ]
        return together(findings) if findings else wait(scene, self.nothing)

    nothing: ClassVar[str] = "no client was seen"

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        """How it stands for one client; None where it was not concerned."""
        raise NotImplementedError


def label_of(client: str, outage: Outage | None = None) -> str:
    words = [f"client {client}"] if client else []
    words += [outage.label] if outage and outage.label else []
    return ", ".join(words)


__all__ = [
    "CUTTING",
    "NO_CONNECTION",
    "REVIVING",
    "SETTLING",
    "After",
    "Attempt",
    "Expectation",
    "Finding",
    "History",
    "OfClients",
    "OfOutages",
    "Outage",
    "Outcome",
    "Scene",
    "Spot",
    "Visit",
    "counted",
    "each_time",
    "failed",
    "holds",
    "label_of",
    "numbers",
    "passed",
    "seconds",
    "together",
    "wait",
]
