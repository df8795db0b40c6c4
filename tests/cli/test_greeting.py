from pathlib import Path

from chaosproxy.cli.greeting import greeting, no_client_yet, trust
from chaosproxy.cli.secure import TlsOptions
from chaosproxy.profile import EMPTY
from chaosproxy.sockets import Address, Upstream

UPSTREAM = Upstream(Address("soketi", 6001))
PLAIN = TlsOptions()


def test_clients_are_told_where_to_point_and_what_to_paste() -> None:
    lines = greeting(UPSTREAM, Address("127.0.0.1", 7001), "none", EMPTY, 7, PLAIN)
    assert lines[0] == "point your client at ws://127.0.0.1:7001 (was :6001)"
    pasted = " ".join(" ".join(lines).split())
    assert 'wsHost: "127.0.0.1", wsPort: 7001, forceTLS: false, enabledTransports: ["ws"], cluster: "none"})' in pasted
    assert 'io("http://127.0.0.1:7001", {transports: ["websocket"]})' in pasted
    assert max(map(len, lines)) <= 80
    assert f"profile   none ({EMPTY.digest}), seed 7" in lines


def test_a_wildcard_is_named_by_an_address_that_clients_can_use() -> None:
    (first, *_) = greeting(UPSTREAM, Address("0.0.0.0", 7001), "none", EMPTY, 0, PLAIN)
    assert first == "point your client at ws://127.0.0.1:7001 (was :6001) (listening on 0.0.0.0:7001)"


def test_an_ipv6_address_is_pasted_in_brackets() -> None:
    lines = greeting(UPSTREAM, Address("::1", 7001), "none", EMPTY, 0, PLAIN)
    assert 'wsHost: "[::1]", wsPort: 7001' in lines[1]


def test_over_tls_the_settings_are_those_of_wss() -> None:
    for tls in (TlsOptions(is_developing=True), TlsOptions(certificate="c.pem", key="k.pem")):
        lines = greeting(Upstream(Address("example.com", 443), "wss"), Address("0.0.0.0", 7001), "none", EMPTY, 7, tls)
        assert lines[0].startswith("point your client at wss://127.0.0.1:7001 (was :443)")
        pasted = " ".join(" ".join(lines).split())
        assert 'wsHost: "127.0.0.1", wssPort: 7001, forceTLS: true, enabledTransports: ["ws", "wss"]' in pasted
        assert 'io("https://127.0.0.1:7001"' in pasted
        assert "upstream  wss://example.com:443" in lines


def test_how_to_trust_the_development_ca_is_told() -> None:
    lines = trust(Path("/data/ca.pem"))
    assert lines[0].startswith("CA        /data/ca.pem ")
    assert "  Node      NODE_EXTRA_CA_CERTS=/data/ca.pem" in lines
    assert lines[-1].startswith("  browsers  import it")


def test_without_a_client_the_usual_causes_are_named() -> None:
    words = no_client_yet(UPSTREAM.address, Address("127.0.0.1", 7001), 10)
    assert "no client has connected for 10 s. Does the app still use :6001? Set wsPort: 7001" in words
    assert words.endswith("--listen 0.0.0.0:7001")
    assert "--listen" not in no_client_yet(UPSTREAM.address, Address("0.0.0.0", 7001), 10)
    over_tls = no_client_yet(UPSTREAM.address, Address("0.0.0.0", 7001), 10, is_tls=True)
    assert "Set wssPort: 7001, forceTLS: true and enabledTransports: ['ws', 'wss']" in over_tls


def test_for_a_tcp_upstream_there_is_an_address_and_nothing_to_paste() -> None:
    redis = Upstream(Address("redis", 6379), "tcp")
    lines = greeting(redis, Address("127.0.0.1", 7001), "none", EMPTY, 7, PLAIN)
    assert lines[:3] == [
        "point your client at 127.0.0.1:7001 (was :6379)",
        "upstream  tcp://redis:6379",
        "control   none",
    ]
    assert no_client_yet(redis.address, Address("127.0.0.1", 7001), 10, is_opaque=True).startswith(
        "warning: no client has connected for 10 s. Does the app still use :6379? Point it at 127.0.0.1:7001; if it"
    )


def test_the_address_of_the_script_is_shown_where_there_is_one() -> None:
    url = "http://127.0.0.1:7002/client/0123456789abcdef012345/chaosproxy.js"
    lines = greeting(UPSTREAM, Address("127.0.0.1", 7001), "http://127.0.0.1:7002", EMPTY, 7, PLAIN, url)
    assert f"script    {url}" in lines
    assert max(map(len, lines)) <= 80
    for lines in (
        greeting(UPSTREAM, Address("127.0.0.1", 7001), "none", EMPTY, 7, PLAIN),
        greeting(Upstream(Address("redis", 6379), "tcp"), Address("127.0.0.1", 7001), "none", EMPTY, 7, PLAIN, url),
    ):
        assert "script" not in " ".join(lines)


def test_the_address_of_the_page_is_shown_where_there_is_one() -> None:
    where = "http://127.0.0.1:7002"
    lines = greeting(UPSTREAM, Address("127.0.0.1", 7001), where, EMPTY, 7, PLAIN, page=f"{where}/#token=abc")
    assert lines[lines.index(f"control   {where}") + 1] == f"page      {where}/#token=abc"
    assert "page" not in " ".join(greeting(UPSTREAM, Address("127.0.0.1", 7001), "none", EMPTY, 7, PLAIN))
