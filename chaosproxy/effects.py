"""What a fault does to a whole connection; the session carries it out. Every effect is a value.

Times are integer nanoseconds; sides and legs are those of wire.frames.
"""

from enum import StrEnum
from typing import NamedTuple

from .wire.flaws import Flaw
from .wire.frames import Shape, Side


class Leg(StrEnum):
    """Which of a connection's two TCP connections a fault aims at."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"

    @property
    def sides(self) -> tuple[Side, ...]:
        return _SIDES_OF[self]


_SIDES_OF = {Leg.CLIENT: (Side.CLIENT,), Leg.SERVER: (Side.SERVER,), Leg.BOTH: (Side.CLIENT, Side.SERVER)}


class Reply(NamedTuple):
    """Answer the upgrade request ourselves, then FIN; the upstream is not dialled."""

    data: bytes


class Hold(NamedTuple):
    """Never answer, never dial."""


class Spoil(NamedTuple):
    """Put a flaw into the upstream's 101; the tunnel opens all the same."""

    flaw: Flaw
    named: bytes  # the subprotocol or extension that it chooses


class Then(StrEnum):
    """What follows an injected close frame."""

    REPLY = "reply"
    FIN = "fin"
    RESET = "reset"
    NOTHING = "nothing"


class Close(NamedTuple):
    """Inject a close frame; the other leg gets 1001 and FIN."""

    leg: Leg
    code: int | None
    reason: bytes
    after_held: bool
    then: Then = Then.REPLY


class Dismiss(NamedTuple):
    """Tell a client why it must go, then inject a close. Who still asks is accepted for that, with no dial."""

    words: bytes  # a text message
    close: Close


class Other(StrEnum):
    """What becomes of the leg that a one-sided ending does not aim at."""

    FIN = "fin"
    RESET = "reset"
    KEEP = "keep"


class Finish(NamedTuple):
    """Send FIN without a close frame."""

    leg: Leg
    other: Other
    keep_for: int | None = None  # how long the other leg is kept, if not until its peer ends it
    notify: bool = False  # over TLS, a close_notify before it


class Break(NamedTuple):
    """Send RST."""

    leg: Leg
    other: Other
    keep_for: int | None = None


class HalfClose(NamedTuple):
    """Send FIN toward one leg, and carry on what comes from it."""

    leg: Leg


class EndLater(NamedTuple):
    """From now on, let a FIN that is passed on wait, and maybe a reset."""

    delay: int
    resets: bool = False


class CutLater(NamedTuple):
    """From now on, end the connection behind so many more bytes of a side, or at an age."""

    after: int | None
    age: int | None
    cut: Finish | Break


class Mode(StrEnum):
    """What a silent leg does with what its peer sends."""

    FREEZE = "freeze"
    BLACKHOLE = "blackhole"


class Heal(StrEnum):
    """What becomes of held data when a half-open ends."""

    FLUSH = "flush"
    DISCARD = "discard"
    RESET = "reset"


class Silence(NamedTuple):
    """Make a leg half-open until healed; or only lose what one side sends, and silence no leg."""

    leg: Leg
    mode: Mode
    heal: Heal
    sender: Side | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides whose sending it stops, or discards: those of silent legs, or the one sender."""
        return self.leg.sides if self.sender is None else (self.sender,)

    def blocks(self, side: Side) -> bool:
        """Whether what `side` sends does not get through. Over a silent leg nothing does, either way."""
        return self.sender is None or self.sender is side


class Insert(NamedTuple):
    """Put frames of our own, or any bytes, between messages."""

    leg: Leg
    shapes: tuple[Shape, ...]
    raw: bytes = b""


class Present(NamedTuple):
    """Show the client a bad certificate in the TLS handshake."""

    certificate: str  # what is wrong with it


class HoldHandshake(NamedTuple):
    """Do not answer the client's TLS hello until healed."""


Effect = (
    Reply
    | Hold
    | Spoil
    | Close
    | Dismiss
    | Finish
    | Break
    | HalfClose
    | EndLater
    | CutLater
    | Silence
    | Insert
    | Present
    | HoldHandshake
)
