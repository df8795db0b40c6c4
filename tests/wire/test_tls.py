"""The channel against a peer that is ssl's own, with nothing but memory between them."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from chaosproxy.wire.tls import Channel, begins_tls

CA = trustme.CA()
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def server_context(*names: str, **validity: datetime) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*(names or ("example.test",)), **validity).configure_cert(context)
    return context


def client_context(ca: trustme.CA = CA, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if version is not None:
        context.maximum_version = version
    return context


class Peer:
    """The other end, in the words of ssl."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self.inbound, self.outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inbound, self.outbound, server_side=name is None, server_hostname=name)
        self.received = b""
        self.has_ended = False
        self.is_open = False

    def hear(self, data: bytes) -> None:
        self.inbound.write(data)
        with suppress(ssl.SSLWantReadError):
            if not self.is_open:
                self.tls.do_handshake()
                self.is_open = True
            while part := self.tls.read(65536):
                self.received += part
            self.has_ended = True

    def notify(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()


class Pair:
    """A channel and its peer. What the channel hears comes in pieces of a size."""

    def __init__(self, *, is_server: bool, version: ssl.TLSVersion | None = None, piece: int = 1 << 20) -> None:
        name = "example.test"
        self.received = b""
        self.piece = piece
        server, client = server_context(), client_context(version=version)
        if is_server:
            self.channel, self.peer = Channel(server, is_server=True), Peer(client, name)
            self.peer.hear(b"")
        else:
            self.channel, self.peer = Channel(client, is_server=False, name=name), Peer(server, None)
            self.channel.begin()

    def exchange(self) -> None:
        """Carry bytes both ways until none are left."""
        while True:
            to_peer, to_channel = self.channel.take(), self.peer.outbound.read()
            if to_peer:
                self.peer.hear(to_peer)
            for at in range(0, len(to_channel), self.piece):
                self.received += self.channel.receive(to_channel[at : at + self.piece])
            if not to_peer and not to_channel:
                return


EITHER = pytest.mark.parametrize("is_server", [True, False], ids=["as server", "as client"])
EITHER_VERSION = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


@EITHER
@EITHER_VERSION
class TestBothWays:
    @pytest.mark.parametrize("piece", [1, 2, 3, 7, 100, 1 << 20])
    def test_any_chopping_gives_the_same_plaintext(self, is_server: bool, version: ssl.TLSVersion, piece: int) -> None:
        pair = Pair(is_server=is_server, version=version, piece=piece)
        pair.exchange()
        assert pair.channel.is_open
        assert pair.channel.version == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]
        said = [b"a", bytes(range(256)) * 200]
        for each in said:
            pair.peer.tls.write(each[:16_000])
            rest = each[16_000:]
            while rest:
                rest = rest[pair.peer.tls.write(rest) :]
        pair.exchange()
        assert pair.received == b"".join(said)
        assert (pair.channel.error, pair.channel.has_ended) == ("", False)

    def test_what_is_sealed_arrives_in_order_and_of_any_size(self, is_server: bool, version: ssl.TLSVersion) -> None:
        pair = Pair(is_server=is_server, version=version)
        pair.exchange()
        said = [b"first", b"x" * 16_384, b"y" * 1_000_000, b"last"]
        for each in said:
            pair.channel.seal(each)
        pair.exchange()
        assert pair.peer.received == b"".join(said)

    def test_the_peers_end_is_seen_and_our_way_flows_on(self, is_server: bool, version: ssl.TLSVersion) -> None:
        pair = Pair(is_server=is_server, version=version)
        pair.exchange()
        pair.peer.tls.write(b"bye")
        pair.peer.notify()
        pair.exchange()
        assert (pair.received, pair.channel.has_ended) == (b"bye", True)
        pair.channel.seal(b"still here")
        pair.exchange()
        assert (pair.peer.received, pair.peer.has_ended) == (b"still here", False)

    def test_our_end_is_seen_and_the_peers_way_flows_on(self, is_server: bool, version: ssl.TLSVersion) -> None:
        pair = Pair(is_server=is_server, version=version, piece=5)
        pair.exchange()
        pair.peer.tls.write(b"half of a record has come when we end")
        begun = pair.peer.outbound.read()
        pair.received += pair.channel.receive(begun[:10])
        pair.channel.seal(b"bye")
        pair.channel.notify()
        pair.exchange()
        assert (pair.peer.received, pair.peer.has_ended) == (b"bye", True)
        pair.received += pair.channel.receive(begun[10:])
        assert pair.received == b"half of a record has come when we end"
        assert (pair.channel.error, pair.channel.has_ended) == ("", False)

    def test_nothing_leaves_that_is_not_taken_and_nothing_is_lost(
        self, is_server: bool, version: ssl.TLSVersion
    ) -> None:
        pair = Pair(is_server=is_server, version=version)
        pair.exchange()
        pair.channel.seal(b"one")
        pair.channel.seal(b"two")
        assert pair.peer.received == b""
        taken = pair.channel.take()
        assert pair.channel.take() == b""
        pair.peer.hear(taken)
        assert pair.peer.received == b"onetwo"

    def test_before_the_handshake_nothing_can_be_said(self, is_server: bool, version: ssl.TLSVersion) -> None:
        pair = Pair(is_server=is_server, version=version)
        hello = pair.channel.take()
        pair.channel.seal(b"too early")
        pair.channel.notify()
        assert pair.channel.take() == b""
        if hello:
            pair.peer.hear(hello)
        pair.exchange()
        assert pair.channel.is_open
        assert pair.peer.received == b""

    def test_a_damaged_record_is_an_error_with_an_alert_and_then_nothing(
        self, is_server: bool, version: ssl.TLSVersion
    ) -> None:
        pair = Pair(is_server=is_server, version=version)
        pair.exchange()
        pair.peer.tls.write(b"good")
        good = pair.peer.outbound.read()
        pair.peer.tls.write(b"damaged")
        damaged = bytearray(pair.peer.outbound.read())
        damaged[-1] ^= 1
        assert pair.channel.receive(good + bytes(damaged)) == b"good"
        assert pair.channel.error == "decryption failed or bad record mac"
        assert pair.channel.receive(good) == b""
        pair.channel.seal(b"said to nobody")
        pair.channel.notify()
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            pair.peer.hear(pair.channel.take())


