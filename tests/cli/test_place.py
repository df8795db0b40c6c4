"""What a command is told of where the proxy is."""

import os

import pytest

from chaosproxy.cli.place import Place, Variable, environment, parse_variable
from chaosproxy.cli.trouble import ExitCode, Trouble
from chaosproxy.sockets import Address

PLACE = Place.of(Address("127.0.0.1", 4711), control="http://127.0.0.1:4712")


def test_a_wildcard_is_reached_over_the_loopback() -> None:
    assert Place.of(Address("0.0.0.0", 80), "wss") == Place("127.0.0.1", 80, "wss://127.0.0.1:80")
    assert Place.of(Address("::", 80)) == Place("::1", 80, "ws://[::1]:80")


def test_the_environment_says_where_the_proxy_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "stays")
    variables = [parse_variable("VITE_PORT={port}"), parse_variable('JSON={{"at": "{host}", "via": "{control}"}}')]

    assert environment(PLACE, variables) == {
        **os.environ,
        "CHAOSPROXY_URL": "ws://127.0.0.1:4711",
        "CHAOSPROXY_CONTROL": "http://127.0.0.1:4712",
        "CHAOSPROXY_HOST": "127.0.0.1",
        "CHAOSPROXY_PORT": "4711",
        "VITE_PORT": "4711",
        "JSON": '{"at": "127.0.0.1", "via": "http://127.0.0.1:4712"}',
    }


def test_where_there_is_no_control_api_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPROXY_CONTROL", "127.0.0.1:7002")
    place = PLACE._replace(control="")

    assert "CHAOSPROXY_CONTROL" not in environment(place)
    with pytest.raises(Trouble, match="--env API: there is no control API here") as trouble:
        environment(place, [Variable("API", "{control}/api")])
    assert trouble.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("PORT", "expected NAME=TEXT, such as WS_PORT={port}"),
        ("=x", "expected NAME=TEXT"),
        ("a b=x", "expected NAME=TEXT"),
        ("P={prot}", r"has \{prot\}, and only \{host\}, \{port\}, \{url\}, \{control\} can be filled in"),
        ("P={}", r"has \{\}, and only"),
        ("P={port!r}", r"has \{port!r\}, and only"),
        ("P={port:>9}", r"has \{port:>9\}, and only"),
        ("P={port.real}", r"has \{port.real\}, and only"),
        ("P={port", r"has no partner; write \{\{ or \}\}"),
        ('P={"a": 1}', "and only"),
    ],
)
def test_braces_that_mean_nothing_are_met_with_the_remedy(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_variable(text)
