"""Prometheus metrics, read from plain integers at the time of a scrape; nothing is counted twice, nothing on the way.

Labels are closed sets: directions, opcodes, faults, close codes by class, the names of the profile's phases. Nothing a
peer says becomes a label. The registry is our own, so several proxies and tests may live in one process.
"""

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from time import monotonic_ns
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from . import __version__
from .events import Answered, Asked, Closed
from .faults import FAULTS
from .journal import Journal
from .observe import DROPS, Clients
from .proxy import Proxy
from .session import Session
from .tally import Buckets, Tally, Totals
from .units import SECOND
from .wire.frames import SIDES
from .wire.messages import OPCODE_NAMES
from .world import Told

HANDSHAKE_BOUNDS = tuple(
    round(bound * SECOND) for bound in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
)
_OUTCOMES = ("opened", "failed", "dismissed", "refused_2xx", "refused_3xx", "refused_4xx", "refused_5xx")
_REQUEST_OUTCOMES = ("2xx", "3xx", "4xx", "5xx", "failed")
_ENDINGS = frozenset({"fin", "reset", "timeout", "none", *map(str, range(1000, 1016)), "1xxx", "2xxx", "3xxx", "4xxx"})
Key = TypeVar("Key")

_INITIATORS = frozenset({"client", "server", "rule", "proxy"})


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
        self._handshakes = Handshakes()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch(self, proxy: Proxy, clients: Clients | None = None) -> None:
        """Include a proxy from now on, and what is known of its clients."""
        if clients:
            self._clients.append(clients)
        self._proxies.append(proxy)

    def tell(self, told: Told) -> None:
        self._handshakes.tell(told)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The page of metrics, in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        totals = [proxy.world.totals for proxy in self._proxies]
        sessions = [session for proxy in self._proxies for session in proxy.world.sessions.values()]
        yield from _connections(totals, sessions)
        yield _histogram(
            "handshake_seconds",
            "Time from a complete upgrade request to its answer.",
            [self._handshakes.durations],
        )
        yield from _traffic(totals, sessions)
        yield from _chaos(totals, [proxy.world.tally for proxy in self._proxies])
        yield self._phases()
        yield from _client_states(self._clients, self._clock())
        yield _gauge(
            "held_bytes",
            "Bytes that have come and not been sent on yet.",
            sum(direction.held for session in sessions for direction in session.directions),
        )
        yield _gauge(
            "paused_legs",
            "TCP connections that are not being read.",
            sum(proxy.paused_legs for proxy in self._proxies),
        )
        lost = self._journal.lost if self._journal else 0
        yield CounterMetricFamily("chaosproxy_journal_lost", "Journal lines that could not be written.", lost)
        build = {"version": __version__, "python": platform.python_version(), "loop": _loop_name()}
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
        played = dict.fromkeys((world.profile.name, world.profile.digest, str(world.seed)) for world in worlds)
        for labels in played:
            family.add_metric(labels, {})
        return family


def _connections(totals: list[Totals], sessions: list[Session]) -> Iterator[Metric]:
    yield _gauge("open_connections", "Connections of clients that are not over.", len(sessions))
    told = "Attempts by what became of them: opened, refused, dismissed by a rule in a handshake of its own, or failed."
    yield _by_outcome("connections", told, _OUTCOMES, [total.outcomes for total in totals])
    told = "Plain HTTP requests by the status of their answer, or failed where there was none."
    yield _by_outcome("http_requests", told, _REQUEST_OUTCOMES, [total.requests for total in totals])
    attempts = sum(total.attempts for total in totals)
    yield CounterMetricFamily("chaosproxy_attempts", "Times that a client connected to the proxy.", attempts)
    delayed = sum(total.dials_delayed for total in totals)
    yield CounterMetricFamily("chaosproxy_dials_delayed", "Dials that waited for the cap on dials per second.", delayed)


def _by_outcome(name: str, told: str, outcomes: Sequence[str], counts: list[dict[str, int]]) -> Metric:
    family = CounterMetricFamily(f"chaosproxy_{name}", told, labels=["outcome"])
    for outcome in outcomes:
        family.add_metric([outcome], sum(each.get(outcome, 0) for each in counts))
    return family


