"""How a client tries to come back: how often, how soon, how evenly, and when it gives up."""

from collections.abc import Iterator
from statistics import median
from typing import Annotated, ClassVar, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..attempt import Attempt, Spot
from ..units import SECOND, Count, Duration, Flag, Integer, Set, Share, Span
from .base import (
    Expectation,
    Finding,
    OfClients,
    Outage,
    Outcome,
    Scene,
    counted,
    each_time,
    failed,
    holds,
    label_of,
    passed,
    seconds,
    together,
    wait,
)

GROWTH = 1.25  # by so much waits that grow are longer in their later half; less could be chance

_CODE = {"type": "integer", "minimum": 0, "maximum": 65535}
Code = Annotated[Integer, Field(ge=0, le=65535)]
Codes = Annotated[
    tuple[Code, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_CODE, {"type": "array", "items": _CODE, "minItems": 1}]}),
]


class _Counting(Expectation):
    """Base of those that count attempts in each visit of a phase, or in the whole run."""

    shorthand = "count"
    counts_attempts: ClassVar[bool] = True

    count: Count
    """How many."""

    def judge(self, scene: Scene) -> Finding:
        findings: list[tuple[str, Finding]] = []
        for visit in scene.visits:
            for client in scene.clients:
                spots = [each.accepted for each in scene.attempts(client)]
                spots = [spot for spot in spots if visit.contains(spot)]
                findings.append((label_of(client), self.judge_count(scene, spots, scene.ends(visit))))
        if not findings:
            return wait(scene, "no client was seen" if scene.visits else f"phase {scene.phase} was not entered")
        return together(findings)

    def judge_count(self, scene: Scene, spots: list[Spot], is_over: bool) -> Finding:
        raise NotImplementedError


class AttemptsAtMost(_Counting):
    """A client tries to connect at most so many times in a phase, or in the whole run."""

    name = "attempts_at_most"
    example = "attempts_at_most: 5"

    def judge_count(self, scene: Scene, spots: list[Spot], is_over: bool) -> Finding:
        if len(spots) > self.count:
            return failed(counted(len(spots), "attempt"), *spots[: self.count + 1][-5:])
        return holds(scene, is_over, counted(len(spots), "attempt"), *spots[-5:])


class AttemptsAtLeast(_Counting):
    """A client tries to connect at least so many times in a phase, or in the whole run."""

    name = "attempts_at_least"
    example = "attempts_at_least: 2"

    def judge_count(self, scene: Scene, spots: list[Spot], is_over: bool) -> Finding:
        if len(spots) >= self.count:
            return passed(counted(len(spots), "attempt"), *spots[-5:])
        if is_over:
            return failed(counted(len(spots), "attempt"), *spots)
        return wait(scene, f"{counted(len(spots), 'attempt')} so far", spots)


class Gap(NamedTuple):
    """From the end of a failed attempt to the next one."""

    end: Spot
    next: Spot

    @property
    def length(self) -> int:
        return max(0, self.next.at - self.end.at)


def failed_at(scene: Scene, attempt: Attempt) -> Spot | None:
    """When an attempt that never served its client ended for it; None where it did, or lasts."""
    if scene.up(attempt):
        return None
    ends = [attempt.answer[0]] if attempt.answer else []
    ends += [attempt.down.spot] if attempt.down else []
    return min(ends, default=None)


def series(scene: Scene, client: str) -> Iterator[list[Gap]]:
    """The waits between attempts that failed one after the other, for each time that a client tried to come back."""
    gaps: list[Gap] = []
    before: Spot | None = None
    for attempt in scene.attempts(client):
        if before is not None:
            gaps.append(Gap(before, attempt.accepted))
        before = failed_at(scene, attempt)
        if scene.up(attempt) and gaps:
            yield gaps
            gaps = []
    if gaps:
        yield gaps


