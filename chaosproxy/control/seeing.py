"""What is going on at one stage: state, journal, verdict, and waiting. No GET changes anything."""

import asyncio
from collections.abc import Callable
from time import monotonic_ns

from aiohttp import web
from pydantic import TypeAdapter

from ..page import report_html
from ..units import SECOND, Duration, parse_duration
from .answers import Come
from .orders import Refused
from .picturing import read_patience, read_version, tell_picture, tell_run
from .room import Room
from .state import tell_phases, tell_state, tell_verdict
from .waits import UNJUDGED

WAIT_DEFAULT = 10 * SECOND
TIMEOUT_SCHEMA = TypeAdapter(Duration).json_schema()
WAIT_MAX = 240 * SECOND  # fetch in Node gives up on an answer that takes 300 s to begin
COUNT_MAX = 1_000_000


async def show_state(room: Room, request: web.Request) -> web.StreamResponse:
    return web.json_response(tell_state(room.stage, monotonic_ns()))


async def show_phases(room: Room, request: web.Request) -> web.StreamResponse:
    """List the phases of the profile, and say which one is in force."""
    return web.json_response(tell_phases(room.stage.proxy.world))


async def show_journal(room: Room, request: web.Request) -> web.StreamResponse:
    match request.query.get("format", "events"):
        case "jsonl":
            return room.streams.file()
        case "events":
            return await room.streams.follow(request)
        case _:
            raise Refused(400, "expected format=events or format=jsonl")


async def show_verdict(room: Room, request: web.Request) -> web.StreamResponse:
    if not room.stage.judge:
        raise Refused(409, UNJUDGED)
    return web.json_response(tell_verdict(room.stage))


async def show_picture(room: Room, request: web.Request) -> web.StreamResponse:
    """Answer once it is newer than what is known, or with nothing new when the wait is over."""
    patience = _read(request, "wait", read_patience, 0)
    version = _read(request, "since", read_version, 0)
    if request.query.get("run", room.stage.picture.run) != room.stage.picture.run:
        version = 0  # what is known is another run's
    await room.viewers.wait(version, patience)
    return web.json_response(tell_picture(room.stage, version))


async def show_metrics(room: Room, request: web.Request) -> web.StreamResponse:
    page, content_type = room.metrics.expose(",".join(request.headers.getall("Accept", [])))
    return web.Response(body=page, headers={"Content-Type": content_type})


async def show_report(room: Room, request: web.Request) -> web.StreamResponse:
    """The run up to now, in one file that opens without us."""
    name = room.stage.proxy.world.profile.name or "run"  # it has nothing that would have to be escaped
    # It may take a while, and the traffic goes on meanwhile.
    text = await asyncio.to_thread(report_html, [tell_run(room.stage)])
    disposition = f'attachment; filename="chaosproxy-{name}.html"'
    return web.Response(text=text, content_type="text/html", headers={"Content-Disposition": disposition})


async def wait(room: Room, request: web.Request) -> web.StreamResponse:
    """Answer once it holds; 504 where it does not come. (Not 408, upon which a browser may ask again by itself.)"""
    timeout = _read(request, "timeout", _read_timeout, WAIT_DEFAULT)
    condition = room.waits.condition(request.query.get("for", ""), _read(request, "count", _read_count, 1))
    there = await room.waits.wait(condition, timeout)
    if there is None:
        return web.json_response(room.waits.tell(condition, timeout, monotonic_ns()), status=504)
    come: Come = {"for": condition.name, "there": there, "wanted": condition.wanted}
    return web.json_response(come)


def _read(request: web.Request, name: str, read: Callable[[str], int], default: int) -> int:
    text = request.query.get(name)
    try:
        return default if text is None else read(text)
    except ValueError as problem:
        raise Refused(422, f"{name}: {problem}") from None


def _read_timeout(text: str) -> int:
    try:
        timeout = parse_duration(text)
    except ValueError as problem:
        raise ValueError(f"expected {problem}") from None
    if not 0 < timeout <= WAIT_MAX:
        raise ValueError("expected a time of at most 4m; to wait for longer, ask again")
    return timeout


def _read_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= COUNT_MAX):
        raise ValueError(f"expected a whole number from 1 to {COUNT_MAX}")
    return int(text)
