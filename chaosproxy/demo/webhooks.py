"""Webhooks on their way: one POST per event, signed. Nobody waits for them, and nothing is tried twice."""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout

from chaosproxy.demo.auth import App, webhook_headers
from chaosproxy.demo.frames import Json, encode

ANSWER_PATIENCE_S = 5.0
WAITING_MAX = 1000


class Webhooks:
    """Posts to each address one event after the other, in order; what WAITING_MAX others are before is lost.

    Back ends that are slow, away or refuse are none of the server's business.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Queue[tuple[bytes, dict[str, str]]]] = {}
        self._workers: list[asyncio.Task[None]] = []

    def post(self, app: App, event: Mapping[str, Json]) -> None:
        """Send the event to those of the app's webhooks that want it."""
        body = encode({"time_ms": time.time_ns() // 1_000_000, "events": [event]})
        headers = {"Content-Type": "application/json", **webhook_headers(app, body)}
        for webhook in app.webhooks:
            if event["name"] in webhook.events:
                if webhook.url not in self._waiting:
                    self._start(webhook.url)
                waiting = self._waiting[webhook.url]
                if waiting.qsize() < WAITING_MAX:
                    waiting.put_nowait((body.encode(), headers))

    async def finish(self, patience_s: float) -> None:
        """Give what is waiting a moment to be delivered, and end."""
        waiting = [asyncio.create_task(queue.join()) for queue in self._waiting.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=patience_s)
        tasks = [*waiting, *self._workers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._waiting.clear()
        self._workers.clear()

    def _start(self, url: str) -> None:
        self._waiting[url] = asyncio.Queue()
        self._workers.append(asyncio.create_task(_deliver(url, self._waiting[url])))


async def _deliver(url: str, waiting: asyncio.Queue[tuple[bytes, dict[str, str]]]) -> None:
    async with ClientSession(timeout=ClientTimeout(total=ANSWER_PATIENCE_S)) as session:
        while True:
            body, headers = await waiting.get()
            try:
                async with session.post(url, data=body, headers=headers):
                    pass  # whatever the answer is
            except (ClientError, OSError, TimeoutError, ValueError):
                pass  # ValueError: the URL is none
            finally:
                waiting.task_done()
