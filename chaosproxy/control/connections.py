"""Connections of one stage: to look at, and to close, reset, freeze and heal; one, those that match, or all.

Which ones match is settled once, as the order is read. Only where all are meant, those are that come later, too: to
freeze all is a network that is gone, and to heal all brings it back.
"""

from collections.abc import Sequence
from time import monotonic_ns

from aiohttp import web

from ..effects import Leg
from ..live_rule import Against, objections
from ..problems import show_path
from ..rule import RULES, BoundRule, bind
from ..session import Session
from ..world import World
from .answers import ConnectionsTold, Freed, Frozen, ManyFreed, ManyFrozen, ManyMet, Met
from .connection_orders import CloseMany, Freeze, FreezeMany, Listing, Many
from .orders import Close, Nothing, Refused, read_order, read_query
from .room import Room
from .state import tell_connection

# -- which ------------------------------------------------------------------------------------------------------------


def _live(world: World) -> list[Session]:
    return [session for session in world.sessions.values() if not session.is_over]


def _one(room: Room, request: web.Request) -> list[Session]:
    """The connection in the address. Raise Refused where there is none."""
    number = request.match_info["attempt"]
    session = None
    if number.isascii() and number.isdigit() and len(number) < 20:
        session = room.stage.proxy.world.sessions.get(int(number))
    if session is None or session.is_over:
        raise Refused(404, "there is no connection of this attempt number; GET /api/connections lists them")
    return [session]


def _chosen(room: Room, order: Many) -> list[Session]:
    return order.match.take(_live(room.stage.proxy.world), monotonic_ns())


def _numbers(sessions: Sequence[Session]) -> list[int]:
    return sorted(session.number for session in sessions)


async def show_connections(room: Room, request: web.Request) -> web.StreamResponse:
    """List connections, by attempt: those for which all that the query says holds."""
    order = read_query(Listing, request.query)
    now = monotonic_ns()
    live = _live(room.stage.proxy.world)
    found = [session for session in order.take(live, now) if session.number > order.after]
    shown = found[: order.limit]
    told: ConnectionsTold = {
        "connections": [tell_connection(session, now) for session in shown],
        "left_out": len(found) - len(shown),
        "total": len(live),
    }
    return web.json_response(told)


# -- one --------------------------------------------------------------------------------------------------------------


async def close(room: Room, request: web.Request) -> web.StreamResponse:
    """End a connection by a close frame."""
    order = read_order(Close, await request.read())
    _check_close(room)
    return _tell_met(_close(room, order, _one(room, request)))


async def reset(room: Room, request: web.Request) -> web.StreamResponse:
    """End a connection by RST."""
    read_order(Nothing, await request.read())
    return _tell_met(_reset(room, _one(room, request)))


async def freeze(room: Room, request: web.Request) -> web.StreamResponse:
    """Let a connection fall silent, until it is healed."""
    order = read_order(Freeze, await request.read())
    chosen = _one(room, request)
    told: Frozen = {"attempt": chosen[0].number, "rule": _freeze(room, order, frozenset(_numbers(chosen)))}
    return web.json_response(told)


async def heal(room: Room, request: web.Request) -> web.StreamResponse:
    """End on a connection what was added by hand, and whatever else keeps it from carrying anything."""
    read_order(Nothing, await request.read())
    chosen = _one(room, request)
    told: Freed = {"attempt": chosen[0].number, "rules": _heal(room, chosen)}
    return web.json_response(told)


# -- those that match, or all -----------------------------------------------------------------------------------------


async def close_many(room: Room, request: web.Request) -> web.StreamResponse:
    """End connections by a close frame each."""
    order = read_order(CloseMany, await request.read())
    _check_close(room)
    return web.json_response(_close(room, order, _chosen(room, order)))


async def reset_many(room: Room, request: web.Request) -> web.StreamResponse:
    """End connections by RST."""
    order = read_order(Many, await request.read())
    return web.json_response(_reset(room, _chosen(room, order)))


async def freeze_many(room: Room, request: web.Request) -> web.StreamResponse:
    """Let connections fall silent, by one rule, until it is healed, or they are."""
    order = read_order(FreezeMany, await request.read())
    numbers = _numbers(_chosen(room, order))
    only = None if order.all else frozenset(numbers)
    rule = _freeze(room, order, only) if only != frozenset() else None
    told: ManyFrozen = {"attempts": numbers, "rule": rule}
    return web.json_response(told)


async def heal_many(room: Room, request: web.Request) -> web.StreamResponse:
    """End on connections what was added by hand, and whatever else keeps them from carrying anything."""
    order = read_order(Many, await request.read())
    chosen = _chosen(room, order)
    ended = _heal(room, chosen)
    if order.all:
        ended += [rule.id for rule in room.stage.proxy.world.live_rules if rule.id not in ended]
        room.stage.proxy.steer(lambda world, now: world.heal(None, now))
    told: ManyFreed = {"attempts": _numbers(chosen), "rules": sorted(ended)}
    return web.json_response(told)


# -- what is done to them ---------------------------------------------------------------------------------------------


def _check_close(room: Room) -> None:
    if room.stage.proxy.world.options.is_opaque:
        raise Refused(409, "tcp:// carries no frames, so no close can be sent; POST …/reset ends a connection")


def _close(room: Room, order: Close, chosen: list[Session]) -> ManyMet:
    code = None if order.code == "none" else order.code
    room.stage.proxy.steer(
        lambda world, now: [(session, session.close(Leg.CLIENT, code, order.reason, now)) for session in chosen]
    )
    return {"attempts": _numbers(chosen)}


def _reset(room: Room, chosen: list[Session]) -> ManyMet:
    room.stage.proxy.steer(lambda world, now: [(session, session.reset(Leg.BOTH, now, "proxy")) for session in chosen])
    return {"attempts": _numbers(chosen)}


def _freeze(room: Room, order: Freeze, only: frozenset[int] | None) -> str:
    """Freeze these connections, or all and those that come; return the id of the rule that does it."""
    rule = _freezing(room, order)
    room.stage.proxy.steer(lambda world, now: world.add_rule(rule, order.lasts, now, only))
    return rule.id


def _freezing(room: Room, order: Freeze) -> BoundRule:
    """The rule that freezes. Raise Refused where it can't act here."""
    options = {"leg": order.leg, "mode": order.mode, "heal": order.heal}
    made = RULES["half_open"].model_validate({"half_open": options, "id": room.next_freeze()})
    for found in objections(made, room.stage.proxy, room.fence):
        if found.kind is Against.MISFIT:
            path = show_path(found.at[1:]) or "heal"
            raise Refused(422, "the order is not valid", [{"path": path, "message": found.message}])
        raise Refused(409 if found.kind is Against.TAKEN else 403, found.message)
    return bind([("live", made)])[0]


def _heal(room: Room, chosen: list[Session]) -> list[str]:
    """Heal these connections; return the ids of the rules that have ended on them."""
    before = {session.number: set(session.links) for session in chosen}
    room.stage.proxy.steer(lambda world, now: world.free(frozenset(before), now))
    return sorted({rule for session in chosen for rule in before[session.number] - set(session.links)})


def _tell_met(many: ManyMet) -> web.Response:
    told: Met = {"attempt": many["attempts"][0]}
    return web.json_response(told)
