"""What all connections of a proxy have met, counted in plain integers on the way and read at scrape time."""

from bisect import bisect_left
from dataclasses import dataclass, field

from .units import MILLISECOND

_MILLISECONDS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
DELAY_BOUNDS = tuple(bound * MILLISECOND for bound in _MILLISECONDS)
ERROR_BOUNDS = tuple(bound * MILLISECOND // 10 for bound in _MILLISECONDS)


class Buckets:
    """How often a time fell below each bound, and the sum of all, in nanoseconds. Plain integers, read at scrape."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one: above all bounds
        self.sum = 0

    def add(self, time: int) -> None:
        self.counts[bisect_left(self.bounds, time)] += 1
        self.sum += time


class Tally:
    """What all connections of a proxy have met."""

    def __init__(self) -> None:
        self.strikes: dict[str, int] = {}  # by fault; one for each message or connection that was struck
        self.delays = Buckets(DELAY_BOUNDS)  # that rules have added
        self.delay_errors = Buckets(ERROR_BOUNDS)  # how much later than it was due something left

    def strike(self, fault: str) -> None:
        self.strikes[fault] = self.strikes.get(fault, 0) + 1


@dataclass
class Totals:
    """Counts that outlive connections, for metrics and summaries."""

    attempts: int = 0
    connections: int = 0
    opened: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)  # of attempts: opened, refused_4xx …, failed
    requests: dict[str, int] = field(default_factory=dict)  # plain ones: 2xx …, failed
    closes: dict[tuple[str, str], int] = field(default_factory=dict)  # by who and code
    frames: list[list[int]] = field(default_factory=lambda: [[0] * 16, [0] * 16])  # of ended connections
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    dials_delayed: int = 0

    def count_outcome(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def count_request(self, outcome: str) -> None:
        self.requests[outcome] = self.requests.get(outcome, 0) + 1

    def count_close(self, by: str, how: str, code: int | None) -> None:
        key = (by, _code_label(code) if how == "close" else how)
        self.closes[key] = self.closes.get(key, 0) + 1


def _code_label(code: int | None) -> str:
    """A bounded label: the registered codes by number, others by class."""
    if code is None:
        return "none"
    return str(code) if 1000 <= code <= 1015 else f"{code // 1000}xxx"
