"""What a fault is: immutable data plus one method, the dice it throws, and the moments at which it can act.

The class is the only source of a fault's reference: the docstring's first line is its help everywhere, the fields with
their descriptions are its options, `example` is a profile that shows it. To add one, write the class and list it in
`faults/__init__.py`.
"""

from collections.abc import Sequence
from enum import Enum, StrEnum
from hashlib import blake2b
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..events import Effect
from ..wire.messages import Message


class Moment(Enum):
    """When a fault can act."""

    LISTEN = "on the listener"
    ACCEPT = "when a client connects"
    ASK = "on the upgrade request"
    PHASE = "at the start of its phase, on live connections"
    OPEN = "when a connection opens"
    MESSAGE = "on messages"


class Hits(StrEnum):
    """Which connections an ending or half-open fault acts on."""

    LIVE = "live"
    NEW = "new"
    ALL = "all"


class Delivery(NamedTuple):
    """A message on its way: when it is due, and what a fault has changed of it."""

    due: int
    message: Message | None  # None where only timing is at stake and the message was not assembled
    content: bytes | None = None  # what its sender meant, inflated; None where it can't be read
    payload: bytes | None = None  # what goes in its place
    opcode: int | None = None  # and under which opcode

    @property
    def body(self) -> bytes | None:
        """What it says so far, after the faults that have acted on it."""
        return self.content if self.payload is None else self.payload


class Dice:
    """Chance without state: a throw is a keyed hash of its place.

    The place is (seed, rule, visit of the phase, client, connection, side, ordinal of the message, throw).
    The same place gives the same throw, whatever else happens, so adding a rule never moves another rule's strikes.
    """

    __slots__ = ("_key", "_prefix", "_throws", "ordinal")

    def __init__(self, seed: int, place: Sequence[str | int]) -> None:
        self._key = seed.to_bytes(16, "big", signed=True)
        self._prefix = "\x1f".join(map(str, place)).encode()
        self._throws = 0
        self.ordinal = 0

    def turn(self) -> None:
        """Go to the next message that satisfies the rule's other conditions."""
        self.ordinal += 1
        self._throws = 0

    def throw(self) -> float:
        """A number from 0 up to 1, for this ordinal and the next throw at it."""
        place = self._prefix + b"\x1f%d\x1f%d" % (self.ordinal, self._throws)
        self._throws += 1
        return int.from_bytes(blake2b(place, digest_size=8, key=self._key).digest(), "big") / 2**64


class Fault(BaseModel):
    """Base of all faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ClassVar[str]
    family: ClassVar[str]
    moments: ClassVar[frozenset[Moment]]
    shorthand: ClassVar[str | None] = None
    """The field that a bare value stands for: `close: 4200` is `close: {code: 4200}`."""
    heals: ClassVar[str]
    """What happens on a connection when the rule ends."""
    is_timing: ClassVar[bool] = False
    """Acts on when bytes leave and not on what they are, so messages need not be assembled for it."""
    is_loss: ClassVar[bool] = False
    """Removes or changes messages, so a compressed stream has to be followed from its first byte."""
    harms_server: ClassVar[bool] = False
    acts_on_http: ClassVar[bool] = False
    """Can act on plain HTTP requests too, where `when:` says so."""
    example: ClassVar[str]

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        """What becomes of one message: none, one or many deliveries."""
        return (delivery,)

    def effect(self) -> Effect | None:
        """What it does to a whole connection, if it is that kind of fault."""
        return None

    def delay_of_answer(self, dice: Dice) -> int:
        """How long the head of a plain response waits, in nanoseconds."""
        return sum(delivery.due for delivery in self.apply(Delivery(0, None), dice))

    @property
    def strikes(self) -> Hits:
        """Which connections it acts on without a message being named."""
        return getattr(self, "hits", Hits.NEW)

    @classmethod
    def help(cls) -> str:
        """One line."""
        return (cls.__doc__ or "").strip().partition("\n")[0]
