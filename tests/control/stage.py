"""A whole proxy with its control address: an upstream that echoes, clients, and somebody who asks."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from chaosproxy.control import ControlServer
from chaosproxy.journal import Journal
from chaosproxy.metrics import Metrics
from chaosproxy.profile import EMPTY, Profile
from chaosproxy.proxy import Address, Proxy, Upstream
from chaosproxy.security import PLAIN
from chaosproxy.stage import Stage as Staged

LOOPBACK = Address("127.0.0.1", 0)
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any


class Stage:
    def __init__(self, proxy: Proxy, journal: Journal, control: ControlServer, http: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self.journal = journal
        self.control = control
        self.http = http
        self.url = f"http://127.0.0.1:{control.port}"

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Ask as a well-behaved client does; `headers` take their names with underscores for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        sent = (JSON if method != "GET" else {}) | sent
        return await self.send(method, path, data, sent)

    async def send(self, method: str, path: str, data: object, headers: dict[str, str]) -> Answer:
        url = self.url + path
        async with self.http.request(method, url, data=data, headers=headers, skip_auto_headers=JSON) as answer:
            text = await answer.text()
            body = json.loads(text) if answer.content_type == "application/json" and text else text
            return Answer(answer.status, body, answer.headers)

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.ask("GET", "/api/state")).body
        return state

    @asynccontextmanager
    async def client(self, path: str = "/app/key", **options: Any) -> AsyncIterator[ClientConnection]:
        url = f"ws://127.0.0.1:{self.proxy.port}{path}"
        options = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 1} | options
        async with connect(url, **options) as link:
            yield link

    async def until_told(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait for the n-th record of a kind."""
        seq = 0
        while True:
            await self.journal.wait(seq)
            for line in self.journal.after(seq):
                record: dict[str, Any] = json.loads(line.text)
                times -= record["event"] == event
                if not times:
                    return record
                seq = line.seq

    def told(self, event: str) -> list[dict[str, Any]]:
        records = [json.loads(line.text) for line in self.journal.after(0, self.journal.last)]
        return [record for record in records if record["event"] == event]


async def echo(link: ServerConnection) -> None:
    async for message in link:
        await link.send(message)


def profile_of(**fields: Any) -> Profile:
    return Profile.model_validate({"version": 1, **fields})


@asynccontextmanager
async def staged(profile: Profile = EMPTY, **options: Any) -> AsyncIterator[Stage]:
    async with serve(echo, "127.0.0.1", 0, ping_interval=None, close_timeout=1) as upstream:
        behind = Upstream(Address("127.0.0.1", upstream.sockets[0].getsockname()[1]), options.pop("scheme", "ws"))
        security = options.pop("security", PLAIN)
        stage = Staged(behind, profile=profile, security=security, is_judged=bool(profile.expect))
        metrics = Metrics(stage.journal)
        metrics.watch(stage.proxy, stage.clients)
        stage.listeners.append(metrics.tell)
        await stage.start()
        address = options.pop("address", LOOPBACK)
        control = ControlServer(stage, metrics, address, **options)
        await control.start()
        try:
            async with aiohttp.ClientSession(trust_env=False) as http:
                yield Stage(stage.proxy, stage.journal, control, http)
        finally:
            await control.stop()
            await stage.stop()
