"""JSON in profiles: what plain and quoted scalars mean, and what is refused since it may mean two things."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from chaosproxy.control.orders import NewRule, read_order
from chaosproxy.json_values import JsonPointer, JsonScalar, JsonValue, parse_value, plain
from chaosproxy.profile_yaml import load
from chaosproxy.units import NOTHING, Quoted
from chaosproxy.wire.pointer import Number


class Holder(BaseModel):
    value: JsonValue = None
    scalar: JsonScalar = None
    pointer: JsonPointer | None = None


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all through: 1 is not "1" nor true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("1", Number("1")), ("-2.50", Number("-2.50")), ("1e3", Number("1e3")), ("0", Number("0"))),
        *(("true", True), ("false", False), ("null", None), (NOTHING, None), (None, None)),
        *((Quoted("1"), "1"), (Quoted("true"), "true"), (Quoted(""), ""), (Quoted("null"), "null")),
        *(("hello", "hello"), ("1.2.3", "1.2.3"), ("2026-01-01", "2026-01-01"), ("10.0.0.1", "10.0.0.1")),
        *((1, Number("1")), (1.5, Number("1.5")), (True, True), (Number("1.0"), Number("1.0"))),
        ({"a": "1", "b": ["x", Quoted("2")]}, {"a": Number("1"), "b": ["x", "2"]}),
    ],
)
def test_a_value_is_what_json_would_take_it_for(written: object, value: object) -> None:
    assert same(parse_value(written), value)


@pytest.mark.parametrize(
    "written",
    [
        *("yes", "No", "ON", "off", "True", "FALSE", "01", "+1", "1_000", "0x1F", "0o17", ".5", "1.", "1:30", ".inf"),
        *("-.INF", ".nan", "NaN", "Infinity", "1e", "12:30:00"),
    ],
)
def test_what_yaml_may_take_for_something_else_wants_quotes(written: str) -> None:
    with pytest.raises(ValidationError, match="in quotes where it looks like one"):
        Holder(value=written)
    with pytest.raises(ValidationError, match="in quotes where it looks like one"):
        Holder(value={"inside": [written]})
    assert Holder(value=Quoted(written)).value == written


@pytest.mark.parametrize("written", [float("nan"), float("inf"), b"x", object(), {1: 2}])
def test_what_json_can_not_say_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Holder(value=written)


def test_a_scalar_is_no_object_and_no_list() -> None:
    with pytest.raises(ValidationError, match="point at what is in it"):
        Holder(scalar={})
    with pytest.raises(ValidationError, match="point at what is in it"):
        Holder(scalar=["a"])


def test_a_pointer_begins_with_a_slash() -> None:
    assert Holder.model_validate({"pointer": "/a~1b"}).model_dump(mode="json")["pointer"] == "/a~1b"
    with pytest.raises(ValidationError, match="a JSON Pointer, such as"):
        Holder.model_validate({"pointer": "a"})


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "1", "é", {"a": [1, {"b": None}]}])
def test_values_are_shown_as_they_were_meant(value: object) -> None:
    quoted = json.loads(json.dumps(value), object_hook=dict)
    assert same(plain(parse_value(_quoted(quoted))), value)


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    return Quoted(value) if isinstance(value, str) else value


PROFILE = """\
version: 1
rules:
  - drop: {}
    when: {json: {/a: VALUE}}
"""


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        *(("1", Number("1")), ('"1"', "1"), ("'1'", "1"), ("true", True), ('"true"', "true"), ("text", "text")),
        *(("null", None), ("~", None), ("'null'", "null"), ('"*"', "*"), ("''", ""), ("1.50", Number("1.50"))),
    ],
)
def test_in_a_profile_quotes_tell_text_from_the_rest(yaml: str, value: object) -> None:
    rule = load(PROFILE.replace("VALUE", yaml), "p").every_rule()[0]
    assert rule.when.json_values is not None
    assert same(list(rule.when.json_values.values()), [value])


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "1", "true", "text", "yes"])
def test_over_the_api_json_says_what_it_means(value: object) -> None:
    order = read_order(NewRule, json.dumps({"rule": {"drop": {}, "when": {"json": {"/a": value}}}}).encode())
    shown = order.rule.when.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert same(shown, {"json": {"/a": value}})


def test_rules_that_differ_in_quotes_only_have_ids_of_their_own() -> None:
    ids = {
        load(PROFILE.replace("VALUE", yaml), "p").bound_rules(None)[0].id
        for yaml in ("1", '"1"', "true", '"true"', "null", '"null"')
    }
    assert len(ids) == 6
