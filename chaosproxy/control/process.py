"""What concerns the whole process: whether it lives, its proxies and sessions, and what others may copy from it."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from . import seeing
from .answers import Health, PlaceTold, ProxiesTold, ProxyEnded, ProxyTold, SessionsTold, SessionTold
from .orders import Nothing, read_order
from .room import Kind, Room
from .room_order import read_proxy, read_session
from .rooms import ROOMS_MAX, Rooms
from .state import tell_verdict

CLIENTS = {
    "chaosproxy-control.mjs": "text/javascript",
    "chaosproxy-control.cjs": "text/javascript",
    "chaosproxy-control.d.mts": "text/plain",
    "chaosproxy-control.d.cts": "text/plain",
}
"""A client of the API in JavaScript, to be copied beside tests that use it; for require() made of the module."""


async def show_life(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    return _tell_health({"status": "live"})


async def show_readiness(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Whether clients can be served. It never asks the upstream, which may be down on purpose, as the door may."""
    stage = rooms.main.stage
    if not stage.proxy.port:
        return _tell_health({"status": "not listening yet"}, 503)
    if stage.proxy.world.is_draining:
        return _tell_health({"status": "draining"}, 503)
    return _tell_health({"status": "ready", "journal_lost": stage.journal.lost})


def _tell_health(health: Health, status: int = 200) -> web.Response:
    return web.json_response(health, status=status)


async def show_metrics(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Those of the stage of `run` alone: who scrapes them without a token learns nothing of others."""
    return await seeing.show_metrics(rooms.main, request)


# -- sessions and proxies ---------------------------------------------------------------------------------------------


async def list_sessions(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    told: SessionsTold = {"sessions": [_tell_session(room) for room in rooms.of(Kind.SESSION)], "at_most": ROOMS_MAX}
    return web.json_response(told)


async def open_session(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    order = read_session(await request.read(), rooms.main.shelf)
    return web.json_response(_tell_session(await rooms.open(Kind.SESSION, order)), status=201)


async def show_session(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    return await seeing.show_state(rooms.find(Kind.SESSION, request.match_info["session"]), request)


async def end_session(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """End a session; what is open in its verdict has failed by that."""
    read_order(Nothing, await request.read())
    room = rooms.take(Kind.SESSION, request.match_info["session"])
    try:
        verdict = tell_verdict(room.stage, is_over=True)
    finally:
        await rooms.end(room)
    return web.json_response(verdict)


async def list_proxies(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    told: ProxiesTold = {"proxies": [_tell_proxy(room) for room in rooms.of(Kind.PROXY)], "at_most": ROOMS_MAX}
    return web.json_response(told)


async def open_proxy(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    order = read_proxy(await request.read(), rooms.main.shelf)
    return web.json_response(_tell_proxy(await rooms.open(Kind.PROXY, order)), status=201)


async def show_proxy(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    return web.json_response(_tell_proxy(rooms.find(Kind.PROXY, request.match_info["name"])))


async def end_proxy(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """End a proxy at once; its port is free once this is answered."""
    read_order(Nothing, await request.read())
    room = rooms.take(Kind.PROXY, request.match_info["name"])
    try:
        verdict = tell_verdict(room.stage, is_over=True) if room.stage.judge else None
    finally:
        await rooms.end(room)
    told: ProxyEnded = {"name": room.name, "verdict": verdict}
    return web.json_response(told)


def _tell_session(room: Room) -> SessionTold:
    """What a test needs to know of its session."""
    return {"id": room.name, **_tell_place(room)}


def _tell_proxy(room: Room) -> ProxyTold:
    proxy = room.stage.proxy
    upstream = f"{_scheme(proxy.world.options.is_opaque, bool(proxy.security.upstream))}://{proxy.upstream}"
    judged = room.stage.judge is not None
    return {
        "name": room.name,
        "listen": str(proxy.address),
        "upstream": upstream,
        "judged": judged,
        **_tell_place(room),
    }


def _tell_place(room: Room) -> PlaceTold:
    """Where one finds it."""
    proxy = room.stage.proxy
    address = proxy.address.reachable
    return {
        "url": f"{_scheme(proxy.world.options.is_opaque, bool(proxy.security.listen))}://{address}",
        "host": address.host,
        "port": address.port,
        "profile": proxy.world.profile.name,
        "seed": proxy.world.seed,
        "control": room.path,
        "client_script": f"{room.client_path}/chaosproxy.js",
        "client_reports": room.client_path,
    }


def _scheme(is_opaque: bool, is_tls: bool) -> str:
    return "tcp" if is_opaque else "wss" if is_tls else "ws"


# -- the client in JavaScript -----------------------------------------------------------------------------------------


def client_text(name: str) -> str:
    """A file of the client in JavaScript."""
    text = files(__package__).joinpath(name.replace(".cjs", ".mjs").replace(".cts", ".mts")).read_text()
    return text.replace("\nexport {", "\nmodule.exports = {") if name.endswith(".cjs") else text


def show_client(name: str) -> Callable[[Rooms, web.Request], Awaitable[web.StreamResponse]]:
    """Make what serves a file of it."""
    text = client_text(name)

    async def show(rooms: Rooms, request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=CLIENTS[name], charset="utf-8")

    return show
