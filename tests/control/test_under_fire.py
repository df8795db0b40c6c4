"""Judge R16: rules come, are replaced and go, of every fault, while many connections are busy and others stalled.

Every call is answered within a second, and what is open afterwards, or opens then, carries every byte as it came.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from time import process_time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from chaosproxy.faults import FAULTS
from chaosproxy.profile_yaml import example, load
from tests.control.stage import Stage, profile_of, staged
from tests.live import LOOPS, comes_true

BUSY, STALLED = 100, 20
ANSWERED_WITHIN_S = 1.0
HARMLESS = ("latency", "bandwidth", "slice", "stall", "drop", "duplicate", "reorder")
"""Faults that clients survive."""
OF_TLS = {"bad_certificate", "tls_stall"}


def rule_of(name: str) -> dict[str, Any]:
    """The first rule of a fault's example."""
    profile = load(example(FAULTS[name]), name)
    rule = next(rule for rule in profile.every_rule() if rule.fault_name == name)
    return rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"id": "fire"}


class Client:
    """Connects again whenever it has to, for as long as it is not told to stop."""

    def __init__(self, stage: Stage) -> None:
        self._url = f"ws://127.0.0.1:{stage.proxy.port}/app/key"
        self._has_to_stop = asyncio.Event()
        self.link: ClientConnection | None = None
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> ClientConnection | None:
        """What it has open, quiet now."""
        self._has_to_stop.set()
        await self.task
        return self.link

    async def _run(self) -> None:
        while not self._has_to_stop.is_set():
            try:
                self.link = await connect(
                    self._url, compression=None, ping_interval=None, proxy=None, open_timeout=2, close_timeout=0.2
                )
                await self.use(self.link)
                return
            except (OSError, WebSocketException, EOFError):
                await self._drop()
                await asyncio.sleep(0.05)  # refused: as clients do, it gives others a moment

    async def _drop(self) -> None:
        if self.link:
            self.link.transport.abort()
        self.link = None

    async def use(self, link: ClientConnection) -> None:
        """Send and wait for the echo, or not for long, until told to stop."""
        number = 0
        while not self._has_to_stop.is_set():
            number += 1
            await link.send(f"message {number} " + "x" * (number % 500))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.recv(), 0.1)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_to_stop.wait(), 0.1)


class StalledClient(Client):
    """Sends and never reads, so that everything behind it fills up."""

    async def use(self, link: ClientConnection) -> None:
        link.transport.pause_reading()
        sending = asyncio.create_task(self._send(link))
        stopping = asyncio.create_task(self._has_to_stop.wait())
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            stopping.cancel()
            await asyncio.gather(sending, stopping, return_exceptions=True)

    async def _send(self, link: ClientConnection) -> None:
        while True:
            await link.send(bytes(65536))
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def crowd(stage: Stage) -> AsyncIterator[tuple[list[Client], list[Client]]]:
    busy = [Client(stage) for _ in range(BUSY)]
    stalled: list[Client] = [StalledClient(stage) for _ in range(STALLED)]
    try:
        yield busy, stalled
    finally:
        for client in (*busy, *stalled):
            link = await client.stop()
            if link:
                link.transport.abort()


