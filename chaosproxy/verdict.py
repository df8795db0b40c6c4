"""Expectations over what happened: passed or failed, row by row, with the journal's records that show it.

Nothing to judge is a failure: no client came, a phase was never entered, a fault never struck. Judging goes on until
every row is decided, or nothing more will happen.
"""

from typing import NamedTuple

from .attempt import Spot
from .expectations import After, Finding, Outcome, Scene
from .expectations.base import failed, passed, wait
from .expected import Expected
from .history import History
from .profile import BoundRule, Profile
from .units import MICROSECOND
from .world import Told

NO_CLIENT = "no client was seen: does it connect to the proxy (CHAOSPROXY_URL) and not to the server itself?"
NOT_EXERCISED = "not exercised"
UNFINISHED = "did not end: "


class Row(NamedTuple):
    """One thing that was judged."""

    name: str
    about: str  # phase, client, from when
    outcome: Outcome
    seen: str
    evidence: tuple[int, ...] = ()  # numbers of journal records
    is_expected: bool = False  # by the profile, and not by itself

    @property
    def title(self) -> str:
        return f"{self.name} ({self.about})" if self.about else self.name


class Verdict(NamedTuple):
    """How a run stands, or has ended."""

    rows: tuple[Row, ...]
    is_finished: bool  # nothing is open any more, and no other phase will come

    @property
    def has_passed(self) -> bool:
        return all(row.outcome in (Outcome.PASSED, Outcome.HOLDS) for row in self.rows)

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.rows if row.outcome is Outcome.FAILED]


