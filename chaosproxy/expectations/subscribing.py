"""What a client asks for once it is back: each channel once, on one connection, with a new signature."""

from typing import ClassVar

from ..attempt import Attempt, Spot
from ..units import Set
from .base import SETTLING, Finding, OfClients, Scene, counted, each_time, failed, holds, seconds


class SubscribesOnce(OfClients):
    """A client asks for each channel once on each connection, unless it has left the channel in between."""

    name = "subscribes_once"
    shorthand = "once"
    needs_protocol = True
    nothing: ClassVar[str] = "no subscription was asked for"
    example = "subscribes_once: true"

    once: Set = True
    """Always true."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        last: Spot | None = None
        count = 0
        for attempt in scene.attempts(client):
            asked: dict[str, Spot] = {}
            changes: list[tuple[Spot, str, bool]] = [(spot, channel, True) for spot, channel, _ in attempt.asked_for]
            changes += [(spot, channel, False) for spot, channel in (*attempt.unsubscribed, *attempt.turned_down)]
            for spot, channel, is_asked in sorted(changes):
                if not is_asked:
                    asked.pop(channel, None)
                elif channel in asked and scene.is_about(spot):
                    where = f"connection {attempt.connection}"
                    return failed(f"it asked twice for {channel} on {where}", asked[channel], spot)
                else:
                    asked[channel] = spot
                    if scene.is_about(spot):
                        last, count = spot, count + 1
        return holds(scene, False, f"{counted(count, 'subscription')}, each asked for once", last) if last else None


class FreshAuth(OfClients):
    """On a new connection, a client asks for private and presence channels with a new signature, for its socket_id."""

    name = "fresh_auth"
    shorthand = "fresh"
    needs_protocol = True
    nothing: ClassVar[str] = "no channel that needs a signature was asked for on two connections"
    example = "fresh_auth: true"

    fresh: Set = True
    """Always true."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        before: dict[str, dict[str, tuple[str, Spot]]] = {}  # by channel and signature: the socket_id it was for
        count = 0
        last: Spot | None = None
        for attempt in scene.attempts(client):
            for spot, channel, auth in attempt.asked_for:
                if not auth:
                    continue
                known = before.setdefault(channel, {})
                used = known.get(auth)
                if used and used[0] != attempt.socket_id and scene.is_about(spot):
                    return failed(f"it asked for {channel} with the signature of its old connection", used[1], spot)
                if not used and known and scene.is_about(spot):
                    count, last = count + 1, spot
                known.setdefault(auth, (attempt.socket_id, spot))
        return holds(scene, False, f"a new signature {each_time(count)}", last) if last else None


class OneConnection(OfClients):
    """A client has one connection at a time: it opens no other while one serves it."""

    name = "one_connection"
    shorthand = "one"
    nothing: ClassVar[str] = "no client had a connection"
    example = "one_connection: true"

    one: Set = True
    """Always true."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        opened = [attempt for attempt in scene.attempts(client) if attempt.opened]
        opened.sort(key=lambda attempt: attempt.opened or attempt.accepted)
        for index, attempt in enumerate(opened):
            for place in range(index + 1, len(opened)):
                later = opened[place]
                assert later.opened
                if attempt.down and attempt.down.spot < later.opened:
                    break
                if scene.is_about(later.opened) and (overlap := _overlap(attempt, later, scene.now)):
                    seen = f"connections {attempt.connection} and {later.connection} were open together"
                    return failed(f"{seen} for {seconds(overlap)}", attempt.opened, later.opened)
        return (
            holds(scene, False, f"{counted(len(opened), 'connection')}, one at a time", opened[-1].opened)
            if opened
            else None
        )


def _overlap(attempt: Attempt, later: Attempt, now: int) -> int:
    """For how long two connections served their client together, 0 for no time worth naming.

    One that a fault has silenced or ended serves nobody: its client may well open another one.
    """
    assert attempt.opened and later.opened
    ends = [spot.at for spot in (attempt.silenced(later.opened), attempt.down and attempt.down.spot) if spot]
    until = min([*ends, *([later.down.spot.at] if later.down else []), now])
    overlap = until - later.opened.at
    return overlap if overlap > SETTLING else 0
