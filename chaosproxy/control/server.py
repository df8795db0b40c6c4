"""Listen for orders. Every answer, also a refusal, is JSON and carries the headers that keep browsers careful."""

import http
from collections.abc import Awaitable, Callable, Collection
from secrets import token_urlsafe

from aiohttp import web

from ..metrics import Metrics
from ..sockets import Address
from ..stage import Stage
from . import assets
from .api import OPEN_PATHS, Api
from .client_door import TOKEN_IN_PATH, ClientDoor
from .guard import Facts, Guard
from .orders import Fence, Refused
from .room import Room
from .sessions import Grounds, Sessions

BODY_BYTES_MAX = 64 * 1024  # a mebibyte of mistakes would keep the loop busy for seconds
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TO_BE_TRIED_AGAIN = (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.TOO_MANY_REQUESTS)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlServer:
    """The control address of one proxy, and of the sessions that are opened over it.

    `hosts` are further names by which it may be addressed (see Guard). Raise ValueError where the address can be
    reached from elsewhere and there is no `token`. `fence` may forbid rules; `grounds` say on what sessions may stand.
    The clients report under `client_path`, which no other can guess.
    """

    def __init__(
        self,
        stage: Stage,
        metrics: Metrics,
        address: Address,
        hosts: Collection[str] = (),
        token: str | None = None,
        fence: Fence = lambda rule: None,
        client_token: str | None = None,
        grounds: Grounds | None = None,
    ) -> None:
        self._address = address
        main = Room(stage, fence, client_token or token_urlsafe(16))
        self.client_path = main.client_path
        self.sessions = Sessions(main, grounds)
        self._guard = Guard(address.host, hosts, token, self.sessions.by_client_token)
        self.port = 0
        app = web.Application(middlewares=[self._answer], client_max_size=BODY_BYTES_MAX)
        app.add_routes(Api(self.sessions, metrics).routes())
        app.add_routes(ClientDoor(self.sessions).routes())
        app.add_routes(assets.routes())
        app.on_response_prepare.append(_add_headers)
        app.on_shutdown.append(self._let_go)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

    @property
    def routes(self) -> Collection[web.AbstractRoute]:
        """All that is served."""
        return self._runner.app.router.routes()

    async def start(self) -> None:
        """Listen. Raise OSError where the address can't be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._address).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End all sessions and conversations. Call it even where `start` has failed."""
        await self._runner.cleanup()
        await self.sessions.close()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if refusal := self._guard.check(_facts(request), self.port):
            return _refuse(Refused(*refusal))
        try:
            return await handler(request)
        except Refused as refused:
            return _refuse(refused)
        except web.HTTPException as error:
            return _refuse(Refused(error.status, _words(error)), error)

    async def _let_go(self, app: web.Application) -> None:
        await self.sessions.close()


def _facts(request: web.Request) -> Facts:
    headers = request.headers
    return Facts(
        method=request.method,
        hosts=tuple(headers.getall("Host", ())),
        origins=tuple(headers.getall("Origin", ())),
        fetch_sites=tuple(headers.getall("Sec-Fetch-Site", ())),
        content_type=request.content_type,
        has_body=request.body_exists,
        has_own_header="X-Chaosproxy" in headers,
        authorization=headers.get("Authorization", ""),
        is_open=request.path in OPEN_PATHS,
        client_token=request.match_info.get(TOKEN_IN_PATH),
        is_file=request.path in assets.ASSETS,
        is_home=request.path == assets.HOME,
        fetch_modes=tuple(headers.getall("Sec-Fetch-Mode", ())),
        fetch_destinations=tuple(headers.getall("Sec-Fetch-Dest", ())),
    )


def _refuse(refused: Refused, error: web.HTTPException | None = None) -> web.Response:
    body: dict[str, object] = {"error": refused.error}
    if refused.problems:
        body["problems"] = list(refused.problems)
    response = web.json_response(body, status=refused.status)
    if refused.status == http.HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error and (allow := error.headers.get("Allow")):
        response.headers["Allow"] = allow
    return response


def _words(error: web.HTTPException) -> str:
    match error:
        case web.HTTPRequestEntityTooLarge():
            return f"the body is larger than {BODY_BYTES_MAX} bytes"
        case web.HTTPMethodNotAllowed():
            return f"this takes {', '.join(sorted(error.allowed_methods))}"
        case web.HTTPNotFound():
            return "there is nothing here; begin with GET /api/state, /api/journal or /metrics"
        case _:
            return error.reason


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if TOKEN_IN_PATH in request.match_info and response.status not in _TO_BE_TRIED_AGAIN:
        # A page's fetch fails where it may not have the answer, even one that it can't read; then it tries again.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Server"] = "chaosproxy"  # aiohttp has named itself and Python by now
