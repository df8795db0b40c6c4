"""What a session or proxy is asked for: a profile, and where it shall stand."""

import re
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..addresses import parse_address
from ..profile import PROFILE_NAME, Profile
from ..sockets import LOOPBACK, Address
from ..units import expected
from .orders import check_order, read_body
from .profile_order import Played, profile_of
from .shelf import Shelf

_HOST = re.compile(
    r"\[(?P<literal>[0-9A-Fa-f:.]+)\](?::0)?|(?P<name>[\w.-]+)(?::0)?|(?P<bare>(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]+)"
)


def _host(value: Any) -> str:
    match = _HOST.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise expected("a host, such as 127.0.0.1 or 0.0.0.0 (its port is any that is free)")
    return match["literal"] or match["name"] or match["bare"]


def _address(value: Any) -> Address:
    try:
        return value if isinstance(value, Address) else parse_address(str(value))
    except ValueError as problem:
        raise expected(str(problem).removeprefix("expected ").partition(", got ")[0]) from None


class _NewRoom(Played):
    """What a proxy and a session have in common; without a profile, every byte passes."""

    upstream: Annotated[str, Field(max_length=1024)] | None = None
    """The server, such as ws://127.0.0.1:6001; that of `run` by default."""


class NewSession(_NewRoom):
    """A session: a port with a profile of its own."""

    listen: Annotated[str, BeforeValidator(_host)] = "127.0.0.1"
    """The host on which it listens."""


class NewProxy(_NewRoom):
    """A proxy: a port with a profile of its own, until it is deleted."""

    name: Annotated[str, Field(pattern=PROFILE_NAME)]
    """What it is called below /api/proxies."""
    listen: Annotated[Address, BeforeValidator(_address), WithJsonSchema({"type": "string"})] = LOOPBACK
    """Where clients connect: HOST:PORT; port 0 is any that is free."""


NewRoomType = TypeVar("NewRoomType", bound=_NewRoom)


class RoomOrder(NamedTuple):
    """A proxy or a session as it shall be."""

    profile: Profile
    seed: int | None
    listen: Address
    upstream: str | None
    name: str = ""  # given where it is a proxy


def read_session(body: bytes, shelf: Shelf) -> RoomOrder:
    """Read an order with its profile. Raise Refused with all problems of either."""
    order, profile = _read(NewSession, body, shelf)
    return RoomOrder(profile, order.seed, Address(order.listen, 0), order.upstream)


def read_proxy(body: bytes, shelf: Shelf) -> RoomOrder:
    """Read an order with its profile. Raise Refused with all problems of either."""
    order, profile = _read(NewProxy, body, shelf)
    return RoomOrder(profile, order.seed, order.listen, order.upstream, order.name)


def _read(kind: type[NewRoomType], body: bytes, shelf: Shelf) -> tuple[NewRoomType, Profile]:
    tree = read_body(body)
    order = check_order(kind, tree)
    return order, profile_of(order, tree, shelf)
