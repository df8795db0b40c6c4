"""The one table of routes: from it come those that are served, and the OpenAPI document.

What concerns one stage stands once, and is served below each of the BASES. No GET changes anything. Orders return once
they are in force on live connections.
"""

import asyncio
import json
from functools import cache
from typing import Any, NamedTuple

from aiohttp import web

from . import client_door, openapi, process, profiles, room_order
from .answers import (
    Health,
    ProfileInFull,
    ProfileKnown,
    ProfileRemoved,
    ProfilesTold,
    ProfileValid,
    ProxiesTold,
    ProxyEnded,
    ProxyTold,
    SessionsTold,
    SessionTold,
    StateTold,
    VerdictTold,
)
from .orders import Nothing
from .profile_order import Validate
from .room import Kind
from .rooms import Rooms
from .route import Query, Route, Text
from .stage_routes import FULL, JAVASCRIPT, NOT_NOW, PAGE, STAGE

NEEDS_TOKEN = web.AppKey("needs_token", bool)


class Base(NamedTuple):
    """Where the routes of stages are served."""

    path: str
    kind: Kind
    parameter: str = ""
    """The part of the path that names one."""


BASES = (
    Base("/api", Kind.RUN),
    Base("/api/proxies/{name}", Kind.PROXY, "name"),
    Base("/api/sessions/{session}", Kind.SESSION, "session"),
)


@cache
def document(needs_token: bool) -> str:
    """The OpenAPI document, as JSON. It takes a while to make."""
    return json.dumps(openapi.document(served(), needs_token=needs_token))


async def show_document(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    text = await asyncio.to_thread(document, request.app[NEEDS_TOKEN])
    return web.Response(text=text, content_type="application/json")


PROCESS: tuple[Route[Rooms], ...] = (
    Route("GET", "/livez", process.show_life, "Whether the process lives.", {200: Health}, is_open=True),
    Route(
        "GET",
        "/readyz",
        process.show_readiness,
        "Whether clients can be served; the server is not asked.",
        {200: Health, 503: Health},
        is_open=True,
    ),
    Route(
        "GET",
        "/metrics",
        process.show_metrics,
        "The metrics of the proxy of `run`, for Prometheus.",
        {200: PAGE},
        is_open=True,
    ),
    Route("GET", "/api/openapi.json", show_document, "This document.", {200: openapi.Document}),
    Route("GET", "/api/proxies", process.list_proxies, "All proxies; that of `run` is main.", {200: ProxiesTold}),
    Route(
        "POST",
        "/api/proxies",
        process.open_proxy,
        "Put up another proxy: a port with a profile of its own.",
        {201: ProxyTold},
        room_order.NewProxy,
        refusals=NOT_NOW | FULL,
    ),
    Route("GET", "/api/proxies/{name}", process.show_proxy, "Where a proxy is.", {200: ProxyTold}),
    Route(
        "DELETE",
        "/api/proxies/{name}",
        process.end_proxy,
        "End a proxy and its connections; its port is free at once.",
        {200: ProxyEnded},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route("GET", "/api/profiles", profiles.show_all, "All profiles that can be played by name.", {200: ProfilesTold}),
    Route(
        "POST",
        "/api/profiles/validate",
        profiles.validate,
        "Say whether a profile is valid, or all that is wrong with it.",
        {200: ProfileValid},
        Validate,
    ),
    Route(
        "GET",
        "/api/profiles/{profile}",
        profiles.show,
        "A profile: as YAML, or with format=json in full.",
        {200: (Text(("application/yaml",)), ProfileInFull)},
        query=(Query("format", "In which form.", {"enum": ["yaml", "json"], "default": "yaml"}),),
        refusals=frozenset({400}),
    ),
    Route(
        "PUT",
        "/api/profiles/{profile}",
        profiles.upload,
        "Keep a profile under a name, until the process ends.",
        {200: ProfileKnown, 201: ProfileKnown},
        Validate,
        refusals=NOT_NOW | frozenset({413}),
    ),
    Route(
        "DELETE",
        "/api/profiles/{profile}",
        profiles.remove,
        "Forget a profile that was uploaded. Where it is played, it goes on.",
        {200: ProfileRemoved},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route("GET", "/api/sessions", process.list_sessions, "All sessions.", {200: SessionsTold}),
    Route(
        "POST",
        "/api/sessions",
        process.open_session,
        "Open a session: a port with a profile, clients and a verdict of its own.",
        {201: SessionTold},
        room_order.NewSession,
        refusals=FULL,
    ),
    Route(
        "GET",
        "/api/sessions/{session}",
        process.show_session,
        "Everything of a session at once.",
        {200: StateTold},
    ),
    Route(
        "DELETE",
        "/api/sessions/{session}",
        process.end_session,
        "End a session; what its verdict still waits for has failed by that.",
        {200: VerdictTold},
        Nothing,
    ),
    Route("GET", "/client/{client_token}/chaosproxy.js", client_door.show_script, "The script.", {200: JAVASCRIPT}),
    Route("GET", "/client/{client_token}/chaosproxy.mjs", client_door.show_module, "As module.", {200: JAVASCRIPT}),
    Route(
        "POST",
        "/client/{client_token}/reports",
        client_door.take_reports,
        "What the script reports, in whatever media type.",
        {204: None},
        client_door.Reports,
        refusals=frozenset({429}),
    ),
    *(
        Route("GET", f"/{name}", process.show_client(name), "The client in JavaScript.", {200: Text((kind,))})
        for name, kind in process.CLIENTS.items()
    ),
)
"""What concerns all stages."""


def served() -> list[tuple[str, Route[Any]]]:
    """All rows, with their whole paths."""
    of_stages = [(base.path + row.path, row) for base in BASES for row in STAGE]
    return [*((row.path, row) for row in PROCESS), *of_stages]
