"""The faults of a recorded run, to be applied to new traffic: at the same client, connection, side and message.

Phases and rules are those of the recorded profile. Where a rule leaves it to `chance:`, `nth:`, `every:` or `first:`
whom it strikes, the record says so in their place; all its other conditions still hold, and so does what the fault
itself throws dice for. Not in the record, and so left to the same seed: which single messages a rule of timing has
delayed (a journal tells the first of each side only), and which plain HTTP requests were hit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import JsonValue

from .events import Struck
from .faults import FAULTS
from .link import Link
from .profile import Profile
from .replay import BadRecording
from .rule import BoundRule
from .session import Session
from .wire.frames import Side
from .world import Options, Step, World

Record = Mapping[str, JsonValue]

T = TypeVar("T", str, int)
D = TypeVar("D", str, int, None)

CHOOSING = ("chance", "nth", "every", "first")


class Strike(NamedTuple):
    """A fault's act on a connection, or on one message of it."""

    rule: str
    fault: str
    attempt: int
    client: str
    connection: int  # 0 where the attempt has no number as a connection yet
    side: str  # empty where it acted on the whole connection
    message: int | None
    turn: int | None

    @classmethod
    def of(cls, record: Record) -> "Strike":
        """Read the record of a strike. Raise BadRecording."""
        return cls(
            _field(record, "rule", str),
            _field(record, "fault", str),
            _field(record, "attempt", int, 0),
            _field(record, "client", str, ""),
            _field(record, "connection", int, 0),
            _field(record, "side", str, ""),
            _field(record, "message", int, None),
            _field(record, "turn", int, None),
        )

    @property
    def place(self) -> "Strike":
        """What it has in common with the same strike of another run."""
        is_timing = self.fault in FAULTS and FAULTS[self.fault].is_timing
        attempt = 0 if self.connection else self.attempt
        return self._replace(attempt=attempt, turn=None, message=None if is_timing else self.message)

    def __str__(self) -> str:
        client = f" of {self.client}" if self.client else ""
        where = f"connection {self.connection}" if self.connection else f"attempt {self.attempt}"
        message = f", message {self.message} from the {self.side}" if self.side and self.message else ""
        return f"{self.fault} (rule {self.rule}) at {where}{client}{message}"


class Outcome(NamedTuple):
    """What became of the recorded strikes."""

    recorded: int
    lost: list[Strike]  # those that found no place
    added: int  # strikes that were not recorded


class Script:
    """The strikes of a journal."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.by_hand: set[str] = set()  # rules that were added over the API; the profile does not have them
        self.strikes: list[Strike] = []
        for record in records:
            if record.get("event") == "struck":
                self.strikes.append(Strike.of(record))
            elif record.get("event") == "rule_changed" and record.get("change") == "added":
                self.by_hand.add(str(record.get("rule")))
        self._by_place: dict[tuple[str | int, ...], list[Strike]] = {}
        for strike in self.strikes:
            for place in ((strike.client, strike.connection), (f"attempt {strike.attempt}",)):
                self._by_place.setdefault((strike.rule, *place), []).append(strike)

    def link(self, rule: BoundRule, seed: int, place: Sequence[str | int], *rest: Any) -> Link:
        """A rule on a connection, as a world makes it: one that chooses whom it strikes follows the script."""
        chooses = any(getattr(rule.when, field) is not None for field in CHOOSING)
        if not chooses or rule.when.request is not None or _is_left_to_seed(rule):
            return Link(rule, seed, place, *rest)
        _, client, connection = place
        at = (client, connection) if isinstance(connection, int) else (connection,)
        return ScriptedLink(self._by_place.get((rule.id, *at), []), rule, seed, place, *rest)

    def compare(self, strikes: Iterable[Strike]) -> Outcome:
        """Tell which of the recorded strikes are not among these."""
        missing = Counter(strike.place for strike in strikes)
        lost: list[Strike] = []
        for strike in self.strikes:
            if missing[strike.place] > 0:
                missing[strike.place] -= 1
            else:
                lost.append(strike)
        return Outcome(len(self.strikes), lost, missing.total())


class ScriptedLink(Link):
    """A rule on one connection that strikes where it is recorded to have struck."""

    __slots__ = ("_strikes",)

    def __init__(self, strikes: Sequence[Strike], *given: Any) -> None:
        super().__init__(*given)
        self._strikes = list(strikes)  # still to come

    def hits_connection(self) -> bool:
        if self.is_chosen is None:
            self.is_chosen = self.when.chance is None or bool(self._strikes)
            if self.when.chance is not None:
                self.dice[Side.CLIENT].turn()
                self.dice[Side.CLIENT].throw()
        return self.is_chosen

    def takes_turn(self, side: Side, message: int | None = None) -> bool:
        if self.is_for_first and self.is_chosen:
            return super().takes_turn(side, message)
        dice = self.dice[side]
        dice.turn()
        turn = dice.ordinal
        for strike in self._strikes:
            is_it = strike.turn == turn if message is None else strike.message == message
            if strike.side == side.label and is_it:
                self._strikes.remove(strike)
                if message is not None and strike.turn is not None:
                    dice.go_to(strike.turn)  # what the fault itself throws for is then as it was
                if self.when.chance is not None:
                    dice.throw()
                return True
        return False


class ScriptedWorld(World):
    """A world whose faults strike as they are recorded."""

    def __init__(self, profile: Profile, options: Options, now: int, script: Script) -> None:
        super().__init__(profile, options, now)
        self._make_link = script.link
        self.script = script
        self.strikes: list[Strike] = []
        self._fresh: list[Struck] = []  # of the session that is being settled

    def settle(self, session: Session, now: int) -> list[Step]:
        steps = super().settle(session, now)
        for event in self._fresh:  # only now: by the numbers that a journal has of them
            place = (
                session.number,
                session.client,
                session.connection,
                event.side.label if event.side is not None else "",
            )
            self.strikes.append(Strike(event.rule, event.fault, *place, event.message, event.turn))
        self._fresh.clear()
        return steps

    @property
    def outcome(self) -> Outcome:
        """What became of the script so far."""
        return self.script.compare(self.strikes)

    def _hear(self, session: Session, now: int) -> None:
        self._fresh += [event for event in session.events if isinstance(event, Struck)]
        super()._hear(session, now)


def _field(record: Record, name: str, kind: type[T], *default: D) -> T | D:
    value = record.get(name)
    if value is None and default:
        return default[0]
    if not isinstance(value, kind):
        raise BadRecording(f"record {record.get('seq')}: expected {name} to be of type {kind.__name__}")
    return value


def _is_left_to_seed(rule: BoundRule) -> bool:
    """Whether a rule delays single messages: then the record does not tell which."""
    return rule.acts_on_messages and rule.fault.is_timing and not (rule.fault.is_pacing or rule.fault.is_for_first)
