"""The routes. What concerns one stage has two addresses: /api/… for that of `run`, /api/sessions/ID/… for a session's.

No GET changes anything. Orders return once they are in force on live connections.
"""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from ..metrics import Metrics
from . import connections, runs, seeing, steering
from .orders import Nothing, read_order
from .profiles import Profiles
from .room import Room
from .session_order import read_session
from .sessions import SESSIONS_MAX, Sessions
from .state import Json, tell_verdict

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
"""Served without a token: they tell nothing that steers or identifies."""

OfRoom = Callable[[Room, web.Request], Awaitable[web.StreamResponse]]
SEEING: dict[str, OfRoom] = {
    "/state": seeing.show_state,
    "/journal": seeing.show_journal,
    "/verdict": seeing.show_verdict,
    "/picture": seeing.show_picture,
    "/report": seeing.show_report,
    "/wait": seeing.wait,
    "/phases": seeing.show_phases,
    "/connections": connections.show_connections,
}
STEERING: dict[tuple[str, str], OfRoom] = {
    ("POST", "/phase/next"): steering.next_phase,
    ("POST", "/phase"): steering.jump,
    ("POST", "/phase/pause"): steering.pause,
    ("POST", "/phase/resume"): steering.resume,
    ("POST", "/reset"): runs.reset,
    ("POST", "/profile"): runs.play,
    ("POST", "/rules"): steering.add_rule,
    ("DELETE", "/rules"): steering.heal_all,
    ("DELETE", "/rules/{id}"): steering.heal,
    ("POST", "/connections/close"): connections.close_many,
    ("POST", "/connections/reset"): connections.reset_many,
    ("POST", "/connections/freeze"): connections.freeze_many,
    ("POST", "/connections/heal"): connections.heal_many,
    ("POST", "/connections/{attempt}/close"): connections.close,
    ("POST", "/connections/{attempt}/reset"): connections.reset,
    ("POST", "/connections/{attempt}/freeze"): connections.freeze,
    ("POST", "/connections/{attempt}/heal"): connections.heal,
    ("POST", "/reports"): steering.report,
    ("POST", "/marks"): steering.mark,
}
"""What one can see of a stage, and do to it."""

CLIENTS = {
    "chaosproxy-control.mjs": "text/javascript",
    "chaosproxy-control.cjs": "text/javascript",
    "chaosproxy-control.d.mts": "text/plain",
    "chaosproxy-control.d.cts": "text/plain",
}
"""A client of these routes in JavaScript, to be copied beside tests that use it; for require() made of the module."""


class Api:
    """Answer for the stage of `run` and all sessions."""

    def __init__(self, sessions: Sessions, metrics: Metrics) -> None:
        self._sessions = sessions
        self._metrics = metrics

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/livez", self._livez),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._show_metrics),
            *(web.get(f"/{name}", _script(name)) for name in CLIENTS),
            web.get("/api/sessions", self._list),
            web.post("/api/sessions", self._open),
            web.get("/api/sessions/{session}", self._in_room(seeing.show_state)),
            web.delete("/api/sessions/{session}", self._end),
            *Profiles(self._sessions.main.shelf).routes(),
            *self._routes_of_a_stage("/api"),
            *self._routes_of_a_stage("/api/sessions/{session}"),
        ]

    def _routes_of_a_stage(self, base: str) -> list[web.AbstractRouteDef]:
        routes: list[web.AbstractRouteDef] = [
            web.get(base + path, self._in_room(handler), allow_head=path == "/state")
            for path, handler in SEEING.items()
        ]
        routes += [web.route(method, base + path, self._in_room(act)) for (method, path), act in STEERING.items()]
        return routes

    def _in_room(self, handler: OfRoom) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(self._sessions.room(request.match_info.get("session", "")), request)

        return handle

    # -- the process ------------------------------------------------------------------------------------------------

    async def _livez(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def _readyz(self, request: web.Request) -> web.Response:
        """Whether clients can be served. It never asks the upstream, which may be down on purpose, as the door may."""
        stage = self._sessions.main.stage
        if not stage.proxy.port:
            return web.json_response({"status": "not listening yet"}, status=503)
        if stage.proxy.world.is_draining:
            return web.json_response({"status": "draining"}, status=503)
        return web.json_response({"status": "ready", "journal_lost": stage.journal.lost})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        page, content_type = self._metrics.expose(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=page, headers={"Content-Type": content_type})

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        sessions: list[Json] = [_tell_session(room) for room in self._sessions]
        return web.json_response({"sessions": sessions, "at_most": SESSIONS_MAX})

    async def _open(self, request: web.Request) -> web.Response:
        order = read_session(await request.read(), self._sessions.main.shelf)
        return web.json_response(_tell_session(await self._sessions.open(order)), status=201)

    async def _end(self, request: web.Request) -> web.Response:
        """End a session; what is open in its verdict has failed by that."""
        read_order(Nothing, await request.read())
        room = self._sessions.take(request.match_info["session"])
        try:
            verdict = tell_verdict(room.stage, is_over=True)
        finally:
            await self._sessions.end(room)
        return web.json_response(verdict)


def _tell_session(room: Room) -> Json:
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


def client_text(name: str) -> str:
    """A file of the client in JavaScript."""
    text = files(__package__).joinpath(name.replace(".cjs", ".mjs").replace(".cts", ".mts")).read_text()
    return text.replace("\nexport {", "\nmodule.exports = {") if name.endswith(".cjs") else text


def _script(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    text = client_text(name)

    async def show(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=CLIENTS[name], charset="utf-8")

    return show
