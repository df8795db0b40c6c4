"""The one table of routes: from it come those that are served, and the OpenAPI document.

What concerns one stage stands once, and is served below each of the BASES. No GET changes anything. Orders return once
they are in force on live connections.
"""

import asyncio
import json
from functools import cache
from typing import Any, NamedTuple

from aiohttp import web

from . import client_door, openapi, picturing, process, room_order, seeing, steering
from .answers import (
    Come,
    Empty,
    Healed,
    Health,
    Met,
    NotCome,
    PhaseTold,
    ProxiesTold,
    ProxyEnded,
    ProxyTold,
    RuleAdded,
    SessionsTold,
    SessionTold,
    StateTold,
    VerdictTold,
)
from .orders import Close, Jump, Mark, NewRule, Nothing, Report
from .picture_answers import PictureTold
from .room import Kind, Room
from .rooms import Rooms
from .route import Query, Route, Text

NEEDS_TOKEN = web.AppKey("needs_token", bool)

NOT_NOW = frozenset({409})
"""It can't be done as things stand."""
FULL = frozenset({503})
"""So many others do it already, or the proxy is ending."""

PAGE = Text(("text/plain", "application/openmetrics-text"))
JAVASCRIPT = Text(("text/javascript",))

WAIT = (
    Query(
        "for",
        "opened, closed, established, subscribed, verdict, phase:NAME, struck:FAULT or RULE, state:NAME, mark:NAME",
        {"type": "string", "pattern": "^(opened|closed|established|subscribed|verdict|(phase|struck|state|mark):.+)$"},
        is_required=True,
    ),
    Query("count", "How many of it.", {"type": "integer", "minimum": 1, "maximum": seeing.COUNT_MAX, "default": 1}),
    Query("timeout", "How long to wait, at most 4m.", seeing.TIMEOUT_SCHEMA),
)

PICTURE = (
    Query("since", "The version that is known; 0 for everything.", picturing.VERSION_SCHEMA),
    Query("run", "The run of which it is known.", {"type": "string"}),
    Query("wait", "How long to wait for a newer one, at most 30s.", seeing.TIMEOUT_SCHEMA),
)

STAGE: tuple[Route[Room], ...] = (
    Route("GET", "/state", seeing.show_state, "Everything at once.", {200: StateTold}),
    Route("GET", "/metrics", seeing.show_metrics, "Its metrics, for Prometheus.", {200: PAGE}),
    Route(
        "GET",
        "/journal",
        seeing.show_journal,
        "What happens, as server-sent events (behind Last-Event-ID) or, with format=jsonl, what there is of it.",
        {200: Text(("text/event-stream", "application/jsonl"))},
        query=(Query("format", "In which form.", {"enum": ["events", "jsonl"], "default": "events"}),),
        refusals=frozenset({400}) | FULL,
        has_head=False,
    ),
    Route("GET", "/verdict", seeing.show_verdict, "How the run stands.", {200: VerdictTold}, refusals=NOT_NOW),
    Route(
        "GET",
        "/picture",
        seeing.show_picture,
        "What has changed in the picture, once it is newer than a version.",
        {200: PictureTold},
        query=PICTURE,
        refusals=frozenset({410, 422}) | FULL,
        has_head=False,
    ),
    Route(
        "GET",
        "/report",
        seeing.show_report,
        "The run up to now as one HTML file, that opens without us.",
        {200: Text(("text/html",))},
        has_head=False,
    ),
    Route(
        "GET",
        "/wait",
        seeing.wait,
        "Answer once something holds.",
        {200: Come, 504: NotCome},
        query=WAIT,
        refusals=frozenset({410, 422}) | NOT_NOW | FULL,
        has_head=False,
    ),
    Route(
        "POST",
        "/phase/next",
        steering.next_phase,
        "Go on to the next phase.",
        {200: PhaseTold},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route(
        "POST",
        "/phase",
        steering.jump,
        "Go to a phase, forth or back.",
        {200: PhaseTold},
        Jump,
        refusals=frozenset({404}),
    ),
    Route(
        "POST",
        "/rules",
        steering.add_rule,
        "Put a rule in force; one of the same id is replaced.",
        {201: RuleAdded},
        NewRule,
        refusals=NOT_NOW,
    ),
    Route("DELETE", "/rules", steering.heal_all, "Heal all rules that were added.", {200: Healed}, Nothing),
    Route(
        "DELETE",
        "/rules/{id}",
        steering.heal,
        "Heal a rule that was added.",
        {200: Healed},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route(
        "POST",
        "/connections/{attempt}/close",
        steering.close,
        "Send a client a close frame.",
        {200: Met},
        Close,
        refusals=NOT_NOW,
    ),
    Route(
        "POST",
        "/connections/{attempt}/reset",
        steering.reset,
        "End a connection by RST, on both legs.",
        {200: Met},
        Nothing,
    ),
    Route("POST", "/reports", steering.report, "Say in which state a client is.", {200: Empty}, Report),
    Route("POST", "/marks", steering.mark, "Set a mark in the journal.", {200: Empty}, Mark),
)
"""What one can see of a stage, and do to it."""


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
