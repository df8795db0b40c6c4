"""Hundreds of connections that end in every way at once, on both loops: nothing is left, and no bytes are changed."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import chaosproxy.relay
from chaosproxy.events import Ended, Listening
from chaosproxy.proxy import Address, Proxy
from chaosproxy.units import MILLISECOND
from chaosproxy.wire.frames import build_frame

from .churn import Trouble, story
from .interop.processes import free_ports
from .live import LOOPS, REQUEST, RESPONSE, Peer, Upstream, comes_true, run, stage
from .virtual import live_rule

MASK = b"\x11\x22\x33\x44"
HELLO = build_frame(1, b"hello", MASK)
ROOT = Path(__file__).parent.parent

per_loop = pytest.mark.parametrize("loop", LOOPS)


@per_loop
class TestChurn:
    def test_idle_connections_ended_in_every_way_leave_nothing_and_lose_no_byte(self, loop: str) -> None:
        run(loop, story(seed=1, count=400, rounds=1, steers=False))

    def test_hurt_connections_ended_in_every_way_leave_nothing(self, loop: str) -> None:
        run(loop, story(seed=2, count=700, rounds=1, steers=True))

    @pytest.mark.slow
    @pytest.mark.timeout(400)
    @pytest.mark.parametrize("steers", [False, True])
    def test_thousands_of_connections_leave_nothing(self, loop: str, steers: bool) -> None:
        for seed in range(100, 106):
            run(loop, story(seed, count=800, rounds=1, steers=steers))


def churn_alone(seed: int, rounds: int) -> None:
    """Churn under uvloop in a process of its own, with every check the interpreter has."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.churn", "uvloop", str(seed), "300", str(rounds)]
    environment = {**os.environ, "PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "nothing is left\n"), done.stderr[-4000:]


def test_uvloop_does_not_crash_under_churn() -> None:
    churn_alone(seed=3, rounds=1)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_uvloop_does_not_crash_in_ten_rounds_of_churn() -> None:
    churn_alone(seed=4, rounds=10)


@per_loop
class TestHandshakesThatEndEarly:
    @pytest.mark.parametrize("end", [Peer.end, Peer.reset, Peer.close])
    def test_a_request_abandoned_at_any_byte_leaves_nothing(self, loop: str, end: object) -> None:
        async def abandoned(port: int, at: int) -> None:
            client = await Peer.connect(port)
            if at:
                await client.send(REQUEST[:at])
            await asyncio.sleep(0)
            end(client)  # type: ignore[operator]

        async def tale() -> None:
            trouble = Trouble()
            with trouble.watching():
                async with stage() as on:
                    for start in range(0, len(REQUEST) + 1, 20):
                        ats = range(start, min(start + 20, len(REQUEST) + 1))
                        await asyncio.gather(*(abandoned(on.proxy.port, at) for at in ats))
                    if end is not Peer.reset:
                        await comes_true(lambda: on.proxy.open_relays <= 1)  # the last one's request was complete
                        (await on.upstream.accept()).close()
                    await on.is_empty()
                    assert on.proxy.world.sessions == {}
            assert trouble.found == []

        run(loop, tale())

    @pytest.mark.parametrize("end", [Peer.end, Peer.reset, Peer.close])
    def test_an_upstream_that_goes_at_any_byte_of_its_answer_leaves_nothing(self, loop: str, end: object) -> None:
        async def tale() -> None:
            trouble = Trouble()
            with trouble.watching():
                async with stage() as on:
                    for at in range(len(RESPONSE)):
                        client = await Peer.connect(on.proxy.port)
                        await client.send(REQUEST)
                        server = await on.upstream.accept()
                        await server.send(RESPONSE[:at])
                        end(server)  # type: ignore[operator]
                        assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
                        client.close()
                        server.close()
                    await on.is_empty()
            assert trouble.found == []

        run(loop, tale())

    def test_a_dial_that_nobody_waits_for_any_more_leaves_nothing(self, loop: str) -> None:
        """The upstream's queue is full, so that dials hang; then their clients go, one after the other."""

        async def tale() -> None:
            trouble = Trouble()
            full = socket.socket()
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            with trouble.watching():
                async with stage(upstream_port=port) as on:
                    fillers = [socket.socket() for _ in range(3)]
                    for filler in fillers:
                        filler.setblocking(False)
                        filler.connect_ex(("127.0.0.1", port))
                    clients = [await Peer.connect(on.proxy.port) for _ in range(12)]
                    for client in clients:
                        await client.send(REQUEST)
                    await comes_true(lambda: len(on.proxy._dialling) == 12)
                    for client in clients[:6]:
                        client.reset()
                    await comes_true(lambda: on.proxy.open_relays == 6)
                    await comes_true(lambda: len(on.proxy._dialling) == 6)
                    await on.proxy.abort()
                    assert not on.proxy._dialling
                    assert on.proxy.open_relays == 0
                    for sock in (*fillers, full):
                        sock.close()
            assert trouble.found == []

        run(loop, tale())


@per_loop
class TestPausedLegs:
    def test_a_leg_paused_by_a_write_in_the_middle_of_a_release_stays_paused(self, loop: str) -> None:
        """What a latency let go blocks at once; that must not be undone by the resume which comes with it."""
        profile = {"held_bytes_max": "1MiB", "rules": [{"latency": "50ms", "when": {"from": "server"}}]}

        async def tale() -> None:
            async with stage(profile) as on:
                client, server = await on.tunnel()
                flood = asyncio.create_task(_ignoring(server.send(build_frame(2, bytes(60_000)) * 2000)))
                await asyncio.sleep(1)
                (relay,) = on.proxy._relays
                (session,) = on.proxy.world.sessions.values()
                assert not flood.done()
                transports = [leg.transport for leg in relay.legs if leg and leg.transport]
                buffered = sum(transport.get_write_buffer_size() for transport in transports)
                assert buffered + session.directions[1].held < 4 * 1024 * 1024
                client.reset()
                await flood
                server.close()
                await on.is_empty()

        run(loop, tale())

    def test_a_reset_of_a_leg_that_is_not_read_is_seen_and_both_legs_go(self, loop: str) -> None:
        async def tale() -> None:
            async with stage() as on:
                for _ in range(5):
                    client, server = await on.tunnel()
                    flood = asyncio.create_task(_ignoring(server.send(build_frame(2, bytes(64_000)) * 400)))
                    await comes_true(lambda: on.proxy.paused_legs > 0)
                    flood.cancel()
                    await asyncio.sleep(0)
                    started = asyncio.get_running_loop().time()
                    server.reset()
                    await on.is_empty()
                    assert asyncio.get_running_loop().time() - started < 1
                    with contextlib.suppress(ConnectionResetError):
                        await client.rest()
                    client.close()

        run(loop, tale())

    def test_a_frozen_leg_that_ends_and_then_resets_is_seen_twice(self, loop: str) -> None:
        async def tale() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                rule = live_rule("half_open", {"mode": "freeze"})
                on.proxy.steer(lambda world, now: world.add_rule(rule, None, now))
                client.end()
                await comes_true(lambda: [told for told in on.told if isinstance(told.event, Ended)] != [])
                client.reset()
                await comes_true(lambda: len([told for told in on.told if isinstance(told.event, Ended)]) == 2)
                on.proxy.steer(lambda world, now: world.heal(None, now))
                assert await server.is_reset()
                server.close()
                await on.is_empty()

        run(loop, tale())

    def test_what_came_before_a_fin_arrives_even_if_both_have_ended_and_it_was_not_read(self, loop: str) -> None:
        """With both FINs acknowledged the kernel's state is CLOSE, as behind a reset, and the bytes are still there."""

        async def tale() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                server.end()
                assert await client.rest() == b""
                rule = live_rule("half_open", {"mode": "freeze"})
                on.proxy.steer(lambda world, now: world.add_rule(rule, None, now))
                await client.send(HELLO * 1000)
                client.end()
                await asyncio.sleep(0.3)  # several looks at the leg that is not read
                on.proxy.steer(lambda world, now: world.heal(None, now))
                assert await server.rest() == HELLO * 1000
                client.close()
                server.close()
                await on.is_empty()

        run(loop, tale())

    def test_the_end_of_a_leg_is_told_once_even_if_it_is_paused_behind_its_fin(self, loop: str) -> None:
        async def tale() -> None:
            async with stage({"held_bytes_max": "32MiB", "rules": [{"latency": "300ms"}]}) as on:
                client, server = await on.tunnel()
                stream = build_frame(2, bytes(64_000), MASK) * 250
                await client.send(stream)
                client.end()
                await comes_true(lambda: on.proxy.paused_legs == 1)
                await asyncio.sleep(0.25)
                assert await server.rest() == stream
                assert [told.event.how for told in on.told if isinstance(told.event, Ended)] == ["fin"]
                client.close()
                server.close()
                await on.is_empty()

        run(loop, tale())

    def test_a_peer_that_never_reads_its_last_bytes_is_let_go_in_the_end(
        self, loop: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chaosproxy.relay, "LINGER_TIME", 300 * MILLISECOND)

        async def tale() -> None:
            async with stage({"held_bytes_max": "32MiB", "rules": [{"latency": "300ms"}]}) as on:
                client, server = await on.tunnel()
                await server.send(build_frame(2, bytes(64_000)) * 250)
                for peer in (server, client):
                    peer.end()
                await comes_true(lambda: not on.proxy.world.sessions)
                assert on.proxy.open_relays == 1
                await on.is_empty()
                assert await client.is_reset()
                for peer in (server, client):
                    peer.close()

        run(loop, tale())

    def test_a_server_that_is_reached_while_its_leg_is_frozen_is_not_read(self, loop: str) -> None:
        async def tale() -> None:
            upstream = Upstream()
            port = upstream.port
            async with stage(upstream_port=port) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                await comes_true(lambda: bool(on.proxy._dialling))
                rule = live_rule("half_open", {"mode": "freeze"})
                on.proxy.steer(lambda world, now: world.add_rule(rule, None, now))
                server = await upstream.accept()
                await comes_true(lambda: not on.proxy._dialling)
                await asyncio.sleep(0.05)
                (relay,) = on.proxy._relays
                leg = relay.legs[1]
                assert leg is not None and leg.transport is not None
                assert not leg.transport.is_reading()
                on.proxy.steer(lambda world, now: world.heal(None, now))
                assert await server.exactly(len(REQUEST)) == REQUEST
                client.close()
                server.close()
                await on.is_empty()
            upstream.close()

        run(loop, tale())


@per_loop
class TestTheListener:
    def test_a_port_taken_during_refuse_is_told_and_had_again(self, loop: str) -> None:
        async def tale() -> None:
            trouble = Trouble()
            with trouble.watching():
                async with stage() as on:
                    on.proxy.steer(lambda world, now: world.add_rule(live_rule("refuse"), None, now))
                    thief = socket.socket()
                    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    thief.bind(("127.0.0.1", on.proxy.port))
                    thief.listen(1)
                    on.proxy.steer(lambda world, now: world.heal(None, now))
                    told = await on.told_of(Listening)
                    assert told == Listening(
                        False, f"port {on.proxy.port} can't be opened again: address already in use"
                    )
                    await asyncio.sleep(0.6)
                    assert len([told for told in on.told if isinstance(told.event, Listening)]) == 3
                    thief.close()
                    await comes_true(lambda: on.told[-1].event == Listening(True, "the port is free again"))
                    for peer in await on.tunnel():
                        peer.close()
                    await on.is_empty()
            assert trouble.found == []

        run(loop, tale())

    @pytest.mark.parametrize("host", ["::1", "localhost"])
    def test_the_upstream_may_have_another_family_or_several_addresses(self, loop: str, host: str) -> None:
        async def tale() -> None:
            listening = socket.socket(socket.AF_INET6 if host == "::1" else socket.AF_INET)
            listening.bind(("::1" if host == "::1" else "127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            proxy = Proxy(Address(host, listening.getsockname()[1]), Address(host, 0))
            await proxy.start()
            client = Peer(socket.create_connection((host, proxy.port)))
            await client.send(REQUEST)
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            server = Peer(connection)
            assert await server.exactly(len(REQUEST)) == REQUEST
            await proxy.abort()
            for closing in (client, server, listening):
                closing.close()

        run(loop, tale())

    @pytest.mark.parametrize(
        ("host", "words"), [("no.such.name.invalid", "name"), ("a..b", "name"), ("127.0.0.1", "connection refused")]
    )
    def test_an_upstream_that_is_not_there_is_told_in_words(self, loop: str, host: str, words: str) -> None:
        async def tale() -> None:
            (nobody,) = free_ports(1)
            proxy = Proxy(Address(host, nobody))
            await proxy.start()
            client = await Peer.connect(proxy.port)
            await client.send(REQUEST)
            answer = (await client.rest()).decode()
            assert answer.startswith("HTTP/1.1 502 ")
            assert words in answer.rpartition(f"{nobody}: ")[2]
            client.close()
            await proxy.abort()

        run(loop, tale())


async def _ignoring(happening: object) -> None:
    with contextlib.suppress(OSError):
        await happening  # type: ignore[misc]
