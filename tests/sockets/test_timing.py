"""Bandwidth, slice, stall and a spread latency, as a real client sees them: how long it takes, and in what pieces."""

import asyncio
from time import monotonic

import pytest

from tests.live import LOOPS, run, stage
from tests.sockets.between import between, echo
from tests.sockets.test_spine import phases
from tests.virtual import text

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_bandwidth_takes_the_bytes_their_time_and_the_message_comes_whole(loop: str) -> None:
    async def story() -> None:
        rule = {"bandwidth": "200kB/s", "when": {"from": "server"}}
        async with between({"rules": [rule]}, handler=echo) as stage, stage.connect() as client:
            message = "x" * 100_000
            began = monotonic()
            await client.send(message)
            assert await client.recv() == message
            assert 0.5 <= monotonic() - began < 1.5

    run(loop, story())


async def lag_after(seconds: float) -> float:
    """How far behind its bandwidth a connection is after so many seconds. It is never ahead, not for a moment.

    Of the last fifth the best moment counts: a busy machine may be late with any single piece.
    """
    rate = 200_000
    rule = {"bandwidth": f"{rate}B/s", "when": {"from": "server"}}
    async with stage({"rules": [rule]}) as on:
        client, server = await on.tunnel()
        size = int(rate * seconds)
        began = monotonic()
        sending = asyncio.create_task(server.send(text("x" * 996) * (size // 1000)))
        came, lags = 0, []
        while came < size:
            came += len(await client.receive())
            lags.append((came, monotonic() - began - came / rate))
        await sending
        assert came == size and min(lag for _, lag in lags) >= 0
        return min(lag for at, lag in lags if at > size * 0.8)


def test_bandwidth_is_what_the_rule_says(loop: str) -> None:
    async def story() -> None:
        assert await lag_after(2) < 0.1

    run(loop, story())


@pytest.mark.slow
def test_bandwidth_is_true_within_a_hundredth_over_ten_seconds(loop: str) -> None:
    async def story() -> None:
        assert await lag_after(10) < 0.1

    run(loop, story())


def test_bandwidth_that_all_share_takes_all_their_time(loop: str) -> None:
    async def story() -> None:
        rule = {"bandwidth": {"rate": "200kB/s", "share": "all"}, "when": {"from": "server"}}
        async with between({"rules": [rule]}, handler=echo) as stage, stage.connect() as one, stage.connect() as two:
            message = "x" * 50_000
            began = monotonic()
            await one.send(message)
            await two.send(message)
            assert await asyncio.gather(one.recv(), two.recv()) == [message, message]
            assert 0.5 <= monotonic() - began < 1.5

    run(loop, story())


def test_slice_comes_in_segments_of_the_size_with_gaps_between(loop: str) -> None:
    async def story() -> None:
        rule = {"slice": {"size": "10B", "gap": "20ms"}, "when": {"from": "server"}}
        async with stage({"rules": [rule]}) as on:
            client, server = await on.tunnel()
            frame = text("x" * 98)
            began = monotonic()
            await server.send(frame)
            pieces = []
            while sum(map(len, pieces)) < len(frame):
                pieces.append(await client.receive())
            assert b"".join(pieces) == frame
            assert monotonic() - began >= 0.18  # nine gaps
            # A reader that is late finds several segments at once, but none that is not made of tens.
            assert {len(piece) % 10 for piece in pieces} == {0}
            assert len(pieces) > 3

    run(loop, story())


def test_stall_keeps_everything_until_it_heals_and_pings_work_again(loop: str) -> None:
    async def story() -> None:
        async with between(phases("stall"), handler=echo) as stage, stage.connect() as client:
            await client.send("before")
            assert await client.recv() == "before"
            stage.proxy.steer(lambda world, now: world.step(now))
            await client.send("meanwhile")
            pong = await client.ping()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.2)
            assert not pong.done()
            stage.proxy.steer(lambda world, now: world.step(now))
            assert await client.recv() == "meanwhile"
            await pong

    run(loop, story())


def test_normal_jitter_keeps_the_order_and_the_delay_on_average(loop: str) -> None:
    async def story() -> None:
        rule = {"latency": {"delay": "50ms", "jitter": "20ms", "distribution": "normal"}, "when": {"from": "server"}}
        async with between({"rules": [rule]}, handler=echo) as stage, stage.connect() as client:
            took = []
            for number in range(20):
                began = monotonic()
                await client.send(str(number))
                assert await client.recv() == str(number)
                took.append(monotonic() - began)
            assert 0.03 < sum(took) / 20 < 0.2
            assert max(took) - min(took) > 0.01

    run(loop, story())
