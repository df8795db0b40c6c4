"""Opaque connections through a tcp:// upstream, as plain sockets and other protocols' clients see them."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import pytest

from chaosproxy.events import Closed, Dialled, Healed, Struck
from chaosproxy.match import Match
from chaosproxy.profile import BoundRule
from tests.live import LOOPS, PATIENCE_S, Peer, Stage, comes_true, run, stage
from tests.test_stream import Flip

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def phases(*rules: object) -> dict[str, Any]:
    """A phase that ends by hand, one with the rules, and one without any."""
    struck = {"name": "struck", "until": "step", "rules": list(rules)}
    return {"starts": "launch", "phases": [{"name": "healthy", "until": "step"}, struck, {"name": "healed"}]}


def step(stage: Stage) -> None:
    assert stage.proxy.steer(lambda world, now: world.step(now))


async def echo(peer: Peer) -> None:
    """Send back all that comes, then end."""
    while data := await peer.receive():
        await peer.send(data)
    peer.end()


# --- carried as it is ----------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways_whoever_speaks_first(loop: str) -> None:
    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client, server = await staged.pair()
            await server.send(b"220 ready\r\n")
            assert await client.exactly(11) == b"220 ready\r\n"
            await client.send(b"\x16\x03\x01\x00")
            assert await server.exactly(4) == b"\x16\x03\x01\x00"

    run(loop, story())


def test_megabytes_pass_both_ways_at_once_unharmed(loop: str) -> None:
    tape = b"".join(blake2b(number.to_bytes(4, "big")).digest() for number in range(1 << 16))  # 4 MiB

    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client, server = await staged.pair()

            async def pour(peer: Peer) -> None:
                await peer.send(tape)
                peer.end()

            _, _, up, down = await asyncio.gather(pour(client), pour(server), server.rest(), client.rest())
            assert up == down == tape
            await staged.is_empty()

    run(loop, story())


@pytest.mark.parametrize("who", ["client", "server"])
def test_the_reply_to_a_half_close_arrives(loop: str, who: str) -> None:
    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client, server = await staged.pair()
            first, second = (client, server) if who == "client" else (server, client)
            await first.send(b"all of it")
            first.end()
            assert await second.rest() == b"all of it"
            await second.send(b"got ")
            await second.send(b"9 bytes")
            second.end()
            assert await first.rest() == b"got 9 bytes"
            await staged.is_empty()
            assert await staged.told_of(Closed) == Closed(who, "fin", None)

    run(loop, story())


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_stays_a_reset(loop: str, who: str) -> None:
    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client, server = await staged.pair()
            await client.send(b"hello")
            await server.exactly(5)
            first, second = (client, server) if who == "client" else (server, client)
            first.reset()
            assert await second.is_reset()
            await staged.is_empty()

    run(loop, story())


def test_a_client_that_speaks_and_ends_at_once_is_heard(loop: str) -> None:
    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client = await Peer.connect(staged.proxy.port)
            await client.send(b"early")
            client.end()
            server = await staged.upstream.accept()
            assert await server.rest() == b"early"
            await server.send(b"late")
            server.end()
            assert await client.rest() == b"late"

    run(loop, story())


def test_an_upstream_that_is_not_there_is_a_reset(loop: str) -> None:
    async def story() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            async with stage(scheme="tcp", upstream_port=bound.getsockname()[1]) as staged:
                client = await Peer.connect(staged.proxy.port)
                assert await client.is_reset()
                assert "connection refused" in (await staged.told_of(Dialled)).error
                await staged.is_empty()

    run(loop, story())


def test_stopping_ends_connections_by_fin(loop: str) -> None:
    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client, server = await staged.pair()
            stopping = asyncio.ensure_future(staged.proxy.stop(PATIENCE_S))
            assert (await client.rest(), await server.rest()) == (b"", b"")
            client.close()
            server.close()
            await stopping

    run(loop, story())


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(f"you asked for {self.path}".encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"]))[::-1])

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def pages() -> Iterator[int]:
    """An HTTP server in a thread of its own; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_another_protocol_goes_through_with_its_connection_kept_alive(loop: str) -> None:
    def browse(port: int) -> list[bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        bodies = []
        try:
            for method, path, body in (
                ("GET", "/a", None),
                ("POST", "/b", bytes(range(256)) * 4000),
                ("GET", "/c", None),
            ):
                connection.request(method, path, body)
                bodies.append(connection.getresponse().read())
        finally:
            connection.close()
        return bodies

    async def story() -> None:
        with pages() as port:
            async with stage({"rules": [{"latency": "20ms"}]}, scheme="tcp", upstream_port=port) as staged:
                bodies = await asyncio.to_thread(browse, staged.proxy.port)
                assert bodies == [b"you asked for /a", (bytes(range(256)) * 4000)[::-1], b"you asked for /c"]
                assert staged.proxy.world.totals.opened == 1
                await staged.is_empty()

    run(loop, story())


def test_a_tls_hello_is_only_bytes(loop: str) -> None:
    """The client's first flight arrives whole, byte for byte; nobody answers it with plain text."""
    sent = ssl.MemoryBIO()
    context = ssl.create_default_context()
    hello = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="example.test")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    flight = sent.read()

    async def story() -> None:
        async with stage(scheme="tcp") as staged:
            client, server = await staged.pair()
            await client.send(flight)
            assert await server.exactly(len(flight)) == flight

    run(loop, story())


