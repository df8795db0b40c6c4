"""What shall be played: a profile, by name, as JSON or as YAML, and what shall differ from it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from .. import library
from ..expected import AnyExpected
from ..problems import BadProfile, Problem, show_path
from ..profile import EMPTY, Profile
from ..profile_yaml import check, load
from ..rule import Misuse, Model, misuse
from ..units import Integer
from ..yaml_tree import Node
from .answers import ToldProblem
from .orders import Refused, check_order, read_body, tell_problems
from .shelf import Shelf

YAML = "profile_yaml"


class _NameOrWhole(NamedTuple):
    """Tell the JSON Schema what a profile is."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(Profile.__pydantic_core_schema__)]}


class Played(Model):
    """A profile that shall be played."""

    profile: Annotated[str | dict[str, Any], _NameOrWhole()] | None = None
    """The name of a profile (GET /api/profiles lists them), or a whole one as an object."""
    profile_yaml: str | None = None
    """A whole profile as YAML."""
    seed: Integer | None = None
    """What chance depends on; the profile's own by default."""
    starts: Literal["connection", "launch"] | None = None
    """When the timeline starts, in place of what the profile says."""
    expect: tuple[AnyExpected, ...] = ()
    """What is expected beside what the profile expects."""

    @model_validator(mode="after")
    def _one_profile(self) -> "Played":
        if self.profile is not None and self.profile_yaml is not None:
            raise misuse(Misuse("expected one of profile and profile_yaml, got both", (YAML,)))
        return self


class Play(Played):
    """Another profile for a proxy that runs."""

    @model_validator(mode="after")
    def _has_a_profile(self) -> "Play":
        if self.profile is None and self.profile_yaml is None:
            raise misuse(
                Misuse("expected profile: (a name, or a whole one) or profile_yaml:, got neither", ("profile",))
            )
        return self


class Validate(Model):
    """A profile to be looked at."""

    profile: dict[str, Any] | None = None
    """A whole profile as an object."""
    profile_yaml: str | None = None
    """A whole profile as YAML."""

    @model_validator(mode="after")
    def _one_profile(self) -> "Validate":
        if (self.profile is None) is (self.profile_yaml is None):
            raise misuse(Misuse("expected one of profile and profile_yaml", (YAML,)))
        return self


class PlayOrder(NamedTuple):
    """What shall be played."""

    profile: Profile
    seed: int | None


def read_play(body: bytes, shelf: Shelf) -> PlayOrder:
    """Read what shall be played. Raise Refused with all problems of the order or of the profile."""
    tree = read_body(body)
    order = check_order(Play, tree)
    return PlayOrder(profile_of(order, tree, shelf), order.seed)


def read_profile(body: bytes) -> tuple[Profile, str]:
    """Read a profile that is not to be played now, and give its YAML. Raise Refused with all its problems."""
    tree = read_body(body)
    order = check_order(Validate, tree)
    with _refused(is_text=order.profile_yaml is not None):
        if order.profile_yaml is not None:
            return load(order.profile_yaml, YAML), order.profile_yaml
        text = json.dumps(json.loads(body)["profile"], indent=2, ensure_ascii=False) + "\n"
        return check(tree.find(("profile",))[1].node, "profile"), text


def profile_of(order: Played, tree: Node, shelf: Shelf) -> Profile:
    """The whole profile that an order means. Raise Refused."""
    with _refused(is_text=order.profile_yaml is not None):
        return _changed(_base(order, tree, shelf), order)


@contextmanager
def _refused(*, is_text: bool) -> Iterator[None]:
    """Refuse what is wrong with a profile; problems in YAML with their places."""
    try:
        yield
    except library.UnknownProfile as unknown:
        problem: ToldProblem = {"path": "profile", "message": f"{unknown}; GET /api/profiles lists all"}
        raise Refused(422, "the order is not valid", [problem]) from None
    except BadProfile as bad:
        told = tell_problems(bad.problems, "" if is_text else "profile", with_places=is_text)
        raise Refused(422, "the profile is not valid", told) from None


def _base(order: Played, tree: Node, shelf: Shelf) -> Profile:
    if order.profile_yaml is not None:
        return load(order.profile_yaml, YAML)
    if isinstance(order.profile, str):
        return shelf.load(order.profile)
    if order.profile is None:
        return EMPTY
    return check(tree.find(("profile",))[1].node, "profile")


def _changed(base: Profile, order: Played) -> Profile:
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
