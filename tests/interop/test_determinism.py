"""The same strikes in every run, whatever else happens: real clients that race each other on a machine that is busy."""

import asyncio
import contextlib
import json

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from chaosproxy.digest import run_digest
from chaosproxy.journal import Journal
from chaosproxy.profile_yaml import load
from chaosproxy.proxy import Address, Proxy
from tests.interop.test_outages import busy_cores
from tests.live import LOOPS, run

PROFILE = """\
version: 1
seed: 7
identify: {query: who}
rules:
  - latency: {delay: 3ms, jitter: 2ms}
    when: {from: server}
  - drop: {}
    when: {from: client, opcode: text, chance: 30%}
  - drop: {}
    when: {from: server, every: 7}
"""
MESSAGES = 150
RUNS = 3


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _race(port: int, who: str) -> list[int]:
    """Send numbered messages among background pings; return the numbers that came back, in order."""
    heard: list[int] = []
    async with connect(f"ws://127.0.0.1:{port}/?who={who}", proxy=None, ping_interval=0.002) as client:
        for number in range(MESSAGES):
            await client.send(json.dumps(number))
        for _ in range(
            2
        ):  # binary, so the first drop leaves them alone; the second takes one of two neighbours at most
            await client.send(b"last")
        with contextlib.suppress(TimeoutError):
            while True:
                message = await asyncio.wait_for(client.recv(), 5)
                if message == b"last":
                    break
                heard.append(json.loads(message))
    return heard


async def _one_run() -> tuple[list[list[int]], object]:
    profile = load(PROFILE, "test")
    journal = Journal(profile, profile.seed)
    async with serve(_echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        proxy = Proxy(Address("127.0.0.1", port), profile=profile, on_told=journal.tell)
        await proxy.start()
        try:
            heard = await asyncio.gather(_race(proxy.port, "ann"), _race(proxy.port, "bob"))
        finally:
            await proxy.stop()
    records = [json.loads(line.text) for line in journal.after(-1, 10_000)]
    return heard, run_digest(records)


@pytest.mark.parametrize("loop", LOOPS)
def test_racing_clients_are_struck_alike_in_every_run(loop: str) -> None:
    results: list[tuple[list[list[int]], object]] = []

    async def story() -> None:
        results.append(await _one_run())

    with busy_cores(4):
        for _ in range(RUNS):
            run(loop, story())
    assert all(result == results[0] for result in results)
    ann, bob = results[0][0]
    assert 0 < len(ann) < MESSAGES
    assert ann != bob
