"""TLS on either leg or both, through real sockets: what a client and a server see that know nothing of the proxy."""

import asyncio
import os
import random
import ssl
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from chaosproxy.events import Accepted, Answered, Closed, Dialled, Ended, Secured
from chaosproxy.security import Security, trusting
from chaosproxy.wire.frames import Side, build_frame
from chaosproxy.world import Options
from tests.live import LOOPS, REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage
from tests.sockets.between import between, echo
from tests.sockets.tls_peer import TlsPeer, securities, trust

MASK = b"\x11\x22\x33\x44"
HELLO = build_frame(1, b"hello", MASK)
ANSWER = build_frame(1, b"answer")
BAD_RECORD = "decryption failed or bad record mac"
Ends = tuple[Any, Any]

pytestmark = pytest.mark.parametrize("loop", LOOPS)
EVERY_WAY = pytest.mark.parametrize("security", [pytest.param(each, id=name) for name, each in securities()])
WITH_CLIENTS = Security(listen={"": trust().server})
BOTH = Security(listen={"": trust().server}, upstream=trust().client)


async def opened(on: Stage, security: Security) -> Ends:
    """A client and a server with an open tunnel between them, each a Peer or a TlsPeer."""
    client = await (TlsPeer if security.listen else Peer).connect(on.proxy.port)
    await client.send(REQUEST)
    accepted = await on.upstream.accept()
    server = await TlsPeer.accept(accepted) if security.upstream else accepted
    assert await server.exactly(len(REQUEST)) == REQUEST
    await server.send(RESPONSE)
    assert await client.exactly(len(RESPONSE)) == RESPONSE
    return client, server


async def end(peer: Peer | TlsPeer) -> None:
    """End one way as its protocol wants it."""
    if isinstance(peer, TlsPeer):
        await peer.end()
    else:
        peer.end()


async def stays_silent(*peers: TlsPeer) -> None:
    """Nothing comes, for a while: no byte, no FIN, no RST."""
    await asyncio.sleep(0.15)
    for peer in peers:
        with pytest.raises(BlockingIOError):
            peer.peer.sock.recv(1)
        assert peer.raw == b""


def raw(peer: Peer | TlsPeer) -> Peer:
    return peer.peer if isinstance(peer, TlsPeer) else peer


@EVERY_WAY
class TestTransparency:
    def test_messages_of_any_size_pass_both_ways(self, loop: str, security: Security) -> None:
        async def story() -> None:
            server = {"ssl": trust().server} if security.upstream else {}
            client = {"ssl": trust().client} if security.listen else {}
            async with between(handler=echo, security=security, **server) as on, on.connect(**client) as connection:
                for message in ("text", b"", b"x" * 16_384, os.urandom(16_385), os.urandom(5_000_000)):
                    await connection.send(message)
                    assert await connection.recv() == message
                await connection.close(4321, "enough")
                await on.servers[0].wait_closed()
                assert on.servers[0].close_code == 4321

        run(loop, story())

    def test_heads_and_frames_arrive_as_they_left(self, loop: str, security: Security) -> None:
        async def story() -> None:
            async with stage(security=security) as on:
                client, server = await opened(on, security)
                await client.send(HELLO)
                assert await server.exactly(len(HELLO)) == HELLO
                await server.send(ANSWER)
                assert await client.exactly(len(ANSWER)) == ANSWER

        run(loop, story())

    @pytest.mark.parametrize("first", [Side.CLIENT, Side.SERVER])
    def test_a_half_close_is_passed_on_and_the_other_way_flows_on(
        self, loop: str, security: Security, first: Side
    ) -> None:
        async def story() -> None:
            async with stage(security=security) as on:
                ends = await opened(on, security)
                ended, other = ends[first], ends[first.other]
                await ended.send(HELLO)
                await end(ended)
                assert await other.rest() == HELLO
                for _ in range(3):
                    await other.send(ANSWER)
                    assert await ended.exactly(len(ANSWER)) == ANSWER
                await end(other)
                assert await ended.rest() == b""
                await on.is_empty()
                assert [told.event.how for told in on.told if isinstance(told.event, Ended)] == ["fin", "fin"]

        run(loop, story())

    @pytest.mark.parametrize("resets", [Side.CLIENT, Side.SERVER])
    def test_a_reset_goes_through_as_a_reset(self, loop: str, security: Security, resets: Side) -> None:
        async def story() -> None:
            async with stage(security=security) as on:
                ends = await opened(on, security)
                raw(ends[resets]).reset()
                assert await raw(ends[resets.other]).is_reset()
                await on.is_empty()

        run(loop, story())

    def test_a_reader_that_stalls_stalls_its_sender_and_memory_stays_bounded(
        self, loop: str, security: Security
    ) -> None:
        async def pour(server: Peer | TlsPeer) -> None:
            for _ in range(200):
                await server.send(build_frame(2, bytes(256 * 1024)))

        async def story() -> None:
            async with stage(security=security) as on:
                client, server = await opened(on, security)
                sending = asyncio.ensure_future(pour(server))
                await comes_true(lambda: on.proxy.paused_legs == 1)
                await asyncio.wait([sending], timeout=0.2)
                assert not sending.done()
                sending.cancel()
                await asyncio.wait([sending])
                raw(client).close()
                await on.is_empty()

        run(loop, story())


