"""From measurements to figures: percentiles, medians over rounds, ratios. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Sample(NamedTuple):
    """What one run of one workload through one contender gave."""

    messages: int
    payload_bytes: int
    seconds: float
    p50_us: float
    p99_us: float
    cpu_us: float | None
    """CPU time per echoed message of the proxy's processes; None where there is no proxy."""


Rounds = Mapping[int, Sample]
Samples = Mapping[tuple[str, str], Rounds]
"""By names of workload and contender, then by round."""


class Figures(NamedTuple):
    """The medians over the rounds for one workload and one contender."""

    workload: str
    contender: str
    messages_per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float | None
    cpu_ratio: float | None
    cpu_ratio_least: float | None
    cpu_ratio_most: float | None


def percentile(counted: Iterable[tuple[int, int]], share: float) -> int:
    """Return the nearest-rank percentile of (value, how many times) pairs."""
    ordered = sorted(counted)
    rank = share * sum(times for _, times in ordered)
    reached = 0
    for value, times in ordered:
        reached += times
        if reached >= rank:
            return value
    raise ValueError("no values")


def compare(samples: Samples, references: Sequence[str]) -> list[Figures]:
    """Take medians over the rounds, and ratios of CPU time to the reference that is cheapest for the same workload."""
    figures = []
    for (workload, contender), rounds in samples.items():
        candidates = (samples.get((workload, name), {}) for name in references)
        reference = min(candidates, key=lambda each: _median(cpu_times(each)) or float("inf"), default={})
        ratios = cpu_ratios(rounds, reference)
        figures.append(
            Figures(
                workload,
                contender,
                messages_per_second=median(sample.messages / sample.seconds for sample in rounds.values()),
                p50_us=median(sample.p50_us for sample in rounds.values()),
                p99_us=median(sample.p99_us for sample in rounds.values()),
                cpu_us=_median(cpu_times(rounds)),
                cpu_ratio=_median(ratios),
                cpu_ratio_least=min(ratios, default=None),
                cpu_ratio_most=max(ratios, default=None),
            )
        )
    return figures


def cpu_times(rounds: Rounds) -> list[float]:
    """Return the known CPU times per message, in microseconds."""
    return [sample.cpu_us for sample in rounds.values() if sample.cpu_us is not None]


def cpu_ratios(rounds: Rounds, reference: Rounds) -> list[float]:
    """Divide round by round, since a noisy machine is slow or fast for minutes, and then for all alike."""
    pairs = ((sample.cpu_us, reference[turn].cpu_us) for turn, sample in rounds.items() if turn in reference)
    return [cost / other for cost, other in pairs if cost is not None and other]


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
