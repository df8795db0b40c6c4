"""The demo's one process: server, proxy with an outage, a good and a naive client, each on a port of its own."""

import asyncio
import signal
from collections.abc import Callable
from time import monotonic_ns

from chaosproxy.demo.clients import ClientEvent, GoodClient, NaiveClient
from chaosproxy.demo.server import DemoServer
from chaosproxy.demo.story import GOOD, NAIVE, OUTAGE, RECOVERY, Mark, Story
from chaosproxy.profile import Profile
from chaosproxy.proxy import Address, Proxy
from chaosproxy.recovery import Backoff
from chaosproxy.units import format_duration
from chaosproxy.world import Told

CHANNEL = "news"
DEFAULT_SECONDS = 14.0
SECONDS_MIN = 5.0
_CALM, _OUTAGE, _AFTER = 1.5, 6.5, 4.5  # of DEFAULT_SECONDS


def outage_profile(scale: float) -> Profile:
    """A short outage: live connections fall silent, new ones are refused, then all is well."""

    def lasts(seconds: float) -> str:
        return format_duration(int(seconds * scale * 1000) * 1_000_000)

    return Profile.model_validate(
        {
            "version": 1,
            "name": "demo",
            "protocol": "pusher",
            "identify": {"query": "client"},
            "phases": [
                {"name": "connecting", "until": {"subscribed": 2, "within": "20s"}},
                {"name": "calm", "lasts": lasts(_CALM)},
                {
                    "name": OUTAGE,
                    "lasts": lasts(_OUTAGE),
                    "rules": [{"half_open": {"mode": "blackhole", "heal": "reset", "hits": "live"}}, "refuse"],
                },
                {"name": RECOVERY, "lasts": lasts(_AFTER)},
            ],
        }
    )


class Play:
    """Plays once. `ended` is set when the timeline is over, or by a signal."""

    def __init__(self, seconds: float, on_mark: Callable[[Mark], None]) -> None:
        self._scale = seconds / DEFAULT_SECONDS
        self._on_mark = on_mark
        self.started_ns = monotonic_ns()
        self.story = Story(self.started_ns)
        self.ended = asyncio.Event()
        self.server = DemoServer(close_patience_s=0.2)

    @property
    def planned_s(self) -> float:
        """About how long it takes in all."""
        return (_CALM + _OUTAGE + _AFTER) * self._scale + 0.3

    async def run(self) -> None:
        """Play to the end, and leave nothing running."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.ended.set)
        tasks: list[asyncio.Task[None]] = []
        await self.server.start()
        proxy = Proxy(
            Address("127.0.0.1", self.server.port), profile=outage_profile(self._scale), on_told=self._hear_proxy
        )
        try:
            await proxy.start()
            good, naive = self._clients(proxy.port)
            tasks = [asyncio.create_task(task) for task in (good.run(), naive.run(), self._publish())]
            await self.ended.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await proxy.abort()
            await self.server.stop()

    def _clients(self, port: int) -> tuple[GoodClient, NaiveClient]:
        def url(name: str) -> str:
            return f"ws://127.0.0.1:{port}/app/app-key?protocol=7&client={name}"

        good = GoodClient(
            GOOD,
            url(GOOD),
            [CHANNEL],
            on_event=self._hear_client,
            activity_timeout_s=1.0 * self._scale,
            pong_timeout_s=0.8 * self._scale,
            unavailable_timeout_s=2.0 * self._scale,
            attempt_timeout_s=2.0 * self._scale,
            backoff=Backoff(pause_s=0.3 * self._scale, first_s=0.8 * self._scale, limit_s=1.6 * self._scale),
        )
        naive = NaiveClient(NAIVE, url(NAIVE), [CHANNEL], on_event=self._hear_client, retry_pause_s=0.3 * self._scale)
        return good, naive

    def _hear_client(self, event: ClientEvent) -> None:
        if not self.ended.is_set():
            self._show(self.story.hear_client(event))

    def _hear_proxy(self, told: Told) -> None:
        if not self.ended.is_set():
            self._show(self.story.hear_proxy(told))
            if self.story.is_over:
                self.ended.set()

    def _show(self, marks: list[Mark]) -> None:
        for mark in marks:
            self._on_mark(mark)

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(0.4 * self._scale)
            self.story.published += 1
            self.server.publish(CHANNEL, "headline", {"number": self.story.published})
