"""A proxy between a real WebSocket server and real clients (the `websockets` library), on either loop.

What a fault does on the wire is judged by what these see: messages, close codes, errors, times. Neither knows anything
of the code under test.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from chaosproxy.profile import EMPTY, Profile
from chaosproxy.proxy import Address, Proxy
from chaosproxy.security import PLAIN, Security
from chaosproxy.world import DEFAULTS, Options, Told
from tests.live import PATIENCE_S, Peer, comes_true

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(connection: ServerConnection) -> None:
    """Send every message back, until the client ends."""
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


class Seen:
    """What a client or a server of the library saw: messages with their times, and how its connection ended."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.times: list[float] = []  # seconds of a monotonic clock, one for each message
        self.end: ConnectionClosed | None = None

    async def watch(self, connection: ClientConnection | ServerConnection) -> None:
        """Take all that comes, to the end."""
        try:
            while True:
                self.messages.append(await connection.recv())
                self.times.append(monotonic())
        except ConnectionClosed as end:
            self.end = end

    @property
    def close_code(self) -> int | None:
        """Of the close frame that was received; None where none was, or it had none."""
        return self.end.rcvd.code if self.end and self.end.rcvd else None


class Between:
    """The proxy under test, and how to reach it."""

    def __init__(self, proxy: Proxy, told: list[Told], servers: list[ServerConnection], seen: list[Seen]) -> None:
        self.proxy = proxy
        self.told = told
        self.servers = servers  # connections as the server has them, in the order in which they opened
        self.server_saw = seen  # one for each, where the server only watches

    @property
    def url(self) -> str:
        scheme = "wss" if self.proxy.security.listen else "ws"
        return f"{scheme}://127.0.0.1:{self.proxy.port}/app/key"

    @contextlib.asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[ClientConnection]:
        """A client; uncompressed and without pings of its own unless told otherwise."""
        given: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None, "max_size": None, **options}
        async with asyncio.timeout(PATIENCE_S * 2), connect(self.url, **given) as client:
            yield client

    def events(self, kind: type[Any]) -> list[Any]:
        return [told.event for told in self.told if isinstance(told.event, kind)]

    async def told_of(self, kind: type[Any], count: int = 1) -> Any:
        """Wait for so many events of a kind; the latest is given."""
        await comes_true(lambda: len(self.events(kind)) >= count)
        return self.events(kind)[-1]


@contextlib.asynccontextmanager
async def between(
    profile: Profile | dict[str, Any] = EMPTY,
    handler: Handler | None = None,
    options: Options = DEFAULTS,
    security: Security = PLAIN,
    **server_options: Any,
) -> AsyncIterator[Between]:
    """A running proxy before a server; without a handler, the server only watches (`server_saw`)."""
    told: list[Told] = []
    servers: list[ServerConnection] = []
    seen: list[Seen] = []

    async def handle(connection: ServerConnection) -> None:
        servers.append(connection)
        seen.append(Seen())
        await (handler(connection) if handler else seen[-1].watch(connection))

    if isinstance(profile, dict):
        profile = Profile.model_validate({"version": 1, **profile})
    given: dict[str, Any] = {"compression": None, "ping_interval": None, "max_size": None, "close_timeout": 1}
    async with serve(handle, "127.0.0.1", 0, **{**given, **server_options}) as server:
        upstream = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        proxy = Proxy(upstream, profile=profile, options=options, on_told=told.append, security=security)
        await proxy.start()
        try:
            yield Between(proxy, told, servers, seen)
        finally:
            await proxy.abort()
            while Peer.opened:
                Peer.opened.pop().close()