class TestHandshake:
    def test_each_is_told_with_its_version(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=BOTH) as on:
                await opened(on, BOTH)
                told = [told.event for told in on.told if isinstance(told.event, Secured)]
                assert told == [Secured(Side.CLIENT, "TLSv1.3", ""), Secured(Side.SERVER, "TLSv1.3", "")]

        run(loop, story())

    def test_a_plaintext_request_gets_a_plain_answer_that_helps(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=WITH_CLIENTS) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                answer = await client.rest()
                assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
                assert b"came to a TLS port (use wss:// in place of ws://)" in answer
                client.close()
                await on.is_empty()
                assert (await on.told_of(Answered)).status == 400

        run(loop, story())

    def test_a_client_that_does_not_trust_us_is_told(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=WITH_CLIENTS) as on:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await TlsPeer.connect(on.proxy.port, ssl.create_default_context())
                assert await on.told_of(Secured) == Secured(Side.CLIENT, "", "the peer says unknown ca")
                await on.is_empty()
                assert on.told[-1].event == Closed("client", "tls", None)

        run(loop, story())

    def test_a_client_that_goes_in_the_midst_of_it_leaves_nothing(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=WITH_CLIENTS) as on:
                for leave in (Peer.end, Peer.reset):
                    peer = TlsPeer(await Peer.connect(on.proxy.port), trust().client, "127.0.0.1")
                    await peer.say_hello()
                    await peer.peer.receive()
                    leave(peer.peer)
                    await on.is_empty()

        run(loop, story())

    def test_garbage_inside_a_connection_ends_both_legs(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=BOTH) as on:
                client, server = await opened(on, BOTH)
                await client.peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
                with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
                    await client.rest()
                assert await server.peer.is_reset()
                await on.is_empty()

        run(loop, story())

    def test_garbage_behind_our_own_end_is_answered_by_nothing(self, loop: str) -> None:
        async def story() -> None:
            troubles: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: troubles.append(context))
            async with stage(security=BOTH) as on:
                client, server = await opened(on, BOTH)
                server.peer.end()  # without close_notify: behind one, OpenSSL keeps its alerts to itself
                with pytest.raises(ssl.SSLEOFError):
                    await client.rest()
                await client.peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
                assert await server.peer.is_reset()
                await on.is_empty()
            assert troubles == []

        run(loop, story())


