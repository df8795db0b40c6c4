"""A rule in its relation to one connection."""

from collections.abc import Sequence

from .events import Break, Close, Finish, Silence
from .faults import Dice, Fault, Hits, Moment
from .match import Match
from .rule import BoundRule
from .wire.frames import Side

_RANK = {Break: 0, Finish: 1, Close: 2, Silence: 3}


def rank(fault: Fault) -> int:
    """The place in which a fault acts where several begin at once: the stronger, the earlier."""
    return _RANK.get(type(fault.effect()), 9)


class Link:
    """One rule on one connection: its dice per side, and what it has done."""

    __slots__ = ("dice", "has_acted", "is_chosen", "is_for_first", "is_steady", "judges", "rule", "strikes", "told")

    def __init__(self, rule: BoundRule, seed: int, place: Sequence[str | int]) -> None:
        self.rule = rule
        self.dice = [Dice(seed, (rule.id, *place, side.label)) for side in Side]
        self.has_acted = False
        self.is_chosen: bool | None = None  # by the throw for the connection as a whole, once thrown
        self.strikes = 0
        self.told: set[str] = set()  # what has been journalled once
        self.judges = not rule.fault.is_timing or rule.when.reads_content
        self.is_for_first = rule.fault.is_for_first  # of the messages, acts on the first of each side only
        # A timing rule that names no messages is a property of the link: control frames are held too.
        names_messages = rule.when.names_messages or rule.when.chance is not None or self.is_for_first
        self.is_steady = rule.fault.is_timing and not names_messages

    @property
    def fault(self) -> Fault:
        return self.rule.fault

    @property
    def when(self) -> Match:
        return self.rule.when

    @property
    def acts_on_connections(self) -> bool:
        """Whether the fault acts on a whole connection, with no message being named."""
        return self.fault.effect() is not None and not self.when.names_messages

    @property
    def acts_on_opening(self) -> bool:
        """Whether the fault acts on a connection as it opens."""
        is_for_new = getattr(self.fault, "at", None) is None and self.fault.strikes in (Hits.NEW, Hits.ALL)
        return Moment.OPEN in self.fault.moments and is_for_new and self.acts_on_connections

    def hits_connection(self) -> bool:
        """Whether the rule hits the connection as a whole; one throw holds for as long as the rule does."""
        if self.is_chosen is None:
            self.is_chosen = self.when.chance is None or self.takes_turn(Side.CLIENT)
        return self.is_chosen

    def acts_on_messages(self, side: Side) -> bool:
        if Moment.MESSAGE not in self.fault.acts_at or self.acts_on_connections or not self.when.takes_side(side):
            return False
        return not self.is_for_first or self.hits_connection()

    def takes_turn(self, side: Side) -> bool:
        """Count a message that satisfies all other conditions; whether the counting ones and chance hold."""
        dice = self.dice[side]
        if self.is_for_first and self.is_chosen:
            dice.ordinal = 1  # chance was thrown for the connection
            return True
        dice.turn()
        if not self.when.takes_ordinal(dice.ordinal):
            return False
        return self.when.chance is None or dice.throw() < self.when.chance