class Backoff(OfClients):
    """The waits between attempts that failed grow, keep their bounds, and differ from one client or outage to another.

    A wait is from the end of a failed attempt to the next attempt.
    """

    name = "backoff"
    counts_attempts: ClassVar[bool] = True
    nothing: ClassVar[str] = "no client was seen"
    example = "backoff: {grows: true, at_least: 500ms, at_most: 30s}"

    grows: Flag = False
    """Later waits are longer: the median of the later half is a quarter above that of the earlier one."""
    at_least: Span | None = None
    """No wait is shorter."""
    at_most: Span | None = None
    """No wait is longer."""
    jitter_at_least: Share | None = None
    """The same wait differs by so much between clients or outages: longest less shortest, of their mean."""
    tolerance: Duration = SECOND // 20
    """So much a wait may be under or over its bounds."""

    def misfits(self) -> Iterator[str]:
        if not (self.grows or self.at_least or self.at_most or self.jitter_at_least):
            yield "expected one of grows, at_least, at_most or jitter_at_least, got none"
        if self.at_least and self.at_most and self.at_least > self.at_most:
            yield "expected at_least: not above at_most:"

    def judge(self, scene: Scene) -> Finding:
        if not scene.clients:
            return wait(scene, "no client was seen")
        tried = [client for client in scene.clients if any(failed_at(scene, each) for each in scene.attempts(client))]
        if not tried:
            return wait(scene, "no attempt failed, so no wait was seen")
        bounds = together([(label_of(client), self._judge_client(scene, client)) for client in tried])
        if not self.jitter_at_least or bounds.outcome is Outcome.FAILED:
            return bounds
        jitter = self._judge_jitter(scene)
        if jitter.outcome is Outcome.FAILED:
            return jitter
        worse = bounds.outcome if bounds.outcome is Outcome.OPEN else jitter.outcome
        return jitter._replace(outcome=worse, seen=f"{jitter.seen}; {bounds.seen}")

    def _judge_client(self, scene: Scene, client: str) -> Finding:
        every = self._series(scene, client)
        gaps = [gap for each in every for gap in each]
        if not gaps:
            return wait(scene, "no two attempts in a row, so no wait was seen")
        waits = ", ".join(seconds(gap.length) for gap in gaps[:8])
        spots = [spot for gap in gaps[:8] for spot in gap]
        for gap in gaps:
            if self.at_least and gap.length < self.at_least - self.tolerance:
                return failed(f"a wait of {seconds(gap.length)}; waits: {waits}", *gap)
            if self.at_most and gap.length > self.at_most + self.tolerance:
                return failed(f"a wait of {seconds(gap.length)}; waits: {waits}", *gap)
        if self.grows:
            lengths = [gap.length for gap in max(every, key=len)]
            if len(lengths) < 2:
                return wait(scene, "one wait only: whether they grow shows with three attempts in a row", spots)
            half = len(lengths) // 2
            if median(lengths[-half:]) <= median(lengths[:half]) * GROWTH:
                failing = failed(f"they do not grow: {waits}", *spots)
                return failing if scene.is_over or scene.is_timeline_done else failing._replace(outcome=Outcome.OPEN)
        return holds(scene, False, f"waits: {waits}", *spots)

    def _judge_jitter(self, scene: Scene) -> Finding:
        every = [gaps for client in scene.clients for gaps in self._series(scene, client)]
        if len(every) < 2:
            return wait(scene, "jitter shows only between clients or outages, and there was one of them")
        spreads: list[float] = []
        for gaps in zip(*every, strict=False):
            lengths = [gap.length for gap in gaps]
            mean = sum(lengths) / len(lengths)
            spreads.append((max(lengths) - min(lengths)) / mean if mean else 0.0)
        spread = median(spreads)
        seen = f"the same wait differs by {spread:.0%} between {len(every)} of them"
        spots = [spot for gaps in every[:4] for gap in gaps[:1] for spot in gap]
        assert self.jitter_at_least is not None
        if spread < self.jitter_at_least:
            failing = failed(seen, *spots)
            is_final = scene.is_over or scene.is_timeline_done
            return failing if is_final else failing._replace(outcome=Outcome.OPEN)
        return holds(scene, False, seen, *spots)

    def _series(self, scene: Scene, client: str) -> list[list[Gap]]:
        every = [[gap for gap in gaps if self._is_within(scene, gap)] for gaps in series(scene, client)]
        return [gaps for gaps in every if gaps]

    def _is_within(self, scene: Scene, gap: Gap) -> bool:
        """Whether a wait lies in the phase that is named, if one is."""
        return scene.phase is None or any(
            gap.end >= visit.entered and (visit.left is None or gap.next < visit.left) for visit in scene.visits
        )


class _GivingUp(OfClients):
    """Base of those that end with a client that tries no more."""

    counts_attempts: ClassVar[bool] = True

    quiet: Span = 10 * SECOND
    """For how long it must not try."""

    def _judge_quiet(self, scene: Scene, client: str, why: str, since: Spot) -> Finding:
        later = [each.accepted for each in scene.attempts(client) if each.accepted > since]
        if later:
            took = seconds(later[0].at - since.at)
            return failed(f"{why}, and it tried again after {took}", since, later[0])
        quiet = scene.now - since.at
        if quiet >= self.quiet or scene.is_over:
            return passed(f"{why}, and no attempt in {seconds(quiet)}", since)
        return Finding(Outcome.OPEN, f"{why}, and no attempt yet")


class GivesUpOn(_GivingUp):
    """A client that is closed with one of these codes does not try again."""

    name = "gives_up_on"
    shorthand = "codes"
    nothing: ClassVar[str] = "no client was closed with such a code"
    example = "gives_up_on: 4001"

    codes: Codes
    """A close code, or a list of them."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        findings = [
            ("", self._judge_quiet(scene, client, f"closed with {code}", spot))
            for attempt in scene.attempts(client)
            for spot, code in attempt.codes[:1]
            if code in self.codes and scene.is_about(spot)
        ]
        return together(findings) if findings else None


class GivesUpAfter(_GivingUp):
    """A client tries so many times in a row in vain, and then no more."""

    name = "gives_up_after"
    shorthand = "attempts"
    nothing: ClassVar[str] = "no attempt failed"
    example = "gives_up_after: 5"

    attempts: Count
    """How many attempts."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        row: list[Spot] = []
        attempts = scene.attempts(client)
        if not any((end := failed_at(scene, attempt)) and scene.is_about(end) for attempt in attempts):
            return None
        for attempt in attempts:
            if scene.up(attempt):
                row = []
            elif (end := failed_at(scene, attempt)) and scene.is_about(end):
                row.append(end)
                if len(row) > self.attempts:
                    return failed(f"it tried more than {self.attempts} times in a row", *row[-5:])
        if len(row) == self.attempts:
            return self._judge_quiet(scene, client, f"{len(row)} attempts in a row failed", row[-1])
        return wait(scene, f"{len(row)} attempts in a row have failed", row)