class Judge:
    """Hears what happens in a run of a profile, and says how it stands. Times are those of one clock.

    It looks at them to the microsecond since `started_at`, as the journal has them: so who judges by the journal alone
    comes to the same verdict.
    """

    def __init__(self, profile: Profile, started_at: int) -> None:
        self.profile = profile
        rules = [rule for phase in profile.phases or (None,) for rule in profile.bound_rules(phase)]
        self.history = History({rule.id: rule.fault for rule in rules})
        self._staggering = max((getattr(rule.fault, "over", 0) for rule in rules), default=0)
        self._started_at = started_at

    def hear(self, told: Told, seq: int) -> None:
        """Something happened; `seq` is the number of the journal's record that says so."""
        session = told.session
        number = session.number if session else None
        client = session.client if session and session.connection else None
        self.history.hear(Spot(self._to_microsecond(told.at), seq), number, client, told.event)

    def _to_microsecond(self, at: int) -> int:
        return at - (at - self._started_at) % MICROSECOND

    @property
    def is_timeline_done(self) -> bool:
        """Whether no other phase will come by itself."""
        phases = self.profile.phases
        if not phases or self.history.is_timeline_over:
            return True
        last = phases[-1]
        is_endless = last.lasts is None and last.until is None and self.profile.repeat == 1
        return is_endless and bool(self.history.visits) and self.history.visits[-1].name == last.name

    def verdict(self, now: int, *, is_over: bool = False) -> Verdict:
        """Judge what has happened so far; with `is_over`, what is open has failed."""
        now = self._to_microsecond(now)
        if is_over:
            self.history.retire(now)
        rows = [self._judge_client(now, is_over), *self._judge_phases(is_over), *self._judge_faults(is_over)]
        rows += [self._judge(each, now, is_over) for each in self.profile.expect]
        if self.history.left_out:
            seen = f"{self.history.left_out} things are beyond what is kept, and were not judged"
            rows.append(Row("all was seen", "", Outcome.FAILED, seen))
        is_open = any(row.outcome is Outcome.OPEN for row in rows)
        return Verdict(tuple(rows), is_finished=self.is_timeline_done and not is_open)

    def scene(self, now: int) -> Scene:
        """What there is to be seen, without a judgement."""
        return self._scene(self._to_microsecond(now), False)

    # -- what is judged without being asked -------------------------------------------------------------------------

    def _judge_client(self, now: int, is_over: bool) -> Row:
        came = next(self.history.counted(), None)
        scene = self._scene(now, is_over)
        if came is None:
            return _row("a client came", "", wait(scene, NO_CLIENT))
        count = len(self.history.clients)
        clients = f"{count} clients, " if count > 1 else ""
        total = sum(1 for _ in self.history.counted())
        seen = f"{clients}{total} attempts" if total > 1 else "1 attempt"
        return _row("a client came", "", passed(seen, came.asked or came.accepted))

    def _judge_phases(self, is_over: bool) -> list[Row]:
        if not self.profile.phases:
            return []
        entered = {visit.name: visit.entered for visit in self.history.visits}
        missing = [phase.name for phase in self.profile.phases if phase.name not in entered]
        late = [visit for visit in self.history.visits if UNFINISHED in visit.reason]
        if late:
            return [_row("phases", "", failed(late[0].reason, late[0].entered, late[0].left))]
        if missing:
            outcome = Outcome.FAILED if is_over or self.is_timeline_done else Outcome.OPEN
            seen = f"never entered: {', '.join(missing)}"
            return [_row("phases", "", Finding(outcome, seen))]
        spots = list(entered.values())
        return [_row("phases", "", passed(f"all {len(entered)} entered", *spots))]

    def _judge_faults(self, is_over: bool) -> list[Row]:
        """Each rule must have struck somewhere."""
        phases_of: dict[str, list[str]] = {}
        rules: dict[str, BoundRule] = {}
        for phase in self.profile.phases or (None,):
            for rule in self.profile.bound_rules(phase):
                rules.setdefault(rule.id, rule)
                phases_of.setdefault(rule.id, []).append(phase.name if phase else "")
        return [self._judge_fault(rule, phases_of[rule.id], is_over) for rule in rules.values()]

    def _judge_fault(self, rule: BoundRule, phases: list[str], is_over: bool) -> Row:
        name = f"{rule.fault.name} struck"
        about = f"rule {rule.id}" if rule.is_named else f"phase {phases[0]}" if len(phases) == 1 and phases[0] else ""
        strikes = self.history.strikes.get(rule.id, [])
        if strikes:
            count = f"{len(strikes)} times" if len(strikes) > 1 else "once"
            return _row(name, about, passed(count, *(strike.spot for strike in strikes[:3])))
        if rule.fault.name == "refuse" and (closed := self._closed_listener(phases)):
            return _row(name, about, passed("the listener was closed", closed))
        is_past = self._is_past(phases)
        seen, evidence = NOT_EXERCISED, tuple[int, ...]()
        if rule.id in self.history.suppressed:
            spot, reason = self.history.suppressed[rule.id]
            seen, evidence = f"{NOT_EXERCISED}: {reason}", (spot.seq,)
        elif is_past or is_over:
            seen = f"{NOT_EXERCISED}: it never struck"
        return Row(name, about, Outcome.FAILED if is_past or is_over else Outcome.OPEN, seen, evidence)

    def _closed_listener(self, phases: list[str]) -> Spot | None:
        """When a rule that refuses closed the listener, if it did: it does so for as long as its phase lasts."""
        if len(phases) == max(1, len(self.profile.phases)):  # it has no phase of its own
            return next(iter(self.history.refused), None)
        return next((visit.entered for visit in self.history.visits if visit.name in phases), None)

    def _is_past(self, phases: list[str]) -> bool:
        """Whether the phases in which a rule holds are over for good."""
        return self.history.is_timeline_over and phases != [""]

    # -- what the profile expects -----------------------------------------------------------------------------------

    def _judge(self, each: Expected, now: int, is_over: bool) -> Row:
        scene = self._scene(now, is_over, each.phase, each.client, each.starts_after)
        return _row(each.words(), each.conditions(), each.expectation.judge(scene), is_expected=True)

    def _scene(
        self, now: int, is_over: bool, phase: str | None = None, client: str | None = None, after: After | None = None
    ) -> Scene:
        return Scene(
            self.history,
            now,
            started_at=self._started_at,
            has_protocol=self.profile.protocol is not None,
            cutting=self.profile.cutting_phases,
            phase=phase,
            client=client,
            after=after,
            is_timeline_done=self.is_timeline_done,
            is_over=is_over,
            staggering=self._staggering,
        )


def _row(name: str, about: str, finding: Finding, *, is_expected: bool = False) -> Row:
    return Row(name, about, finding.outcome, finding.seen, finding.evidence, is_expected)
