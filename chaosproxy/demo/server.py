"""The demo's server: the sockets around the hub. Speaks the Pusher protocol as soketi does, on one port.

`GET /app/{key}` is the WebSocket; the rest is HTTP (see api.py); every other path is a 404. Nothing is limited here
that soketi does not limit, and no WebSocket ping is sent: the proxy under test shall be the only one to disturb a
connection. What to do is the hub's decision; here it is done, with no `await` between the two.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from time import monotonic_ns
from typing import assert_never

from aiohttp import WSMsgType, web

from chaosproxy.demo.actions import Action, Close, Post, Send
from chaosproxy.demo.api import Api, allow_any_origin
from chaosproxy.demo.auth import DEFAULT_APP, App
from chaosproxy.demo.frames import Json
from chaosproxy.demo.hub import Hub, dismiss
from chaosproxy.demo.link import Link
from chaosproxy.demo.webhooks import Webhooks
from chaosproxy.units import SECOND

REQUEST_BYTES_MAX = 100 * 1024 * 1024
_SOCKET_ID_PART_MAX = 10**10


class DemoServer:
    """A Pusher-protocol server for some apps; `start`, use `port`, `stop`.

    A client gets `close_patience_s` to take what it is still owed and to answer a close frame; then it is cut off.
    While it stops, the server answers new connections with 4200 for `shutdown_grace_s` (soketi: 3). An upgrade on any
    other path gets HTTP's 404, as from soketi, or is accepted and told `wrong_path_code` (Pusher: 4005).
    """

    def __init__(
        self,
        apps: Sequence[App] = (DEFAULT_APP,),
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        close_patience_s: float = 2.0,
        shutdown_grace_s: float = 0.0,
        wrong_path_code: int | None = None,
    ) -> None:
        if not apps:
            raise ValueError("a server needs at least one app")
        self._apps = tuple(apps)
        self._host = host
        self._wanted_port = port
        self._close_patience_s = close_patience_s
        self._shutdown_grace_s = shutdown_grace_s
        self._wrong_path_code = wrong_path_code
        self._hub = Hub(self._apps)
        self._webhooks = Webhooks()
        self._links: dict[str, Link] = {}
        self._runner: web.AppRunner | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: int | None = None

    @property
    def port(self) -> int:
        """The port it listens on, which the system chose if none was asked for."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the server is not listening")
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def connection_count(self) -> int:
        """How many WebSockets are open, the refused ones included until they are closed."""
        return len(self._links)

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._hub = Hub(self._apps)  # one that stopped refuses everybody
        application = web.Application(client_max_size=REQUEST_BYTES_MAX)
        application.add_routes([web.get("/app/{key}", self._serve_app)])
        application.add_routes(Api(self._hub, self._apps[0], self._perform).routes())
        application.add_routes([web.route("*", "/{path:.*}", self._serve_wrong_path)])
        application.on_response_prepare.append(allow_any_origin)
        application.on_shutdown.append(self._end_links)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=self._close_patience_s)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self._host, self._wanted_port).start()
        except OSError:
            await self._close()
            raise

    async def stop(self) -> None:
        """Tell all clients (4200), stop listening, wait for their close frames for a moment, end what is left.

        Called again meanwhile, it no longer waits for `shutdown_grace_s` to pass.
        """
        is_first = not self._hub.is_stopping
        self._perform(self._hub.stop(monotonic_ns()))
        if is_first and self._runner is not None:
            await asyncio.sleep(self._shutdown_grace_s)
        await self._close()

    async def _close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            await self._webhooks.finish(self._close_patience_s)

    def publish(self, channel: str, event: str, data: Json, app: App | None = None) -> None:
        """Send an event to a channel's subscribers, as the HTTP API does."""
        self._perform(self._hub.publish(app or self._apps[0], channel, event, data, monotonic_ns()))

    def terminate(self, user_id: str, app: App | None = None) -> None:
        """End each connection that is signed in as this user, or is it in a presence channel (code 4009)."""
        self._perform(self._hub.terminate(app or self._apps[0], user_id, monotonic_ns()))

    async def _end_links(self, application: web.Application) -> None:
        links = list(self._links.values())
        if links:
            await asyncio.wait([link.writer for link in links], timeout=self._close_patience_s)
        for link in links:
            if not link.writer.done():
                link.abort()

    async def _serve_app(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]
        return await self._serve_socket(request, lambda socket_id: self._hub.connect(key, socket_id, monotonic_ns()))

    async def _serve_wrong_path(self, request: web.Request) -> web.StreamResponse:
        code = self._wrong_path_code
        if code is None:
            raise web.HTTPNotFound
        return await self._serve_socket(request, lambda socket_id: dismiss(socket_id, code, "There is no such path."))

    async def _serve_socket(self, request: web.Request, greet: Callable[[str], list[Action]]) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=self._close_patience_s)
        if not socket.can_prepare(request):
            raise web.HTTPNotFound
        if self._runner is None:
            raise web.HTTPServiceUnavailable  # accepted just before the listener was closed
        await socket.prepare(request)
        socket_id = self._unused_socket_id()
        link = self._links[socket_id] = Link(socket, request.transport)
        try:
            self._perform(greet(socket_id))
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._perform(self._hub.receive(socket_id, message.data, monotonic_ns()))
        finally:
            del self._links[socket_id]
            self._perform(self._hub.disconnect(socket_id, monotonic_ns()))
            await link.finish(Close(socket_id, 1000), self._close_patience_s)
        return socket

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Send() | Close():
                    if link := self._links.get(action.socket_id):
                        link.put(action)
                case Post(app, event):
                    self._webhooks.post(app, event)
                case unreachable:
                    assert_never(unreachable)
        self._set_timer(self._hub.deadline)

    def _set_timer(self, due: int | None) -> None:
        if due == self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = None, due
        if due is not None:
            delay_s = max(due - monotonic_ns(), 0) / SECOND
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = self._timer_due = None
        self._perform(self._hub.tick(monotonic_ns()))

    def _unused_socket_id(self) -> str:
        while True:
            socket_id = f"{secrets.randbelow(_SOCKET_ID_PART_MAX)}.{secrets.randbelow(_SOCKET_ID_PART_MAX)}"
            if socket_id not in self._links:
                return socket_id