# --- opening and ending --------------------------------------------------------------------------------------------


def test_refuse_is_econnrefused_and_live_connections_live(loop: str) -> None:
    async def story() -> None:
        async with stage(phases("refuse"), scheme="tcp") as staged:
            client, server = await staged.pair()
            step(staged)
            with pytest.raises(OSError) as refusal:
                await Peer.connect(staged.proxy.port)
            assert refusal.value.errno == errno.ECONNREFUSED
            await client.send(b"alive")
            assert await server.exactly(5) == b"alive"
            step(staged)
            await staged.pair()

    run(loop, story())


def test_reset_at_accept_never_reaches_the_server(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"reset": {"at": "accept"}}]}, scheme="tcp") as staged:
            client = await Peer.connect(staged.proxy.port)
            assert await client.is_reset()
            await staged.is_empty()
            assert not [told for told in staged.told if isinstance(told.event, Dialled)]

    run(loop, story())


def test_hang_accepts_reads_and_never_answers(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"hang": {}, "when": {"connection": 1}}]}, scheme="tcp") as staged:
            hung = await Peer.connect(staged.proxy.port)
            await hung.send(b"hello?")
            await staged.told_of(Struck)
            client, server = await staged.pair()  # the first that the server sees is the second client
            await client.send(b"second")
            assert await server.exactly(6) == b"second"
            hung.end()
            assert await hung.rest() == b""

    run(loop, story())


@pytest.mark.parametrize("fault", ["fin", "reset"])
def test_connections_older_than_the_rule_end_as_it_says(loop: str, fault: str) -> None:
    async def story() -> None:
        async with stage(phases(fault), scheme="tcp") as staged:
            client, server = await staged.pair()
            await client.send(b"hello")
            await server.exactly(5)
            step(staged)
            is_reset = fault == "reset"
            assert [await client.is_reset(), await server.is_reset()] == [is_reset, is_reset]

    run(loop, story())


def test_one_leg_is_reset_and_the_other_ends_by_fin(loop: str) -> None:
    async def story() -> None:
        async with stage(phases({"reset": {"leg": "client"}}), scheme="tcp") as staged:
            client, server = await staged.pair()
            step(staged)
            assert [await client.is_reset(), await server.is_reset()] == [True, False]

    run(loop, story())


