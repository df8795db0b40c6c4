"""Faults of loss: by message, never half of one."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from ..units import MILLISECOND, SECOND, Duration, Integer
from .base import Delivery, Dice, Fault, Moment

COPIES_MAX = 100


class Drop(Fault):
    """Drops messages; their senders are not told."""

    name: ClassVar = "drop"
    family: ClassVar = "loss"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "later messages pass; what was dropped stays lost"
    is_loss: ClassVar = True
    on_bytes_instead: ClassVar = "stall or reset"
    example: ClassVar = """\
seed: 7
phases:
  - name: lossy
    rules:
      - drop: {}
        when: {from: client, chance: 5%}
"""

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        return ()


class Duplicate(Fault):
    """Delivers messages more than once, as brokers that deliver at least once do."""

    name: ClassVar = "duplicate"
    family: ClassVar = "loss"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    shorthand: ClassVar = "copies"
    heals: ClassVar = "later messages pass once; copies under way still come"
    is_loss: ClassVar = True
    example: ClassVar = """\
seed: 7
phases:
  - name: twice
    rules:
      - duplicate: {copies: 1, gap: 200ms}
        when: {from: server, chance: 10%}
"""

    copies: Annotated[Integer, Field(ge=1, le=COPIES_MAX)] = 1
    """How many beside the original."""
    gap: Duration = 0
    """How long each copy comes behind the one before it; other messages go between. At once where it is 0."""

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        later = [delivery._replace(lingers=delivery.lingers + self.gap * turn) for turn in range(1, self.copies + 1)]
        return (delivery, *later)


class Reorder(Fault):
    """Lets later messages overtake a message; the only fault that changes their order."""

    name: ClassVar = "reorder"
    family: ClassVar = "loss"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    shorthand: ClassVar = "window"
    heals: ClassVar = "a message that waits to be overtaken leaves at once"
    is_loss: ClassVar = True
    sets_aside: ClassVar = True
    example: ClassVar = """\
seed: 7
phases:
  - name: shuffled
    rules:
      - reorder: {window: 3}
        when: {from: server, chance: 20%}
"""

    window: Annotated[Integer, Field(ge=1, le=1000)] = 1
    """By how many messages one is overtaken at most; at least by one. Those are not struck themselves."""
    within: Annotated[Duration, Field(ge=MILLISECOND)] = SECOND
    """Where fewer come, it leaves after this time."""

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        overtakers = 1 + int(dice.throw() * self.window)
        return (delivery._replace(overtakers=overtakers, lingers=self.within),)
