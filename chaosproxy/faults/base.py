"""What a fault is: immutable data plus one method, the dice it throws, and the moments at which it can act.

The class is the only source of a fault's reference: the docstring's first line is its help everywhere, the fields with
their descriptions are its options, `example` is a profile that shows it. To add one, write the class and list it in
`faults/__init__.py`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..effects import Effect
from ..pacing import Pacer
from ..wire.messages import Message


class Moment(Enum):
    """When a fault can act."""

    LISTEN = "on the listener"
    ACCEPT = "when a client connects"
    ASK = "on the upgrade request"
    ANSWER = "on the upstream's answer"
    PHASE = "at the start of its phase, on live connections"
    OPEN = "when a connection opens"
    MESSAGE = "on messages"


# Of the conditions of a match, by their fields, those that speak of single messages and not of whole connections.
OF_SINGLE_MESSAGES = (
    *("opcode", "event", "channel", "code", "text", "json_values"),
    *("size", "age", "nth", "every", "first"),
)
OF_MESSAGES = ("sender", *OF_SINGLE_MESSAGES)


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
    fragment_bytes: int = 0  # in frames of so many bytes of payload; 0 for one frame
    overtakers: int = 0  # so many later messages may overtake it; 0 for any number
    lingers: int = 0  # for at most so long it lets others overtake it

    @property
    def body(self) -> bytes | None:
        """What it says so far, after the faults that have acted on it."""
        return self.content if self.payload is None else self.payload

    @property
    def is_untouched(self) -> bool:
        """Whether it leaves as it came, in its place."""
        return self.payload is None and not self.fragment_bytes and not self.lingers


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

    def go_to(self, ordinal: int) -> None:
        """Go to a place by its number: of a byte, or a block, where a stream has no messages to be counted."""
        self.ordinal = ordinal
        self._throws = 0

    def throw(self) -> float:
        """A number from 0 up to 1, for this ordinal and the next throw at it."""
        place = self._prefix + b"\x1f%d\x1f%d" % (self.ordinal, self._throws)
        self._throws += 1
        return int.from_bytes(blake2b(place, digest_size=8, key=self._key).digest(), "big") / 2**64


BLOCK_BYTES = 1024  # of a stream without messages: what `chance` picks, and what is damaged as a whole


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
    is_for_first: ClassVar[bool] = False
    """Of the messages, acts only on the first of each direction of a connection."""
    is_loss: ClassVar[bool] = False
    """Removes or changes messages, so a compressed stream has to be followed from its first byte."""
    keeps: ClassVar[bool] = False
    """What it strikes, and so all behind it, stays here until the rule ends."""
    sets_aside: ClassVar[bool] = False
    """Lets later messages overtake what it strikes, and strikes none of those."""
    acts_behind: ClassVar[bool] = False
    """Its effect follows the message that causes it."""
    is_pacing: ClassVar[bool] = False
    """Acts on all bytes that leave, as a pacer; no message is named."""
    is_shared: ClassVar[bool] = False
    """One pacer serves all connections."""
    may_miss: ClassVar[bool] = False
    """May find nothing to change in a message; then that was no strike."""
    harms_server: ClassVar[bool] = False
    """May do harm to the server, whatever the match."""
    harms_receiver: ClassVar[bool] = False
    """May do harm to whoever gets the messages that it acts on: the server, unless only those from it are matched."""
    acts_on_bytes: ClassVar[bool] = False
    """Acts on a stream of bytes as well, so it can be used with a tcp:// upstream."""
    needs: ClassVar[str] = "messages"
    """Where it doesn't: what it acts on."""
    on_bytes_instead: ClassVar[str] = ""
    """Where it doesn't: what does something alike there."""
    garbles: ClassVar[bool] = False
    """Changes the bytes of a stream by their position (see `garble`)."""
    needs_tls: ClassVar[bool] = False
    """Acts on TLS with clients, so the listener has to speak it."""
    acts_on_http: ClassVar[bool] = False
    """Can act on plain HTTP requests too, where `when:` says so."""
    protocol: ClassVar[str] = ""
    """Acts on messages of this protocol, so the profile has to name it."""
    example: ClassVar[str]

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        """What becomes of one message: none, one or many deliveries."""
        return (delivery,)

    def reply(self, delivery: Delivery) -> Effect | None:
        """What the sender of a message gets in answer, where the fault takes the message away."""
        return None

    def effect(self) -> Effect | None:
        """What it does to a whole connection, if it is that kind of fault."""
        return None

    def conditions(self) -> Mapping[str, Any]:
        """Conditions on messages that it brings along, by the fields of Match; `when:` adds others."""
        return {}

    def unfit(self) -> Mapping[str, str] | None:
        """Keys of `when:` (by the fields of Match) that make no sense beside these options, with the reason.

        None leaves that to its moments.
        """
        return None

    @property
    def recurs(self) -> int | None:
        """Every how many nanoseconds it acts on an open connection, if it does."""
        return getattr(self, "interval", None)

    def pacer(self, dice: Dice, since: int) -> Pacer:
        """What limits how fast bytes leave, where `is_pacing`; `since` is when the rule began."""
        raise NotImplementedError

    @property
    def room(self) -> int | None:
        """How many connections there may be before it acts on new ones, if it lets any pass."""
        return getattr(self, "quota", None)

    def misfit_on_bytes(self) -> str:
        """Why it can't act on a stream of bytes, with the remedy; nothing where it can."""
        if self.acts_on_bytes:
            return ""
        remedy = f"; use {self.on_bytes_instead}" if self.on_bytes_instead else ""
        return f"{self.name} needs {self.needs}, and tcp:// carries none{remedy}"

    def garble(self, data: bytes, within: int, dice: Dice) -> bytes:
        """Change a part of a block of a stream, where `garbles`; `within` is where in the block it begins.

        The result is as long. However a block was chopped its parts come in order, each with the same throws, and
        together they must give the same bytes: throw for the whole block, then change what lies within the part.
        """
        return data

    def wait(self, dice: Dice) -> int:
        """How long a handshake or a plain response waits, in nanoseconds, where it delays one."""
        return 0

    @property
    def acts_at(self) -> frozenset[Moment]:
        """Those of its moments at which it acts with these options."""
        return self.moments

    @property
    def strikes(self) -> Hits:
        """Which connections it acts on without a message being named."""
        return getattr(self, "hits", Hits.NEW)

    @classmethod
    def help(cls) -> str:
        """One line."""
        return (cls.__doc__ or "").strip().partition("\n")[0]
