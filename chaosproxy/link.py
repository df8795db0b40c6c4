"""A rule in its relation to one connection."""

from collections.abc import Sequence

from .faults import Dice, Fault, Moment
from .pacing import Pacer
from .rule import BoundRule
from .wire.frames import Side


class Link:
    """One rule on one connection: its dice per side, and what it has done."""

    __slots__ = (
        "_pacers",
        "_place",
        "_seed",
        "_since",
        "dice",
        "has_acted",
        "is_chosen",
        "is_pacing",
        "is_steady",
        "judges",
        "rule",
        "strikes",
        "told",
        "when",
    )

    def __init__(
        self,
        rule: BoundRule,
        seed: int,
        place: Sequence[str | int],
        since: int = 0,
        shared: dict[Side, Pacer] | None = None,
    ) -> None:
        self.rule = rule
        self.when = rule.when.joined_by(rule.fault.conditions())
        self._seed, self._place, self._since = seed, (rule.id, *place), since
        self._pacers: dict[Side, Pacer] = {} if shared is None else shared
        self.is_pacing = rule.fault.is_pacing
        self.dice = [Dice(seed, (*self._place, side.label)) for side in Side]
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

    def pacer(self, side: Side) -> Pacer:
        """What limits how fast bytes leave this side; one for each connection, or one for all where they share it."""
        if side not in self._pacers:
            dice = Dice(self._seed, (*self._place, side.label, "pace"))
            self._pacers[side] = self.fault.pacer(dice, self._since)
        return self._pacers[side]

    def acts_on_messages(self, side: Side) -> bool:
        if Moment.MESSAGE not in self.fault.moments or self.acts_on_connections or not self.when.takes_side(side):
            return False
        return not self.is_pacing or self.hits_connection()

    def hits_connection(self) -> bool:
        """Whether the rule hits the connection as a whole; one throw holds for as long as the rule does."""
        if self.is_chosen is None:
            self.is_chosen = self.when.chance is None or self.takes_turn(Side.CLIENT)
        return self.is_chosen

    def takes_turn(self, side: Side) -> bool:
        """Count a message that satisfies all other conditions; whether the counting ones and chance hold."""
        dice = self.dice[side]
        dice.turn()
        if not self.when.takes_ordinal(dice.ordinal):
            return False
        return self.when.chance is None or dice.throw() < self.when.chance
