"""Families of metrics, made of plain integers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from ..tally import Buckets
from ..units import SECOND

Key = TypeVar("Key")


def histogram(name: str, about: str, several: list[Buckets]) -> Metric:
    """Nanoseconds in, seconds out; all of `several` have the same bounds."""
    bounds = [f"{bound / SECOND:g}" for bound in several[0].bounds] if several else []
    counts = [sum(column) for column in zip(*(each.counts for each in several), strict=True)] or [0]
    buckets = list(zip([*bounds, "+Inf"], accumulate(counts), strict=True))
    total = sum(each.sum for each in several) / SECOND
    return HistogramMetricFamily(f"chaosproxy_{name}", about, buckets=buckets, sum_value=total)


def gauge(name: str, about: str, value: int) -> Metric:
    return GaugeMetricFamily(f"chaosproxy_{name}", about, value)


def summed(several: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    total: Counter[Key] = Counter()
    for each in several:
        total.update(each)
    return total
