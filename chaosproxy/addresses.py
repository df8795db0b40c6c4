"""Addresses as users write them: the upstream's URL, HOST:PORT, and whether a server is one's own.

Every refusal is a ValueError that says what to write in its place.
"""

import errno
import re
import socket
from collections.abc import Mapping, Set
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from .problems import show
from .sockets import DEFAULT_PORTS, Address, Upstream

_FORMS = {"ws": "ws://HOST:PORT", "wss": "wss://HOST[:PORT]", "tcp": "tcp://HOST:PORT"}
_EXPECTED = "ws://HOST:PORT, wss://HOST[:PORT] or tcp://HOST:PORT"
_MEANT = {"http": "ws", "https": "wss"}
LOOPBACKS: Mapping[int, IPv4Address | IPv6Address] = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}
"""Where a connection to the address that stands for all ends up."""
_AUTHORITY = re.compile(r"(?P<name>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


class Owner(Enum):
    """Whose server stands behind an address, as far as the address tells."""

    LOOPBACK = "this machine"
    PRIVATE = "a private address"
    LINK_LOCAL = "a link-local address, such as a cloud's own services have"
    PUBLIC = "a public address"
    UNKNOWN = "a name that has no address now"


def parse_upstream(text: str) -> Upstream:
    """Read ws://HOST:PORT, wss://HOST[:PORT] or tcp://HOST:PORT."""
    scheme, has_scheme, rest = text.partition("://")
    if "@" in text:  # and what stands before it is not quoted: it may be a password
        raise ValueError("the upstream's URL takes no user name or password: clients send their own")
    if not has_scheme:
        raise ValueError(f"expected {_EXPECTED}, got {show(text)}{_meant('ws://' + text)}")
    scheme = scheme.lower()
    if scheme not in _FORMS:
        hint = _meant(f"{_MEANT[scheme]}://{rest}") if scheme in _MEANT else ""
        raise ValueError(f"expected {_EXPECTED}, got {show(text)}{hint}")
    form = _FORMS[scheme]
    place = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    if place.count(":") > 1 and "[" not in place:
        raise ValueError(f"expected {form.replace('HOST', '[HOST]')} for an IPv6 address, got {show(text)}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"expected {form} with a port from 1 to 65535, got {show(text)}") from None
    if not host:
        raise ValueError(f"expected {form}, got {show(text)}, which names no host")
    if port is None and scheme == "wss":
        port = DEFAULT_PORTS[scheme]
    if port == 0:
        raise ValueError(f"expected {form} with a port from 1 to 65535, got {show(text)}")
    if port is None:
        default = f"; ws://{_bracketed(host)}:80 would be the default of ws://" if scheme == "ws" else ""
        raise ValueError(f"{show(text)} names no port{default}")
    if not _can_be_host(place):
        raise ValueError(f"expected {form}, got {show(text)}, whose host can't be a name")
    upstream = Upstream(Address(host, port), scheme)
    if parts.path.strip("/") or parts.query or parts.fragment:
        why = "tcp:// has none" if scheme == "tcp" else "clients choose it, and it is passed on"
        raise ValueError(f"the upstream takes no path: {why}; write {upstream}")
    return upstream


def parse_host(text: str) -> str:
    """Read keep, upstream, or what a Host header shall say."""
    match = _AUTHORITY.fullmatch(text)
    if not match or not _can_be_host(match["name"]) or int(match["port"] or 1) not in range(1, 65536):
        raise ValueError(
            f"expected keep, upstream, or a name such as example.com or example.com:8443, got {show(text)}"
        )
    return text


def parse_address(text: str) -> Address:
    """Read HOST:PORT, [HOST]:PORT for IPv6, or PORT alone for this machine."""
    host, _, port = text.rpartition(":")
    if not host and not text.startswith(":"):
        host = "127.0.0.1"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"expected [HOST]:PORT for an IPv6 address, got {show(text)}")
    if host == "*":
        raise ValueError(f"expected 0.0.0.0:{port} to listen on every address, got {show(text)}")
    if not _can_be_host(host) or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:7001 or 0.0.0.0:7001, got {show(text)}")
    return Address(host, int(port))


def reachable(address: Address) -> Address:
    """Where to connect to what listens on this address: a wildcard is reached over the loopback."""
    return address.reachable


def leads_to(address: Address, listening: Address) -> bool:
    """Whether a connection to an address may end up at what listens on the other. Looks names up, so it may block."""
    if not address.port or address.port != listening.port:
        return False
    if address.host == listening.host:
        return True
    ours = _ips(listening.host)
    families = {ip.version for ip in ours if ip.is_unspecified}
    reached = {LOOPBACKS[ip.version] if ip.is_unspecified else ip for ip in _ips(address.host)}
    return any(ip in ours or (ip.version in families and _is_here(ip)) for ip in reached)


def another(address: Address) -> Address:
    """An address that is probably free, to be proposed."""
    return address._replace(port=address.port + 10 if address.port < 65_000 else address.port - 10)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there. No name but localhost is looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def owner_of(host: str) -> Owner:
    """Tell whose server it is. Looks the name up, so it may block."""
    owners = {_owner(ip) for ip in _ips(host)}
    worst_first = (Owner.PUBLIC, Owner.LINK_LOCAL, Owner.PRIVATE, Owner.LOOPBACK)
    return next((owner for owner in worst_first if owner in owners), Owner.UNKNOWN)


def _ips(host: str) -> Set[IPv4Address | IPv6Address]:
    """The addresses of a host, in whatever way it is spelt; none if nobody knows it now."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    ips = (ip_address(str(info[4][0]).partition("%")[0]) for info in infos)
    return {getattr(ip, "ipv4_mapped", None) or ip for ip in ips}


def _is_here(ip: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of this machine's: only those can be bound."""
    with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def _owner(ip: IPv4Address | IPv6Address) -> Owner:
    if ip.is_loopback:
        return Owner.LOOPBACK
    if ip.is_link_local:
        return Owner.LINK_LOCAL
    return Owner.PRIVATE if ip.is_private else Owner.PUBLIC


def _meant(url: str) -> str:
    """A suggestion, if it is one that would be taken."""
    try:
        parse_upstream(url)
    except ValueError:
        return ""
    return f"; did you mean {show(url)}?"


def _can_be_host(text: str) -> bool:
    """Whether it can be looked up at all: Python's resolver raises UnicodeError for what can't be a name."""
    if not text.isprintable() or " " in text:
        return False
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
