"""What a session or proxy is asked for: a profile, by a shipped name, as JSON or as YAML, and what differs from it."""

import re
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from .. import library
from ..addresses import parse_address
from ..expected import AnyExpected
from ..problems import BadProfile, Problem, show_path
from ..profile import EMPTY, PROFILE_NAME, Profile
from ..profile_yaml import check, load
from ..rule import Misuse, Model, misuse
from ..sockets import LOOPBACK, Address
from ..units import Integer, expected
from ..yaml_tree import Node
from .answers import ToldProblem
from .orders import Refused, check_order, read_body, tell_problems

YAML = "profile_yaml"
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


class _NameOrWhole(NamedTuple):
    """Tell the JSON Schema what a profile is."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(Profile.__pydantic_core_schema__)]}


class _NewRoom(Model):
    """What a proxy and a session have in common."""

    profile: Annotated[str | dict[str, Any], _NameOrWhole()] | None = None
    """The name of a shipped profile, or a whole one as an object; without any, every byte passes."""
    profile_yaml: str | None = None
    """A whole profile as YAML."""
    seed: Integer | None = None
    """What chance depends on; the profile's own by default."""
    upstream: Annotated[str, Field(max_length=1024)] | None = None
    """The server, such as ws://127.0.0.1:6001; that of `run` by default."""
    starts: Literal["connection", "launch"] | None = None
    """When the timeline starts, in place of what the profile says."""
    expect: tuple[AnyExpected, ...] = ()
    """What is expected beside what the profile expects."""

    @model_validator(mode="after")
    def _one_profile(self) -> "_NewRoom":
        if self.profile is not None and self.profile_yaml is not None:
            raise misuse(Misuse("expected one of profile and profile_yaml, got both", (YAML,)))
        return self


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


def read_session(body: bytes) -> RoomOrder:
    """Read an order with its profile. Raise Refused with all problems of either."""
    order, profile = _read(NewSession, body)
    return RoomOrder(profile, order.seed, Address(order.listen, 0), order.upstream)


def read_proxy(body: bytes) -> RoomOrder:
    """Read an order with its profile. Raise Refused with all problems of either."""
    order, profile = _read(NewProxy, body)
    return RoomOrder(profile, order.seed, order.listen, order.upstream, order.name)


def _read(kind: type[NewRoomType], body: bytes) -> tuple[NewRoomType, Profile]:
    tree = read_body(body)
    order = check_order(kind, tree)
    try:
        base = _base(order, tree)
    except library.UnknownProfile as unknown:
        remedy = "GET /api/state tells what runs, `chaosproxy profiles` lists what is shipped"
        problem: ToldProblem = {"path": "profile", "message": f"{unknown}; {remedy}"}
        raise Refused(422, "the order is not valid", [problem]) from None
    except BadProfile as bad:
        is_text = order.profile_yaml is not None
        told = tell_problems(bad.problems, "" if is_text else "profile", with_places=is_text)
        raise Refused(422, "the profile is not valid", told) from None
    return order, _changed(base, order)


def _base(order: _NewRoom, tree: Node) -> Profile:
    if order.profile_yaml is not None:
        return load(order.profile_yaml, YAML)
    if isinstance(order.profile, str):
        return library.load(order.profile)
    if order.profile is None:
        return EMPTY
    return check(tree.find(("profile",))[1].node, "profile")


def _changed(base: Profile, order: _NewRoom) -> Profile:
    """The profile with what the order says in its place, which must go together with the rest."""
    if not order.expect and order.starts is None:
        return base
    try:
        return base.changed(starts=order.starts or base.starts, expect=(*base.expect, *order.expect))
    except PydanticCustomError as error:
        found = (error.context or {})["found"]
        problems = [Problem("", 1, 1, show_path(_place(each, len(base.expect))), each.message) for each in found]
        raise Refused(422, "the order is not valid", tell_problems(problems)) from None


def _place(found: Misuse, known: int) -> tuple[str | int, ...]:
    """Where in the order it is: an expectation that it added, or its profile."""
    if found.at[:1] == ("expect",) and isinstance(found.at[1], int) and found.at[1] >= known:
        return ("expect", found.at[1] - known, *found.at[2:])
    return ("profile", *found.at)
