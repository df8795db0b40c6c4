"""A server is not flooded with dials by clients that come back at once, whatever a profile makes them do."""

import asyncio
import contextlib
import time

import pytest

from chaosproxy.events import DialDelayed, Dialled
from chaosproxy.metrics import Metrics
from chaosproxy.wire.frames import build_close
from chaosproxy.world import Options
from tests.live import LOOPS, REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage

MASK = b"\x11\x22\x33\x44"
CLIENTS = 20
STORM_S = 2.2
CAP = 30
KICKED = {"rules": [{"close": {"code": 4200, "hits": "all"}}]}

pytestmark = pytest.mark.parametrize("loop", LOOPS)


async def come_back_at_once(port: int, until: float) -> int:
    """A client as pusher-js is: close 4200 means to reconnect, immediately. How often it was told so."""
    kicked = 0
    while time.monotonic() < until:
        client = await Peer.connect(port)
        await client.send(REQUEST)
        try:
            async with asyncio.timeout_at(until):
                answer = await client.exactly(len(RESPONSE))
                assert answer == RESPONSE
                assert await client.exactly(4) == build_close(4200)
        except TimeoutError:
            client.reset()
            break
        kicked += 1
        await client.send(build_close(4200, mask=MASK))
        client.close()
    return kicked


class Crowded:
    """An upstream that accepts whoever comes, and notes when."""

    def __init__(self) -> None:
        self.dialled: list[float] = []
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled.append(time.monotonic())
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # a client that has gone away
            await reader.readexactly(len(REQUEST))
            writer.write(RESPONSE)
            await reader.read()
        writer.close()
        self._serving.discard(task)

    async def is_empty(self) -> None:
        await comes_true(lambda: not self._serving)


async def storm(cap: int) -> tuple[list[float], int, Stage]:
    upstream = Crowded()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, stage(KICKED, Options(dials_per_second_max=cap), upstream_port=port) as on:
        until = time.monotonic() + STORM_S
        kicked = sum(await asyncio.gather(*(come_back_at_once(on.proxy.port, until) for _ in range(CLIENTS))))
        await on.is_empty()
        await upstream.is_empty()
    return upstream.dialled, kicked, on


def test_a_storm_of_reconnects_is_capped_counted_and_journalled(loop: str) -> None:
    async def story() -> None:
        dialled, kicked, on = await storm(CAP)
        # In any second as many as the cap: so in the three that the storm touches three times as many.
        assert CAP * 2 <= len(dialled) <= CAP * 3
        assert 0 < kicked <= len(dialled)
        waited = [told for told in on.told if isinstance(told.event, DialDelayed)]
        assert len({told.session for told in waited}) == len(waited) >= CLIENTS
        times = [told.at for told in on.told if isinstance(told.event, Dialled)]
        assert len(times) == len(dialled)
        metrics = Metrics()
        metrics.watch(on.proxy)
        assert f"chaosproxy_dials_delayed_total {len(waited)}.0" in metrics.expose()[0].decode()
        assert on.proxy.world.totals.attempts >= len(dialled)

    run(loop, story())


def test_without_the_cap_the_same_storm_is_a_flood(loop: str) -> None:
    async def story() -> None:
        dialled, _, on = await storm(0)
        assert len(dialled) > CAP * 3 * 2
        assert not any(isinstance(told.event, DialDelayed) for told in on.told)

    run(loop, story())