# --- half-open -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["blackhole", "freeze"])
def test_a_half_open_heals_on_the_same_sockets(loop: str, mode: str) -> None:
    async def story() -> None:
        async with stage(phases({"half_open": {"mode": mode, "heal": "flush"}}), scheme="tcp") as staged:
            client, server = await staged.pair()
            step(staged)
            await client.send(b"unheard")
            await server.send(b"unseen")
            server.end()
            waiting = await Peer.connect(staged.proxy.port)
            await waiting.send(b"let me in")
            for peer in (client, server, waiting):
                assert not await _hears(peer)
            step(staged)
            assert await server.exactly(7) == b"unheard"
            assert await client.rest() == b"unseen"
            assert await (await staged.upstream.accept()).exactly(9) == b"let me in"
            await staged.told_of(Healed)

    run(loop, story())


async def _hears(peer: Peer) -> bool:
    """Whether anything at all comes within a time that is long for a loopback."""
    try:
        async with asyncio.timeout(0.15):
            await asyncio.get_running_loop().sock_recv(peer.sock, 1)
    except TimeoutError:
        return False
    return True


def test_a_half_open_that_resets_at_heal_does_so_by_rst(loop: str) -> None:
    async def story() -> None:
        async with stage(phases({"half_open": {"heal": "reset"}}), scheme="tcp") as staged:
            client, server = await staged.pair()
            step(staged)
            await client.send(b"unheard")
            assert not await _hears(server)
            step(staged)
            assert [await client.is_reset(), await server.is_reset()] == [True, True]

    run(loop, story())


# --- timing --------------------------------------------------------------------------------------------------------


def test_latencies_add_up_for_a_burst_too(loop: str) -> None:
    async def story() -> None:
        rules = [{"latency": "60ms", "when": {"from": "client"}}, {"latency": "40ms"}]
        async with stage({"rules": rules}, scheme="tcp") as staged:
            client, server = await staged.pair()
            echoing = asyncio.ensure_future(echo(server))
            for _ in range(3):
                began = monotonic()
                for part in (b"a", b"b", b"c"):
                    await client.send(part)
                assert await client.exactly(3) == b"abc"
                assert 0.14 <= monotonic() - began < 1
            client.end()
            assert await client.rest() == b""
            await echoing

    run(loop, story())


def test_bandwidth_takes_the_time_that_the_rate_says(loop: str) -> None:
    async def story() -> None:
        rule = {"bandwidth": "128kB/s", "when": {"from": "server"}}
        async with stage({"rules": [rule]}, scheme="tcp") as staged:
            client, server = await staged.pair()
            began = monotonic()
            await server.send(bytes(64_000))
            await client.exactly(64_000)
            assert 0.49 <= monotonic() - began < 2
            await client.send(bytes(64_000))
            began = monotonic()
            await server.exactly(64_000)
            assert monotonic() - began < 0.4

    run(loop, story())


def test_slice_arrives_in_crumbs(loop: str) -> None:
    async def story() -> None:
        rule = {"slice": {"size": "4B", "gap": "30ms"}, "when": {"from": "client"}}
        async with stage({"rules": [rule]}, scheme="tcp") as staged:
            client, server = await staged.pair()
            began = monotonic()
            await client.send(b"twenty bytes in all.")
            parts = [await server.receive()]
            while sum(map(len, parts)) < 20:
                parts.append(await server.receive())
            assert b"".join(parts) == b"twenty bytes in all."
            assert len(parts) >= 3  # a slow reader may find two at once
            assert monotonic() - began >= 0.11

    run(loop, story())


def test_stall_keeps_bytes_and_the_end_behind_them(loop: str) -> None:
    async def story() -> None:
        async with stage(phases({"stall": {}, "when": {"from": "server"}}), scheme="tcp") as staged:
            client, server = await staged.pair()
            step(staged)
            await server.send(b"stuck")
            server.end()
            await client.send(b"flows")
            assert await server.exactly(5) == b"flows"
            assert not await _hears(client)
            step(staged)
            assert await client.rest() == b"stuck"

    run(loop, story())