class TestUpstream:
    async def _answer(self, on: Stage) -> bytes:
        client = await Peer.connect(on.proxy.port)
        await client.send(REQUEST)
        answer = await client.rest()
        client.close()
        return answer

    def test_an_unknown_ca_is_a_502_that_names_the_remedy(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=Security(upstream=trusting(None))) as on:
                asking = asyncio.ensure_future(self._answer(on))
                server = await on.upstream.accept()
                with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                    await TlsPeer.accept(server)
                answer = await asking
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert b"TLS failed: its certificate is from a CA that is not known here; name its CA by" in answer
                assert b"--upstream-ca FILE, or do without verification by --upstream-insecure" in answer
                assert b"is the server up?" not in answer
                assert "TLS failed" in (await on.told_of(Dialled)).error
                await on.is_empty()

        run(loop, story())

    def test_one_that_never_answers_our_hello_is_a_502_in_time(
        self, loop: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("chaosproxy.secured.HANDSHAKE_TIME_S", 0.3)

        async def story() -> None:
            async with stage(security=Security(upstream=trust().client)) as on:
                began = monotonic()
                answer = await self._answer(on)
                assert 0.3 <= monotonic() - began < 5
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert b"no answer to our hello within 0.3 s; is it ws:// in place of wss://?" in answer
                await on.is_empty()

        run(loop, story())

    def test_a_certificate_for_another_name_is_refused_unless_insecure(self, loop: str) -> None:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trust().ca.issue_cert("example.test").configure_cert(server)

        async def story() -> None:
            async with between(handler=echo, security=Security(upstream=trust().client), ssl=server) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                assert b"its certificate is for another address" in await client.rest()
                client.close()
            insecure = Security(upstream=trusting(None, is_insecure=True))
            async with between(handler=echo, security=insecure, ssl=server) as on, on.connect() as connection:
                await connection.send("unverified")
                assert await connection.recv() == "unverified"

        run(loop, story())

    def test_what_does_not_speak_tls_is_told_apart(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=Security(upstream=trust().client)) as on:
                asking = asyncio.ensure_future(self._answer(on))
                server = await on.upstream.accept()
                await server.receive()
                await server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                assert b"it does not speak TLS; is it ws:// in place of wss://?" in await asking
                asking = asyncio.ensure_future(self._answer(on))
                server = await on.upstream.accept()
                await server.receive()
                server.close()
                assert b"it ended the connection during the handshake; is it ws://" in await asking
                await on.is_empty()

        run(loop, story())

    def test_a_client_that_gives_up_takes_the_dial_with_it(self, loop: str) -> None:
        async def story() -> None:
            async with stage(security=Security(upstream=trust().client)) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                server = await on.upstream.accept()
                assert (await server.receive())[0] == 0x16
                client.reset()
                assert await server.is_reset()
                await on.is_empty()

        run(loop, story())

    def test_the_environments_proxies_are_not_used(self, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WSS_PROXY"):
            for each in (name, name.lower()):
                monkeypatch.setenv(each, "http://127.0.0.1:9")
                monkeypatch.delenv("NO_PROXY", raising=False)
                monkeypatch.delenv("no_proxy", raising=False)

        async def story() -> None:
            for security in (Security(upstream=trust().client), Security()):
                server = {"ssl": trust().server} if security.upstream else {}
                async with between(handler=echo, security=security, **server) as on, on.connect() as connection:
                    await connection.send("direct")
                    assert await connection.recv() == "direct"

        run(loop, story())

    def test_the_host_is_rewritten_and_nothing_else(self, loop: str) -> None:
        async def story() -> None:
            async with stage(options=Options(host="example.com")) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                server = await on.upstream.accept()
                wanted = REQUEST.replace(b"Host: example.test", b"Host: example.com")
                assert await server.exactly(len(wanted)) == wanted

        run(loop, story())


def hurting(*rules: object) -> dict[str, object]:
    """A profile that waits for a step, hurts by these rules, and heals at the next step."""
    phases = [{"name": "healthy", "until": "step"}, {"name": "hurt", "until": "step", "rules": list(rules)}]
    return {"starts": "launch", "phases": [*phases, {"name": "healed"}]}


def step(on: Stage) -> None:
    assert on.proxy.steer(lambda world, now: world.step(now))


class TestFaults:
    def test_fin_is_a_truncation(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("fin"), security=BOTH) as on:
                ends = await opened(on, BOTH)
                step(on)
                for peer in ends:
                    with pytest.raises(ssl.SSLEOFError):
                        await peer.rest()

        run(loop, story())

    def test_fin_with_notify_and_the_other_leg_end_as_tls_wants_it(self, loop: str) -> None:
        async def story() -> None:
            for fault in ({"notify": "true"}, {"leg": "server"}):
                async with stage(hurting({"fin": fault}), security=BOTH) as on:
                    client, _ = await opened(on, BOTH)
                    step(on)
                    assert await client.rest() == b""

        run(loop, story())

    @pytest.mark.parametrize("truncates", [Side.CLIENT, Side.SERVER])
    def test_a_peers_own_truncation_is_passed_on_as_one(self, loop: str, truncates: Side) -> None:
        async def story() -> None:
            async with stage(security=BOTH) as on:
                ends = await opened(on, BOTH)
                await ends[truncates].send(HELLO)
                raw(ends[truncates]).end()
                assert await ends[truncates.other].exactly(len(HELLO)) == HELLO
                with pytest.raises(ssl.SSLEOFError):
                    await ends[truncates.other].rest()
                assert (await on.told_of(Ended)).how == "truncated"

        run(loop, story())

    def test_reset_is_econnreset(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("reset"), security=BOTH) as on:
                ends = await opened(on, BOTH)
                step(on)
                for peer in ends:
                    assert await raw(peer).is_reset()

        run(loop, story())

    @pytest.mark.parametrize("mode", ["blackhole", "freeze"])
    def test_half_open_lets_not_one_byte_leave(self, loop: str, mode: str) -> None:
        async def story() -> None:
            async with stage(hurting({"half_open": {"mode": mode}}), security=BOTH) as on:
                client, server = await opened(on, BOTH)
                client.raw = server.raw = b""
                step(on)
                for sends, sees in ((client, server), (server, client)):
                    await sends.send(HELLO)
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(asyncio.shield(receiving := asyncio.ensure_future(sees.receive())), 0.2)
                    receiving.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await receiving
                assert on.proxy.paused_legs == (2 if mode == "freeze" else 0)
                await end(client)
                await stays_silent(client, server)
                step(on)
                assert await client.exactly(len(HELLO)) == HELLO
                assert await server.rest() == HELLO
                await end(server)
                assert await client.rest() == b""
                await on.is_empty()

        run(loop, story())

    def test_not_even_an_alert_leaves_while_half_open(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("half_open"), security=BOTH) as on:
                client, server = await opened(on, BOTH)
                client.raw = server.raw = b""
                step(on)
                await client.peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
                await comes_true(lambda: Secured(Side.CLIENT, "", BAD_RECORD) in [told.event for told in on.told])
                await stays_silent(client, server)
                step(on)
                with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
                    await client.rest()
                assert await server.peer.is_reset()
                await on.is_empty()

        run(loop, story())

    def test_a_handshake_is_not_answered_while_half_open(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("half_open"), security=BOTH) as on:
                step(on)
                client = TlsPeer(await Peer.connect(on.proxy.port), trust().client, "127.0.0.1")
                shaking = asyncio.ensure_future(client.shake_hands())
                await on.told_of(Accepted)
                await asyncio.wait([shaking], timeout=0.2)
                assert not shaking.done()
                assert client.raw == b""
                step(on)
                await shaking
                await client.send(REQUEST)
                server = await TlsPeer.accept(await on.upstream.accept())
                assert await server.exactly(len(REQUEST)) == REQUEST

        run(loop, story())

    def test_a_dial_says_nothing_while_half_open(self, loop: str) -> None:
        rule = {"half_open": {}, "when": {"path": "/chat"}}

        async def story() -> None:
            async with stage(hurting(rule), security=Security(upstream=trust().client)) as on:
                on.upstream.sock.listen(0)
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                accepted = await on.upstream.accept()
                await comes_true(lambda: any(isinstance(told.event, Accepted) for told in on.told))
                hello = await accepted.receive()
                step(on)
                server = TlsPeer(accepted, trust().server)
                server._inbound.write(hello)
                shaking = asyncio.ensure_future(server.shake_hands())
                await asyncio.wait([shaking], timeout=0.2)
                assert not shaking.done()
                assert server.raw == b""
                step(on)
                await shaking
                assert await server.exactly(len(REQUEST)) == REQUEST

        run(loop, story())


def leave(peer: TlsPeer, chance: random.Random) -> None:
    chance.choice((peer.peer.reset, peer.peer.close, peer.peer.end))()


async def come_and_go(on: Stage, chance: random.Random) -> None:
    """A client that leaves at any moment and in any way, with data in flight if it came so far."""
    peer = TlsPeer(await Peer.connect(on.proxy.port), trust().client, "127.0.0.1")
    moment = chance.randrange(5)
    with suppress(ConnectionError, ssl.SSLError):
        if moment == 0:
            await peer.say_hello()
        if moment > 0:
            await peer.shake_hands()
        if moment > 1:
            await peer.send(REQUEST)
        if moment > 2:
            await peer.exactly(len(RESPONSE))
            await peer.send(build_frame(2, chance.randbytes(100_000), MASK))
        if moment > 3:
            await peer.notify()
        leave(peer, chance)


async def serve_and_go(peer: Peer, chance: random.Random) -> None:
    """A server that answers, sends, and leaves in any way."""
    with suppress(ConnectionError, ssl.SSLError):
        server = await TlsPeer.accept(peer)
        await server.exactly(len(REQUEST))
        await server.send(RESPONSE + build_frame(2, chance.randbytes(100_000)))
        leave(server, chance)


@pytest.mark.parametrize("seed", range(2))
def test_connections_that_end_anyhow_leave_nothing(loop: str, seed: int) -> None:
    chance = random.Random(seed)

    async def story() -> None:
        async with stage(security=BOTH) as on:
            serving: set[asyncio.Task[None]] = set()

            async def serve() -> None:
                while True:
                    serving.add(asyncio.ensure_future(serve_and_go(await on.upstream.accept(), chance)))

            accepting = asyncio.ensure_future(serve())
            await come_and_go(on, random.Random(0))  # once, so that what is made once is there
            await on.is_empty()
            await asyncio.gather(*serving)
            for peer in Peer.opened:
                peer.close()
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(15):
                await asyncio.gather(*(come_and_go(on, chance) for _ in range(8)))
            for peer in Peer.opened:
                peer.close()
            await on.is_empty()
            accepting.cancel()
            await asyncio.wait([accepting, *serving])
            assert len([told for told in on.told if isinstance(told.event, Closed)]) == 121
            assert len(os.listdir("/proc/self/fd")) == before

    run(loop, story())
