"""What is going on, as JSON: phase, rules, connections, clients, counters, the verdict."""

import json
from collections.abc import Iterable, Sequence
from itertools import islice

from pydantic import JsonValue

from ..canonical import mask
from ..observe import Seen
from ..profile import Until
from ..rule import BoundRule
from ..session import Session
from ..stage import Stage
from ..verdict import Row
from ..world import World
from .answers import (
    ClientTold,
    ConnectionTold,
    PhasesTold,
    PhaseTold,
    RowTold,
    RuleInForce,
    StateTold,
    UntilTold,
    VerdictTold,
)
from .connection_orders import CONNECTIONS_SHOWN_MAX

EVIDENCE_MAX = 20  # of one row


def tell_state(stage: Stage, now: int) -> StateTold:
    """Everything a page or a test wants to know at once."""
    proxy = stage.proxy
    world = proxy.world
    live = {rule.id for rule in world.live_rules}
    shown = islice(world.sessions.values(), CONNECTIONS_SHOWN_MAX)
    return {
        "profile": {"name": world.profile.name, "digest": world.profile.digest},
        "seed": world.seed,
        "address": str(proxy.address),
        "upstream": str(proxy.upstream),
        "listening": world.is_listening,
        "draining": world.is_draining,
        "judged": stage.judge is not None,
        "phase": tell_phase(world, now),
        "rules": [tell_rule(rule, rule.id in live, world.attempts_of(rule.id)) for rule in world.active_rules],
        "connections": [tell_connection(session, now) for session in shown],
        "connections_left_out": max(0, len(world.sessions) - CONNECTIONS_SHOWN_MAX),
        "clients": [_tell_client(seen, now) for seen in stage.clients.seen()],
        "counters": {
            "attempts": world.totals.attempts,
            "connections": world.totals.connections,
            "open": len(world.sessions),
            "opened": world.totals.opened,
            "dials_delayed": world.totals.dials_delayed,
            "faults": dict(world.tally.strikes),
            "paused_legs": proxy.paused_legs,
        },
    }


def tell_phase(world: World, now: int) -> PhaseTold:
    """Where the timeline stands. The name is empty before its start, after its end, and where there are no phases."""
    timeline = world.timeline
    phase = timeline.phase
    deadline = timeline.deadline
    left = timeline.time_left if deadline is None else deadline - now
    return {
        "name": phase.name if phase else "",
        "visit": timeline.visit,
        "running": timeline.is_running and not timeline.is_over and phase is not None,
        "over": timeline.is_over,
        "paused": timeline.is_paused,
        "seconds": _seconds(timeline.elapsed(now)) if phase else None,
        "ends_in_seconds": None if left is None else _seconds(max(0, left)),
        "until": _tell_until(phase.until, world) if phase and phase.until else None,
        "failures": list(timeline.failures),
    }


def tell_phases(world: World) -> PhasesTold:
    """All phases in order; `current` is the one in force, as far as there is one."""
    profile, current = world.profile, world.timeline.phase
    return {
        "phases": [
            {
                "name": phase.name,
                "about": phase.about,
                "lasts_seconds": None if phase.lasts is None else _seconds(phase.lasts),
                "until": None if phase.until is None else phase.until.model_dump(mode="json", exclude_none=True),
                "rules": len(phase.rules),
                "current": phase is current,
            }
            for phase in profile.phases
        ],
        "current": current.name if current else None,
        "paused": world.timeline.is_paused,
        "over": world.timeline.is_over,
        "repeat": profile.repeat,
        "rules_of_all": len(profile.rules),
    }


def _tell_until(until: Until, world: World) -> UntilTold:
    """What the phase waits for, and how much of it there is."""
    condition = until.condition
    standing = world.standing
    wanted = getattr(until, condition)
    there: JsonValue = None
    if isinstance(wanted, list):
        there = [channel for channel in wanted if channel in standing.channels]
    elif condition in standing._fields:
        there = getattr(standing, condition)
    return {"condition": condition, "wanted": wanted, "there": there}


def tell_rule(rule: BoundRule, is_live: bool, attempts: Iterable[int] | None = None) -> RuleInForce:
    """A rule as one would write it in a profile, with its id; the values of headers may be secrets.

    Where it acts on some connections only, their attempts are told as well.
    """
    fault = rule.fault.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    when = rule.when.model_dump(mode="json", by_alias=True, exclude_none=True)
    chosen: RuleInForce = {} if attempts is None else {"connections": [*attempts]}
    return {"id": rule.id, **mask({rule.fault.name: fault, "when": when}), "live": is_live, **chosen}


def tell_connection(session: Session, now: int) -> ConnectionTold:
    """A connection as it stands."""
    return {
        "attempt": session.number,
        "client": session.client,
        "connection": session.connection,
        "path": session.request.path if session.request else "",
        "state": session.state.name.lower(),
        "age_seconds": _seconds(now - session.accepted_at),
        "silent": session.is_silent,
        "rules": list(session.links),
    }


def _tell_client(seen: Seen, now: int) -> ClientTold:
    """What is known of a client; the attempt is that of the connection it has, or had last."""
    return {
        "client": seen.client,
        "instance": seen.instance,
        "state": seen.state,
        "seconds": _seconds(now - seen.since),
        "source": seen.source.value,
        "socket_id": seen.socket_id,
        "attempt": seen.attempt,
    }


def tell_verdict(stage: Stage, *, is_over: bool = False) -> VerdictTold:
    """How a judged run stands, row by row, with the journal's records that show it, as far as they are kept."""
    verdict, digest = stage.verdict(is_over=is_over), stage.digest()
    world = stage.proxy.world
    return {
        "profile": {"name": world.profile.name, "digest": world.profile.digest},
        "seed": world.seed,
        "passed": verdict.has_passed,
        "finished": verdict.is_finished or is_over,
        "rows": [_tell_row(row, stage) for row in verdict.rows],
        "digest": {"whole": digest.whole, "clients": dict(digest.clients), "states": dict(digest.states)},
    }


def _tell_row(row: Row, stage: Stage) -> RowTold:
    lines = [stage.journal.line(seq) for seq in row.evidence[:EVIDENCE_MAX]]
    return {
        "name": row.name,
        "about": row.about,
        "outcome": row.outcome,
        "seen": row.seen,
        "expected": row.is_expected,
        "evidence": [json.loads(line) for line in lines if line],
    }


def sessions_under(world: World, rule_id: str) -> Sequence[Session]:
    """The connections on which a rule is in play."""
    return [session for session in world.sessions.values() if rule_id in session.links and not session.is_over]


def _seconds(duration: int) -> float:
    return duration // 1000 / 1_000_000
