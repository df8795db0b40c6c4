"""The door for clients: the script that tells us their states, and where it tells them. Nothing can be read here.

A page sends its reports as plain text and does not learn the answer, so that its browser asks for no leave (a
preflight). What does not fit is dropped and counted: a page may be anybody's.
"""

from importlib.resources import files
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from ..observe import Statement
from ..world import Step, World
from .orders import Refused
from .room import REPORTS_PER_SECOND, Room
from .rooms import Rooms

TOKEN_IN_PATH = "client_token"
REPORTS_MAX = 64  # in one body

_SCRIPT = files(__package__).joinpath("chaosproxy.js").read_text()
# A file can't be a classic script and a module that exports: so the same source comes under two names.
_EXPORTS = """
const { watch, mark } = globalThis.chaosproxy.at(import.meta.url);
export { watch, mark };
"""

Text = Annotated[str, Field(max_length=64)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class _Report(_Strict):
    """One thing that a client told; the names are those of chaosproxy.js."""

    n: Annotated[int, Field(ge=1, le=2**53)]
    ms: Annotated[float, Field(ge=0, le=1e15)]
    socket_id: Text = ""
    previous: Text = ""
    detail: Text = ""
    code: Annotated[int, Field(ge=-(2**31), le=2**31)] | None = None
    path: Literal["", "error.data.code", "data.code"] = ""


class _State(_Report):
    what: Literal["state"]
    state: Annotated[Text, Field(min_length=1)]


class _More(_Report):
    what: Literal["error", "connecting_in", "mark", "gone"]
    state: Literal[""] = ""


class Reports(_Strict):
    """What the script sends. A report that does not fit is dropped by itself."""

    client: Annotated[str, Field(max_length=256)] = ""
    instance: Annotated[Text, Field(min_length=1)]
    reports: Annotated[list[JsonValue], Field(max_length=REPORTS_MAX)]


_REPORT: TypeAdapter[_State | _More] = TypeAdapter(Annotated[_State | _More, Field(discriminator="what")])


async def show_script(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    return _javascript(_SCRIPT)


async def show_module(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    return _javascript(_SCRIPT + _EXPORTS)


async def take_reports(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Take what the script reports into the stream of what happens to the stage whose token is named."""
    room = rooms.by_client_token[request.match_info[TOKEN_IN_PATH]]
    clients = room.stage.clients
    try:
        body = Reports.model_validate_json(await request.read())
    except web.HTTPRequestEntityTooLarge:
        clients.drop("too_large")
        raise
    except ValidationError:
        clients.drop("malformed")
        raise Refused(400, "the body is not what chaosproxy.js sends") from None
    if not room.reports.take(len(body.reports), room.clock()):
        clients.drop("rate", len(body.reports))
        raise Refused(429, f"more than {REPORTS_PER_SECOND} reports a second")
    statements = [statement for report in body.reports if (statement := _read(room, body, report))]
    statements.sort(key=lambda statement: statement.ordinal)

    def tell(world: World, now: int) -> list[Step]:
        for statement in statements:
            world.told += clients.hear(statement, now)
        return []

    room.stage.proxy.steer(tell)
    return web.Response(status=204)


def _read(room: Room, body: Reports, report: JsonValue) -> Statement | None:
    try:
        said = _REPORT.validate_python(report)
    except ValidationError:
        room.stage.clients.drop("malformed")
        return None
    return Statement(
        body.client,
        body.instance,
        said.n,
        said.ms,
        said.socket_id,
        said.what,
        said.state,
        said.previous,
        said.detail,
        said.code,
        said.path,
    )


def _javascript(text: str) -> web.Response:
    headers = {"Access-Control-Allow-Origin": "*"}  # a module is fetched with CORS
    return web.Response(text=text, content_type="text/javascript", charset="utf-8", headers=headers)
