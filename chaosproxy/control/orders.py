"""What the bodies of requests may say. Checked here, once, with every problem at a time."""

import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from ..faults import FAULTS
from ..faults.ending import CloseFault
from ..profile import AnyRule, Rule
from ..units import Duration

Fence = Callable[[Rule], str | None]
"""Why a rule must not be added to this proxy, if so."""

_SHOWN = 80  # characters of a wrong value


class Refused(Exception):
    """A request can't be served; it has changed nothing."""

    def __init__(self, status: int, error: str, problems: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.problems = problems


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewRule(_Order):
    """A rule as in a profile, and for how long."""

    rule: AnyRule
    lasts: Duration | None = None


class Jump(_Order):
    """Which phase to go to."""

    phase: str


class Report(_Order):
    """What a client says of itself."""

    client: Annotated[str, Field(max_length=256)] = ""
    state: Annotated[str, Field(min_length=1, max_length=64)]
    detail: Annotated[str, Field(max_length=1024)] = ""


class Nothing(_Order):
    """No fields."""


OrderType = TypeVar("OrderType", bound=_Order)


def read_object(body: bytes) -> dict[str, object]:
    """Read a JSON object; an empty body is an empty one."""
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as problem:
        raise Refused(400, f"the body is not JSON: {str(problem)[:200]}") from None
    if not isinstance(value, dict):
        raise Refused(422, "the body is not a JSON object")
    return value


def read_order(kind: type[OrderType], body: bytes) -> OrderType:
    """Read a body; raise Refused with all its problems."""
    value = read_object(body)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _refused(error, value) from None


def read_close(body: bytes) -> CloseFault:
    """Read the code and reason of a close, for the client; 1001 where none is given."""
    value = read_object(body)
    problems = [
        {"path": name, "message": "unknown key; expected code and reason"}
        for name in value
        if name not in ("code", "reason")
    ]
    if problems:
        raise Refused(422, "the order is not valid", problems)
    try:
        return CloseFault.model_validate({"code": 1001, **value})
    except ValidationError as error:
        raise _refused(error, value) from None


def _refused(error: ValidationError, order: object) -> Refused:
    messages: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        path, message = _problem(detail, order)
        messages.setdefault(path, []).append(message)
    problems = [{"path": path, "message": " or ".join(several)} for path, several in messages.items()]
    return Refused(422, "the order is not valid", problems)


def _problem(error: ErrorDetails, order: object) -> tuple[str, str]:
    """A problem in the terms of its reader: where, and what was expected."""
    context = error.get("ctx", {})
    path = [*_place(error["loc"], order), *context.get("at", ())]
    got = json.dumps(error["input"], default=str)
    got = got if len(got) <= _SHOWN else got[: _SHOWN - 1] + "…"
    match error["type"]:
        case "expected":
            message = f"expected {context['what']}, got {got}"
        case "unknown_fault":
            near = get_close_matches(context["name"], FAULTS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FAULTS)}"
            message = f"there is no fault of this name; {hint}"
        case "misuse":
            message = error["msg"]
        case "extra_forbidden":
            message = "unknown key"
        case "missing":
            message = f"{error['loc'][-1]} is needed"
        case _:
            message = f"{error['msg']}, got {got}"
    return ".".join(str(part)[:_SHOWN] for part in path), message


def _place(places: Sequence[str | int], value: object) -> list[str | int]:
    """The path of a value, as far as the order itself goes: behind it stand the names of the types it was tried as."""
    if len(places) > 1 and places[0] == "rule":
        places = (places[0], *places[2:])  # the second is the kind of rule that it was taken for
    path: list[str | int] = []
    for part in places:
        if not isinstance(value, dict | list):
            break
        path.append(part)
        if isinstance(value, dict):
            value = value.get(part)
        else:
            value = value[part] if isinstance(part, int) and part < len(value) else None
    return path
