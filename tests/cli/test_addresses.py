import pytest

from chaosproxy.cli.addresses import Owner, owner_of, parse_address, parse_upstream, reachable
from chaosproxy.proxy import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ws://localhost:6001", Address("localhost", 6001)),
        ("WS://soketi:6001/", Address("soketi", 6001)),
        ("ws://[::1]:6001", Address("::1", 6001)),
    ],
)
def test_an_upstream_is_a_ws_url(text: str, address: Address) -> None:
    assert address == parse_upstream(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:6001", "did you mean ws://localhost:6001?"),
        ("http://localhost:6001", "did you mean ws://localhost:6001?"),
        ("wss://example.com:443", "wss:// is not supported yet"),
        ("tcp://localhost:6001", "tcp:// is not supported yet"),
        ("ftp://localhost:6001", "expected ws://HOST:PORT, got ftp://localhost:6001"),
        ("ws://localhost", "ws://localhost:80 would be the default"),
        ("ws://localhost:0", "names no port"),
        ("ws://localhost:66666", "out of range"),
        ("ws://:6001", "names no host"),
        ("ws://me:secret@localhost:6001", "takes no user name"),
        (
            "ws://localhost:6001/app/key",
            "takes no path: clients choose it, and it is passed on; write ws://localhost:6001",
        ),
        ("ws://localhost:6001?a=b", "takes no path"),
        ("", "expected ws://HOST:PORT"),
        ("ws://[::1:6001", "expected ws://HOST:PORT"),
    ],
)
def test_a_wrong_upstream_is_told_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_upstream(text)
    assert message in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7001", Address("127.0.0.1", 7001)),
        ("7001", Address("127.0.0.1", 7001)),
        ("localhost:0", Address("localhost", 0)),
        ("[::]:7001", Address("::", 7001)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert address == parse_address(text)


@pytest.mark.parametrize("text", ["", ":7001", "localhost", "localhost:", "::1:7001", "localhost:70000", "localhost:٣"])
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)


def test_a_wildcard_is_reached_over_the_loopback() -> None:
    assert Address("127.0.0.1", 1) == reachable(Address("0.0.0.0", 1))
    assert Address("::1", 1) == reachable(Address("::", 1))
    assert Address("10.0.0.1", 1) == reachable(Address("10.0.0.1", 1))


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("127.0.0.1", Owner.LOOPBACK),
        ("::1", Owner.LOOPBACK),
        ("::ffff:127.0.0.1", Owner.LOOPBACK),
        ("192.168.1.7", Owner.PRIVATE),
        ("fd00::1", Owner.PRIVATE),
        ("8.8.8.8", Owner.PUBLIC),
        ("2606:4700::1111", Owner.PUBLIC),
        ("a name with blanks", Owner.UNKNOWN),
    ],
)
def test_an_address_tells_whose_server_it_is(host: str, owner: Owner) -> None:
    assert owner is owner_of(host)
