"""Faults of timing. TCP keeps order, so do they: what is due earlier still waits for what came before it."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import model_validator

from ..units import Duration, expected
from .base import Delivery, Dice, Fault, Moment


class Latency(Fault):
    """Delays every message, with jitter if wanted, in order.

    With `request: http` in `when:`, the head of each response to a plain request; the request itself goes on at once.
    """

    name: ClassVar = "latency"
    family: ClassVar = "timing"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    shorthand: ClassVar = "delay"
    heals: ClassVar = "new messages pass at once; what is held keeps its due time, and order is kept"
    is_timing: ClassVar = True
    acts_on_http: ClassVar = True
    example: ClassVar = """\
phases:
  - name: slow
    rules:
      - latency: {delay: 300ms, jitter: 100ms}
        when: {from: server}
"""

    delay: Duration
    """How long each message waits."""
    jitter: Duration = 0
    """Each message's own deviation from the delay, up to this much either way (uniform); at most the delay."""

    @model_validator(mode="after")
    def _jitter_within_delay(self) -> "Latency":
        if self.jitter > self.delay:
            raise expected("a jitter of at most the delay: a message can't leave before it came")
        return self

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        deviation = int((dice.throw() * 2 - 1) * self.jitter) if self.jitter else 0
        return (delivery._replace(due=delivery.due + self.delay + deviation),)
