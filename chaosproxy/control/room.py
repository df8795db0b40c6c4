"""One stage as the control address sees it: of `run`, a proxy or a session, with all who look at it and wait there."""

from collections.abc import Callable
from enum import Enum
from time import monotonic_ns

from ..metrics import Metrics
from ..stage import Stage
from ..units import SECOND
from .orders import Fence
from .picturing import Viewers
from .shelf import Shelf
from .stream import Streams
from .waits import Waits

REPORTS_PER_SECOND = 500  # a client that reconnects at once, for ever, makes some hundred changes of state in a second
REPORTS_AT_ONCE = 2000


MAIN = "main"
"""The name of the proxy that `run` has put up."""


class Kind(Enum):
    """What a stage was put up as."""

    RUN = "run"
    PROXY = "proxy"
    SESSION = "session"


class Budget:
    """So many per second, and so many at once."""

    def __init__(self, per_second: int, at_once: int) -> None:
        self._per_second = per_second
        self._full = at_once * SECOND
        self._left = self._full  # of a report, a nanosecond's worth is per_second
        self._at = 0

    def take(self, count: int, now: int) -> bool:
        """Whether there is room for all of them; then it is used."""
        self._left = min(self._full, self._left + max(0, now - self._at) * self._per_second)
        self._at = now
        if count * SECOND > self._left:
            return False
        self._left -= count * SECOND
        return True


class Room:
    """A stage, who may do what to it (`fence`), and what stands in the address at which its clients report.

    Without `metrics` it gets its own; then the stage must not have started. The `shelf` has the profiles that can be
    played here by name; all rooms of a process share one.
    """

    def __init__(
        self,
        stage: Stage,
        fence: Fence,
        client_token: str,
        kind: Kind = Kind.RUN,
        name: str = MAIN,
        clock: Callable[[], int] = monotonic_ns,
        metrics: Metrics | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.stage = stage
        self.fence = fence
        self.client_token = client_token
        self.kind = kind
        self.name = name
        self.streams = Streams(stage.journal)
        self.waits = Waits(stage)
        self.viewers = Viewers(stage)
        self.reports = Budget(REPORTS_PER_SECOND, REPORTS_AT_ONCE)
        self.metrics = metrics or _watching(stage)
        self.shelf = shelf or Shelf()
        self._freezes = 0
        self.clock = clock
        self._asked_at = clock()

    @property
    def path(self) -> str:
        """Where one asks for it."""
        if self.kind is Kind.SESSION:
            return f"/api/sessions/{self.name}"
        return f"/api/proxies/{self.name}"

    @property
    def client_path(self) -> str:
        """Where its clients get the script, and report."""
        return f"/client/{self.client_token}"

    def next_freeze(self) -> str:
        """An id for a rule that freezes connections, which is no other rule's."""
        world = self.stage.proxy.world
        taken = {rule.id for rule in world.profile.every_rule()} | {rule.id for rule in world.live_rules}
        while True:
            self._freezes += 1
            if (name := f"freeze-{self._freezes}") not in taken:
                return name

    def note_asked(self) -> None:
        self._asked_at = self.clock()

    def idle_for(self) -> int:
        """Nanoseconds since anybody has asked for something here; nothing while somebody waits or follows."""
        if self.streams.count or self.waits.count or self.viewers.count:
            self.note_asked()
        return self.clock() - self._asked_at

    async def close(self) -> None:
        """Let all go who look at it or wait."""
        self.waits.close()
        self.viewers.close()
        await self.streams.close()


def _watching(stage: Stage) -> Metrics:
    """The metrics of a stage that has not started yet."""
    metrics = Metrics(stage.journal)
    metrics.watch(stage.proxy, stage.clients)
    stage.listeners.append(metrics.tell)
    return metrics
