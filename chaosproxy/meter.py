"""What has passed up to now, in numbers: of connections that are over and of live ones together.

They are summed when somebody asks. Nothing is counted twice, and nothing on the way.
"""

from collections.abc import Iterable
from itertools import chain

from pydantic import JsonValue

from .proxy import Proxy
from .session import Session
from .tally import Tally, Totals
from .units import SECOND
from .wire.frames import SIDES, Side

OPCODES = 16


def frames_from(side: Side, totals: Iterable[Totals], sessions: Iterable[Session]) -> list[int]:
    """How many frames a side has sent, by opcode."""
    ended = (total.frames[side] for total in totals)
    live = (session.directions[side].splitter.frames for session in sessions)
    return [sum(column) for column in zip([0] * OPCODES, *chain(ended, live), strict=True)]


def bytes_from(side: Side, totals: Iterable[Totals], sessions: Iterable[Session]) -> int:
    """How many bytes a side has sent behind its handshake."""
    live = sum(session.directions[side].splitter.bytes for session in sessions)
    return sum(total.bytes[side] for total in totals) + live


def held_bytes(sessions: Iterable[Session]) -> int:
    """Bytes that have come and not been sent on yet."""
    return sum(direction.held for session in sessions for direction in session.directions)


def read_meter(proxy: Proxy) -> dict[str, JsonValue]:
    """All of it for one proxy."""
    world = proxy.world
    totals, sessions, delays = [world.totals], list(world.sessions.values()), world.tally.delays
    return {
        "open": len(sessions),
        "attempts": world.totals.attempts,
        "frames": {side.label: sum(frames_from(side, totals, sessions)) for side in SIDES},
        "bytes": {side.label: bytes_from(side, totals, sessions) for side in SIDES},
        "held_bytes": held_bytes(sessions),
        "paused_legs": proxy.paused_legs,
        "delays": {"count": sum(delays.counts), "seconds": delays.sum / SECOND},
        "strikes": {**world.tally.strikes},
    }


def read_delays(tally: Tally) -> dict[str, JsonValue]:
    """What rules have delayed, and how true that was: how many pieces left at most so many seconds late."""
    late, within = tally.delay_errors, 0
    told: dict[str, JsonValue] = {}
    for bound, count in zip(late.bounds, late.counts, strict=False):
        within += count
        told[f"{bound / SECOND:g}"] = within
        if within == sum(late.counts):
            break
    return {
        "count": sum(tally.delays.counts),
        "seconds": tally.delays.sum / SECOND,
        "late_seconds": late.sum / SECOND,
        "late_within": told,
    }
