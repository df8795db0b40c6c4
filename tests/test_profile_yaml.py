"""YAML in, a profile or every problem out."""

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chaosproxy import library
from chaosproxy.faults import FAULTS
from chaosproxy.profile import Profile
from chaosproxy.profile_yaml import BadProfile, Problem, example, load, render, schema
from chaosproxy.words import FAULT_WORDS

from .malformed_profiles import MALFORMED

GOOD = {name: library.text(name) for name in library.names()} | {
    f"example of {name}": example(fault) for name, fault in FAULTS.items()
}
DESIGN = """\
version: 1
name: outage
protocol: pusher            # optional; lets rules speak of events and channels
seed: 7
phases:
  - name: healthy
    until: {subscribed: 1}
  - name: outage
    lasts: 90s
    rules:
      - half_open: {leg: both, mode: blackhole, heal: reset}
      - hang: {}
  - name: patchy
    lasts: 30s
    rules:
      - latency: {delay: 300ms, jitter: 100ms}
        when: {from: server}
      - drop: {}
        when: {from: client, event: "client-*", chance: 5%}
"""


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(BadProfile) as caught:
        load(text, "p.yaml")
    return caught.value.problems


def lines(text: str | bytes) -> list[str]:
    return [str(problem).removeprefix("p.yaml:") for problem in problems(text)]


@pytest.mark.parametrize("name", MALFORMED)
def test_each_mistake_gets_its_place_what_was_expected_what_stood_there_and_a_remedy(name: str) -> None:
    text, expected = MALFORMED[name]

    assert lines(text) == list(expected)


@pytest.mark.parametrize("name", GOOD)
def test_what_we_ship_and_show_loads(name: str) -> None:
    assert isinstance(load(GOOD[name], name), Profile)


def test_the_designs_profile_means_what_it_says() -> None:
    profile = load(DESIGN, "design")

    assert [phase.name for phase in profile.phases] == ["healthy", "outage", "patchy"]
    assert profile.phases[1].lasts == 90_000_000_000
    assert [rule.fault_name for rule in profile.every_rule()] == ["half_open", "hang", "latency", "drop"]
    assert profile.every_rule()[3].when.chance == 0.05


def test_a_fault_may_be_written_in_three_ways() -> None:
    written = ["- refuse", "- refuse:", "- refuse: {}", "- refuse: null", '- "refuse": ~']

    digests = {load(f"version: 1\nrules:\n  {rule}\n", "p").digest for rule in written}

    assert len(digests) == 1


def test_quoted_scalars_mean_the_same_as_plain_ones() -> None:
    plain = load("version: 1\nseed: 7\nrules: [{close: 4200}]\n", "p")
    quoted = load('version: "1"\nseed: "7"\nrules: [{"close": "4200"}]\n', "p")

    assert quoted.digest == plain.digest


def test_text_that_looks_like_a_number_stays_text() -> None:
    profile = load("version: 1\nrules: [{reject: {status: 503, headers: {Retry-After: 010}, body: yes}}]\n", "p")

    fault = profile.every_rule()[0].fault

    assert fault.model_dump(exclude_unset=True) == {"status": 503, "headers": {"Retry-After": "010"}, "body": "yes"}


def test_json_is_read_as_the_yaml_that_it_is() -> None:
    data = {"version": 1, "about": "\U0001f525", "rules": [{"close": {"code": 4200, "after_held": True}}]}

    profile = load(json.dumps(data), "body")

    assert profile.about == "\U0001f525"
    assert profile.every_rule()[0].fault.model_dump()["after_held"] is True


def test_a_byte_order_mark_is_passed_over() -> None:
    assert load("\ufeffversion: 1\n", "p").version == 1
    assert load("\ufeffversion: 1\n".encode(), "p").version == 1
    assert lines("\ufeffversion: 2\n") == ["1:10: version: expected 1, got 2"]


def test_what_is_not_utf8_is_told_with_its_place() -> None:
    assert lines("version: 1\nname: é".encode("latin-1")) == ["2:7: expected UTF-8, got the byte 0xe9"]
    assert lines("version: 1".encode("utf-16")) == ["1:1: expected UTF-8, got the byte 0xff"]


def test_more_than_a_mebibyte_is_not_even_parsed() -> None:
    assert lines("[" * (1024 * 1024 + 1)) == ["1:1: expected at most 1 MiB of text, got 1048577 bytes"]


def test_a_mebibyte_of_brackets_stops_at_the_depth_limit() -> None:
    assert lines("[" * 1024 * 1024) == ["1:65: expected at most 64 levels, got one more"]


def test_hundreds_of_problems_are_cut_short() -> None:
    found = lines("version: 1\nrules:\n" + "  - kill\n" * 1000)

    assert len(found) == 201
    assert found[-1] == "202:5: and more of them further on"


def test_a_problem_is_rendered_with_its_line_and_a_caret() -> None:
    text = "version: 1\nphases:\n  - name: cut\n    lasts: 90   # too bare\n"

    (problem,) = problems(text)

    assert render(problem, text) == (
        "p.yaml:4:12: phases[0].lasts: expected a duration with a unit, such as 500ms, 1.5s or 2m, got 90\n"
        "        lasts: 90   # too bare\n"
        "               ^"
    )


def test_a_rendered_line_cannot_steer_a_terminal() -> None:
    text = "version: 1\nname: \x1b]0;owned\x07\n"

    shown = "\n".join(render(problem, text) for problem in problems(text))

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)
    assert "\\x1b]0;owned\\x07" in shown


