"""Faults of timing. TCP keeps order, so do they: what is due earlier still waits for what came before it."""

from collections.abc import Sequence
from enum import StrEnum
from statistics import NormalDist
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..pacing import Bucket, Slicer, Stretch
from ..units import MICROSECOND, MILLISECOND, Duration, Rate, Size, expected
from .base import Delivery, Dice, Fault, Moment

_STANDARD = NormalDist()
_DEVIATIONS_MAX = 3.0


class Distribution(StrEnum):
    """How jitter is spread."""

    UNIFORM = "uniform"
    NORMAL = "normal"


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
    the delay has passed. A delayed handshake goes on at once when its client ends. With `request: http` in `when:`, the
    head of each response to a plain request waits; the request itself goes on at once.
    """

    name: ClassVar = "latency"
    family: ClassVar = "timing"
    moments: ClassVar = frozenset(_MOMENTS.values())
    shorthand: ClassVar = "delay"
    heals: ClassVar = "new messages pass at once; what is held keeps its due time, and order is kept"
    is_timing: ClassVar = True
    acts_on_bytes: ClassVar = True
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
    """Each message's own deviation from the delay: up to this much either way, or, where it is normal, this much as
    the standard deviation. At most the delay."""
    distribution: Distribution = Distribution.UNIFORM
    """uniform, or normal (cut off at three standard deviations, and where the message would leave before it came)."""
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

    def misfit_on_bytes(self) -> str:
        if self.at in (None, At.ACCEPT):
            return ""
        return f"at: {self.at} is a part of WebSocket, and tcp:// carries none; use at: accept, or leave it out"

    def sample(self, dice: Dice) -> int:
        """One delay, in nanoseconds."""
        if not self.jitter:
            return self.delay
        if self.distribution is Distribution.UNIFORM:
            return self.delay + int((dice.throw() * 2 - 1) * self.jitter)
        deviation = _STANDARD.inv_cdf(min(max(dice.throw(), 1e-9), 1 - 1e-9))
        deviation = min(max(deviation, -_DEVIATIONS_MAX), _DEVIATIONS_MAX)
        # In whole microseconds, so that the last bits of a platform's logarithm make no difference.
        return max(0, self.delay + round(deviation * self.jitter / MICROSECOND) * MICROSECOND)

    def wait(self, dice: Dice) -> int:
        return self.sample(dice)

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        return (delivery._replace(due=delivery.due + self.sample(dice)),)


class TraceStretch(BaseModel):
    """A stretch of a link's trace."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rate: Rate
    """The rate of this stretch; 0B/s for none."""
    lasts: Annotated[Duration, Field(ge=MILLISECOND)]
    """How long it lasts."""


class _Pacing(Fault):
    family: ClassVar = "timing"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "what has not left yet leaves at once, in order"
    is_timing: ClassVar = True
    is_pacing: ClassVar = True
    acts_on_bytes: ClassVar = True


class Bandwidth(_Pacing):
    """Limits how many bytes per second leave, as a narrow link does; frames leave in parts."""

    name: ClassVar = "bandwidth"
    shorthand: ClassVar = "rate"
    example: ClassVar = """\
phases:
  - name: narrow
    rules:
      - bandwidth: {rate: 64kbit/s, burst: 4KiB}
        when: {from: server}
"""

    rate: Rate | None = None
    """How much passes in a second, in each direction (one of them with `when: {from: …}`)."""
    trace: tuple[TraceStretch, ...] = ()
    """In place of one rate: stretches of a rate and how long it lasts, over and over from when the rule begins."""
    burst: Size = 0
    """So many bytes pass at once after a time in which nothing did."""
    share: Literal["connection", "all"] = "connection"
    """Whether each connection has this rate to itself, or all share it."""

    @model_validator(mode="after")
    def _one_rate(self) -> "Bandwidth":
        if (self.rate is None) == (not self.trace):
            raise expected("either rate: or trace:")
        if self.rate == 0 or (self.trace and not any(stretch.rate for stretch in self.trace)):
            raise expected("a rate above 0B/s (where nothing shall pass, that is the fault stall)")
        return self

    @property
    def is_shared(self) -> bool:  # type: ignore[override]
        return self.share == "all"

    def pacer(self, dice: Dice, since: int) -> Bucket:
        stretches = [Stretch(stretch.rate, stretch.lasts) for stretch in self.trace] or [Stretch(self.rate or 0, 0)]
        return Bucket(stretches, self.burst, since)


class Slice(_Pacing):
    """Cuts what leaves into small TCP segments with a gap behind each; frames end anywhere in them."""

    name: ClassVar = "slice"
    shorthand: ClassVar = "size"
    example: ClassVar = """\
phases:
  - name: crumbs
    rules:
      - slice: {size: 8B, variation: 4B, gap: 5ms}
"""

    size: Size
    """Of each segment's payload."""
    variation: Size = 0
    """Each segment's own deviation from the size, up to this much either way; less than the size."""
    gap: Annotated[Duration, Field(ge=MILLISECOND)] = 10 * MILLISECOND
    """How long to wait behind each; at least 1ms."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "Slice":
        if self.variation >= self.size:
            raise expected("a size of at least 1B, and a variation of less than it")
        return self

    def pacer(self, dice: Dice, since: int) -> Slicer:
        def next_size() -> int:
            dice.turn()
            return self.size - self.variation + int(dice.throw() * (2 * self.variation + 1))

        return Slicer(next_size, self.gap)


class Stall(Fault):
    """Keeps messages back until it heals; connections stay open, and nothing is lost."""

    name: ClassVar = "stall"
    family: ClassVar = "timing"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "what was kept leaves at once, in order; what had to wait for a latency still does"
    is_timing: ClassVar = True
    keeps: ClassVar = True
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: stuck
    lasts: 8s
    rules:
      - stall: {}
        when: {from: server}
"""
