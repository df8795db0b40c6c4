"""Endings as real peers see them: event, code, errno and time, on both sides."""

import asyncio
import contextlib
from time import monotonic
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from chaosproxy.wire.frames import build_close, build_frame
from tests.live import LOOPS, Peer, Stage, run, stage
from tests.sockets.between import Between, Seen, between, echo

pytestmark = pytest.mark.parametrize("loop", LOOPS)

QUIET_S = 0.3
MASK = b"\x01\x02\x03\x04"


def hurting(*rules: object) -> dict[str, object]:
    return {"phases": [{"name": "healthy", "until": "step"}, {"name": "hurt", "rules": list(rules)}]}


def step(on: Between | Stage) -> None:
    on.proxy.steer(lambda world, now: world.step(now))


async def is_quiet(peer: Peer) -> bool:
    """Whether nothing comes for a while, not even an end."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer.sock, 1), QUIET_S)
    except TimeoutError:
        return True
    return False


async def before_the_reset(peer: Peer) -> bytes:
    """All that comes before RST."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := await peer.receive():
            data += part
        raise AssertionError("it ended by FIN")
    return data


class TestClose:
    @pytest.mark.parametrize(
        ("options", "received", "answered"),
        [
            ({"code": "none"}, 1005, 1005),  # RFC 6455, section 7.1.5
            ({"code": 65535}, None, 1002),
            ({"code": 999}, None, 1002),
            ({"code": 1000, "reason": "x" * 124, "oversized": True}, None, 1002),
            ({"code": 1000, "reason_hex": "ff fe"}, None, 1007),
        ],
        ids=["none", "65535", "999", "oversized", "no UTF-8"],
    )
    def test_what_no_client_may_be_told_reaches_it_as_it_is(
        self, loop: str, options: dict[str, Any], received: int | None, answered: int
    ) -> None:
        async def story() -> None:
            async with between(hurting({"close": options})) as on, on.connect() as client:
                step(on)
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert (end.value.rcvd.code if end.value.rcvd else None) == received
                assert end.value.sent is not None and end.value.sent.code == answered
                await on.servers[0].wait_closed()
                assert on.servers[0].close_code == 1001

        run(loop, story())

    def test_then_fin_does_not_wait_for_the_reply(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"close": {"code": 4200, "then": "fin"}})) as on:
                client, server = await on.tunnel()
                step(on)
                began = monotonic()
                assert await client.rest() == build_close(4200)
                assert monotonic() - began < 4
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    @pytest.mark.parametrize("to", ["client", "server"])
    def test_then_reset_lets_the_frame_arrive_before_the_rst_every_time(self, loop: str, to: str) -> None:
        async def story() -> None:
            profile = hurting({"close": {"code": 4200, "to": to, "then": "reset"}})
            async with stage(profile) as on:
                pairs = [await on.tunnel() for _ in range(20)]
                step(on)
                for pair in pairs:
                    peer = pair[to == "server"]
                    frame = await peer.exactly(4 if to == "client" else 8)
                    assert frame[:2] == (b"\x88\x02" if to == "client" else b"\x88\x82")
                    with pytest.raises(ConnectionResetError):
                        await peer.receive()
                    pair[to == "client"].close()
                await on.is_empty()

        run(loop, story())

    def test_then_nothing_leaves_the_connection_open_until_the_client_ends_it(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"close": {"code": 4200, "then": "nothing"}})) as on:
                client, server = await on.tunnel()
                step(on)
                assert await client.exactly(4) == build_close(4200)
                server.close()
                await client.send(build_close(4200, mask=MASK))
                assert await is_quiet(client)
                client.end()
                assert await client.rest() == b""
                await on.is_empty()

        run(loop, story())


class TestKeptLegs:
    @pytest.mark.parametrize("fault", ["fin", "reset"])
    @pytest.mark.parametrize("leg", ["client", "server"])
    def test_the_other_peer_sees_a_ghost_for_so_long_and_then_fin(self, loop: str, fault: str, leg: str) -> None:
        async def story() -> None:
            options = {"leg": leg, "other": "keep", "keep_for": "600ms"}
            async with stage(hurting({fault: options})) as on:
                pair = await on.tunnel()
                aimed, kept = pair if leg == "client" else pair[::-1]
                began = monotonic()
                step(on)
                assert await aimed.is_reset() is (fault == "reset")
                await kept.send(build_frame(9, b"alive?"))
                assert await is_quiet(kept)
                assert await kept.is_reset() is False
                assert 0.6 <= monotonic() - began < 5
                kept.close()
                aimed.close()
                await on.is_empty()

        run(loop, story())


class TestHalfClose:
    @pytest.mark.parametrize("leg", ["client", "server"])
    def test_who_got_the_fin_is_still_heard(self, loop: str, leg: str) -> None:
        async def story() -> None:
            async with stage(hurting({"half_close": leg})) as on:
                pair = await on.tunnel()
                ended, other = pair if leg == "client" else pair[::-1]
                step(on)
                assert await ended.rest() == b""
                for number in range(3):
                    message = build_frame(1, b"%d" % number, MASK)
                    await other.send(b"lost" * 1000)
                    await ended.send(message)
                    assert await other.exactly(len(message)) == message
                assert await is_quiet(other)
                ended.end()
                assert await other.rest() == b""
                other.end()
                await on.is_empty()

        run(loop, story())

    def test_a_client_library_takes_it_for_an_abnormal_closure(self, loop: str) -> None:
        async def story() -> None:
            async with between(hurting({"half_close": "client"})) as on, on.connect() as client:
                step(on)
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert end.value.rcvd is None
                await on.servers[0].wait_closed()

        run(loop, story())


