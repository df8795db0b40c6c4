"""A TLS peer driven by hand, and certificates to meet it with; neither is made by the code under test."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import trustme

from chaosproxy.security import Security
from tests.live import Peer, Receiver


class Trust(NamedTuple):
    """A CA, what a server under it shows, and what a client has that trusts it."""

    ca: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext


@cache
def trust() -> Trust:
    ca = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return Trust(ca, server, client)


def securities() -> Iterator[tuple[str, Security]]:
    """Each way in which TLS can stand before and behind the proxy."""
    listen, upstream = {"": trust().server}, trust().client
    yield "wss to ws", Security(listen=listen)
    yield "ws to wss", Security(upstream=upstream)
    yield "wss to wss", Security(listen=listen, upstream=upstream)


class TlsPeer(Receiver):
    """A peer over TLS. `raw` has what came over the wire since it was last looked at."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, name: str | None = None) -> None:
        self.peer = peer
        self.raw = b""
        self.is_at_end = False  # FIN has come
        self._inbound, self._outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._inbound, self._outbound, server_side=name is None, server_hostname=name)

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None = None, name: str = "127.0.0.1") -> "TlsPeer":
        peer = cls(await Peer.connect(port), context or trust().client, name)
        await peer.shake_hands()
        return peer

    @classmethod
    async def accept(cls, peer: Peer) -> "TlsPeer":
        accepted = cls(peer, trust().server)
        await accepted.shake_hands()
        return accepted

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._more()
            except ssl.SSLError:
                await self._flush()
                raise
            else:
                await self._flush()
                return

    async def say_hello(self) -> None:
        """Begin the handshake, and await nothing."""
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        await self._flush()

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        await self._flush()

    async def receive(self, size: int = 65536) -> bytes:
        """Some bytes; none at close_notify. Raise SSLEOFError where FIN comes without one."""
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                await self._more()
            except ssl.SSLZeroReturnError:
                return b""

    async def notify(self) -> None:
        """Say close_notify, and no FIN."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()

    async def end(self) -> None:
        """End our way as TLS wants it."""
        await self.notify()
        self.peer.end()

    async def _flush(self) -> None:
        if data := self._outbound.read():
            await self.peer.send(data)

    async def _more(self) -> None:
        assert not self.is_at_end, "nothing more comes"
        data = await self.peer.receive()
        self.raw += data
        if data:
            self._inbound.write(data)
        else:
            self.is_at_end = True
            self._inbound.write_eof()
