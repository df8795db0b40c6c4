"""From the table of routes to what is served. What concerns one stage has an address for each stage there is."""

from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web

from .room import Room
from .rooms import Rooms
from .route import Route
from .routes import BASES, PROCESS, Base
from .stage_routes import STAGE

OPEN_PATHS = frozenset(row.path for row in PROCESS if row.is_open)
"""Served without a token: they tell nothing that steers or identifies."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes_of(rooms: Rooms) -> Iterator[web.AbstractRouteDef]:
    """All that is served."""
    for row in PROCESS:
        yield _route(row, row.path, _of_process(row, rooms))
    for base in BASES:
        for of_stage in STAGE:
            yield _route(of_stage, base.path + of_stage.path, _of_stage(of_stage, base, rooms))


def _route(row: Route[Rooms] | Route[Room], path: str, handler: _Handler) -> web.AbstractRouteDef:
    if row.method == "GET":
        return web.get(path, handler, allow_head=row.has_head)
    return web.route(row.method, path, handler)


def _of_process(row: Route[Rooms], rooms: Rooms) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await row.handler(rooms, request)

    return handle


def _of_stage(row: Route[Room], base: Base, rooms: Rooms) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await row.handler(rooms.find(base.kind, request.match_info.get(base.parameter, "")), request)

    return handle
