"""What went through and what became of it: attempts, connections, frames, faults, ends."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, Metric

from ..faults import FAULTS
from ..meter import bytes_from, frames_from
from ..session import Session
from ..tally import Tally, Totals
from ..wire.frames import SIDES
from ..wire.messages import OPCODE_NAMES
from .families import gauge, histogram

_OUTCOMES = ("opened", "failed", "dismissed", "refused_2xx", "refused_3xx", "refused_4xx", "refused_5xx")
_REQUEST_OUTCOMES = ("2xx", "3xx", "4xx", "5xx", "failed")
_ENDINGS = frozenset({"fin", "reset", "timeout", "none", *map(str, range(1000, 1016)), "1xxx", "2xxx", "3xxx", "4xxx"})
_INITIATORS = frozenset({"client", "server", "rule", "proxy"})


def connections(totals: list[Totals], sessions: list[Session]) -> Iterator[Metric]:
    yield gauge("open_connections", "Connections of clients that are not over.", len(sessions))
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


def traffic(totals: list[Totals], sessions: list[Session]) -> Iterator[Metric]:
    frames = CounterMetricFamily(
        "chaosproxy_frames", "Frames received from a peer, by opcode.", labels=["direction", "opcode"]
    )
    received = CounterMetricFamily(
        "chaosproxy_received_bytes", "Bytes received from a peer behind its handshake.", labels=["direction"]
    )
    for side in SIDES:
        by_name = dict.fromkeys([*OPCODE_NAMES.values(), "reserved"], 0)
        for opcode, count in enumerate(frames_from(side, totals, sessions)):
            by_name[OPCODE_NAMES.get(opcode, "reserved")] += count
        for name, count in by_name.items():
            frames.add_metric([side.label, name], count)
        received.add_metric([side.label], bytes_from(side, totals, sessions))
    yield frames
    yield received


def chaos(totals: list[Totals], tallies: list[Tally]) -> Iterator[Metric]:
    faults = CounterMetricFamily("chaosproxy_faults", "Faults that have struck.", labels=["fault"])
    for fault in FAULTS:
        faults.add_metric([fault], sum(tally.strikes.get(fault, 0) for tally in tallies))
    yield faults
    delays = [tally.delays for tally in tallies]
    yield histogram("injected_delay_seconds", "Delays that rules have added, by piece of data.", delays)
    errors = [tally.delay_errors for tally in tallies]
    yield histogram("delay_error_seconds", "How much later than it was due delayed data left.", errors)
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
