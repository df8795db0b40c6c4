"""The other side in the server's tests: clients that say and hear exactly what a test wants."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from chaosproxy.demo.auth import DEFAULT_APP, authorise
from chaosproxy.demo.server import DemoServer


@asynccontextmanager
async def serving(*apps: Any, **options: Any) -> AsyncIterator[DemoServer]:
    server = DemoServer(apps or (DEFAULT_APP,), **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def dialling(server: DemoServer, key: str = "app-key", **options: Any) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{server.port}/app/{key}?protocol=7&client=test"
    async with connect(url, proxy=None, compression=None, ping_interval=None, max_size=None, **options) as link:
        yield link


class Peer:
    """A connected client. `say` sends a frame, `hear` returns the next one."""

    def __init__(self, link: ClientConnection, socket_id: str) -> None:
        self.link = link
        self.socket_id = socket_id

    async def say(self, event: str, **fields: Any) -> None:
        await self.link.send(json.dumps({"event": event, **fields}))

    async def hear(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.link.recv())
        return frame

    async def subscribe(self, channel: str, user_id: str | None = None) -> dict[str, Any]:
        """Subscribe, with a valid signature where one is needed, and return the answer."""
        grant = authorise(DEFAULT_APP, self.socket_id, channel, user_id)
        await self.say("pusher:subscribe", data={**grant, "channel": channel})
        return await self.hear()

    async def hears_nothing_more(self) -> bool:
        """Tell whether a pong is the next thing to arrive: all that was sent before the ping came before it."""
        await self.say("pusher:ping", data={})
        return await self.hear() == {"event": "pusher:pong", "data": {}}


@asynccontextmanager
async def connected(server: DemoServer, key: str = "app-key") -> AsyncIterator[Peer]:
    async with dialling(server, key) as link:
        welcome = json.loads(json.loads(await link.recv())["data"])
        yield Peer(link, welcome["socket_id"])
