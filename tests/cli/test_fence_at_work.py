"""Rules that can harm a server, and floods of dials, need a server of one's own: over the command line and the API."""

import json
import signal
from http.client import HTTPConnection
from typing import Any

import pytest

from chaosproxy.addresses import Owner
from chaosproxy.cli.premises import Fence
from chaosproxy.cli.trouble import Trouble
from chaosproxy.profile import RULES
from chaosproxy.proxy import Address
from chaosproxy.world import DIALS_PER_SECOND_MAX
from tests.cli.test_commands import chaosproxy, running

PUBLIC = "ws://8.8.8.8:1"  # nobody is dialled before a client comes
HARMFUL: list[dict[str, Any]] = [
    {"close": {"code": "4200", "to": "server"}},
    {"close": {"code": "4999", "to": "both"}},
]
HARMLESS: list[dict[str, Any]] = [
    {"close": {"code": "4200"}},
    {"close": {"code": "1012", "to": "server"}},
    {"drop": {}},
]
LIFTED = [0, DIALS_PER_SECOND_MAX + 1]


def in_yaml(rule: dict[str, Any]) -> str:
    return json.dumps({"version": 1, "phases": [{"name": "harm", "until": "step"}, {"name": "b", "rules": [rule]}]})


@pytest.mark.parametrize("rule", HARMFUL, ids=str)
def test_a_profile_that_can_harm_a_public_server_does_not_start(rule: dict[str, Any]) -> None:
    ran = chaosproxy("run", PUBLIC, "--control", "none", env={"CHAOSPROXY_PROFILE_YAML": in_yaml(rule)})
    assert (ran.code, ran.out) == (2, "")
    assert "can harm the server" in ran.err and "start with --i-own-this-server if it is yours" in ran.err


@pytest.mark.parametrize("cap", LIFTED)
def test_the_cap_on_dials_is_not_lifted_for_a_public_server(cap: int) -> None:
    ran = chaosproxy("run", PUBLIC, env={"CHAOSPROXY_DIALS_PER_SECOND": str(cap)})
    assert (ran.code, ran.out) == (2, "")
    assert f"--dials-per-second {cap} lets clients that reconnect at once flood the server" in ran.err
    assert "8.8.8.8 is a public address: start with --i-own-this-server if it is yours, or leave the cap" in ran.err


@pytest.mark.parametrize(
    ("upstream", "options", "is_open"),
    [
        (PUBLIC, [], False),
        (PUBLIC, ["--i-own-this-server", "--dials-per-second", "0"], True),
        ("ws://10.1.2.3:1", ["--dials-per-second", "0"], True),
        ("ws://127.0.0.1:9", ["--dials-per-second", "0"], True),
    ],
)
def test_the_control_api_has_the_same_fence(upstream: str, options: list[str], is_open: bool) -> None:
    arguments = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", *options]
    with running(*arguments, upstream=upstream) as process:
        assert process.stderr
        port = next(int(line.rpartition(":")[2]) for line in process.stderr if "control" in line and "http://" in line)
        for rule in (*HARMFUL, *HARMLESS):
            status, answer = post(port, {"rule": rule})
            if is_open or rule in HARMLESS:
                assert status == 201, answer
            else:
                assert status == 403 and "start with --i-own-this-server if it is yours" in answer["error"]
        assert len(state(port)["rules"]) == len(HARMLESS) + (len(HARMFUL) if is_open else 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def post(port: int, order: object) -> tuple[int, Any]:
    return _ask(port, "POST", "/api/rules", json.dumps(order))


def state(port: int) -> Any:
    return _ask(port, "GET", "/api/state", None)[1]


def _ask(port: int, method: str, path: str, body: str | None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    told = answer.status, json.loads(answer.read())
    connection.close()
    return told


@pytest.mark.parametrize("owner", Owner)
def test_only_a_server_of_ones_own_lets_them_through(owner: Owner) -> None:
    fence = Fence(Address("server", 1), owner)
    is_own = owner in (Owner.LOOPBACK, Owner.PRIVATE)
    for rule in HARMFUL:
        assert (fence.refuses(RULES["close"].model_validate(rule)) is None) is is_own
    for rule in HARMLESS:
        assert fence.refuses(RULES[next(iter(rule))].model_validate(rule)) is None
    for cap in (1, DIALS_PER_SECOND_MAX):
        fence.check_cap(cap)
    for cap in LIFTED:
        if is_own:
            fence.check_cap(cap)
        else:
            with pytest.raises(Trouble, match="or leave the cap at 200 or less"):
                fence.check_cap(cap)
