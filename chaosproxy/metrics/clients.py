"""What clients did: their states, how they got over losses, and whether that is good enough."""

from collections.abc import Callable, Iterator
from time import perf_counter_ns

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..expectations import Outcome
from ..observe import CONNECTED, CONNECTING, DROPS, LOST, OTHER, STATES, Clients, Source
from ..recoveries import Recoveries
from ..units import SECOND
from ..verdict import Judge
from .families import histogram, summed

STATES_KNOWN = (
    *((state, Source.REPORTED.value) for state in sorted({*STATES, OTHER} - {LOST})),
    *((state, Source.INFERRED.value) for state in (CONNECTED, CONNECTING, LOST)),
)
"""Each has a series from the start, so that a rate sees its first second."""
JUDGED_EVERY = SECOND
JUDGING_SHARE = 50  # no more than one part in so many of the time is spent on judging for scrapes


class Standing:
    """How many rows of a verdict stand how, judged anew at a scrape, though not more often than is cheap."""

    def __init__(self, judge: Callable[[], Judge | None], stopwatch: Callable[[], int] = perf_counter_ns) -> None:
        self._judge = judge
        self._stopwatch = stopwatch
        self._judged: Judge | None = None
        self._due = 0
        self._counts: dict[Outcome, int] = {}

    def counts(self, now: int) -> dict[Outcome, int] | None:
        """Rows by how they stand; None where nobody judges."""
        judge = self._judge()
        if judge is None:
            return None
        if judge is not self._judged or now >= self._due:
            began = self._stopwatch()
            rows = judge.verdict(now).rows
            took = self._stopwatch() - began
            self._judged, self._due = judge, now + max(JUDGED_EVERY, took * JUDGING_SHARE)
            self._counts = {outcome: sum(row.outcome is outcome for row in rows) for outcome in Outcome}
        return self._counts


def client_states(several: list[Clients], now: int) -> Iterator[Metric]:
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
    for key, changes in summed([clients.transitions for clients in several]).items():
        transitions.add_metric(key, changes)
    for of_state, time in summed(
        [dict.fromkeys(STATES_KNOWN, 0), *(clients.spent(now) for clients in several)]
    ).items():
        seconds.add_metric(of_state, time / SECOND)
    for reason in DROPS:
        dropped.add_metric([reason], sum(clients.dropped[reason] for clients in several))
    yield from (transitions, seconds, dropped)


def recoveries(several: Recoveries) -> Iterator[Metric]:
    yield histogram(
        "reconnect_delay_seconds",
        "Time from the end of a client's last connection or attempt to its next attempt; 0 where that came before.",
        [several.reconnects],
    )
    yield histogram(
        "detection_seconds",
        "Time from the fault that silenced a client's connection to the client's own act before the heal: "
        "it left, tried anew, or reported another state.",
        [several.detections],
    )
    yield histogram(
        "recovery_seconds",
        "Time from the loss of a client's last connection (the fault that silenced it, or its end, whichever came "
        "first) until it has another: open, or established where a protocol is spoken.",
        [several.recoveries],
    )


def expectations(standings: list[Standing], now: int) -> Iterator[Metric]:
    """Only where somebody judges."""
    counted = [counts for standing in standings if (counts := standing.counts(now)) is not None]
    if not counted:
        return
    family = GaugeMetricFamily(
        "chaosproxy_expectations", "Rows of the verdict by how they stand, some seconds old at most.", labels=["result"]
    )
    for outcome in Outcome:
        family.add_metric([outcome.value], sum(counts[outcome] for counts in counted))
    yield family