def test_a_client_names_the_host_it_wants_unless_it_is_an_address() -> None:
    named: list[str | None] = []
    server = server_context()
    server.sni_callback = lambda tls, name, context: named.append(name)
    for name in ("example.test", "127.0.0.1"):
        client, peer = Channel(client_context(), is_server=False, name=name), Peer(server, None)
        client.begin()
        peer.hear(client.take())
    assert named == ["example.test", None]


class TestErrors:
    def heard(self, server: ssl.SSLContext, client: ssl.SSLContext, name: str = "example.test") -> tuple[str, str]:
        """What the client's channel and the server's say of a handshake that fails."""
        ours, theirs = Channel(client, is_server=False, name=name), Channel(server, is_server=True)
        ours.begin()
        for _ in range(5):
            theirs.receive(ours.take())
            ours.receive(theirs.take())
        return ours.error, theirs.error

    def test_an_unknown_ca(self) -> None:
        ours, theirs = self.heard(server_context(), client_context(trustme.CA()))
        assert ours.startswith("its certificate is from a CA that is not known here; name its CA by --upstream-ca FILE")
        assert theirs == "the peer says unknown ca"

    def test_another_name_and_another_address(self) -> None:
        ours, _ = self.heard(server_context("other.test"), client_context())
        assert ours.startswith("its certificate is for another name; dial the name that it is for, or do without")
        ours, _ = self.heard(server_context("other.test"), client_context(), "127.0.0.1")
        assert ours.startswith("its certificate is for another address; ")

    def test_out_of_date(self) -> None:
        day = timedelta(days=1)
        now = datetime.now(UTC)
        ours, theirs = self.heard(server_context(not_before=now - 2 * day, not_after=now - day), client_context())
        assert ours.startswith("its certificate has expired; renew it, or do without verification by --upstream-insec")
        assert theirs == "the peer says certificate expired"
        ours, _ = self.heard(server_context(not_before=now + day, not_after=now + 2 * day), client_context())
        assert ours.startswith("its certificate is not valid yet; look at the clocks, ")

    def test_no_version_in_common(self) -> None:
        old, new = client_context(version=ssl.TLSVersion.TLSv1_2), server_context()
        new.minimum_version = ssl.TLSVersion.TLSv1_3
        assert self.heard(new, old) == ("the peer says protocol version", "unsupported protocol")

    @pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00", b"SSH-2.0-x\r\n"])
    def test_no_tls_at_all(self, said: bytes) -> None:
        assert not begins_tls(said)
        channel = Channel(client_context(), is_server=False, name="example.test")
        channel.begin()
        assert channel.receive(said) == b""
        assert channel.error == "it does not speak TLS; is it ws:// in place of wss://?"

    def test_a_hello_that_is_none(self) -> None:
        channel = Channel(server_context(), is_server=True)
        assert channel.receive(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00") == b""
        assert channel.error
        assert begins_tls(channel.take())  # an alert
