"""The other side in the clients' tests: a server that follows a script, and a log of events to wait on."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve

from chaosproxy.demo import frames
from chaosproxy.demo.clients import ClientEvent, GoodClient, Kind, NaiveClient

Scene = Callable[[ServerConnection], Awaitable[None]]


def url_of(port: int, key: str = "app-key") -> str:
    return f"ws://127.0.0.1:{port}/app/{key}?protocol=7&client=demo&version=1"


class Log:
    """Collects a client's events, so that a test can wait for the one it is about."""

    def __init__(self) -> None:
        self.events: list[ClientEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: ClientEvent) -> None:
        self.events.append(event)
        self._news.set()

    def details(self, kind: Kind) -> list[str]:
        return [event.detail for event in self.events if event.kind is kind]

    async def until(self, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            self._news.clear()
            await self._news.wait()

    async def until_seen(self, kind: Kind, detail: str, times: int = 1) -> None:
        await self.until(lambda: self.details(kind).count(detail) >= times)


@asynccontextmanager
async def running(client: GoodClient | NaiveClient) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(client.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def playing(*scenes: Scene) -> AsyncIterator[str]:
    """Serve each connection its own scene, the last one again and again; yield the URL."""
    left = list(scenes)

    async def play(link: ServerConnection) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(link)

    async with serve(play, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=1) as stage:
        yield url_of(stage.sockets[0].getsockname()[1])


async def welcome(link: ServerConnection, activity_timeout: float = 30) -> None:
    data = json.dumps({"socket_id": "1.2", "activity_timeout": activity_timeout})
    await link.send(json.dumps({"event": "pusher:connection_established", "data": data}))


async def stay(link: ServerConnection) -> None:
    """Welcome the client, answer its pings, remain until it leaves."""
    await welcome(link)
    async for frame in link:
        if json.loads(frame)["event"] == "pusher:ping":
            await link.send(frames.pong())


def welcome_then_close(code: int) -> Scene:
    async def scene(link: ServerConnection) -> None:
        await welcome(link)
        await link.close(code)

    return scene


def refuse(code: int) -> Scene:
    async def scene(link: ServerConnection) -> None:
        await link.send(frames.error(code, "no"))
        await link.close(code)

    return scene


async def welcome_then_silence(link: ServerConnection) -> None:
    await welcome(link, activity_timeout=0.02)
    await link.wait_closed()
