"""Addresses, and sockets that listen there or are connected to them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple


class Address(NamedTuple):
    """Where to listen or to dial."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> "Address":
        """Where to connect to what listens here: a wildcard is reached over the loopback."""
        return self._replace(host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))


class Upstream(NamedTuple):
    """The server: where it is, and what is spoken with it."""

    address: Address
    scheme: str = "ws"

    @property
    def is_opaque(self) -> bool:
        """Whether connections to it are streams of bytes, in which we look for nothing."""
        return self.scheme == "tcp"

    @property
    def is_tls(self) -> bool:
        return self.scheme == "wss"

    @property
    def authority(self) -> str:
        """How a request names it as its Host (RFC 9110, section 7.2): without the scheme's default port."""
        host, port = self.address
        named = Address(host if host.isascii() else host.encode("idna").decode(), port)
        return str(named).removesuffix(f":{DEFAULT_PORTS.get(self.scheme)}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


DEFAULT_PORTS = {"ws": 80, "wss": 443}
LOOPBACK = Address("127.0.0.1", 0)


async def bind(listen: Address) -> list[socket.socket]:
    """One socket for each family of the address, on the same port. Raise OSError where it can't be had."""
    infos = await _look_up(listen)
    sockets: list[socket.socket] = []
    port = listen.port
    try:
        for family, host in dict.fromkeys((info[0], str(info[4][0])) for info in infos):
            if not port:
                # A port that the kernel chose would be given back by the shutdown that `refuse` is.
                with _listening_socket(family, host, 0) as probe:
                    port = probe.getsockname()[1]
            sockets.append(_listening_socket(family, host, port))
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


async def reach(upstream: Address) -> socket.socket:
    """Connect to the first address that answers. Raise the last one's OSError if none does."""
    loop = asyncio.get_running_loop()
    last = OSError("it has no address")
    for family, _, _, _, address in await _look_up(upstream):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise last


async def _look_up(address: Address) -> Sequence[tuple[int, int, int, str, Any]]:
    with contextlib.suppress(socket.gaierror):  # it is a name, not a number
        return socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(*address, type=socket.SOCK_STREAM)


def _listening_socket(family: int, host: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def words(error: OSError | UnicodeError) -> str:
    """What went wrong, for people."""
    if isinstance(error, UnicodeError):
        return "this can't be a host's name"
    if isinstance(error, socket.gaierror):  # its numbers are not errno's
        return str(error.strerror).lower()
    return os.strerror(error.errno).lower() if error.errno else str(error)
