"""A control address with the picture of a crowd on it: the page's own files, and clients that come, go and are struck.

No sockets of theirs: what a proxy would journal of them goes into a real Picture, as much between two answers as is
wanted, so that what the page makes of it can be measured.
"""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from chaosproxy.control import assets
from chaosproxy.picture import Picture

STEP_S = 0.2  # of the journal's time, between two answers
METER: dict[str, Any] = {
    "open": 0,
    "attempts": 0,
    "frames": {"client": 0, "server": 0},
    "bytes": {"client": 0, "server": 0},
    "delays": {"count": 0, "seconds": 0.0},
    "draining": False,
}
PHASE = {"name": "storm", "visit": 1, "running": True, "over": False, "seconds": 1.0, "ends_in_seconds": None}


class Crowd:
    """So many clients, of whom `restless` come back by another connection between two answers."""

    def __init__(self, clients: int, restless: int) -> None:
        self._picture = Picture({"started": "", "profile": "storm", "digest": "", "seed": 1}, "crowd")
        self._random = random.Random(1)
        self._restless = restless
        self._seq = self._attempt = 0
        self._at = 0.0
        self._attempts: dict[str, int] = {}
        self._hear("phase_entered", phase="storm", visit=1, reason="start")
        for number in range(clients):
            self._connect(f"client-{number:04}")
        self.answers = 0

    def _hear(self, event: str, **fields: object) -> None:
        self._seq += 1
        self._picture.hear({"seq": self._seq, "at": round(self._at, 6), "event": event, **fields})  # type: ignore[dict-item]

    def _connect(self, client: str) -> None:
        self._attempt += 1
        attempt = self._attempts[client] = self._attempt
        self._hear("accepted", attempt=attempt, peer="")
        of_it = {"attempt": attempt, "client": client, "connection": 1}
        self._hear("asked", path="/app/key", headers=[], **of_it)
        state = {"client": client, "source": "inferred", "is_late": False}
        self._hear("client_state", state="connecting", **state)
        self._hear("opened", extension="", **of_it)
        self._hear("established", socket_id="", **of_it)
        self._hear("client_state", state="connected", **state)
        self._hear("struck", rule="latency-1", fault="latency", side="server", message=1, turn=1, **of_it)

    def step(self) -> None:
        self._at += STEP_S
        for client in self._random.sample(sorted(self._attempts), self._restless):
            of_it = {"attempt": self._attempts[client], "client": client, "connection": 1}
            self._hear("closed", by="rule", how="close", code=4200, **of_it)
            self._connect(client)

    def tell(self, version: int) -> dict[str, Any]:
        self.step()
        self.answers += 1
        return self._picture.since(version, self._at) | {"meter": METER | {"phase": PHASE, "open": len(self._attempts)}}


@contextmanager
def served(crowd: Crowd) -> Iterator[str]:
    """The address at which it is served, by a thread of its own."""

    async def picture(request: web.Request) -> web.Response:
        return web.json_response(crowd.tell(int(request.query.get("since", "0"))))

    async def serve() -> None:
        app = web.Application()
        app.add_routes([*assets.routes(), web.get("/api/picture", picture)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(runner.addresses[0][1])
        stopping.append((asyncio.get_running_loop(), stop := asyncio.Event()))
        ready.set()
        await stop.wait()
        await runner.cleanup()

    found: list[int] = []
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="crowd")
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://127.0.0.1:{found[0]}/"
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
