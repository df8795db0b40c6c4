"""The proxy through real sockets: what raw peers on both sides see, under asyncio and uvloop."""

import asyncio
import contextlib
import os
import random
import select
import socket
from collections.abc import Awaitable, Callable

import pytest

from chaosproxy.events import Closed, DialDelayed, Dialled, Ended, Healed, Listening, Struck
from chaosproxy.faults import FAULTS
from chaosproxy.match import Match
from chaosproxy.profile import EMPTY, BoundRule
from chaosproxy.proxy import Address, Proxy
from chaosproxy.wire.frames import build_close, build_frame
from chaosproxy.world import Options

from .interop.processes import free_ports
from .live import KEY, LOOPS, REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage

MASK = b"\x11\x22\x33\x44"
HELLO = build_frame(1, b"hello", MASK)
ANSWER = build_frame(1, b"answer")

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def hurting(*rules: object, **profile: object) -> dict[str, object]:
    """A profile that waits for a step, hurts by these rules, and heals at the next step."""
    phases = [{"name": "healthy", "until": "step"}, {"name": "hurt", "until": "step", "rules": list(rules)}]
    return {"phases": [*phases, {"name": "healed"}], **profile}


def step(on: Stage) -> None:
    assert on.proxy.steer(lambda world, now: world.step(now))


