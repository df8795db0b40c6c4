"""A rule in its relation to one connection."""

from collections.abc import Sequence

from .faults import Dice, Fault, Moment
from .rule import BoundRule
from .wire.frames import Side


class Link:
    """One rule on one connection: its dice per side, and what it has done."""

    __slots__ = ("dice", "has_acted", "is_chosen", "is_steady", "judges", "rule", "strikes", "told", "when")

    def __init__(self, rule: BoundRule, seed: int, place: Sequence[str | int]) -> None:
        self.rule = rule
        self.when = rule.when.joined_by(rule.fault.conditions())
        self.dice = [Dice(seed, (rule.id, *place, side.label)) for side in Side]
        self.has_acted = False
        self.is_chosen: bool | None = None  # by the throw for the connection as a whole, once thrown
        self.strikes = 0
        self.told: set[str] = set()  # what has been journalled once
        self.judges = not rule.fault.is_timing or self.when.reads_content
        # A timing rule that names no messages is a property of the link: control frames are held too.
        self.is_steady = rule.fault.is_timing and not self.when.names_messages and self.when.chance is None

    @property
    def fault(self) -> Fault:
        return self.rule.fault

    @property
    def acts_on_connections(self) -> bool:
        """Whether the fault acts on a whole connection, with no message being named."""
        return self.fault.effect() is not None and not self.when.names_messages

    def acts_on_messages(self, side: Side) -> bool:
        return Moment.MESSAGE in self.fault.moments and not self.acts_on_connections and self.when.takes_side(side)

    def takes_turn(self, side: Side) -> bool:
        """Count a message that satisfies all other conditions; whether the counting ones and chance hold."""
        dice = self.dice[side]
        dice.turn()
        if not self.when.takes_ordinal(dice.ordinal):
            return False
        return self.when.chance is None or dice.throw() < self.when.chance
