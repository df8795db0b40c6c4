"""Addresses as users write them: the upstream's URL, HOST:PORT, and whether a server is one's own.

Every refusal is a ValueError that says what to write in its place.
"""

import socket
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from ..problems import show
from ..proxy import Address

_LATER = {"wss": "TLS upstreams", "tcp": "plain TCP upstreams"}
_MEANT = {"http": "ws", "https": "wss"}


class Owner(Enum):
    """Whose server stands behind an address, as far as the address tells."""

    LOOPBACK = "this machine"
    PRIVATE = "a private address"
    PUBLIC = "a public address"
    UNKNOWN = "a name that has no address now"


def parse_upstream(text: str) -> Address:
    """Read ws://HOST:PORT."""
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        raise ValueError(f"expected ws://HOST:PORT, got {show(text)}; did you mean {show('ws://' + text)}?")
    scheme = scheme.lower()
    if scheme in _LATER:
        raise ValueError(
            f"{scheme}:// is not supported yet ({_LATER[scheme]} come in a later version); use ws://HOST:PORT"
        )
    if scheme != "ws":
        hint = f"; did you mean {show('ws://' + rest)}?" if scheme in _MEANT else ""
        raise ValueError(f"expected ws://HOST:PORT, got {show(text)}{hint}")
    if "@" in rest:
        raise ValueError("the upstream's URL takes no user name or password: clients send their own")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        raise ValueError(f"expected ws://HOST:PORT, got {show(text)}: {problem}") from None
    if not host:
        raise ValueError(f"expected ws://HOST:PORT, got {show(text)}, which names no host")
    if not port:
        raise ValueError(f"{show(text)} names no port; ws://{_bracketed(host)}:80 would be the default of ws://")
    address = Address(host, port)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"the upstream takes no path: clients choose it, and it is passed on; write ws://{address}")
    return address


def parse_address(text: str) -> Address:
    """Read HOST:PORT, [HOST]:PORT for IPv6, or PORT alone for this machine."""
    host, _, port = text.rpartition(":")
    if not host and not text.startswith(":"):
        host = "127.0.0.1"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"expected [HOST]:PORT for an IPv6 address, got {show(text)}")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:7001 or 0.0.0.0:7001, got {show(text)}")
    return Address(host, int(port))


def reachable(address: Address) -> Address:
    """Where to connect to what listens on this address: a wildcard is reached over the loopback."""
    return address._replace(host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there. No name but localhost is looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def owner_of(host: str) -> Owner:
    """Tell whose server it is. Looks the name up, so it may block."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return Owner.UNKNOWN
    owners = {_owner(ip_address(str(info[4][0]).partition("%")[0])) for info in infos}
    return next(owner for owner in (Owner.PUBLIC, Owner.PRIVATE, Owner.LOOPBACK) if owner in owners)


def _owner(ip: IPv4Address | IPv6Address) -> Owner:
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return Owner.LOOPBACK
    return Owner.PRIVATE if ip.is_private else Owner.PUBLIC


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
