"""Whether a client notices that its connection is lost, and comes back."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..units import Set, Span
from .base import (
    REVIVING,
    After,
    Attempt,
    Expectation,
    Finding,
    OfOutages,
    Outage,
    Outcome,
    Scene,
    Spot,
    counted,
    failed,
    holds,
    label_of,
    passed,
    seconds,
    together,
    wait,
)

ONLY_HEALED = "only because the proxy healed"
RESET_AT_HEAL = "reset at heal"  # as a session tells it


def acts_of(scene: Scene, client: str, attempt: Attempt, since: Spot) -> list[tuple[Spot, str]]:
    """What a client did about a connection from then on: left it, tried anew, reported another state."""
    acts = [(left.spot, f"it left ({left.how})") for left in [attempt.left] if left and attempt.is_left_first]
    tries = [each.accepted for each in scene.attempts(client) if each.number > attempt.number]
    acts += [(spot, "it tried anew") for spot in tries]
    acts += [(spot, f"it reported {state}") for spot, state in scene.told(client) if state != "connected"]
    return sorted(act for act in acts if act[0] >= since)


def detected(scene: Scene, client: str, outage: Outage) -> tuple[Spot, str] | None:
    """When a client noticed, before the heal, what an outage did to its connection, and by what that shows."""
    hurt = scene.hurt(client, outage)
    if hurt is None:
        return None
    attempt, since = hurt
    told_at = attempt.cut.spot if attempt.cut else None
    for spot, how in acts_of(scene, client, attempt, since):
        if outage.healed and spot >= outage.healed:
            return None
        return None if told_at and told_at < spot else (spot, how)
    return None


class DetectedWithin(OfOutages):
    """A client that lost its link notices by itself, before the heal: it ends it, tries anew, or reports a state.

    A loss that it learns only from our heal, close or reset does not count.
    """

    name = "detected_within"
    shorthand = "within"
    default_after: ClassVar[After | None] = After.FAULT
    example = "detected_within: 65s"

    within: Span
    """How long it may take, from the moment in which the fault struck its connection."""

    @property
    def longest(self) -> int:
        return self.within

    def judge_one(self, scene: Scene, client: str, outage: Outage) -> Finding | None:
        hurt = scene.hurt(client, outage)
        if hurt is None:
            return None
        attempt, since = hurt
        found = detected(scene, client, outage)
        if found:
            took = found[0].at - since.at
            seen = f"after {seconds(took)} from the fault: {found[1]}"
            return (passed if took <= self.within else failed)(seen, since, found[0])
        cut = attempt.cut
        if cut and cut.how == RESET_AT_HEAL:
            return failed(f"not by itself: {ONLY_HEALED}", since, cut.spot)
        if cut and outage.contains(cut.spot):
            return failed(f"only because the connection was ended ({cut.how})", since, cut.spot)
        if outage.healed:
            return failed(f"not by itself: {ONLY_HEALED}", since, outage.healed)
        if late := scene.late(since.at, self.within, "fault"):
            return failed(f"not noticed {late}", since)
        return wait(scene, "not noticed yet", [since])


class _Return(OfOutages):
    """Base of those that wait for something after an outage."""

    default_after: ClassVar[After | None] = After.HEAL

    within: Span
    """How long it may take."""

    def start(self, scene: Scene, client: str, outage: Outage, since: Spot) -> Spot | Finding:
        """From when the time runs, or why that is not known."""
        match scene.after or After.HEAL:
            case After.FAULT:
                return since
            case After.DETECTED:
                found = detected(scene, client, outage)
                if found:
                    return found[0]
                if outage.healed:
                    return failed(f"it never noticed the loss: {ONLY_HEALED}", since, outage.healed)
                return wait(scene, "the loss is not noticed yet", [since])
            case _:
                return outage.healed or wait(scene, "the outage is not over", [since])


def is_anew(attempt: Attempt, start: Spot) -> bool:
    """Whether what ended a connection is a fault that struck later."""
    ends = [strike.spot for strike in attempt.strikes if strike.is_end and strike.spot > start]
    return attempt.down is not None and attempt.down.spot in ends


def survivor(scene: Scene, client: str, start: Spot) -> Attempt | None:
    """A connection that was up at that time and has stayed so."""
    for attempt in scene.attempts(client):
        up, down = scene.up(attempt), attempt.down
        if up and up <= start and (down is None or down.spot.at > start.at + REVIVING or is_anew(attempt, start)):
            return attempt
    return None


class ReconnectedWithin(_Return):
    """A client that lost its connection has one again: open, or established where a protocol is spoken."""

    name = "reconnected_within"
    shorthand = "within"
    example = "reconnected_within: 5s"

    def judge_one(self, scene: Scene, client: str, outage: Outage) -> Finding | None:
        hurt = scene.hurt(client, outage)
        if hurt is None:
            return None
        attempt, since = hurt
        start = self.start(scene, client, outage, since)
        if isinstance(start, Finding):
            return start
        after = scene.after or After.HEAL
        kept = survivor(scene, client, start)
        if kept and after is After.HEAL:
            if scene.now < start.at + REVIVING and not scene.is_over:
                return Finding(Outcome.OPEN, "it has a connection, if that lives on")
            seen = "it kept its connection" if kept is attempt else "it was back before the heal"
            return passed(seen, scene.up(kept), start)
        ups = [up for each in scene.attempts(client) if (up := scene.up(each)) and up > start and each is not attempt]
        if ups:
            took = ups[0].at - start.at
            return (passed if took <= self.within else failed)(
                f"after {seconds(took)} from the {after.moment}", start, ups[0]
            )
        if late := scene.late(start.at, self.within, after.moment):
            tries = [each.accepted for each in scene.attempts(client) if each.accepted > start]
            what = counted(len(tries), "attempt") if tries else "no attempt"
            return failed(f"not {late}; {what}", start, *tries[-3:])
        return wait(scene, "not back yet", [start])


class Resubscribed(_Return):
    """A client is subscribed again to the channels that it had before the outage."""

    name = "resubscribed"
    shorthand = "within"
    needs_protocol = True
    example = "resubscribed: {channels: all, within: 5s}"

    channels: Annotated[
        Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)], Field(union_mode="left_to_right")
    ] = "all"
    """Their names; all are those that it had."""

    def judge_one(self, scene: Scene, client: str, outage: Outage) -> Finding | None:
        hurt = scene.hurt(client, outage)
        if hurt is None:
            return None
        attempt, since = hurt
        had = attempt.channels_at(since.at)
        wanted = had if self.channels == "all" else set(self.channels)
        evidence = [spot for spot, channel in attempt.subscribed if channel in wanted]
        if not had:
            return failed("it was subscribed to no channel before", since)
        if missing := sorted(wanted - had):
            return failed(f"it was not subscribed to {', '.join(missing)} before", since, *evidence)
        start = self.start(scene, client, outage, since)
        if isinstance(start, Finding):
            return start
        return self._judge_channels(scene, client, sorted(wanted), start, evidence)

    def _judge_channels(
        self, scene: Scene, client: str, wanted: list[str], start: Spot, evidence: list[Spot]
    ) -> Finding:
        after = scene.after or After.HEAL
        kept = survivor(scene, client, start) if after is After.HEAL else None
        if kept and scene.now < start.at + REVIVING and not scene.is_over:
            return Finding(Outcome.OPEN, "it has a connection, if that lives on")
        there = kept.channels_at(start.at) if kept else set()
        again: dict[str, Spot] = {}
        for each in scene.attempts(client):
            for spot, channel in each.subscribed:
                if spot > start:
                    again.setdefault(channel, spot)
        lacking = [channel for channel in wanted if channel not in there and channel not in again]
        if not lacking:
            spots = [again[channel] for channel in wanted if channel not in there]
            if not spots:
                return passed("it kept its subscriptions", *evidence, start)
            took = max(spots).at - start.at
            seen = f"to {', '.join(wanted)} after {seconds(took)} from the {after.moment}"
            return (passed if took <= self.within else failed)(seen, *evidence, start, *spots)
        if late := scene.late(start.at, self.within, after.moment):
            return failed(
                f"not to {', '.join(lacking)} {late}",
                *evidence,
                start,
                *[up for each in scene.attempts(client) if (up := scene.up(each)) and up > start],
                *again.values(),
            )
        return wait(scene, f"not to {', '.join(lacking)} yet", [start])


class StaysConnected(Expectation):
    """No client loses its connection, whoever ends it, and none tries anew."""

    name = "stays_connected"
    shorthand = "stays"
    example = "stays_connected: true"

    stays: Set = True
    """Always true."""

    def judge(self, scene: Scene) -> Finding:
        findings = [
            (label_of(client), finding)
            for visit in scene.visits
            for client in scene.clients
            if (finding := self._judge_one(scene, client, Outage((visit.name,), visit.entered, visit.left)))
        ]
        if not findings:
            return wait(scene, "no client had a connection")
        return together(findings)

    def _judge_one(self, scene: Scene, client: str, span: Outage) -> Finding | None:
        attempts = scene.attempts(client)
        for attempt in attempts:
            up, down = scene.up(attempt), attempt.down
            if up and down and span.contains(down.spot):
                by = "by the client" if attempt.is_left_first else "from outside"
                return failed(f"it was ended {by} ({down.how})", up, down.spot)
        there = [up for each in attempts if (up := scene.up(each)) and (span.healed is None or up < span.healed)]
        if not there:
            return None
        again = [each.accepted for each in attempts if each.accepted > there[0] and span.contains(each.accepted)]
        if again:
            return failed("it tried anew", there[0], again[0])
        return holds(scene, span.healed is not None, "it kept its connection", there[-1])