def _traffic(totals: list[Totals], sessions: list[Session]) -> Iterator[Metric]:
    frames = CounterMetricFamily(
        "chaosproxy_frames", "Frames received from a peer, by opcode.", labels=["direction", "opcode"]
    )
    received = CounterMetricFamily(
        "chaosproxy_received_bytes", "Bytes received from a peer behind its handshake.", labels=["direction"]
    )
    for side in SIDES:
        splitters = [session.directions[side].splitter for session in sessions]
        by_name = dict.fromkeys([*OPCODE_NAMES.values(), "reserved"], 0)
        for counts in [total.frames[side] for total in totals] + [splitter.frames for splitter in splitters]:
            for opcode, count in enumerate(counts):
                by_name[OPCODE_NAMES.get(opcode, "reserved")] += count
        for name, count in by_name.items():
            frames.add_metric([side.label, name], count)
        ended = sum(total.bytes[side] for total in totals)
        received.add_metric([side.label], ended + sum(splitter.bytes for splitter in splitters))
    yield frames
    yield received


def _chaos(totals: list[Totals], tallies: list[Tally]) -> Iterator[Metric]:
    faults = CounterMetricFamily("chaosproxy_faults", "Faults that have struck.", labels=["fault"])
    for fault in FAULTS:
        faults.add_metric([fault], sum(tally.strikes.get(fault, 0) for tally in tallies))
    yield faults
    delays = [tally.delays for tally in tallies]
    yield _histogram("injected_delay_seconds", "Delays that rules have added, by piece of data.", delays)
    errors = [tally.delay_errors for tally in tallies]
    yield _histogram("delay_error_seconds", "How much later than it was due delayed data left.", errors)
    ends: dict[tuple[str, str], int] = {}
    for total in totals:
        for (by, code), count in total.closes.items():
            key = by if by in _INITIATORS else "other", code if code in _ENDINGS else "other"
            ends[key] = ends.get(key, 0) + count
    closes = CounterMetricFamily(
        "chaosproxy_closes",
        "Open connections that ended, by who began it and the close code or fin or reset.",
        labels=["by", "code"],
    )
    for key, count in ends.items():
        closes.add_metric(key, count)
    yield closes


def _client_states(several: list[Clients], now: int) -> Iterator[Metric]:
    transitions = CounterMetricFamily(
        "chaosproxy_client_state_transitions",
        "Changes of clients' states, as they reported them or as the wire lets one infer them.",
        labels=["from", "to", "source"],
    )
    seconds = CounterMetricFamily(
        "chaosproxy_client_state_seconds",
        "Time that clients have been in a state, up to now.",
        labels=["state", "source"],
    )
    dropped = CounterMetricFamily(
        "chaosproxy_client_reports_dropped",
        "Reports of clients that were not taken; those over the rate may come again.",
        labels=["reason"],
    )
    for key, changes in _summed(clients.transitions for clients in several).items():
        transitions.add_metric(key, changes)
    for of_state, time in _summed(clients.spent(now) for clients in several).items():
        seconds.add_metric(of_state, time / SECOND)
    for reason in DROPS:
        dropped.add_metric([reason], sum(clients.dropped[reason] for clients in several))
    yield from (transitions, seconds, dropped)


def _summed(several: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    total: Counter[Key] = Counter()
    for each in several:
        total.update(each)
    return total


def _histogram(name: str, about: str, several: list[Buckets]) -> Metric:
    """Nanoseconds in, seconds out; all of `several` have the same bounds."""
    bounds = [f"{bound / SECOND:g}" for bound in several[0].bounds] if several else []
    counts = [sum(column) for column in zip(*(each.counts for each in several), strict=True)] or [0]
    buckets = list(zip([*bounds, "+Inf"], accumulate(counts), strict=True))
    total = sum(each.sum for each in several) / SECOND
    return HistogramMetricFamily(f"chaosproxy_{name}", about, buckets=buckets, sum_value=total)


def _gauge(name: str, about: str, value: int) -> Metric:
    return GaugeMetricFamily(f"chaosproxy_{name}", about, value)


def _loop_name() -> str:
    try:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        return "none"
