"""A rule in its relation to one connection."""

from collections.abc import Sequence

from .effects import Break, Close, Dismiss, Finish, HalfClose, Silence
from .faults import Dice, Fault, Hits, Moment
from .pacing import Pacer
from .rule import BoundRule
from .wire.frames import Side

_RANK = {Break: 0, Finish: 1, Close: 2, Dismiss: 2, HalfClose: 3, Silence: 4}


def rank(fault: Fault) -> int:
    """The place in which a fault acts where several begin at once: the stronger, the earlier."""
    return _RANK.get(type(fault.effect()), 9)


class Link:
    """One rule on one connection: its dice per side, and what it has done."""

    __slots__ = (
        "_pacers",
        "_place",
        "_seed",
        "_since",
        "acts_on_connections",
        "dice",
        "has_acted",
        "is_chosen",
        "is_for_first",
        "is_pacing",
        "is_steady",
        "judges",
        "rests_until",
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
        # Whether the fault acts on a whole connection, with no message being named. Asked for again and again.
        self.acts_on_connections = rule.fault.effect() is not None and not self.when.names_messages
        self.is_pacing = rule.fault.is_pacing
        self.dice = [Dice(seed, (*self._place, side.label)) for side in Side]
        self.has_acted = False
        self.is_chosen: bool | None = None  # by the throw for the connection as a whole, once thrown
        self.strikes = 0
        self.rests_until = [-1, -1]  # by side: strikes no message (of a stream, no block) up to this one
        self.told: set[str] = set()  # what has been journalled once
        self.judges = not rule.fault.is_timing or self.when.reads_content
        self.is_for_first = rule.fault.is_for_first  # of the messages, acts on the first of each side only
        # A timing rule that names no messages is a property of the link: control frames are held too.
        names_messages = self.when.names_messages or self.when.chance is not None or self.is_for_first
        self.is_steady = rule.fault.is_timing and not names_messages

    @property
    def fault(self) -> Fault:
        return self.rule.fault

    @property
    def acts_on_asking(self) -> bool:
        """Whether the fault acts on a connection as it asks for an upgrade."""
        return self._acts_at(Moment.ASK, Hits.NEW)

    @property
    def acts_on_opening(self) -> bool:
        """Whether the fault acts on a connection as it opens."""
        return self._acts_at(Moment.OPEN, Hits.NEW) and self.fault.recurs is None

    @property
    def acts_on_live(self) -> bool:
        """Whether the fault acts on live connections as its phase begins."""
        return self._acts_at(Moment.PHASE, Hits.LIVE) and self.fault.recurs is None

    def _acts_at(self, moment: Moment, hits: Hits) -> bool:
        return moment in self.fault.acts_at and self.acts_on_connections and self.fault.strikes in (hits, Hits.ALL)

    def pacer(self, side: Side) -> Pacer:
        """What limits how fast bytes leave this side; one for each connection, or one for all where they share it."""
        if side not in self._pacers:
            dice = Dice(self._seed, (*self._place, side.label, "pace"))
            self._pacers[side] = self.fault.pacer(dice, self._since)
        return self._pacers[side]

    def acts_on_messages(self, side: Side) -> bool:
        if Moment.MESSAGE not in self.fault.acts_at or self.acts_on_connections or not self.when.takes_side(side):
            return False
        return not (self.is_pacing or self.is_for_first) or self.hits_connection()

    def hits_connection(self) -> bool:
        """Whether the rule hits the connection as a whole; one throw holds for as long as the rule does."""
        if self.is_chosen is None:
            self.is_chosen = self.when.chance is None or self.takes_turn(Side.CLIENT)
        return self.is_chosen

    def takes_turn(self, side: Side, message: int | None = None) -> bool:
        """Count a message that satisfies all other conditions; whether the counting ones and chance hold.

        `message` is its ordinal among all text and binary messages of its side, where it is one.
        """
        dice = self.dice[side]
        if self.is_for_first and self.is_chosen:
            dice.ordinal = 1  # chance was thrown for the connection
            return True
        dice.turn()
        if not self.when.takes_ordinal(dice.ordinal):
            return False
        return self.when.chance is None or dice.throw() < self.when.chance
