"""Another run at one stage: the same profile anew, or another one. Connections live on."""

from time import monotonic_ns

from aiohttp import web

from ..legs import State
from ..opaque import profile_misfits, words_of
from ..profile import Profile
from ..reading import reading_of
from ..security import Security
from ..world import World
from .answers import RunTold
from .orders import Fence, Nothing, Refused, read_order
from .profile_order import read_play
from .room import Room
from .state import tell_phase


async def reset(room: Room, request: web.Request) -> web.StreamResponse:
    """Heal what was added by hand, and play the profile anew: its timeline is before its start, the verdict open."""
    read_order(Nothing, await request.read())
    _check_running(room)
    room.stage.reset()
    return web.json_response(_tell_run(room.stage.proxy.world))


async def play(room: Room, request: web.Request) -> web.StreamResponse:
    """Play another profile in place of this one, from its beginning: at once where a connection was asked for."""
    order = read_play(await request.read(), room.shelf)
    _check_running(room)
    proxy = room.stage.proxy
    check_fit(order.profile, str(proxy.upstream), proxy.world.options.is_opaque, proxy.security, room.fence)
    room.stage.play(order.profile, order.seed)
    return web.json_response(_tell_run(proxy.world))


def check_fit(profile: Profile, upstream: str, is_opaque: bool, security: Security, fence: Fence) -> None:
    """Raise Refused where a profile can't be used before a server, or must not be."""
    if is_opaque and (misfits := words_of(profile_misfits(profile))):
        raise Refused(422, f"this profile can't be used with {upstream}: {'; '.join(misfits)}")
    for rule in profile.every_rule():
        if lack := security.lacks(rule.fault):
            raise Refused(422, "the order is not valid", [{"path": "profile", "message": lack}])
        if forbidden := fence(rule):
            raise Refused(403, forbidden)


def _check_running(room: Room) -> None:
    if room.stage.proxy.world.is_draining:
        raise Refused(503, "the proxy is ending")


def _tell_run(world: World) -> RunTold:
    told: RunTold = {
        "profile": {"name": world.profile.name, "digest": world.profile.digest},
        "seed": world.seed,
        "phase": tell_phase(world, monotonic_ns()),
    }
    if unreadable := _unreadable(world):
        told["note"] = (
            f"new connections only: {unreadable} (messages of so many open connections can't be read, "
            "since their compressed streams were not followed from the first byte)"
        )
    return told


def _unreadable(world: World) -> int:
    """How many open connections can't be read although the profile wants to read messages."""
    if not reading_of(world.profile, False, False).is_needed:
        return 0
    opened = (session for session in world.sessions.values() if session.state is State.TUNNEL)
    return sum(1 for session in opened if not all(direction.is_readable for direction in session.directions))
