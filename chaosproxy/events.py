"""Two small vocabularies: what to do (actions, performed by the relay) and what happened (events, for the journal).

Every one is a value. Times are integer nanoseconds of a monotonic clock; sides and legs are those of wire.frames.
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


# --- Actions: what the relay shall do, in this order, with no await in between -------------------------------------


class Send(NamedTuple):
    """Write bytes to a peer."""

    side: Side
    data: bytes


class Pause(NamedTuple):
    """Stop reading from a peer. TCP's flow control then reaches it."""

    side: Side


class Resume(NamedTuple):
    """Read from a peer again."""

    side: Side


class End(NamedTuple):
    """Send FIN behind what has been written; reading goes on. At most once per leg."""

    side: Side
    notify: bool = True  # over TLS, by a close_notify before it


class Release(NamedTuple):
    """Let go of a leg: close the socket once what has been written has left."""

    side: Side


class Reset(NamedTuple):
    """End a leg by a real RST: at once, and what has not left is lost, or `behind` it, once the kernel has it."""

    side: Side
    behind: bool = False


class Dial(NamedTuple):
    """Connect to the upstream."""


Action = Send | Pause | Resume | End | Release | Reset | Dial


# --- Effects: what a fault does to a whole connection, carried out by the session ---------------------------------


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
    """From now on, let a FIN that is passed on wait."""

    delay: int


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


# --- Events: what happened ----------------------------------------------------------------------------------------


class Accepted(NamedTuple):
    """A client connected to us: an attempt."""

    peer: str


class Secured(NamedTuple):
    """TLS with a peer is set up, or has failed (`error`), then or later."""

    side: Side
    version: str
    error: str


class Asked(NamedTuple):
    """A complete upgrade head arrived. `client` and `connection` are known from here on."""

    client: str
    connection: int
    path: str
    headers: tuple[str, ...]  # names only: values may be secrets


class Requested(NamedTuple):
    """A complete head of a plain HTTP request arrived. It has no connection number."""

    client: str
    method: str
    path: str
    headers: tuple[str, ...]  # names only: values may be secrets


class Responded(NamedTuple):
    """A plain HTTP request was answered: by the upstream, or by one of us (`by`)."""

    status: int
    by: str  # "server", "proxy" or "rule"
    reason: str


class Dialled(NamedTuple):
    """The upstream accepted our dial, or did not (`error`)."""

    error: str


class DialDelayed(NamedTuple):
    """A dial waits because the cap on dials per second is reached."""


class Answered(NamedTuple):
    """The client got an answer to its request: the upstream's, or one of ours (`by`)."""

    status: int
    by: str  # "server", "proxy" or "rule"
    reason: str


class Opened(NamedTuple):
    """The tunnel is open: 101 in both directions, or, where it is opaque, our dial has succeeded."""

    extension: str


class Established(NamedTuple):
    """The protocol's own handshake is done (Pusher: connection_established)."""

    socket_id: str


class Subscribed(NamedTuple):
    """The server confirmed a subscription."""

    channel: str


class Framed(NamedTuple):
    """A frame or message passed; only where frames are journalled."""

    side: Side
    opcode: str
    size: int
    event: str


class Struck(NamedTuple):
    """A fault acted on a connection, or on one message of it."""

    rule: str
    fault: str
    side: Side | None
    message: int | None  # ordinal among the messages of that side, from 1
    turn: int | None  # ordinal among those that satisfy the rule's other conditions


class Healed(NamedTuple):
    """A rule ended on a connection it had acted on."""

    rule: str
    fault: str


class Suppressed(NamedTuple):
    """A fault was due but could not act, and why."""

    rule: str
    fault: str
    reason: str


class Cut(NamedTuple):
    """A close had to become a RST, since the frame in flight did not end."""

    side: Side


class Limited(NamedTuple):
    """Held bytes reached their bound; reading is paused. Once per connection."""

    side: Side
    held: int


class Unjudged(NamedTuple):
    """Messages passed without being judged: begun before the rule, too large, or unreadable."""

    side: Side
    messages: int


class Discarded(NamedTuple):
    """Held bytes were thrown away."""

    side: Side
    size: int


class Ended(NamedTuple):
    """A peer ended its side: a close frame (with `code`), FIN, RST, or it was found gone while not being read."""

    side: Side
    how: str
    code: int | None
    reason: str


class Closed(NamedTuple):
    """The connection is over. `by` began it: client, server, rule or proxy."""

    by: str
    how: str
    code: int | None


class PhaseEntered(NamedTuple):
    """The timeline moved; the name is empty after the last phase."""

    phase: str
    visit: int
    reason: str


class RuleChanged(NamedTuple):
    """A live rule was added or healed over the control API."""

    rule: str
    fault: str
    change: str  # "added", "healed" or "expired"


class Listening(NamedTuple):
    """The listener opened, or refuses (`refuse`)."""

    is_open: bool
    reason: str


class Reported(NamedTuple):
    """A client told us its own state."""

    client: str
    state: str
    detail: str


class ClientState(NamedTuple):
    """A client's state changed: it said so itself (`source` is reported), or the wire lets one infer it (inferred)."""

    client: str
    previous: str  # empty where it is not known
    state: str
    source: str
    attempt: int | None  # the connection it has, or had last, if known
    socket_id: str
    instance: str  # of the script in the client: the ordinals and the clock are this one's
    ordinal: int | None
    client_ms: float | None
    is_late: bool  # a later report of the same instance had come before


class ClientSaid(NamedTuple):
    """A client said more of its connection: an error, connecting_in, a mark that the app has set, or gone."""

    client: str
    what: str
    detail: str  # an error's type, the seconds of connecting_in, the name of a mark
    code: int | None
    path: str  # where in an error its code was found
    attempt: int | None
    socket_id: str
    instance: str
    ordinal: int
    client_ms: float
    is_late: bool


Event = (
    Accepted
    | Secured
    | Asked
    | Requested
    | Responded
    | Dialled
    | DialDelayed
    | Answered
    | Opened
    | Established
    | Subscribed
    | Framed
    | Struck
    | Healed
    | Suppressed
    | Cut
    | Limited
    | Unjudged
    | Discarded
    | Ended
    | Closed
    | PhaseEntered
    | RuleChanged
    | Listening
    | Reported
    | ClientState
    | ClientSaid
)
