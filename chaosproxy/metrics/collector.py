"""All that is exposed at a scrape, of the proxies that are watched."""

import asyncio
import platform
from collections.abc import Callable, Iterator
from time import monotonic_ns

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .. import __version__
from ..events import Answered, Asked, Closed
from ..journal import Journal
from ..meter import held_bytes
from ..observe import Clients
from ..proxy import Proxy
from ..recoveries import Recoveries
from ..session import Session
from ..tally import Buckets
from ..units import SECOND
from ..verdict import Judge
from ..wire.fast import LANE_IN
from ..world import Told
from .clients import Standing, client_states, expectations, recoveries
from .families import gauge, histogram
from .traffic import chaos, connections, traffic

HANDSHAKE_BOUNDS = tuple(
    round(bound * SECOND) for bound in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
)


class Handshakes:
    """How long clients waited for an answer to their upgrade request."""

    def __init__(self) -> None:
        self.durations = Buckets(HANDSHAKE_BOUNDS)
        self._asked: dict[Session, int] = {}  # as many as are waiting for an answer

    def tell(self, told: Told) -> None:
        if told.session is None:
            return
        match told.event:
            case Asked():
                self._asked[told.session] = told.at
            case Answered():
                if (asked_at := self._asked.pop(told.session, None)) is not None:
                    self.durations.add(told.at - asked_at)
            case Closed():
                self._asked.pop(told.session, None)
            case _:
                pass


class Metrics(Collector):
    """The metrics of the proxies it watches, summed. Give `tell` to them as `on_told`."""

    def __init__(self, journal: Journal | None = None, clock: Callable[[], int] = monotonic_ns) -> None:
        self._journal = journal
        self._clock = clock
        self._clients: list[Clients] = []
        self._proxies: list[Proxy] = []
        self._standings: list[Standing] = []
        self._handshakes = Handshakes()
        self._recoveries = Recoveries(self._has_protocol)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch(
        self, proxy: Proxy, clients: Clients | None = None, judge: Callable[[], Judge | None] = lambda: None
    ) -> None:
        """Include a proxy from now on, what is known of its clients, and the verdict of whoever judges it then."""
        if clients:
            self._clients.append(clients)
        self._proxies.append(proxy)
        self._standings.append(Standing(judge))

    def tell(self, told: Told) -> None:
        self._handshakes.tell(told)
        self._recoveries.tell(told)

    def _has_protocol(self) -> bool:
        worlds = [proxy.world for proxy in self._proxies]
        return any(world.profile.protocol is not None and not world.options.is_opaque for world in worlds)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The page of metrics, in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        totals = [proxy.world.totals for proxy in self._proxies]
        sessions = [session for proxy in self._proxies for session in proxy.world.sessions.values()]
        yield from connections(totals, sessions)
        yield histogram(
            "handshake_seconds",
            "Time from a complete upgrade request to its answer.",
            [self._handshakes.durations],
        )
        yield from traffic(totals, sessions)
        yield from chaos(totals, [proxy.world.tally for proxy in self._proxies])
        yield self._phases()
        yield from client_states(self._clients, self._clock())
        yield from recoveries(self._recoveries)
        yield from expectations(self._standings, self._clock())
        yield gauge(
            "held_bytes",
            "Bytes that have come and not been sent on yet.",
            held_bytes(sessions),
        )
        yield gauge(
            "paused_legs",
            "TCP connections that are not being read.",
            sum(proxy.paused_legs for proxy in self._proxies),
        )
        lost = self._journal.lost if self._journal else 0
        yield CounterMetricFamily("chaosproxy_journal_lost", "Journal lines that could not be written.", lost)
        build = {"version": __version__, "python": platform.python_version(), "loop": _loop_name(), "lane": LANE_IN}
        yield InfoMetricFamily("chaosproxy_build", "What is running.", build)
        yield self._profile_info()

    def _phases(self) -> Metric:
        family = GaugeMetricFamily("chaosproxy_phase", "1 for the phase that is in force.", labels=["phase"])
        is_current: dict[str, bool] = {}
        for proxy in self._proxies:
            for phase in proxy.world.profile.phases:
                is_current[phase.name] = is_current.get(phase.name, False) or phase is proxy.world.timeline.phase
        for name, value in is_current.items():
            family.add_metric([name], value)
        return family

    def _profile_info(self) -> Metric:
        family = InfoMetricFamily(
            "chaosproxy_profile", "Which profile is played.", labels=["profile", "digest", "seed"]
        )
        worlds = [proxy.world for proxy in self._proxies]
        for labels in dict.fromkeys((each.profile.name, each.profile.digest, str(each.seed)) for each in worlds):
            family.add_metric(labels, {})
        return family


def _loop_name() -> str:
    try:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        return "none"