def test_a_reader_that_stops_stops_the_sender_and_loses_nothing(loop: str) -> None:
    async def story() -> None:
        async with stage({"held_bytes_max": "64KiB", "rules": [{"latency": "30ms"}]}, scheme="tcp") as staged:
            client, server = await staged.pair()
            tape = bytes(range(256)) * 32_768  # 8 MiB
            sending = asyncio.ensure_future(client.send(tape))
            session = next(iter(staged.proxy.world.sessions.values()))
            await comes_true(lambda: bool(session.legs[0].pauses))
            assert session.directions[0].held <= 64 * 1024 + 256 * 1024  # a read may come on top
            assert await server.exactly(len(tape)) == tape
            await sending

    run(loop, story())


# --- damage --------------------------------------------------------------------------------------------------------


def test_the_same_bytes_are_hit_however_they_are_sent(loop: str) -> None:
    tape = bytes(20_000)

    async def heard(sizes: int) -> bytes:
        async with stage(scheme="tcp") as staged:
            rule = BoundRule("flip", Flip(), Match.model_validate({"from": "client", "chance": "50%"}), is_named=True)
            staged.proxy.steer(lambda world, now: world.add_rule(rule, None, now))
            client, server = await staged.pair()
            for at in range(0, len(tape), sizes):
                await client.send(tape[at : at + sizes])
            client.end()
            return await server.rest()

    async def story() -> None:
        whole, parts = await heard(len(tape)), await heard(777)
        assert whole == parts != tape
        assert len(whole) == len(tape)
        blocks = [any(whole[at : at + 1024]) for at in range(0, len(tape), 1024)]
        assert 3 <= sum(blocks) < len(blocks)

    run(loop, story())


# --- nothing is left -----------------------------------------------------------------------------------------------


def test_connections_closed_with_data_in_flight_leave_nothing(loop: str) -> None:
    async def story() -> None:
        rules = [{"latency": "5s"}, {"bandwidth": "1kB/s"}]
        async with stage({"rules": rules}, scheme="tcp") as staged:
            pairs = [await staged.pair() for _ in range(20)]
            for client, server in pairs:
                await client.send(bytes(10_000))
                await server.send(bytes(10_000))
            session = next(iter(staged.proxy.world.sessions.values()))
            await comes_true(lambda: session.directions[0].held > 0)
            for number, (client, server) in enumerate(pairs):
                (client if number % 2 else server).reset()
            await staged.is_empty()

    run(loop, story())


# --- with what counts bytes and time -------------------------------------------------------------------------------


def test_cut_after_bytes_ends_behind_exactly_so_many(loop: str) -> None:
    async def story() -> None:
        rule = {"cut_after": {"bytes": "64KiB", "by": "fin"}, "when": {"from": "server"}}
        async with stage({"rules": [rule]}, scheme="tcp") as staged:
            client, server = await staged.pair()
            sending = asyncio.ensure_future(server.send(bytes(300_000)))
            assert len(await client.rest()) == 64 * 1024
            client.close()
            await asyncio.gather(sending, return_exceptions=True)

    run(loop, story())


def test_slow_close_lets_a_fin_wait(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"slow_close": "200ms"}]}, scheme="tcp") as staged:
            client, server = await staged.pair()
            began = monotonic()
            await server.send(b"bye")
            server.end()
            assert await client.exactly(3) == b"bye"
            assert await client.rest() == b""
            assert 0.2 <= monotonic() - began < 2

    run(loop, story())


def test_corrupt_flips_bits_and_loses_none(loop: str) -> None:
    async def story() -> None:
        rule = {"corrupt": {"kind": "bits"}, "when": {"from": "server"}}
        async with stage({"seed": 7, "rules": [rule]}, scheme="tcp") as staged:
            heard = []
            for number in range(2):
                client, server = await staged.pair()
                await server.send(bytes(10_240))
                server.end()
                heard.append(await client.rest())
                assert len(heard[number]) == 10_240
                assert sum(byte.bit_count() for byte in heard[number]) == 10
            assert heard[0] != heard[1]

    run(loop, story())