class TestTransparency:
    def test_heads_and_frames_arrive_as_they_left(self, loop: str) -> None:
        odd_request = (
            b"GET /Chat?x=%20y HTTP/1.1\r\nhOST:example.test\r\nX-Odd:\t spaced \r\nUPGRADE: WebSocket\r\n"
            b"connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 8\r\n\r\n"
        )

        async def story() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(odd_request)
                server = await on.upstream.accept()
                assert await server.exactly(len(odd_request)) == odd_request
                early = build_frame(9, b"glued to the 101")
                answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + RESPONSE + early
                await server.send(answer)
                assert await client.exactly(len(answer)) == answer
                client.close()
                server.close()

        run(loop, story())

    def test_what_the_client_sends_with_its_request_follows_the_101(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST + HELLO)
                server = await on.upstream.accept()
                assert await server.exactly(len(REQUEST)) == REQUEST
                await server.send(RESPONSE)
                assert await server.exactly(len(HELLO)) == HELLO
                client.close()
                server.close()

        run(loop, story())

    @pytest.mark.parametrize("seed", range(3))
    def test_any_bytes_in_any_pieces_arrive_identical_both_ways(self, loop: str, seed: int) -> None:
        chance = random.Random(seed)
        kinds = [
            lambda: build_frame(chance.choice((0, 1, 2, 3, 9, 10, 15)), chance.randbytes(chance.randrange(300)), MASK),
            lambda: build_frame(2, chance.randbytes(chance.choice((0, 125, 126, 65535, 65536, 300_000)))),
            lambda: bytes((chance.randrange(256), 0xFF)) + (2**63 + 5).to_bytes(8, "big"),
            lambda: chance.randbytes(chance.randrange(40)),
        ]
        streams = [b"".join(chance.choice(kinds[:2] if i < 40 else kinds)() for i in range(60)) for _ in range(2)]

        async def pour(peer: Peer, data: bytes) -> None:
            at = 0
            while at < len(data):
                size = chance.choice((1, 2, 7, 100, 5000, 100_000))
                await peer.send(data[at : at + size])
                at += size
            peer.end()

        async def story() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                results = await asyncio.gather(
                    pour(client, streams[0]), pour(server, streams[1]), server.rest(), client.rest()
                )
                assert results[2] == streams[0]
                assert results[3] == streams[1]
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_a_half_close_is_passed_on_and_the_other_way_flows_on(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                await client.send(HELLO)
                client.end()
                assert await server.rest() == HELLO
                for _ in range(3):
                    await server.send(ANSWER)
                    assert await client.exactly(len(ANSWER)) == ANSWER
                server.end()
                assert await client.rest() == b""
                await on.is_empty()

        run(loop, story())

    def test_a_close_frame_followed_by_silence_stays_just_that(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                close = build_close(1000, b"bye", MASK)
                await client.send(close)
                assert await server.exactly(len(close)) == close
                await server.send(ANSWER)
                assert await client.exactly(len(ANSWER)) == ANSWER
                client.end()
                server.end()
                await on.is_empty()
                assert on.told[-1].event == Closed("client", "close", 1000)

        run(loop, story())


class TestEnds:
    def test_a_reset_goes_through_as_a_reset(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                for resets, sees in ((0, 1), (1, 0)):
                    pair = await on.tunnel()
                    pair[resets].reset()
                    assert await pair[sees].is_reset()
                    pair[sees].close()
                await on.is_empty()

        run(loop, story())

    def test_a_refusing_upstream_is_a_502_at_once(self, loop: str) -> None:
        async def story() -> None:
            async with stage(upstream_port=free_ports(1)[0]) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                assert (await client.rest()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
                assert "connection refused" in (await on.told_of(Dialled)).error
                client.close()
                await on.is_empty()

        run(loop, story())

    @pytest.mark.parametrize("part", [b"", b"HTTP/1.1 101 Switch", RESPONSE[:-2]])
    @pytest.mark.parametrize("end", [Peer.end, Peer.reset])
    def test_an_upstream_that_ends_within_its_answer_is_a_502(
        self, loop: str, part: bytes, end: Callable[[Peer], None]
    ) -> None:
        async def story() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST + HELLO)
                server = await on.upstream.accept()
                await server.exactly(len(REQUEST))
                await server.send(part)
                end(server)
                assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_after_a_refused_upgrade_not_one_more_byte_reaches_the_upstream(self, loop: str) -> None:
        refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

        async def story() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST + b"GET /admin HTTP/1.1\r\n\r\n")
                server = await on.upstream.accept()
                await server.exactly(len(REQUEST))
                await server.send(refusal + b"HTTP/1.1 200 OK\r\n\r\n")
                assert await client.rest() == refusal
                client.close()
                assert await server.rest() == b""
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_a_stalled_readers_reset_ends_the_other_side(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                flood = asyncio.create_task(server.send(build_frame(2, bytes(64_000)) * 400))
                await comes_true(lambda: on.proxy.paused_legs > 0)
                client.reset()
                with pytest.raises(ConnectionError):
                    await flood
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_ends_in_all_orders_leave_no_descriptor_and_no_task(self, loop: str) -> None:
        ends: list[Callable[[Peer], None]] = [Peer.end, Peer.reset, Peer.close]
        flood = build_frame(2, bytes(100_000), MASK)

        async def one(on: Stage, number: int) -> None:
            pair = await on.tunnel()
            first, second = pair if number % 2 else pair[::-1]
            if number % 3 == 0:
                await first.send(HELLO[: number % len(HELLO)])
            if number % 5 == 0:
                await second.send(flood[: 40_000 * (number % 3 + 1)])
            ends[number % 3](first)
            try:
                ends[number // 3 % 3](second)
            except OSError:
                assert number % 3 == 1  # the RST was quicker
            await _ignore(first.receive())
            await _ignore(second.receive())
            first.close()
            second.close()

        async def story() -> None:
            async with stage() as on:
                await one(on, 1)
                await on.is_empty()
                descriptors = len(os.listdir("/proc/self/fd"))
                for start in range(0, 90, 15):
                    for number in range(start, start + 15):
                        await one(on, number)
                await on.is_empty()
                assert len(os.listdir("/proc/self/fd")) == descriptors

        run(loop, story())


async def _ignore(happening: Awaitable[object]) -> None:
    with contextlib.suppress(OSError, ValueError):  # whatever way the connection ended
        await happening


class TestBadHeads:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"\x00\xff garbage\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
            (b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", 400),
            (REQUEST.replace(b"websocket", b"h2c"), 400),
            (REQUEST.replace(b"\r\n", b"\n"), 400),
            (b"GET /" + b"a" * 9000, 414),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000, 431),
        ],
    )
    def test_a_bad_head_is_answered_and_nothing_reaches_the_upstream(self, loop: str, sent: bytes, status: int) -> None:
        async def story() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                bystander, server = await on.tunnel()
                await client.send(sent)
                assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)
                client.close()
                await bystander.send(HELLO)
                assert await server.exactly(len(HELLO)) == HELLO
                bystander.close()
                server.close()
                await on.is_empty()
                with pytest.raises(BlockingIOError):
                    on.upstream.sock.accept()

        run(loop, story())


class TestFaultsOnTheWire:
    def test_an_injected_close_is_answered_and_then_the_connection_is_finished(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"close": {"code": 4200, "reason": "go"}})) as on:
                client, server = await on.tunnel()
                step(on)
                close = build_close(4200, b"go")
                assert await client.exactly(len(close)) == close
                going_away = await server.rest()
                assert going_away[:2] == b"\x88\x82"
                await client.send(HELLO + build_close(4200, b"go", MASK))
                assert await client.rest() == b""
                client.close()
                server.close()
                await on.is_empty()
                assert on.told[-1].event == Closed("rule", "close", 4200)

        run(loop, story())

    def test_reset_is_a_real_rst_on_both_legs_also_of_old_connections(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("reset")) as on:
                client, server = await on.tunnel()
                step(on)
                assert await client.is_reset()
                assert await server.is_reset()
                client.close()
                server.close()
                fresh_client, fresh_server = await on.tunnel()
                await fresh_client.send(HELLO)
                assert await fresh_server.exactly(len(HELLO)) == HELLO
                fresh_client.close()
                fresh_server.close()
                await on.is_empty()

        run(loop, story())

    def test_reset_at_accept_meets_each_new_connection(self, loop: str) -> None:
        async def story() -> None:
            async with stage({"rules": [{"reset": {"at": "accept"}}]}) as on:
                client = await Peer.connect(on.proxy.port)
                assert await client.is_reset()
                client.close()
                await on.is_empty()
                assert (await on.told_of(Struck)).fault == "reset"

        run(loop, story())

    def test_fin_ends_without_a_close_frame(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("fin")) as on:
                client, server = await on.tunnel()
                step(on)
                assert await client.rest() == b""
                assert await server.rest() == b""
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_refuse_is_econnrefused_keeps_the_port_and_heals(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("refuse")) as on:
                client, server = await on.tunnel()
                step(on)
                for _ in range(3):
                    with pytest.raises(ConnectionRefusedError):
                        await Peer.connect(on.proxy.port)
                with socket.socket() as other, pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", on.proxy.port))
                await client.send(HELLO)
                assert await server.exactly(len(HELLO)) == HELLO
                step(on)
                again, its_server = await on.tunnel()
                for peer in (client, server, again, its_server):
                    peer.close()
                await on.is_empty()
                assert [told.event.is_open for told in on.told if isinstance(told.event, Listening)] == [False, True]

        run(loop, story())

    def test_reject_answers_with_status_headers_and_body(self, loop: str) -> None:
        rule = {"reject": {"status": 503, "headers": {"Retry-After": "5"}, "body": "busy"}}

        async def story() -> None:
            async with stage({"rules": [rule]}) as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                head, _, body = (await client.rest()).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert b"Retry-After: 5" in head
                assert body == b"busy"
                client.close()
                await on.is_empty()

        run(loop, story())

    @pytest.mark.parametrize("mode", ["freeze", "blackhole"])
    def test_a_half_open_says_nothing_and_heals_on_the_same_sockets(self, loop: str, mode: str) -> None:
        async def story() -> None:
            async with stage(hurting({"half_open": {"mode": mode}})) as on:
                client, server = await on.tunnel()
                step(on)
                await client.send(HELLO)
                await server.send(ANSWER)
                server.end()
                if mode == "blackhole":
                    await on.told_of(Ended)
                else:
                    assert "not read yet" in (await on.told_of(Ended)).how
                for peer in (client, server):
                    with pytest.raises(BlockingIOError):
                        peer.sock.recv(1)
                step(on)
                assert await client.rest() == ANSWER
                assert await server.exactly(len(HELLO)) == HELLO
                client.close()
                server.close()
                await on.is_empty()
                assert (await on.told_of(Healed)).fault == "half_open"

        run(loop, story())

    def test_a_frozen_sender_comes_to_a_halt(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"half_open": {"mode": "freeze", "leg": "client"}})) as on:
                client, server = await on.tunnel()
                step(on)
                stream = build_frame(2, bytes(60_000), MASK) * 300
                flood = asyncio.create_task(client.send(stream))
                await comes_true(lambda: on.proxy.paused_legs == 1 and _is_stuck(client))
                assert not flood.done()
                step(on)
                assert await server.exactly(len(stream)) == stream
                await flood
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_a_half_open_that_heals_by_reset_sends_rst(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"half_open": {"heal": "reset"}})) as on:
                client, server = await on.tunnel()
                step(on)
                await client.send(HELLO)
                step(on)
                assert await client.is_reset()
                assert await server.is_reset()
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_a_connection_that_comes_during_a_half_open_is_read_but_not_dialled(self, loop: str) -> None:
        async def story() -> None:
            async with stage({"starts": "launch", **hurting("half_open")}) as on:
                step(on)
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                await on.told_of(Struck)
                with pytest.raises(BlockingIOError):
                    on.upstream.sock.accept()
                step(on)
                server = await on.upstream.accept()
                assert await server.exactly(len(REQUEST)) == REQUEST
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())