def test_a_file_name_cannot_steer_a_terminal() -> None:
    with pytest.raises(BadProfile) as caught:
        load("", "\x1b[31m\n.yaml")

    assert str(caught.value).startswith("\\x1b[31m\\n.yaml:1:1: ")


def test_every_word_that_people_try_leads_to_a_fault_that_there_is() -> None:
    assert {meant for words in FAULT_WORDS.values() for meant in words} <= set(FAULTS)
    assert not set(FAULT_WORDS) & set(FAULTS)


# --- laws ---

_SCRAPS = st.sampled_from(
    [
        *"\n :-[]{},&*!|>'\"%@`#?~<\t\0\r\x85\u2028\ufeff\ud800",
        *("\n  ", "- ", ": ", "<<: ", "*a", "&a ", "!!str ", "---\n", "...\n", "\\ud800", '"\\U', "{}", "[[", "x" * 70),
        *("version: 1\n", "rules:\n", "phases:\n", "  - reset\n", "when: ", "until: step", "null", "yes", "9" * 5000),
        *("%YAML 9.9999\n", "%TAG ! x\n"),
    ]
)


def loads_or_explains(text: str | bytes) -> None:
    try:
        load(text, "p")
        found = None
    except BadProfile as bad:
        found = bad.problems
    assert found != []
    for problem in found or []:
        assert str(problem).isprintable()
        assert problem.line >= 1
        assert problem.column >= 1
        assert "function-" not in str(problem)
        assert render(problem, "" if isinstance(text, bytes) else text).startswith(str(problem))


@given(st.text() | st.lists(_SCRAPS).map("".join))
def test_any_text_loads_or_is_explained(text: str) -> None:
    loads_or_explains(text)


@given(st.binary())
def test_any_bytes_load_or_are_explained(data: bytes) -> None:
    loads_or_explains(data)


@given(st.sampled_from([*GOOD.values(), DESIGN]), st.data())
def test_any_mutation_of_a_good_profile_loads_or_is_explained(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 12)))
        text = text[:begin] + data.draw(_SCRAPS | st.just("")) + text[end:]
    loads_or_explains(text)


_KEYS = (
    *("version", "rules", "phases", "name", "lasts", "until", "within", "opened", "subscribed", "step", "repeat"),
    *("identify", "query", "when", "from", "nth", "every", "opcode", "age", "chance", "header", "id", "leg", "hits"),
    *("code", "status", "headers"),
)
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_DATA = st.recursive(
    _VALUES | st.sampled_from(["5s", "5%", "1KiB", *FAULTS]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_KEYS, *FAULTS]) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"version": st.just(1)}, optional={"rules": st.lists(_DATA), "phases": st.lists(_DATA)}))
def test_any_data_loads_or_is_explained(data: object) -> None:
    loads_or_explains(json.dumps(data))


# --- the schema for editors ---

VALIDATOR = Draft202012Validator(schema())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", GOOD)
def test_the_schema_takes_what_loads(name: str) -> None:
    assert list(VALIDATOR.iter_errors(yaml.safe_load(GOOD[name]))) == []


@pytest.mark.parametrize(
    "rules",
    [
        "[refuse]",
        "[refuse: ]",
        "[{close: 4200}]",
        "[{close: none}]",
        "[{reset: client}]",
        "[{drop: , when: {nth: 3, opcode: ping, connection: 2-5}}]",
        '[{drop: , when: {nth: [1, 2], opcode: [text], connection: 1, size: "> 1KiB"}}]',
        "[{latency: 1.5s, id: slow}]",
        "[{reject: {status: 503, headers: {Retry-After: 5}}}]",
    ],
)
def test_the_schema_takes_the_short_forms_that_load(rules: str) -> None:
    text = f"version: 1\nrules: {rules}\n"

    load(text, "p")

    assert list(VALIDATOR.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("until", ["step", "{step: true}", "{opened: 2, within: 3s}", "{subscribed: [a, b]}"])
def test_the_schema_takes_every_way_to_end_a_phase(until: str) -> None:
    text = f"version: 1\nprotocol: pusher\nphases: [{{name: a, until: {until}}}]\n"

    load(text, "p")

    assert list(VALIDATOR.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "rules: []",
        "version: 2",
        "version: 1\nrule: []",
        "version: 1\nprotocol:",
        "version: 1\nrules: [close]",
        "version: 1\nrules: [kill]",
        "version: 1\nrules: [{close: 70000}]",
        "version: 1\nrules: [{latency: 300}]",
        "version: 1\nrules: [{latency: {delay: 300ms, jiter: 1ms}}]",
        "version: 1\nrules: [{reset: upstream}]",
        "version: 1\nrules: [{reset: , drop: }]",
        "version: 1\nrules: [{drop: {event: x}}]",
        "version: 1\nrules: [{drop: , when: {sender: client}}]",
        "version: 1\nrules: [{drop: , when: {chance: 0.05}}]",
        "version: 1\nphases: [{lasts: 3s}]",
        "version: 1\nphases: [{name: a, lasts: 90}]",
        "version: 1\nphases: [{name: a, until: opened}]",
        "version: 1\nrepeat: 0",
    ],
)
def test_the_schema_refuses_what_does_not_load(text: str) -> None:
    problems(text)

    assert list(VALIDATOR.iter_errors(yaml.safe_load(text)))
