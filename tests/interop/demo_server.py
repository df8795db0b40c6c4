"""Our own demo server in a thread of the test's process, for real clients to connect to."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from chaosproxy.demo.auth import DEFAULT_APP, App
from chaosproxy.demo.frames import Json
from chaosproxy.demo.server import DemoServer

START_TIMEOUT_S = 10
ASK_TIMEOUT_S = 10


class Demo:
    """A DemoServer that is ready inside the `with` block, on `port`; apps and options are DemoServer's."""

    port: int

    def __init__(self, *apps: App, **options: Any) -> None:
        self._apps = apps or (DEFAULT_APP,)
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="demo-server")

    def do(self, act: Callable[[DemoServer], None]) -> None:
        """Let something happen in the server's own thread, for example `lambda server: server.terminate("ann")`."""

        async def acting() -> None:
            act(self._server)

        asyncio.run_coroutine_threadsafe(acting(), self._loop).result(ASK_TIMEOUT_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._server = DemoServer(self._apps, **self._options)
        await self._server.start()
        self.port = self._server.port
        self._ready.set()
        await self._stop.wait()
        await self._server.stop()

    def publish(self, channel: str, event: str, data: Json) -> None:
        """Send an event to a channel's subscribers, from now on or a moment later."""
        self._loop.call_soon_threadsafe(self._server.publish, channel, event, data)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
