import socket

import pytest

from chaosproxy.addresses import Owner, leads_to, owner_of, parse_address, parse_host, parse_upstream, reachable
from chaosproxy.sockets import Address, Upstream


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("ws://localhost:6001", Upstream(Address("localhost", 6001))),
        ("WS://soketi:6001/", Upstream(Address("soketi", 6001))),
        ("ws://[::1]:6001", Upstream(Address("::1", 6001))),
        ("wss://example.com", Upstream(Address("example.com", 443), "wss")),
        ("wss://example.com:8443/", Upstream(Address("example.com", 8443), "wss")),
        ("WSS://[::1]", Upstream(Address("::1", 443), "wss")),
        ("tcp://redis:6379", Upstream(Address("redis", 6379), "tcp")),
        ("TCP://[::1]:6379/", Upstream(Address("::1", 6379), "tcp")),
    ],
)
def test_an_upstream_is_a_ws_wss_or_tcp_url(text: str, upstream: Upstream) -> None:
    assert upstream == parse_upstream(text)
    assert upstream == parse_upstream(str(upstream))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("wss://example.com", "example.com"),
        ("wss://example.com:8443", "example.com:8443"),
        ("wss://example.com:80", "example.com:80"),
        ("ws://example.com:80", "example.com"),
        ("ws://[2001:db8::1]:80", "[2001:db8::1]"),
        ("wss://bücher.example:1", "xn--bcher-kva.example:1"),
    ],
)
def test_a_host_header_leaves_the_default_port_out(url: str, host: str) -> None:
    assert host == parse_upstream(url).authority


@pytest.mark.parametrize("text", ["keep", "upstream", "example.com", "example.com:8443", "[::1]:80", "a_b"])
def test_a_host_is_a_name_with_or_without_a_port(text: str) -> None:
    assert parse_host(text) == text


@pytest.mark.parametrize(
    "text", ["", "a b", "a\r\nb: c", "http://a", "a/b", "a:0", "a:70000", "a:b", "::1", "a..b", "bücher.example", "a:٣"]
)
def test_what_can_be_no_host_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected keep, upstream, or a name such as"):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:6001", "did you mean ws://localhost:6001?"),
        ("http://localhost:6001", "did you mean ws://localhost:6001?"),
        ("https://example.com", "did you mean wss://example.com?"),
        ("wss://example.com:0", "expected wss://HOST[:PORT] with a port from 1 to 65535"),
        ("wss://example.com/app", "takes no path: clients choose it, and it is passed on; write wss://example.com:443"),
        ("ftp://localhost:6001", "expected ws://HOST:PORT, wss://HOST[:PORT] or tcp://HOST:PORT, got ftp://localhost"),
        ("tcp://localhost", "tcp://localhost names no port"),
        ("tcp://localhost:0", "expected tcp://HOST:PORT with a port from 1 to 65535"),
        ("tcp://::1:6379", "expected tcp://[HOST]:PORT for an IPv6 address"),
        ("tcp://localhost:6379/0", "takes no path: tcp:// has none; write tcp://localhost:6379"),
        ("tcp://me:secret@localhost:6379", "takes no user name"),
        ("ws://localhost", "ws://localhost:80 would be the default"),
        ("ws://localhost:0", "a port from 1 to 65535"),
        ("ws://localhost:66666", "a port from 1 to 65535"),
        ("ws://localhost:abc", "a port from 1 to 65535"),
        ("ws://::1:6001", "expected ws://[HOST]:PORT for an IPv6 address"),
        ("ws://a b:6001", "whose host can't be a name"),
        ("ws://a\nb:6001", "whose host can't be a name"),
        ("ws://a..b:6001", "whose host can't be a name"),
        (f"ws://{'a' * 64}:6001", "whose host can't be a name"),
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


@pytest.mark.parametrize("text", ["", "localhost", "http://", "http://localhost"])
def test_nothing_is_suggested_that_would_be_refused(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_upstream(text)
    assert "did you mean" not in str(refusal.value)


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


@pytest.mark.parametrize(
    "text", ["", ":7001", "localhost", "localhost:", "::1:7001", "localhost:70000", "localhost:٣", "*:7001", "a..b:1"]
)
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)


@pytest.mark.parametrize(
    ("address", "listening", "expected"),
    [
        (Address("127.0.0.1", 7001), Address("127.0.0.1", 7001), True),
        (Address("localhost", 7001), Address("127.0.0.1", 7001), True),
        (Address("0.0.0.0", 7001), Address("127.0.0.1", 7001), True),
        (Address("127.0.0.1", 7001), Address("0.0.0.0", 7001), True),
        (Address("127.0.0.1", 7001), Address("localhost", 7001), True),
        (Address("127.0.0.2", 7001), Address("127.0.0.1", 7001), False),
        (Address("192.0.2.1", 7001), Address("0.0.0.0", 7001), False),
        (Address("127.0.0.1", 6001), Address("127.0.0.1", 7001), False),
        (Address("127.0.0.1", 0), Address("127.0.0.1", 0), False),
        (Address("::1", 7001), Address("::", 7001), True),
        (Address("::", 7001), Address("::1", 7001), True),
        (Address("127.0.0.1", 7001), Address("::", 7001), False),
        (Address("::ffff:127.0.0.1", 7001), Address("0.0.0.0", 7001), True),
    ],
)
def test_it_is_known_which_addresses_lead_to_a_listener(address: Address, listening: Address, expected: bool) -> None:
    assert leads_to(address, listening) is expected


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "0x7f.1", "0177.0.0.1", "2130706433"),
        *("0.0.0.0", "0", "0x0", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:0.0.0.0"),
    ],
)
def test_so_it_is_however_an_address_is_spelt_that_the_system_connects_there(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        try:
            socket.create_connection((host, port), timeout=10).close()
            is_reached = True
        except OSError:
            is_reached = False
        assert leads_to(Address(host, port), Address("127.0.0.1", port)) is is_reached


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
        ("169.254.169.254", Owner.LINK_LOCAL),
        ("::ffff:169.254.169.254", Owner.LINK_LOCAL),
        ("2852039166", Owner.LINK_LOCAL),
        ("fe80::1", Owner.LINK_LOCAL),
        ("2606:4700::1111", Owner.PUBLIC),
        ("a name with blanks", Owner.UNKNOWN),
    ],
)
def test_an_address_tells_whose_server_it_is(host: str, owner: Owner) -> None:
    assert owner is owner_of(host)


@pytest.mark.parametrize(
    "text", ["ws://u:canary@h:1", "u:canary@h:1", "http://u:canary@h", "canary@", "wss://canary@h/x?"]
)
def test_a_password_in_an_upstreams_address_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_upstream(text)
    assert "takes no user name or password" in str(refusal.value)
    assert "canary" not in str(refusal.value)
