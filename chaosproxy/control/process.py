"""What concerns the whole process: whether it lives, its sessions, and what others may copy from it."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from . import seeing
from .answers import Health, SessionsTold, SessionTold
from .orders import Nothing, read_order
from .room import Room
from .session_order import read_session
from .sessions import SESSIONS_MAX, Sessions
from .state import tell_verdict

CLIENTS = {
    "chaosproxy-control.mjs": "text/javascript",
    "chaosproxy-control.cjs": "text/javascript",
    "chaosproxy-control.d.mts": "text/plain",
    "chaosproxy-control.d.cts": "text/plain",
}
"""A client of the API in JavaScript, to be copied beside tests that use it; for require() made of the module."""


async def show_life(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    return _tell_health({"status": "live"})


async def show_readiness(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    """Whether clients can be served. It never asks the upstream, which may be down on purpose, as the door may."""
    stage = sessions.main.stage
    if not stage.proxy.port:
        return _tell_health({"status": "not listening yet"}, 503)
    if stage.proxy.world.is_draining:
        return _tell_health({"status": "draining"}, 503)
    return _tell_health({"status": "ready", "journal_lost": stage.journal.lost})


def _tell_health(health: Health, status: int = 200) -> web.Response:
    return web.json_response(health, status=status)


async def show_metrics(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    """Those of the stage of `run` alone: who scrapes them without a token learns nothing of others."""
    return await seeing.show_metrics(sessions.main, request)


# -- sessions ---------------------------------------------------------------------------------------------------------


async def list_sessions(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    told: SessionsTold = {"sessions": [_tell_session(room) for room in sessions], "at_most": SESSIONS_MAX}
    return web.json_response(told)


async def open_session(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    order = read_session(await request.read())
    return web.json_response(_tell_session(await sessions.open(order)), status=201)


async def show_session(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    return await seeing.show_state(sessions.room(request.match_info["session"]), request)


async def end_session(sessions: Sessions, request: web.Request) -> web.StreamResponse:
    """End a session; what is open in its verdict has failed by that."""
    read_order(Nothing, await request.read())
    room = sessions.take(request.match_info["session"])
    try:
        verdict = tell_verdict(room.stage, is_over=True)
    finally:
        await sessions.end(room)
    return web.json_response(verdict)


def _tell_session(room: Room) -> SessionTold:
    """What a test needs to know of its session."""
    proxy = room.stage.proxy
    address = proxy.address.reachable
    scheme = "tcp" if proxy.world.options.is_opaque else "wss" if proxy.security.listen else "ws"
    return {
        "id": room.session,
        "url": f"{scheme}://{address}",
        "host": address.host,
        "port": address.port,
        "profile": proxy.world.profile.name,
        "seed": proxy.world.seed,
        "control": f"/api/sessions/{room.session}",
        "client_script": f"{room.client_path}/chaosproxy.js",
        "client_reports": room.client_path,
    }


# -- the client in JavaScript -----------------------------------------------------------------------------------------


def client_text(name: str) -> str:
    """A file of the client in JavaScript."""
    text = files(__package__).joinpath(name.replace(".cjs", ".mjs").replace(".cts", ".mts")).read_text()
    return text.replace("\nexport {", "\nmodule.exports = {") if name.endswith(".cjs") else text


def show_client(name: str) -> Callable[[Sessions, web.Request], Awaitable[web.StreamResponse]]:
    """Make what serves a file of it."""
    text = client_text(name)

    async def show(sessions: Sessions, request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=CLIENTS[name], charset="utf-8")

    return show
