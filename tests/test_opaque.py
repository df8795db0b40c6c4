"""What of a profile makes no sense with a tcp:// upstream is told at once, each with its place and remedy."""

from typing import Any

import pytest

from chaosproxy import library
from chaosproxy.faults import FAULTS
from chaosproxy.opaque import check_opaque, profile_misfits, rule_misfits, words_of
from chaosproxy.profile import RULES
from chaosproxy.profile_yaml import example, load
from tests.virtual import profile

ON_BYTES = {name for name, fault in FAULTS.items() if fault.acts_on_bytes}


def misfits(fault: str, options: Any = None, **when: Any) -> list[str]:
    return [found.message for found in rule_misfits(RULES[fault].model_validate({fault: options, "when": when}))]


def test_everything_is_told_at_once_with_its_place() -> None:
    bad = profile(
        {"name": "first", "until": {"subscribed": 1}},
        {"name": "second", "rules": [{"latency": "1s"}, {"close": 4200}]},
        rules=[{"drop": {}, "when": {"from": "client", "event": "client-*", "nth": 2}}],
        protocol="pusher",
        identify={"query": "id"},
        compression="strip",
    )

    assert words_of(profile_misfits(bad)) == [
        "protocol: it is read from messages, and tcp:// carries none; leave it out",
        "identify: it looks at the upgrade request, and tcp:// has none, so all connections count as one "
        "client's; leave it out",
        "compression: it is agreed on in the upgrade request, and tcp:// has none; leave it out",
        "phases[0].until.subscribed: subscribed is read from messages, and tcp:// carries none; use opened: or lasts:",
        "rules[0].drop: drop needs messages, and tcp:// carries none; use stall or reset",
        "rules[0].when.event: event: needs messages, and tcp:// carries none; it can't be used (from:, connection:, "
        "age: and chance: can)",
        "rules[0].when.nth: nth: needs messages, and tcp:// carries none; it can't be used (from:, connection:, age: "
        "and chance: can)",
        "phases[1].rules[1].close: close needs frames, and tcp:// carries none; use fin or reset",
    ]
    with pytest.raises(ValueError, match="close needs frames"):
        check_opaque(bad)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_acts_on_bytes_or_says_why_not(name: str) -> None:
    found = list(profile_misfits(load(example(FAULTS[name]), name)))

    assert any(f"{name} needs " in misfit.message for misfit in found) is (name not in ON_BYTES)


def test_the_faults_of_the_transport_act_on_bytes() -> None:
    assert {"refuse", "hang", "latency", "bandwidth", "slice", "stall", "half_open", "fin", "reset"} <= ON_BYTES


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_named_as_a_substitute_acts_on_bytes(name: str) -> None:
    instead = FAULTS[name].on_bytes_instead
    assert not instead or all(word.partition(":")[0] in ON_BYTES for word in instead.split(" or "))


@pytest.mark.parametrize(
    "when", [{}, {"from": "server"}, {"connection": "2-3"}, {"chance": "5%"}, {"age": "1s"}], ids=str
)
def test_conditions_on_connections_sides_and_time_are_fine(when: dict[str, Any]) -> None:
    assert misfits("latency", "1s", **when) == []


@pytest.mark.parametrize(
    ("when", "needs"),
    [
        ({"path": "/app/*"}, "an upgrade request"),
        ({"header": {"origin": "*"}}, "an upgrade request"),
        ({"opcode": "text"}, "messages"),
        ({"size": "> 1KiB"}, "messages"),
        ({"every": 2}, "messages"),
        ({"first": 2}, "messages"),
    ],
    ids=str,
)
def test_conditions_on_requests_and_messages_are_not(when: dict[str, Any], needs: str) -> None:
    (key,) = when
    (message,) = misfits("latency", "1s", **when)
    assert message.startswith(f"{key}: needs {needs}, and tcp:// carries none")


def test_half_open_can_lose_no_whole_messages() -> None:
    assert misfits("half_open", {"heal": "flush"}) == misfits("half_open", {"heal": "reset"}) == []
    assert misfits("half_open", {"heal": "discard"}) == [
        "heal: discard loses whole messages, and tcp:// carries none; use flush or reset"
    ]


@pytest.mark.parametrize(
    ("fault", "options", "remedy"),
    [
        ("cut_after", {"messages": 5}, "use bytes: or age:"),
        ("corrupt", {"kind": "json"}, "use bits or bytes"),
        ("corrupt", {"kind": "utf8"}, "use bits or bytes"),
        ("latency", {"delay": "1s", "at": "response"}, "use at: accept"),
        ("silent", {}, "use hang or half_open"),
    ],
)
def test_options_that_need_messages_are_told_with_what_does_not(fault: str, options: Any, remedy: str) -> None:
    (message,) = misfits(fault, options)
    assert "tcp:// carries none" in message and remedy in message


@pytest.mark.parametrize("name", [name for name in library.names() if name.startswith("tcp-")])
def test_profiles_for_tcp_fit(name: str) -> None:
    check_opaque(library.load(name))


@pytest.mark.parametrize("name", ["half-open", "slow-link", "refused", "fin-1006", "flapping", "hang"])
def test_shipped_profiles_of_the_transport_fit(name: str) -> None:
    check_opaque(library.load(name))