class Fire:
    """Orders, one upon the other, each on time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.slowest = (0.0, "")
        self.calls = 0

    async def at(self, names: Iterable[str], times: int) -> None:
        """Set, replace and heal each fault so many times."""
        for name in names:
            rule = rule_of(name)
            expected = 422 if name in OF_TLS else 201
            for _ in range(times):
                for order in (rule, rule | {"when": rule.get("when", {})}):
                    await self._ask(name, "POST", "/api/rules", {"rule": order}, expected)
                await self._ask(name, "DELETE", "/api/rules/fire", {}, 404 if name in OF_TLS else 200)

    async def _ask(self, name: str, method: str, path: str, body: object, status: int) -> None:
        begun = process_time()  # the machine may have more to do than this
        answer = await self._stage.ask(method, path, body)
        self.slowest = max(self.slowest, (process_time() - begun, f"{method} of {name}"))
        self.calls += 1
        assert answer.status == status, (name, answer)


async def is_exact(link: ClientConnection, number: int) -> bool | None:
    """Whether it carries everything as it came, once what is left of before is out of the way.

    None where it ends: a fault of before may have doomed it, such as one whose last frame one peer could not read.
    """
    try:
        await link.send(f"end {number}")
        while await link.recv() != f"end {number}":
            pass
        sent = [bytes([number % 256, each]) * (each * 200 + 1) for each in range(20)]
        for message in sent:
            await link.send(message)
        came: list[str | bytes] = []
        while len(came) < len(sent):
            message = await link.recv()
            if not str(message).startswith("message "):  # a copy under way still comes when duplicate has healed
                came.append(message)
        return came == sent
    except WebSocketException:
        return None


async def under_fire(times: int) -> None:
    async with staged(profile_of(protocol="pusher")) as stage, crowd(stage) as (busy, stalled):
        await comes_true(lambda: all(client.link for client in (*busy, *stalled)))
        fire = Fire(stage)
        await fire.at(FAULTS, times)
        await comes_true(lambda: sum(1 for client in busy if client.link) == BUSY)
        await fire.at(HARMLESS, times)
        assert fire.slowest[0] <= ANSWERED_WITHIN_S, fire.slowest
        assert (await stage.state())["rules"] == []
        old = [link for client in busy if (link := await client.stop())]
        assert len(old) >= BUSY * 9 // 10
        async with asyncio.timeout(60):
            exact = await asyncio.gather(*(is_exact(link, number) for number, link in enumerate(old)))
        assert False not in exact
        assert exact.count(True) >= BUSY * 9 // 10, f"{exact.count(None)} have ended"
        for number in range(5):
            async with stage.client() as link:
                assert await is_exact(link, number)
        slowest = f"{fire.slowest[0] * 1000:.0f} ms ({fire.slowest[1]})"
        print(f"{fire.calls} calls, the slowest {slowest}; {exact.count(None)} connections ended")


def run_on(loop: str, story: Coroutine[Any, Any, None]) -> None:
    """A crowd takes its time on a busy machine; the test's own timeout ends what hangs."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(story)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_fault_comes_and_goes_on_time_and_leaves_nothing(loop: str) -> None:
    run_on(loop, under_fire(1))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_so_it_is_a_thousand_times() -> None:
    asyncio.run(under_fire(1000))


@contextlib.asynccontextmanager
async def stalled_ones(stage: Stage, many: int) -> AsyncIterator[None]:
    """So many connections, each with a message that is held."""
    url, options = f"ws://127.0.0.1:{stage.proxy.port}/app/key", {"compression": None, "ping_interval": None}
    links: list[ClientConnection] = []
    try:
        for _ in range(0, many, 100):
            links += await asyncio.gather(*(connect(url, proxy=None, open_timeout=20, **options) for _ in range(100)))
        assert (await stage.ask("POST", "/api/rules", {"rule": {"stall": {}, "id": "stalled"}})).status == 201
        for link in links:
            await link.send("held")
        await comes_true(lambda: stage.proxy.world.tally.strikes.get("stall", 0) >= many)
        yield
    finally:
        for link in links:
            link.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_answers_while_two_thousand_connections_are_stalled(loop: str) -> None:
    many = 2000

    async def story() -> None:
        async with staged() as stage, stalled_ones(stage, many):
            rule = {"rule": {"drop": {}, "when": {"connection": "1"}, "id": "d"}}
            # A rule that comes and goes is weighed for each connection, which takes some 40 us of each time.
            for method, path, body, within_s in (
                ("GET", "/api/state", None, 0.1),
                ("POST", "/api/marks", {"name": "here"}, 0.1),
                ("GET", "/api/proxies", None, 0.1),
                ("POST", "/api/rules", rule, 0.4),
            ):
                times = []
                for _ in range(9):
                    begun = process_time()  # the machine may have more to do than this
                    assert (await stage.ask(method, path, body)).status in (200, 201)
                    times.append(process_time() - begun)
                median = sorted(times)[len(times) // 2]
                print(f"{method} {path}: {median * 1000:.0f} ms")
                assert median <= within_s, (path, times)
            assert (await stage.state())["counters"]["open"] == many

    run_on(loop, story())
