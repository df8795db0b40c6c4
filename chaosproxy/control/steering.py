"""Orders to one stage. Each is checked whole before anything is done, and is in force once it is answered."""

from time import monotonic_ns

from aiohttp import web

from ..events import ClientSaid
from ..live_rule import Against, absent, misfit_of_chosen, objections
from ..problems import show_path
from ..rule import BoundRule, Rule, bind
from ..world import Step, Told, World, can_act
from .answers import Empty, Healed, RuleAdded, ToldProblem
from .orders import Jump, Mark, NewRule, Nothing, Refused, Report, read_order
from .room import Room
from .state import sessions_under, tell_phase

# -- phases -----------------------------------------------------------------------------------------------------------


async def next_phase(room: Room, request: web.Request) -> web.StreamResponse:
    read_order(Nothing, await request.read())
    _check_phases(room)
    world = room.stage.proxy.world
    if world.timeline.is_over:
        raise Refused(409, "the last phase is over; to go back to one, name it in POST /api/phase")
    return _step(room, None)


async def jump(room: Room, request: web.Request) -> web.StreamResponse:
    phase = read_order(Jump, await request.read()).phase
    names = [phase.name for phase in room.stage.proxy.world.profile.phases]
    if phase not in names:
        raise Refused(404, f"there is no phase of this name; there are: {', '.join(names) or 'none'}")
    return _step(room, phase)


async def pause(room: Room, request: web.Request) -> web.StreamResponse:
    """Let the phase go on until it is resumed: only steps by hand end it. Its rules act on."""
    read_order(Nothing, await request.read())
    _check_phases(room)
    room.stage.proxy.steer(lambda world, now: world.pause(now))
    return web.json_response(tell_phase(room.stage.proxy.world, monotonic_ns()))


async def resume(room: Room, request: web.Request) -> web.StreamResponse:
    """Let the timeline go on where it was paused."""
    read_order(Nothing, await request.read())
    _check_phases(room)
    room.stage.proxy.steer(lambda world, now: world.resume(now))
    return web.json_response(tell_phase(room.stage.proxy.world, monotonic_ns()))


def _check_phases(room: Room) -> None:
    if not room.stage.proxy.world.profile.phases:
        raise Refused(409, "the profile has no phases; POST /api/rules adds a rule by itself")


def _step(room: Room, phase: str | None) -> web.Response:
    room.stage.proxy.steer(lambda world, now: world.step(now, phase))
    return web.json_response(tell_phase(room.stage.proxy.world, monotonic_ns()))


# -- rules ------------------------------------------------------------------------------------------------------------


async def add_rule(room: Room, request: web.Request) -> web.StreamResponse:
    order = read_order(NewRule, await request.read())
    _check_rule(room, order.rule)
    only = None if order.connections is None else frozenset(order.connections)
    if only is not None:
        _check_chosen(room, order.rule, only)
    # With no id of its own, a rule on some connections leaves alone the same rule on others.
    place = "live" if only is None else f"live {sorted(only)}"
    rule = bind([(place, order.rule)])[0]
    room.stage.proxy.steer(lambda world, now: world.add_rule(rule, order.lasts, now, only))
    return web.json_response(_tell_added(room, rule), status=201)


def _check_chosen(room: Room, rule: Rule, only: frozenset[int]) -> None:
    """Raise Refused where a rule can't act on connections that are there already, or they are not there."""
    if misfit := misfit_of_chosen(rule):
        raise Refused(422, "the order is not valid", [{"path": "connections", "message": misfit}])
    if missing := absent(only, room.stage.proxy.world):
        raise Refused(404, f"there is no connection of attempt {missing}; GET /api/connections lists them")


def _check_rule(room: Room, rule: Rule) -> None:
    found = objections(rule, room.stage.proxy, room.fence)
    if misfits := [each for each in found if each.kind is Against.MISFIT]:
        problems: list[ToldProblem] = [
            {"path": show_path(("rule", *misfit.at)), "message": misfit.message} for misfit in misfits
        ]
        raise Refused(422, "the order is not valid", problems)
    for objection in found:
        raise Refused(409 if objection.kind is Against.TAKEN else 403, objection.message)


def _tell_added(room: Room, rule: BoundRule) -> RuleAdded:
    sessions = sessions_under(room.stage.proxy.world, rule.id)
    unreadable = sum(1 for session in sessions if not can_act(rule, session))
    answer: RuleAdded = {"id": rule.id, "connections": len(sessions) - unreadable}
    if unreadable:
        answer["note"] = (
            f"new connections only: {unreadable} (messages of so many open connections can't be read or changed, "
            "since their compressed streams were not followed from the first byte)"
        )
    return answer


async def heal(room: Room, request: web.Request) -> web.StreamResponse:
    read_order(Nothing, await request.read())
    rule_id = request.match_info["id"]
    if not room.stage.proxy.steer(lambda world, now: world.heal(rule_id, now)):
        if any(rule.id == rule_id for rule in room.stage.proxy.world.active_rules):
            raise Refused(409, "this rule is the profile's; it ends with its phase")
        raise Refused(404, "there is no live rule of this id; GET /api/state lists them")
    answer: Healed = {"healed": [rule_id]}
    return web.json_response(answer)


async def heal_all(room: Room, request: web.Request) -> web.StreamResponse:
    read_order(Nothing, await request.read())
    healed = [rule.id for rule in room.stage.proxy.world.live_rules]
    room.stage.proxy.steer(lambda world, now: world.heal(None, now))
    answer: Healed = {"healed": healed}
    return web.json_response(answer)


# -- what is told by hand ---------------------------------------------------------------------------------------------


async def report(room: Room, request: web.Request) -> web.StreamResponse:
    order = read_order(Report, await request.read())

    def tell(world: World, now: int) -> list[Step]:
        world.report(order.client, order.state, order.detail, now)
        return []

    room.stage.proxy.steer(tell)
    return web.json_response(Empty())


async def mark(room: Room, request: web.Request) -> web.StreamResponse:
    order = read_order(Mark, await request.read())

    def tell(world: World, now: int) -> list[Step]:
        # By hand: of no connection, no instance of the script, and without its ordinals.
        said = ClientSaid(order.client, "mark", order.name, None, "", None, "", "", 0, 0.0, False)
        world.told.append(Told(now, None, said))
        return []

    room.stage.proxy.steer(tell)
    return web.json_response(Empty())
