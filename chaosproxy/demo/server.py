"""The demo's server: the sockets around the hub. Speaks the Pusher protocol as soketi does, on one port.

`GET /app/{key}` is the WebSocket; the rest is HTTP (see api.py); every other path is a 404. Nothing is limited here
that soketi does not limit, and no WebSocket ping is sent: the proxy under test shall be the only one to disturb a
connection.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import assert_never

from aiohttp import WSMsgType, web

from chaosproxy.demo.api import Api, allow_any_origin
from chaosproxy.demo.auth import DEFAULT_APP, App
from chaosproxy.demo.frames import Json
from chaosproxy.demo.hub import Action, Close, Hub, Send

HELD_CHARACTERS_MAX = 1024 * 1024
REQUEST_BYTES_MAX = 100 * 1024 * 1024
_SOCKET_ID_PART_MAX = 10**10


class DemoServer:
    """A Pusher-protocol server for some apps; `start`, use `port`, `stop`.

    A client gets `close_patience_s` to take what it is still owed and to answer a close frame; then it is cut off.
    """

    def __init__(
        self,
        apps: Sequence[App] = (DEFAULT_APP,),
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        close_patience_s: float = 2.0,
    ) -> None:
        if not apps:
            raise ValueError("a server needs at least one app")
        self._apps = tuple(apps)
        self._host = host
        self._wanted_port = port
        self._close_patience_s = close_patience_s
        self._hub = Hub(self._apps)
        self._links: dict[str, _Link] = {}
        self._runner: web.AppRunner | None = None

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
        application = web.Application(client_max_size=REQUEST_BYTES_MAX)
        application.add_routes([web.get("/app/{key}", self._serve_socket)])
        application.add_routes(Api(self._hub, self._apps[0], self._perform).routes())
        application.on_response_prepare.append(allow_any_origin)
        application.on_shutdown.append(self._dismiss_everybody)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=self._close_patience_s)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self._host, self._wanted_port).start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening, tell all clients (4200), wait for their close frames for a moment, end what is left."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def publish(self, channel: str, event: str, data: Json, app: App | None = None) -> None:
        """Send an event to a channel's subscribers, as the HTTP API does."""
        self._perform(self._hub.publish(app or self._apps[0], channel, event, data))

    def terminate(self, user_id: str, app: App | None = None) -> None:
        """End each connection with which this user is in a presence channel (code 4009)."""
        self._perform(self._hub.terminate(app or self._apps[0], user_id))

    async def _dismiss_everybody(self, application: web.Application) -> None:
        self._perform(self._hub.dismiss_everybody())
        links = list(self._links.values())
        if links:
            await asyncio.wait([link.writer for link in links], timeout=self._close_patience_s)
        for link in links:
            if not link.writer.done():
                link.abort()

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=self._close_patience_s)
        if not socket.can_prepare(request):
            raise web.HTTPNotFound
        if self._runner is None:
            raise web.HTTPServiceUnavailable  # accepted just before the listener was closed
        await socket.prepare(request)
        socket_id = self._unused_socket_id()
        link = self._links[socket_id] = _Link(socket, request.transport)
        try:
            self._perform(self._hub.connect(request.match_info["key"], socket_id))
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._perform(self._hub.receive(socket_id, message.data))
        finally:
            del self._links[socket_id]
            self._perform(self._hub.disconnect(socket_id))
            await link.finish(Close(socket_id, 1000), self._close_patience_s)
        return socket

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if link := self._links.get(action.socket_id):
                link.put(action)

    def _unused_socket_id(self) -> str:
        while True:
            socket_id = f"{secrets.randbelow(_SOCKET_ID_PART_MAX)}.{secrets.randbelow(_SOCKET_ID_PART_MAX)}"
            if socket_id not in self._links:
                return socket_id


class _Link:
    """One client's socket and what it still has to be sent.

    A client that does not read must not slow down the others, so nobody waits for it: beyond HELD_CHARACTERS_MAX, what
    it should have been sent is lost, as with soketi.
    """

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self._socket = socket
        self._transport = transport
        self._actions: asyncio.Queue[Action] = asyncio.Queue()
        self._held_characters = 0
        self.writer = asyncio.create_task(self._write())

    def put(self, action: Action) -> None:
        if isinstance(action, Send):
            if self._held_characters and self._held_characters + len(action.text) > HELD_CHARACTERS_MAX:
                return
            self._held_characters += len(action.text)
        self._actions.put_nowait(action)

    async def finish(self, close: Close, patience_s: float) -> None:
        """Close the socket unless that has happened, leave no task behind; a peer that stalls is cut off."""
        self._actions.put_nowait(close)
        try:
            async with asyncio.timeout(patience_s):
                await self.writer
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """End the connection without waiting for anything; both sides of it find out by themselves."""
        if self._transport is not None:
            self._transport.abort()

    async def _write(self) -> None:
        try:
            while True:
                match await self._actions.get():
                    case Send(text=text):
                        await self._socket.send_str(text)
                        self._held_characters -= len(text)
                    case Close(code=code):
                        await self._socket.close(code=code)
                        return
                    case unreachable:
                        assert_never(unreachable)
        except ConnectionError:
            pass  # the peer is gone, which the reading side learns as well
