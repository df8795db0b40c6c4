"""Faults of timing. TCP keeps order, so do they: what is due earlier still waits for what came before it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from pydantic import model_validator

from ..units import Duration, expected
from .base import Delivery, Dice, Fault, Moment


class At(StrEnum):
    """What of a connection waits."""

    ACCEPT = "accept"
    REQUEST = "request"
    RESPONSE = "response"
    FIRST_FRAME = "first_frame"


_MOMENTS = {
    At.ACCEPT: Moment.ACCEPT,
    At.REQUEST: Moment.ASK,
    At.RESPONSE: Moment.ANSWER,
    At.FIRST_FRAME: Moment.MESSAGE,
    None: Moment.MESSAGE,
}


class Latency(Fault):
    """Delays every message, with jitter if wanted, in order; or, with `at`, one moment of a connection's opening.

    The kernel accepts connections by itself: at accept, a client is connected at once, and nothing of it is read until
    the delay has passed. A delayed handshake goes on at once when its client ends.
    """

    name: ClassVar = "latency"
    family: ClassVar = "timing"
    moments: ClassVar = frozenset(_MOMENTS.values())
    shorthand: ClassVar = "delay"
    heals: ClassVar = "new messages pass at once; what is held keeps its due time, and order is kept"
    is_timing: ClassVar = True
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

    at: At | None = None
    """What waits, once per connection, in place of every message: accept (a new client, before anything of it is read),
    request (the complete upgrade request, before the server is dialled), response (the server's complete answer, 101 or
    refusal, and all behind it) or first_frame (the first message of each direction, and all behind it)."""

    @model_validator(mode="after")
    def _jitter_within_delay(self) -> "Latency":
        if self.jitter > self.delay:
            raise expected("a jitter of at most the delay: a message can't leave before it came")
        return self

    @property
    def acts_at(self) -> frozenset[Moment]:
        return frozenset({_MOMENTS[self.at]})

    @property
    def is_for_first(self) -> bool:  # type: ignore[override]
        return self.at is At.FIRST_FRAME

    def sample(self, dice: Dice) -> int:
        """One delay, in nanoseconds."""
        return self.delay + (int((dice.throw() * 2 - 1) * self.jitter) if self.jitter else 0)

    def wait(self, dice: Dice) -> int:
        return self.sample(dice)

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        return (delivery._replace(due=delivery.due + self.sample(dice)),)