class TestSlowClose:
    def test_a_clean_close_takes_longer_and_stays_clean(self, loop: str) -> None:
        async def story() -> None:
            rule = {"slow_close": "500ms", "when": {"from": "server"}}
            async with between({"rules": [rule]}) as on, on.connect() as client:
                began = monotonic()
                await client.close(4321)
                assert 0.5 <= monotonic() - began < 5
                assert client.close_code == 4321
                await on.servers[0].wait_closed()
                assert on.servers[0].close_code == 4321

        run(loop, story())

    def test_a_fin_alone_waits_and_a_reset_does_not(self, loop: str) -> None:
        async def story() -> None:
            async with stage({"rules": [{"slow_close": "500ms"}]}) as on:
                client, server = await on.tunnel()
                began = monotonic()
                client.end()
                assert await server.rest() == b""
                assert 0.5 <= monotonic() - began < 5
                server.reset()
                assert await client.is_reset()

        run(loop, story())


class TestCutAfter:
    DATA = build_frame(2, bytes(index % 251 for index in range(200_000))) * 2

    @pytest.mark.parametrize(
        ("by", "size"), [("reset", 1), ("reset", 7), ("reset", 1000), ("fin", 1), ("fin", 70_003), ("fin", 300_000)]
    )
    def test_to_the_byte(self, loop: str, by: str, size: int) -> None:
        async def story() -> None:
            async with stage({"rules": [{"cut_after": {"bytes": f"{size}B", "by": by}}]}) as on:
                client, server = await on.tunnel()
                sending = asyncio.ensure_future(server.send(self.DATA))
                assert await client.exactly(size) == self.DATA[:size]
                if by == "reset":
                    with pytest.raises(ConnectionResetError):
                        await client.receive()
                else:
                    assert await client.rest() == b""
                await asyncio.gather(sending, return_exceptions=True)
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_of_many_bytes_at_once_a_reset_may_destroy_the_last_and_none_is_too_many(self, loop: str) -> None:
        async def story() -> None:
            async with stage({"rules": [{"cut_after": {"bytes": "300000B"}}]}) as on:
                client, server = await on.tunnel()
                sending = asyncio.ensure_future(server.send(self.DATA))
                seen = await before_the_reset(client)
                assert 0 < len(seen) <= 300_000 and seen == self.DATA[: len(seen)]
                await asyncio.gather(sending, return_exceptions=True)
                client.close()
                server.close()
                await on.is_empty()

        run(loop, story())

    def test_messages_are_counted_by_a_client_and_the_next_is_an_error(self, loop: str) -> None:
        async def story() -> None:
            rule = {"cut_after": {"messages": 3}, "when": {"from": "server"}}
            async with between({"rules": [rule]}, handler=echo) as on, on.connect() as client:
                seen = Seen()
                for number in range(6):
                    await client.send(str(number))
                await seen.watch(client)
                assert seen.messages == ["0", "1", "2"]
                assert seen.end is not None and seen.end.rcvd is None
                assert isinstance(seen.end.__cause__, ConnectionResetError)

        run(loop, story())

    def test_an_age_ends_a_connection_that_never_pauses(self, loop: str) -> None:
        async def story() -> None:
            rule = {"cut_after": {"age": "700ms", "by": "fin"}}
            async with between({"rules": [rule]}, handler=echo) as on:
                began = monotonic()
                async with on.connect(ping_interval=0.02) as client:
                    opened = monotonic()
                    seen = Seen()
                    watching = asyncio.ensure_future(seen.watch(client))
                    while not watching.done():
                        with contextlib.suppress(ConnectionClosed):
                            await client.send("tick")
                        await asyncio.sleep(0.01)
                    assert monotonic() - began >= 0.7
                    assert monotonic() - opened < 5
                    assert len(seen.messages) > 10
                    assert seen.end is not None and seen.end.rcvd is None

        run(loop, story())

    def test_one_that_is_older_when_the_rule_begins_ends_at_once(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"cut_after": {"age": "100ms"}})) as on:
                client, _ = await on.tunnel()
                await asyncio.sleep(0.2)
                step(on)
                began = monotonic()
                assert await client.is_reset()
                assert monotonic() - began < 2

        run(loop, story())


class TestBlows:
    def test_over_a_time_connections_end_one_after_the_other(self, loop: str) -> None:
        async def story() -> None:
            async with stage(hurting({"reset": {"over": "900ms"}})) as on:
                clients = [(await on.tunnel())[0] for _ in range(3)]
                ends: dict[int, float] = {}

                async def watch(number: int) -> None:
                    assert await clients[number].is_reset()
                    ends[number] = monotonic() - began

                watching = [asyncio.ensure_future(watch(number)) for number in range(3)]
                began = monotonic()
                step(on)
                await asyncio.gather(*watching)
                assert list(ends) == [0, 1, 2]
                assert ends[0] < 0.3 <= ends[1]
                assert 0.6 <= ends[2] < 5

        run(loop, story())
