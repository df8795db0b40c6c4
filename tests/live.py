"""Real sockets for tests: raw peers, an upstream that does as it is told, and a proxy between them, on both loops."""

import asyncio
import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ClassVar

import uvloop

from chaosproxy.profile import EMPTY, Profile
from chaosproxy.proxy import Address, Proxy
from chaosproxy.security import PLAIN, Security
from chaosproxy.sockets import Upstream as Behind
from chaosproxy.wire.http import accept_for
from chaosproxy.world import DEFAULTS, Options, Told

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PATIENCE_S = 20.0
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    b"GET /chat?token=1 HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_for(KEY) + b"\r\n\r\n"
)


def run(loop: str, story: Coroutine[Any, Any, None]) -> None:
    """Run a story on a loop of that kind, and let nothing it started outlive it."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(_alone(story), PATIENCE_S * 3))


async def _alone(story: Coroutine[Any, Any, None]) -> None:
    before = asyncio.all_tasks()
    await story
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks are left: {left}"


class Receiver(ABC):
    """Reads bytes until it has what it wants."""

    @abstractmethod
    async def receive(self, size: int = 65536) -> bytes:
        """Some bytes; none at the end."""

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = await self.receive(size - len(data))
            assert part, f"EOF after {data!r}"
            data += part
        return data

    async def until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            part = await self.receive(1)
            assert part, f"EOF after {data!r}"
            data += part
        return data

    async def rest(self) -> bytes:
        """All that comes before EOF."""
        data = b""
        while part := await self.receive():
            data += part
        return data


class Peer(Receiver):
    """One end of a TCP connection, driven by hand."""

    opened: ClassVar[list["Peer"]] = []  # closed with the stage

    def __init__(self, sock: socket.socket) -> None:
        self.opened.append(self)
        self.sock = sock
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int) -> "Peer":
        peer = cls(socket.socket())
        await asyncio.get_running_loop().sock_connect(peer.sock, ("127.0.0.1", port))
        return peer

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.sock, data), PATIENCE_S)

    async def receive(self, size: int = 65536) -> bytes:
        """Some bytes; none at EOF. Raise ConnectionResetError at RST."""
        return await asyncio.wait_for(self._loop.sock_recv(self.sock, size), PATIENCE_S)

    async def is_reset(self) -> bool:
        """Whether the connection ends by RST; False where it ends by FIN."""
        try:
            while await self.receive():
                pass
        except ConnectionResetError:
            return True
        return False

    def end(self) -> None:
        """Send FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Upstream:
    """A listening socket whose accepted peers are handed out in order."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(512)
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]

    async def accept(self) -> Peer:
        connection, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self.sock), PATIENCE_S)
        return Peer(connection)

    def close(self) -> None:
        self.sock.close()


class Stage:
    """An upstream, a proxy before it, and what the proxy told."""

    def __init__(self, upstream: Upstream, proxy: Proxy, told: list[Told]) -> None:
        self.upstream = upstream
        self.proxy = proxy
        self.told = told

    async def tunnel(self, request: bytes = REQUEST, response: bytes = RESPONSE) -> tuple[Peer, Peer]:
        """A client and a server with an open tunnel between them."""
        client = await Peer.connect(self.proxy.port)
        await client.send(request)
        server = await self.upstream.accept()
        await server.exactly(len(request))
        await server.send(response)
        await client.exactly(len(response))
        return client, server

    async def pair(self) -> tuple[Peer, Peer]:
        """A client and a server with an opaque connection between them."""
        client = await Peer.connect(self.proxy.port)
        return client, await self.upstream.accept()

    async def told_of(self, kind: type[Any]) -> Any:
        """Wait for an event of a kind; the latest is given."""
        await comes_true(lambda: any(isinstance(told.event, kind) for told in self.told))
        return next(told.event for told in reversed(self.told) if isinstance(told.event, kind))

    async def is_empty(self) -> None:
        """Wait until the proxy carries no connection."""
        try:
            await comes_true(lambda: not self.proxy.open_relays)
        except TimeoutError:
            left = [
                (each.number, each.state, each.legs[0].__dict__, each.legs[1].__dict__)
                for each in self.proxy.world.sessions.values()
            ]
            raise AssertionError(f"still open: {self.proxy.open_relays}, {left}") from None


async def comes_true(condition: Callable[[], bool]) -> None:
    """Wait for something that sends no event, by looking."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def stage(
    profile: Profile | dict[str, Any] = EMPTY,
    options: Options = DEFAULTS,
    upstream_port: int | None = None,
    scheme: str = "ws",
    security: Security = PLAIN,
) -> AsyncIterator[Stage]:
    """A running proxy with a raw upstream; ended at once afterwards."""
    told: list[Told] = []
    upstream = Upstream()
    if isinstance(profile, dict):
        profile = Profile.model_validate({"version": 1, **profile})
    behind = Behind(Address("127.0.0.1", upstream_port or upstream.port), scheme)
    proxy = Proxy(behind, profile=profile, options=options, on_told=told.append, security=security)
    await proxy.start()
    try:
        yield Stage(upstream, proxy, told)
    finally:
        await proxy.abort()
        upstream.close()
        while Peer.opened:
            Peer.opened.pop().close()
