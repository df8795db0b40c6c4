"""What may act on a server that is not one's own."""

from typing import Any

import pytest

from chaosproxy.addresses import Owner
from chaosproxy.cli.premises import Fence
from chaosproxy.cli.trouble import Trouble
from chaosproxy.profile import RULES, Profile
from chaosproxy.proxy import Address
from chaosproxy.rule import Rule

ELSEWHERE = Address("ws.example.com", 80)


def rule(fault: str, options: dict[str, Any], **when: Any) -> Rule:
    return RULES[fault].model_validate({fault: options, "when": when})


@pytest.mark.parametrize("owner", Owner)
@pytest.mark.parametrize(
    ("fault", "options", "when", "harms"),
    [
        ("corrupt", {}, {}, True),
        ("corrupt", {"kind": "json"}, {"from": "client"}, True),
        ("corrupt", {"kind": "utf8"}, {"opcode": "text"}, True),
        ("corrupt", {}, {"from": "server"}, False),
        ("truncate", {"to": "1B"}, {"event": "x"}, True),
        ("truncate", {"to": "1B"}, {"from": "server"}, False),
        ("replace", {"text": "x"}, {}, False),
        ("rewrite", {"remove": "/a"}, {"from": "client"}, False),
        ("drop", {}, {}, False),
        ("close", {"code": 4200, "to": "server"}, {}, True),
        ("close", {"code": 4200, "to": "server"}, {"from": "server", "nth": 1}, True),
        ("close", {"code": 4200}, {}, False),
    ],
)
def test_what_harms_the_server_needs_one_of_ones_own(
    fault: str, options: dict[str, Any], when: dict[str, Any], harms: bool, owner: Owner
) -> None:
    is_own = owner in (Owner.LOOPBACK, Owner.PRIVATE)
    made = rule(fault, options, **when)

    assert made.harms_server is harms
    assert bool(Fence(ELSEWHERE, owner).refuses(made)) is (harms and not is_own)


def test_the_remedy_is_to_own_the_server_or_to_leave_it_alone() -> None:
    fence = Fence(ELSEWHERE, Owner.UNKNOWN)

    damage, close = fence.refuses(rule("corrupt", {})), fence.refuses(rule("close", {"code": 4200, "to": "both"}))

    assert damage is not None and damage.endswith(
        "start with --i-own-this-server if it is yours, or act on its messages only: when: {from: server}"
    )
    assert close is not None and close.endswith("start with --i-own-this-server if it is yours")


def test_a_profile_is_refused_whole_for_one_of_its_rules() -> None:
    harmless, harmful = {"corrupt": {}, "when": {"from": "server"}}, {"corrupt": {}}
    fence = Fence(ELSEWHERE, Owner.UNKNOWN)

    assert fence.check(Profile.model_validate({"version": 1, "rules": [harmless]})) == ""
    with pytest.raises(Trouble, match="corrupt can harm the server"):
        fence.check(Profile.model_validate({"version": 1, "rules": [harmless, harmful]}))


def test_on_a_private_address_it_is_said_once() -> None:
    profile = Profile.model_validate(
        {"version": 1, "rules": [{"corrupt": {}}, {"truncate": "1B"}, {"corrupt": "json"}]}
    )

    warning = Fence(Address("soketi", 6001), Owner.PRIVATE).check(profile)

    assert warning.startswith("warning: corrupt, truncate can harm soketi:6001")
