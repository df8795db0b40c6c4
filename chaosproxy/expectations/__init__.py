"""The one list of expectations."""

from .attempts import (
    AttemptsAtLeast,
    AttemptsAtMost,
    AttemptsPerSecondAtMost,
    Backoff,
    GivesUpAfter,
    GivesUpOn,
    NeverGivesUp,
    SpreadAtLeast,
)
from .base import After, Expectation, Finding, Outcome, Scene
from .carrying import Carrying, Missed, NoDuplicatesOnTheWire, NoGapOnTheWire
from .ending import CloseCode, ClosesCleanly
from .returning import DetectedWithin, ReconnectedWithin, Resubscribed, StaysConnected
from .subscribing import FreshAuth, OneConnection, SubscribesOnce
from .telling import Marked, States

EXPECTATIONS: dict[str, type[Expectation]] = {
    expectation.name: expectation
    for expectation in (
        *(DetectedWithin, ReconnectedWithin, Resubscribed, StaysConnected),
        *(SubscribesOnce, FreshAuth, OneConnection),
        *(AttemptsAtMost, AttemptsAtLeast, Backoff, GivesUpOn, GivesUpAfter, NeverGivesUp),
        *(AttemptsPerSecondAtMost, SpreadAtLeast),
        *(CloseCode, ClosesCleanly),
        *(States, Marked),
        *(NoDuplicatesOnTheWire, NoGapOnTheWire, Missed),
    )
}

__all__ = ["EXPECTATIONS", "After", "Carrying", "Expectation", "Finding", "Outcome", "Scene"]
