"""Prometheus metrics, read from plain integers at the time of a scrape; nothing is counted twice, nothing on the way.

Labels are closed sets: directions, opcodes, faults, close codes by class, the names of the profile's phases. Nothing a
peer says becomes a label. The registry is our own, so several proxies and tests may live in one process.
"""

from .collector import Metrics

__all__ = ["Metrics"]
