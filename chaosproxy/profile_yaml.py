"""Profiles as YAML: text in, a checked Profile or all problems out. Also the format's JSON Schema.

No text makes anything but BadProfile; reading files is for others. JSON is read as the YAML that it is.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaValue

from .faults import Fault
from .problems import BadProfile, Place, Problem, render
from .profile import Profile
from .rule import Path
from .wording import problems_of
from .yaml_tree import Node, read

__all__ = ["BadProfile", "Problem", "check", "example", "load", "render", "schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_HARMLESS: dict[str, dict[str, Any]] = {"rules": {"drop": {}}, "expect": {"marked": "anything"}}


def load(text: str | bytes, source: str) -> Profile:
    """Read a profile; `source` is what problems call the text. Raises BadProfile."""
    tree, problems = read(text, source)
    if tree is None:
        raise BadProfile(problems)
    profile, more = _validate(tree.data(), tree, source)
    unreadable = {Place(problem.line, problem.column) for problem in problems}
    problems += [problem for problem in more if Place(problem.line, problem.column) not in unreadable]
    if profile is None or problems:
        raise BadProfile(problems)
    return profile


def check(tree: Node, source: str) -> Profile:
    """Take what has been read for a profile. Raises BadProfile."""
    profile, problems = _validate(tree.data(), tree, source)
    if profile is None:
        raise BadProfile(problems)
    return profile


def _validate(data: Any, tree: Node, source: str) -> tuple[Profile | None, list[Problem]]:
    models: Sequence[type[BaseModel]] = (Profile,)
    try:
        return Profile.model_validate(data, by_alias=True, by_name=False), []
    except ValidationError as error:
        problems = problems_of(error, tree, source, models)
        bad = {_item_path(details["loc"]) for details in error.errors(include_url=False)}
    if None in bad:
        return None, problems
    # Bad rules and expectations hide what is wrong with the whole. Put harmless ones in their place and look again.
    for path in bad:
        if path:
            _replace(data, path, _HARMLESS[str(path[-2])])
    try:
        Profile.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, tree, source, models)
    return None, problems


def _item_path(loc: Path) -> Path | None:
    """The path of the rule or expectation in which an error is, if it is in one."""
    for end in (2, 4):
        if loc[end - 2 : end - 1] in (("rules",), ("expect",)) and len(loc) >= end and isinstance(loc[end - 1], int):
            return loc[:end]
    return None


def _replace(data: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def example(fault: type[Fault]) -> str:
    """A fault's example as a whole profile."""
    return f"version: 1\nname: {fault.name.replace('_', '-')}-example\n{fault.example}"


def schema() -> JsonSchemaValue:
    """The JSON Schema of profiles, for editors; it describes values as YAML resolves them."""
    made: JsonSchemaValue = tidy(Profile.model_json_schema(by_alias=True))
    title = {"title": "chaosproxy profile", "description": "A timeline of faults for WebSockets."}
    return {"$schema": DIALECT, **made, **title}


def tidy(value: Any) -> Any:
    """Say limits in JSON Schema's words, and leave out null where it only means that a key was left out."""
    if isinstance(value, list):
        return [tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {{"ge": "minimum", "le": "maximum"}.get(key, key): tidy(item) for key, item in value.items()}
    if "default" in made and made["default"] is None:
        del made["default"]
        others = [branch for branch in made.pop("anyOf", []) if branch != {"type": "null"}]
        made |= others[0] if len(others) == 1 else {"anyOf": others} if others else {}
    return made
