"""Thousands of mutated handshakes and answers, and oversized heads: nothing passes that must not, nothing is left."""

import asyncio
import contextlib
from time import monotonic

import pytest

from .live import LOOPS, REQUEST, Peer, Upstream, run, stage
from .mutations import in_numbers, own_kib, through_sockets

SEEDS = [1, 2, 3]
GROWTH_KIB_MAX = 16 * 1024
per_loop = pytest.mark.parametrize("loop", LOOPS)
TURNS = 6
ENDLESS = b"a" * 1024 * 1024
OVERSIZED = {
    "one line": (431, REQUEST[:-2] + b"X: " + ENDLESS),
    "many lines": (431, REQUEST[:-2] + b"X: y\r\n" * 20_000 + b"\r\n"),
    "target": (414, b"GET /" + ENDLESS),
    "method": (400, ENDLESS),
    "plain": (431, b"POST / HTTP/1.1\r\nHost: a\r\nX: " + ENDLESS),
}


def test_whatever_is_mutated_comes_out_in_virtual_time() -> None:
    found = in_numbers(seed=0, heads=1000, answers=500)
    assert min(found[how] for how in ("tunnel", "upgrade", "plain", "refused")) > 10, found


@per_loop
@pytest.mark.parametrize("mutates_answers", [False, True])
def test_whatever_is_mutated_leaves_nothing(loop: str, mutates_answers: bool) -> None:
    async def story() -> None:
        await through_sockets(0, 500, mutates_answers=mutates_answers, growth_kib_max=GROWTH_KIB_MAX)

    run(loop, story())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_thousand_mutated_handshakes_and_a_fifth_of_answers(seed: int) -> None:
    before = own_kib()
    found = in_numbers(seed, heads=100_000, answers=20_000)
    growth = own_kib() - before
    print(found, f"{growth:+} KiB")
    assert sum(found.values()) == 120_000
    assert growth <= GROWTH_KIB_MAX


@pytest.mark.slow
@pytest.mark.timeout(1800)
@per_loop
@pytest.mark.parametrize(("mutates_answers", "count"), [(False, 20_000), (True, 4_000)])
@pytest.mark.parametrize("seed", SEEDS)
def test_thousands_through_sockets(loop: str, seed: int, mutates_answers: bool, count: int) -> None:
    async def story() -> None:
        print(await through_sockets(seed, count, mutates_answers=mutates_answers, growth_kib_max=GROWTH_KIB_MAX))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(story())


def _growth(readings: list[int]) -> int:
    """From the least of the first to the least of the last: the allocator keeps some and gives some back."""
    return min(readings[-3:]) - min(readings[:3])


async def _refused_within(port: int, head: bytes) -> tuple[bytes, float]:
    """The first line of the answer, and how long it took."""
    client = await Peer.connect(port)
    began = monotonic()
    with contextlib.suppress(ConnectionError):  # it need not wait for the end to refuse
        await client.send(head)
    first = b""
    with contextlib.suppress(ConnectionResetError):
        first = await client.receive()
    took = monotonic() - began
    client.close()
    return first[:12], took


@per_loop
@pytest.mark.parametrize("kind", OVERSIZED)
def test_oversized_heads_are_answered_within_a_second_and_not_collected(loop: str, kind: str) -> None:
    status, head = OVERSIZED[kind]

    async def story() -> None:
        async with stage() as on:
            readings = []
            for _turn in range(TURNS):
                for _ in range(20):
                    answer, took = await _refused_within(on.proxy.port, head)
                    assert (answer, took < 1) == (b"HTTP/1.1 %d" % status, True), took
                await on.is_empty()
                on.told.clear()  # they know the sessions
                readings.append(own_kib())
            assert _growth(readings) < 1024, readings
            with pytest.raises(BlockingIOError):
                on.upstream.sock.accept()

    run(loop, story())


@per_loop
@pytest.mark.parametrize("asked", [REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["upgrade", "plain"])
def test_an_upstreams_oversized_head_is_502_within_a_second_and_not_collected(loop: str, asked: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nX: " + ENDLESS

    async def answered(upstream: Upstream) -> None:
        server = await upstream.accept()
        await server.exactly(len(asked))
        with contextlib.suppress(ConnectionError):
            await server.send(head)
        server.close()

    async def story() -> None:
        async with stage() as on:
            readings = []
            for _turn in range(TURNS):
                for _ in range(20):
                    (answer, took), _ = await asyncio.gather(
                        _refused_within(on.proxy.port, asked), answered(on.upstream)
                    )
                    assert (answer, took < 1) == (b"HTTP/1.1 502", True), took
                await on.is_empty()
                on.told.clear()  # they know the sessions
                readings.append(own_kib())
            assert _growth(readings) < 1024, readings

    run(loop, story())