def _is_stuck(peer: Peer) -> bool:
    """Whether the kernel takes nothing more from this peer."""
    return not select.select([], [peer.sock], [], 0.1)[1]


class TestLimits:
    def test_a_slow_reader_pushes_back_to_the_sender(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                stream = build_frame(2, bytes(50_000)) * 600
                flood = asyncio.create_task(server.send(stream))
                await comes_true(lambda: on.proxy.paused_legs > 0)
                assert not flood.done()
                assert await client.exactly(len(stream)) == stream
                await flood
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_held_bytes_are_bounded_under_latency(self, loop: str) -> None:
        profile = {"held_bytes_max": "64KiB", "rules": [{"latency": "10s", "when": {"from": "server"}}]}

        async def story() -> None:
            async with stage(profile) as on:
                client, server = await on.tunnel()
                flood = asyncio.create_task(_ignore(server.send(build_frame(2, bytes(20_000)) * 1500)))
                await comes_true(lambda: on.proxy.paused_legs > 0)
                (session,) = on.proxy.world.sessions.values()
                assert session.directions[1].held < 64 * 1024 + 256 * 1024
                client.reset()
                await flood
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_dials_beyond_the_cap_wait_their_turn(self, loop: str) -> None:
        async def story() -> None:
            async with stage(options=Options(dials_per_second_max=2)) as on:
                clients = [await Peer.connect(on.proxy.port) for _ in range(3)]
                for client in clients:
                    await client.send(REQUEST)
                servers = [await on.upstream.accept() for _ in range(3)]
                assert sum(isinstance(told.event, DialDelayed) for told in on.told) == 1
                dials = [told.at for told in on.told if isinstance(told.event, Dialled)]
                assert dials[2] - dials[0] >= 900_000_000
                for peer in (*clients, *servers):
                    peer.close()
                await on.is_empty()

        run(loop, story())

    def test_accepting_pauses_before_descriptors_run_out_and_goes_on(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                on.proxy._descriptors_max = 6
                pairs = [await on.tunnel() for _ in range(3)]
                await on.told_of(Listening)
                with pytest.raises(ConnectionRefusedError):
                    await Peer.connect(on.proxy.port)
                await pairs[0][0].send(HELLO)
                assert await pairs[0][1].exactly(len(HELLO)) == HELLO
                on.proxy._descriptors_max = 200
                for peer in (*pairs[0], *pairs[1]):
                    peer.close()
                await comes_true(lambda: on.told[-1].event == Listening(True, "descriptors have come free"))
                again = await on.tunnel()
                for peer in (*pairs[2], *again):
                    peer.close()
                await on.is_empty()

        run(loop, story())


class TestLife:
    def test_draining_says_1001_to_both_and_stops_accepting(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                client, server = await on.tunnel()
                stop = asyncio.create_task(on.proxy.stop(grace_s=10))
                away = build_close(1001)
                assert await client.exactly(len(away)) == away
                assert (await server.exactly(8))[:2] == b"\x88\x82"
                with pytest.raises(ConnectionRefusedError):
                    await Peer.connect(on.proxy.port)
                await client.send(build_close(1001, b"", MASK))
                await server.send(away)
                assert await client.rest() == b""
                assert await server.rest() == b""
                client.close()
                server.close()
                await stop

        run(loop, story())

    def test_a_silent_leg_is_ended_by_rst_when_the_process_ends(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting("half_open")) as on:
                client, server = await on.tunnel()
                step(on)
                await on.proxy.stop(grace_s=10)
                assert await client.is_reset()
                assert await server.is_reset()
                client.close()
                server.close()

        run(loop, story())

    def test_several_proxies_live_in_one_loop(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as plain, stage({"rules": [{"reject": 503}]}) as rejecting:
                client, server = await plain.tunnel()
                refused = await Peer.connect(rejecting.proxy.port)
                await refused.send(REQUEST)
                assert (await refused.rest()).startswith(b"HTTP/1.1 503")
                await client.send(HELLO)
                assert await server.exactly(len(HELLO)) == HELLO
                for peer in (client, server, refused):
                    peer.close()

        run(loop, story())

    def test_localhost_is_both_families_refused_together(self, loop: str) -> None:
        async def story() -> None:
            proxy = Proxy(Address("127.0.0.1", 9), Address("localhost", 0), EMPTY)
            await proxy.start()
            hosts = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
            for host in hosts:
                socket.create_connection((host, proxy.port)).close()
            refuse = BoundRule("refuse", FAULTS["refuse"](), Match(), is_named=True)
            proxy.steer(lambda world, now: world.add_rule(refuse, None, now))
            for host in hosts:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((host, proxy.port))
            await proxy.abort()

        run(loop, story())
