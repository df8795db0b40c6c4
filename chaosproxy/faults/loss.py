"""Faults of loss: by message, never half of one."""

from collections.abc import Sequence
from typing import ClassVar

from .base import Delivery, Dice, Fault, Moment


class Drop(Fault):
    """Drops messages; their senders are not told."""

    name: ClassVar = "drop"
    family: ClassVar = "loss"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "later messages pass; what was dropped stays lost"
    is_loss: ClassVar = True
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
