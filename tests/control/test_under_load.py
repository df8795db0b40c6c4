"""The API answers while very many connections are stalled: half of them with held bytes, half of them unread.

Times are those of the processor: proxy, clients and server are in this process, and others may keep the machine busy.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from chaosproxy.control import ControlServer
from chaosproxy.metrics import Metrics
from chaosproxy.proxy import Address, Upstream
from chaosproxy.stage import Stage as Staged
from chaosproxy.world import Options
from tests.control.stage import LOOPBACK, Stage, profile_of
from tests.virtual import frame, request, switching

ANSWERED_S = 0.1
FOR_EACH_S = 0.0005  # of what is done to all: each is told, journalled and judged
HELD = frame(b"x" * 2000, 2, mask=b"mask")
AT_ONCE = 50  # dials under way, so that no accept queue overflows
STALLED = profile_of(
    held_bytes_max="1KiB",
    phases=[
        {"name": "calm", "until": "step"},
        {"name": "slow", "until": "step", "rules": [{"latency": {"delay": "1s"}}]},
        {"name": "dead", "until": "step", "rules": [{"half_open": {"hits": "live"}}]},
        {"name": "end"},
    ],
    expect=["one_connection"],
)
OF_ONE: dict[str, tuple[str, str, Any]] = {
    "state": ("GET", "/api/state", None),
    "some connections": ("GET", "/api/connections?silent=true&limit=100", None),
    "the default list": ("GET", "/api/connections", None),
    "phases": ("GET", "/api/phases", None),
    "metrics": ("GET", "/metrics", None),
    "pause": ("POST", "/api/phase/pause", {}),
    "resume": ("POST", "/api/phase/resume", {}),
    "a rule on some": ("POST", "/api/rules", {"rule": {"drop": {}}, "connections": [5, 6, 7]}),
    "one healed": ("POST", "/api/connections/9/heal", {}),
    "one frozen": ("POST", "/api/connections/9/freeze", {}),
    "one closed": ("POST", "/api/connections/10/close", {}),
    "one reset": ("POST", "/api/connections/11/reset", {}),
    "none that match": ("POST", "/api/connections/reset", {"match": {"client": "nobody"}}),
}
OF_ALL: dict[str, tuple[str, str, Any]] = {
    "next phase: slow": ("POST", "/api/phase/next", {}),
    "next phase: dead": ("POST", "/api/phase/next", {}),
    "heal all": ("POST", "/api/connections/heal", {"all": True}),
    "freeze all": ("POST", "/api/connections/freeze", {"all": True}),
    "heal all rules": ("DELETE", "/api/rules", {}),
    "start anew": ("POST", "/api/reset", {}),
    "reset all": ("POST", "/api/connections/reset", {"all": True}),
}


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport: asyncio.Transport | None = transport

    def data_received(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(switching())
            self._transport = None  # the rest is swallowed


class _Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(request())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self.opened.set_result(None)


@asynccontextmanager
async def stalled(connections: int) -> AsyncIterator[Stage]:
    """A proxy with so many connections, all of which are half-open."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=2 * AT_ONCE)
    upstream = Upstream(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "ws")
    staged = Staged(upstream, profile=STALLED, options=Options(dials_per_second_max=0), is_judged=True)
    metrics = Metrics(staged.journal)
    metrics.watch(staged.proxy, staged.clients)
    staged.listeners.append(metrics.tell)
    await staged.start()
    control = ControlServer(staged, metrics, LOOPBACK)
    await control.start()
    clients: list[_Client] = []
    try:
        for begin in range(0, connections, AT_ONCE):
            made = [_Client() for _ in range(min(AT_ONCE, connections - begin))]
            for client in made:
                await loop.create_connection(lambda client=client: client, "127.0.0.1", staged.proxy.port)  # type: ignore[misc]
            await asyncio.gather(*(client.opened for client in made))
            clients += made
        async with aiohttp.ClientSession(trust_env=False) as http:
            stage = Stage(staged.proxy, staged.journal, control, http)
            half = connections // 2
            for only, mode in ((range(1, half + 1), "blackhole"), (range(half + 1, connections + 1), "freeze")):
                order = {"rule": {"half_open": {"mode": mode}, "id": mode}, "connections": [*only]}
                assert (await stage.ask("POST", "/api/rules", order)).body["connections"] == len(only)
            for client in clients:
                client.transport.write(HELD)
            await stage.until_told("limited", half)
            assert staged.proxy.world.tally.strikes["half_open"] == connections
            assert staged.proxy.paused_legs == half + 2 * (connections - half)
            yield stage
    finally:
        await control.stop()
        await staged.stop()
        for client in clients:
            client.transport.abort()
        server.close()
        await server.wait_closed()


@pytest.fixture
def quiet() -> Iterator[None]:
    """What this process has made before is not looked through meanwhile; `run` sees to that for itself."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("connections", [1000, pytest.param(4000, marks=pytest.mark.slow)])
def test_every_request_is_answered_at_once(connections: int, quiet: None) -> None:
    async def story() -> None:
        async with stalled(connections) as stage:
            took: dict[str, float] = {}
            for name, (method, path, body) in {**OF_ONE, **OF_ALL}.items():
                begun = time.process_time()
                answer = await stage.ask(method, path, body)
                took[name] = time.process_time() - begun
                assert answer.status in (200, 201), (name, answer.body)
            slow = {name: round(took[name], 3) for name in OF_ONE if took[name] > ANSWERED_S}
            assert not slow, f"of {connections} connections"
            slow = {name: round(took[name], 3) for name in OF_ALL if took[name] > connections * FOR_EACH_S}
            assert not slow, f"of {connections} connections"

    asyncio.run(asyncio.wait_for(story(), 120))
