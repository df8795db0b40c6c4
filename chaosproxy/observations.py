"""What clients did, as data: each attempt and its outcome, each outage and how it was got over, what was missed."""

from pydantic import JsonValue

from .attempt import Attempt, Spot
from .expectations.base import Outage, Scene
from .expectations.returning import detected
from .units import MICROSECOND
from .verdict import Judge

Json = dict[str, JsonValue]
ATTEMPTS_TOLD_MAX = 1000  # of a client


def tell_clients(judge: Judge, now: int) -> list[Json]:
    """Each client; times are seconds from the start of the run."""
    scene = judge.scene(now)
    return [_tell_client(scene, client) for client in scene.clients]


def _tell_client(scene: Scene, client: str) -> Json:
    attempts = scene.attempts(client)
    return {
        "client": client,
        "attempts": [_tell_attempt(scene, attempt) for attempt in attempts[:ATTEMPTS_TOLD_MAX]],
        "attempts_left_out": max(0, len(attempts) - ATTEMPTS_TOLD_MAX),
        "outages": [told for outage in scene.outages if (told := _tell_outage(scene, client, outage))],
        "messages": _tell_messages(scene, client),
        "states": [
            {
                "at": _seconds(scene, each.spot),
                "state": each.state,
                "source": "reported" if each.is_reported else "wire",
            }
            for each in scene.history.states.get(client, [])
        ],
    }


def _tell_attempt(scene: Scene, attempt: Attempt) -> Json:
    down = attempt.down
    return {
        "attempt": attempt.number,
        "connection": attempt.connection or None,
        "at": _seconds(scene, attempt.accepted),
        "outcome": _outcome(attempt),
        "opened": _seconds(scene, attempt.opened),
        "established": _seconds(scene, attempt.established),
        "socket_id": attempt.socket_id,
        "subscribed": [{"at": _seconds(scene, spot), "channel": channel} for spot, channel in attempt.subscribed],
        "ended": _seconds(scene, down.spot) if down else None,
        "ended_by": None if down is None else "client" if attempt.is_left_first else "other",
        "how": down.how if down else None,
    }


def _outcome(attempt: Attempt) -> str:
    if attempt.established:
        return "established"
    if attempt.opened:
        return "opened"
    if attempt.answer:
        return f"refused with {attempt.answer[1]}"
    return "failed" if attempt.down else "waiting"


def _tell_outage(scene: Scene, client: str, outage: Outage) -> Json | None:
    """What an outage did to a client, and when it noticed and was back; None where it had no connection."""
    hurt = scene.hurt(client, outage)
    if hurt is None:
        return None
    attempt, since = hurt
    found = detected(scene, client, outage)
    ups = [up for each in scene.attempts(client) if (up := scene.up(each)) and up > since and each is not attempt]
    return {
        "outage": outage.label,
        "lost": _seconds(scene, since),
        "detected": _seconds(scene, found[0]) if found else None,
        "detected_by": found[1] if found else None,
        "healed": _seconds(scene, outage.healed),
        "back": _seconds(scene, ups[0]) if ups else None,
    }


def _tell_messages(scene: Scene, client: str) -> Json:
    """By the fields that expectations follow: what never reached the client, and what did twice."""
    told: Json = {}
    for (whose, pointer), messages in scene.history.tracked.items():
        if whose != client:
            continue
        came: dict[str, int] = {}
        for each in messages:
            came[each.value] = came.get(each.value, 0) + each.has_left
        told[pointer] = {
            "missed": [value for value, times in came.items() if not times],
            "twice": [value for value, times in came.items() if times > 1],
        }
    return told


def _seconds(scene: Scene, spot: Spot | None) -> float | None:
    return None if spot is None else (spot.at - scene.started_at) // MICROSECOND / 1_000_000
