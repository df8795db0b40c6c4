"""Judges S15 and S17: no text that goes into a head can end a line of it, and no name leads out of its folder."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from chaosproxy.addresses import parse_host
from chaosproxy.control.orders import NewRule, Refused, read_order
from chaosproxy.faults import FAULTS
from chaosproxy.profile import RULES
from chaosproxy.profile_yaml import BadProfile, example, load
from tests.control.conftest import Run
from tests.control.stage import staged

CONTROLS = ["\r", "\n", "\0", "\r\nX-Forged: 1\r\n\r\n"]
IN_PAYLOADS = {
    ("close", "reason"),
    ("inject", "ping"),
    ("inject", "pong"),
    ("inject", "text"),
    ("pusher_error", "message"),
    ("reject", "body"),
    ("replace", "text"),
    ("replace", "json"),
    ("rewrite", "set"),
    ("subscription_error", "error"),
}
"""Where text may say anything, since it goes into a frame or a body, whose length is told before it."""


def base(name: str) -> dict[str, Any]:
    """The options of a fault's example."""
    profile = load(example(FAULTS[name]), name)
    rule = next(rule for rule in profile.every_rule() if rule.fault_name == name)
    options: dict[str, Any] = rule.fault.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return options


def hostile(text: str) -> Iterator[object]:
    """A value that says it, in every form that an option may have."""
    yield text
    yield [text]
    yield {"X-A": text}
    yield {text: "a"}
    yield {"/x": text}


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_only_what_goes_into_frames_and_bodies_may_have_control_characters(control: str) -> None:
    taken = set()
    for name, fault in FAULTS.items():
        for field, told in fault.model_fields.items():
            for value in hostile(f"a{control}b"):
                for options in (base(name), {}):
                    try:
                        RULES[name].model_validate({name: options | {told.alias or field: value}})
                    except ValidationError:
                        continue
                    taken.add((name, told.alias or field))
    assert taken <= IN_PAYLOADS, taken - IN_PAYLOADS
    assert {("close", "reason"), ("inject", "text"), ("reject", "body")} <= taken


HEADS = [
    {"reject": {"status": 503, "headers": {"X-A": "a{}b"}}},
    {"reject": {"status": 503, "headers": {"X{}A": "a"}}},
    {"bad_accept": {"kind": "extension", "named": "a{}b"}},
    {"bad_accept": {"kind": "subprotocol", "named": "a{}b"}},
]


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
@pytest.mark.parametrize("rule", HEADS, ids=lambda rule: json.dumps(rule)[:40])
def test_in_a_head_it_is_refused_with_its_place(rule: dict[str, Any], control: str) -> None:
    said = json.loads(json.dumps(rule).replace("{}", json.dumps(control)[1:-1]))
    with pytest.raises(BadProfile) as bad:
        load(f"version: 1\nname: forged\nrules:\n  - {json.dumps(said)}\n", "forged.yaml")
    (problem,) = bad.value.problems
    assert (problem.source, problem.line) == ("forged.yaml", 4)
    assert all(character.isprintable() for character in str(problem))
    with pytest.raises(Refused) as refused:
        read_order(NewRule, json.dumps({"rule": said}).encode())
    assert (refused.value.status, len(refused.value.problems)) == (422, 1)
    assert refused.value.problems[0]["path"].startswith("rule.")


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_no_host_header_has_any(control: str) -> None:
    for text in (f"a{control}b", f"a{control}", f"{control}a"):
        with pytest.raises(ValueError):
            parse_host(text)


NAMES = [
    *("../x", "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "x\0", "%00", "CON", "a/b", "a\\b"),
    *("\u2025/\u2025", "\uff0e\uff0e/x", "brief-interruption/../fin", "x" * 300, ".hidden", "fin.yaml/..", "\n"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_does_not_lead_out_of_the_folder_of_profiles(run: Run, name: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            for path, order in (("/api/sessions", {}), ("/api/proxies", {"name": "b"})):
                answer = await stage.ask("POST", path, {**order, "profile": name})
                assert answer.status == 422, answer
                assert "unknown profile" in answer.body["problems"][0]["message"]
                assert "root:" not in json.dumps(answer.body)
            for path in ("/api/proxies/{}", "/api/proxies/{}/state", "/api/sessions/{}/state", "/api/rules/{}"):
                if name not in ("..",):  # that is another path
                    method = "DELETE" if "rules" in path else "GET"
                    said = path.format(json.dumps(name)[1:-1].replace("/", "%2f").replace("\\", "%5c"))
                    assert (await stage.ask(method, said)).status == 404
            assert list(stage.control.rooms) == []

    run(story())
