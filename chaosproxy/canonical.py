"""Profiles and rules as JSON and back, so that a journal tells all that was asked for and needs no file beside it."""

import json
from typing import Any

from pydantic import JsonValue, ValidationError

from .profile import RULES, BoundRule, Profile
from .units import Quoted

MASK = "(masked)"
_HEADERS = frozenset({"header", "headers"})


class NotCanonical(ValueError):
    """This is not what `dump_profile` or `dump_rule` has written."""


def dump_profile(profile: Profile) -> dict[str, JsonValue]:
    """The whole profile, without what is the default anyway."""
    dumped: dict[str, JsonValue] = profile.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"version": 1, **dumped}


def mask_profile(profile: Profile) -> dict[str, JsonValue]:
    """The whole profile but for the values of headers, which may be secrets. Rules keep the ids they have with them."""
    dumped: dict[str, Any] = dump_profile(profile)
    places = [(dumped, profile.bound_rules(None))]
    for phase, told in zip(profile.phases, dumped.get("phases", ()), strict=True):
        places.append((told, profile.bound_rules(phase)[len(profile.rules) :]))
    for told, bound in places:
        for index, rule in enumerate(told.get("rules", ())):
            if (masked := mask(rule)) != rule:
                told["rules"][index] = masked | {"id": bound[index].id}
    return dumped


def mask(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule's options and match without the values of headers."""
    return {
        part: {name: _masked(value) if name in _HEADERS else value for name, value in options.items()}
        if isinstance(options, dict)
        else options
        for part, options in rule.items()
    }


def _masked(values: Any) -> Any:
    return dict.fromkeys(values, MASK) if isinstance(values, dict) else values


def load_profile(value: object) -> Profile:
    """Read a profile that was written by `dump_profile`. Raise NotCanonical."""
    try:
        return Profile.model_validate(_source(value))
    except ValidationError as error:
        raise NotCanonical(f"the profile can't be read: {_first(error)}") from None


def dump_rule(rule: BoundRule) -> dict[str, JsonValue]:
    """A rule in its place, with the id by which chance knows it."""
    fault = rule.fault.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    when = rule.when.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"id": rule.id, "fault": rule.fault.name, "options": fault, "when": when, "is_named": rule.is_named}


def load_rule(value: object) -> BoundRule:
    """Read a rule that was written by `dump_rule`. Raise NotCanonical."""
    match value:
        case {"id": str(rule_id), "fault": str(name), "options": options, "when": when, "is_named": bool(is_named)}:
            pass
        case _:
            raise NotCanonical("expected a rule: an object with id, fault, options, when and is_named")
    if name not in RULES:
        raise NotCanonical(f"the fault {json.dumps(name)} is unknown")
    try:
        rule = RULES[name].model_validate({name: _source(options), "when": _source(when)})
    except ValidationError as error:
        raise NotCanonical(f"the rule can't be read: {_first(error)}") from None
    return BoundRule(rule_id, rule.fault, rule.when, is_named)


def _source(value: Any) -> Any:
    """Values of JSON as the models take them: text is what was quoted, and never a number by its looks."""
    match value:
        case str():
            return Quoted(value)
        case dict():
            return {str(key): _source(item) for key, item in value.items()}
        case list():
            return [_source(item) for item in value]
    return value


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