class NeverGivesUp(OfClients):
    """Whenever a client has lost its connection, or an attempt has failed, it tries again."""

    name = "never_gives_up"
    shorthand = "never"
    counts_attempts: ClassVar[bool] = True
    nothing: ClassVar[str] = "no client lost a connection, and no attempt failed"
    example = "never_gives_up: true"

    never: Set = True
    """Always true."""
    within: Span = 120 * SECOND
    """The longest that it may do nothing."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        attempts = scene.attempts(client)
        losses: list[tuple[Spot, Spot | None]] = []  # with the next attempt
        for index, attempt in enumerate(attempts):
            end = failed_at(scene, attempt) or (attempt.down.spot if attempt.down else None)
            if end and scene.is_about(end):
                later = attempts[index + 1].accepted if index + 1 < len(attempts) else None
                losses.append((end, later))
        if not losses:
            return None
        for end, later in losses:
            quiet = (later.at if later else scene.now) - end.at
            if quiet > self.within:
                return failed(f"it did nothing for {seconds(quiet)}", end, later)
        end, later = losses[-1]
        is_back = any(scene.up(each) and each.down is None for each in attempts)
        if later is None and not is_back:
            return wait(scene, f"no attempt in {seconds(scene.now - end.at)} after the last end", [end])
        return holds(scene, False, f"it tried again {each_time(len(losses))}", end, later)


class AttemptsPerSecondAtMost(Expectation):
    """All clients together never try more often than so many times in any second."""

    name = "attempts_per_second_at_most"
    shorthand = "count"
    counts_attempts: ClassVar[bool] = True
    example = "attempts_per_second_at_most: 20"

    count: Count
    """The highest that a sliding second may reach."""

    def judge(self, scene: Scene) -> Finding:
        wanted = set(scene.clients) | {None}
        every = [each.accepted for each in scene.history.counted() if each.client in wanted]
        if not every:
            return wait(scene, "no client was seen")
        most, at = 0, every[0]
        for visit in scene.visits:
            spots = [spot for spot in every if visit.contains(spot)]
            first = 0
            for index, spot in enumerate(spots):
                while spot.at - spots[first].at >= SECOND:
                    first += 1
                if index - first + 1 > most:
                    most, at = index - first + 1, spots[first]
        is_over = bool(scene.phase and scene.visits) and all(scene.ends(visit) for visit in scene.visits)
        if most > self.count:
            return failed(f"{most} attempts within a second", at)
        return holds(scene, is_over, f"at most {most} attempts within a second", at)


class SpreadAtLeast(Expectation):
    """Clients that lost their connections together do not come back together: their first attempts are spread.

    It is the longest less the shortest wait from a client's own end to its first attempt.
    """

    name = "spread_at_least"
    shorthand = "spread"
    counts_attempts: ClassVar[bool] = True
    example = "spread_at_least: 2s"

    spread: Span
    """How far apart the first and the last must be."""

    def judge(self, scene: Scene) -> Finding:
        findings = [(outage.label, self._judge_one(scene, outage)) for outage in scene.outages]
        return together(findings) if findings else wait(scene, scene.no_outage)

    def _judge_one(self, scene: Scene, outage: Outage) -> Finding:
        waits: list[tuple[int, Spot]] = []
        missing: list[str] = []
        for client in scene.clients:
            hurt = scene.hurt(client, outage)
            if hurt is None:
                continue
            end = hurt[0].down
            later = [each.accepted for each in scene.attempts(client) if end and each.accepted > end.spot]
            if end and later:
                waits.append((later[0].at - end.spot.at, later[0]))
            else:
                missing.append(client)
        if len(waits) + len(missing) < 2:
            return wait(scene, "a spread needs at least two clients that lost their connections")
        if not waits or (missing and not outage.healed):
            return wait(scene, f"{len(waits)} of {len(waits) + len(missing)} have tried again")
        spread = max(waits)[0] - min(waits)[0]
        seen = f"the first attempts of {len(waits)} clients are spread over {seconds(spread)}"
        if spread >= self.spread:
            return passed(seen, min(waits)[1], max(waits)[1])
        if missing:
            return wait(scene, f"{seen}; {len(missing)} have not tried yet", [min(waits)[1], max(waits)[1]])
        return failed(seen, min(waits)[1], max(waits)[1])
