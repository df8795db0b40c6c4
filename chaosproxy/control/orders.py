"""What the bodies of requests may say. Checked here, once, with every problem at a time."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from ..problems import Place, Problem
from ..rule import AnyRule, Misuse, Model, Rule, misuse
from ..units import NOTHING, Count, Duration, Integer, Quoted
from ..wording import problems_of
from ..yaml_tree import DEPTH_MAX, Entry, Node
from .answers import ToldProblem

REASON_BYTES_MAX = 123  # RFC 6455, section 5.5, less the code
_NOWHERE = Place(1, 1)

Fence = Callable[[Rule], str | None]
"""Why a rule must not be added to this proxy, if so."""


class Refused(Exception):
    """A request can't be served; it has changed nothing."""

    def __init__(self, status: int, error: str, problems: Sequence[ToldProblem] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.problems = problems


class NewRule(Model):
    """A rule as in a profile, and for how long."""

    rule: AnyRule
    """One fault and its match, as in a profile."""
    lasts: Duration | None = None
    """After this time it heals by itself."""
    connections: Annotated[tuple[Count, ...], Field(min_length=1, max_length=10_000)] | None = None
    """The attempts that it acts on; without any, all connections, and those that come."""


class Close(Model):
    """The code and reason of a close for the client."""

    code: Annotated[Integer, Field(ge=0, le=65535)] | Literal["none"] = 1001
    """Any 16-bit number; none sends a close frame without a status."""
    reason: str = ""
    """At most 123 bytes."""

    @model_validator(mode="after")
    def _fits_a_frame(self) -> "Close":
        if len(self.reason.encode()) > REASON_BYTES_MAX:
            raise misuse(Misuse(f"expected a reason of at most {REASON_BYTES_MAX} bytes", ("reason",)))
        if self.code == "none" and self.reason:
            raise misuse(Misuse("expected no reason where there is no code: the reason stands behind it", ("reason",)))
        return self


class Jump(Model):
    """Which phase to go to."""

    phase: str
    """Its name in the profile."""


class Report(Model):
    """What a client says of itself."""

    client: Annotated[str, Field(max_length=256)] = ""
    """Its key, as `identify` finds it; empty where there is only one."""
    state: Annotated[str, Field(min_length=1, max_length=64)]
    """Such as connecting, connected or unavailable."""
    detail: Annotated[str, Field(max_length=1024)] = ""
    """Anything more."""


class Mark(Model):
    """A name that shall stand in the journal at this moment."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """What expectations (marked:) and waiting (mark:NAME) call it."""
    client: Annotated[str, Field(max_length=256)] = ""
    """The key of the client that it is about, where there are several."""


class Nothing(Model):
    """No fields."""


OrderType = TypeVar("OrderType", bound=Model)


def read_order(kind: type[OrderType], body: bytes) -> OrderType:
    """Read a JSON object; an empty body is an empty one. Raise Refused with all its problems."""
    return check_order(kind, read_body(body))


# Of a query, text all of it, what is read as a number or as true or false.
_BARE = frozenset({"limit", "after", "silent"})


def read_query(kind: type[OrderType], query: Mapping[str, str]) -> OrderType:
    """Read what an address asks for, in the words of an order. Raise Refused with all its problems."""
    values = {key: Node(_NOWHERE, text if key in _BARE else Quoted(text)) for key, text in query.items()}
    tree = Node(_NOWHERE, {key: Entry(_NOWHERE, value) for key, value in values.items()})
    return check_order(kind, tree)


def read_body(body: bytes) -> Node:
    """Read a JSON object into the form in which profiles are read. Raise Refused where it is none."""
    try:
        value = json.loads(
            body or b"{}", object_pairs_hook=_object, parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
        tree = _tree(value)
    except (ValueError, RecursionError) as problem:
        raise Refused(400, f"the body is not JSON: {str(problem)[:200]}") from None
    if not isinstance(value, dict):
        raise Refused(422, "the body is not a JSON object")
    return tree


def check_order(kind: type[OrderType], tree: Node) -> OrderType:
    """Take what has been read for an order. Raise Refused with all its problems."""
    try:
        return kind.model_validate(tree.data(), by_alias=True, by_name=False)
    except ValidationError as error:
        raise Refused(422, "the order is not valid", tell_problems(problems_of(error, tree, "", (kind,)))) from None


class _Number(str):
    """A number's source text."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    "".join(value).encode()
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _tree(value: object, depth: int = 0) -> Node:
    """JSON in the form in which profiles are read, scalars by their source text, to be judged in the same words."""
    if depth > DEPTH_MAX:
        raise ValueError(f"more than {DEPTH_MAX} levels")
    match value:
        case dict():
            return Node(_NOWHERE, {key: Entry(_NOWHERE, _tree(item, depth + 1)) for key, item in value.items()})
        case list():
            return Node(_NOWHERE, [_tree(item, depth + 1) for item in value])
        case None:
            return Node(_NOWHERE, NOTHING)
        case bool():
            return Node(_NOWHERE, "true" if value else "false")
        case _:
            text = str(value)
            text.encode()  # half a surrogate pair is a ValueError
            return Node(_NOWHERE, text if isinstance(value, _Number) else Quoted(text))


def tell_problems(problems: Sequence[Problem], below: str = "", *, with_places: bool = False) -> list[ToldProblem]:
    """Tell problems by their paths, `below` that of what has been read; with their places where that was text."""
    told: list[ToldProblem] = []
    for each in problems:
        path = below + ("." if below and each.path and each.path[0] != "[" else "") + each.path
        problem: ToldProblem = {"path": path, "message": "; ".join(filter(None, (each.message, each.hint)))}
        if with_places:
            problem |= {"source": each.source, "line": each.line, "column": each.column}
        told.append(problem)
    return told
