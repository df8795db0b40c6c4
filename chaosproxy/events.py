"""Two small vocabularies: what to do (actions, performed by the relay) and what happened (events, for the journal).

Every one is a value. Times are integer nanoseconds of a monotonic clock; sides and legs are those of wire.frames.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from .wire.frames import Side

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


class SubscriptionAsked(NamedTuple):
    """The client asked to be subscribed to a channel."""

    channel: str
    auth: str  # a digest of what it showed for it, since that is a secret; empty where it showed nothing


class SubscriptionRefused(NamedTuple):
    """The server did not let the client subscribe."""

    channel: str


class Subscribed(NamedTuple):
    """The server confirmed a subscription."""

    channel: str


class Unsubscribed(NamedTuple):
    """The client has left a channel."""

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


class CloseReceived(NamedTuple):
    """A peer sent a close frame, its first."""

    side: Side
    code: int | None
    reason: str


class Tracked(NamedTuple):
    """A message with a field that an expectation follows came, or has left; where it only passes, the latter alone."""

    side: Side
    pointer: str
    value: str  # as JSON; a digest where that is long
    has_left: bool


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
    """The timeline moved; the name is empty after the last phase, and where it was taken back (reason: reset)."""

    phase: str
    visit: int
    reason: str


class PhasePaused(NamedTuple):
    """The timeline stands still by hand: only steps by hand move it. The name is empty outside of all phases."""

    phase: str


class PhaseResumed(NamedTuple):
    """The timeline goes on where it was paused."""

    phase: str


class ProfileChanged(NamedTuple):
    """Another profile is played from here on; a run of its own."""

    profile: str
    digest: str
    seed: int
    profile_in_full: Mapping[str, JsonValue]


class TimelineReset(NamedTuple):
    """The same profile is played anew, from before its start; a run of its own."""

    profile: str


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


Observed = Established | SubscriptionAsked | SubscriptionRefused | Subscribed | Unsubscribed
"""What a message tells of its connection, in its protocol's terms."""

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
    | SubscriptionAsked
    | SubscriptionRefused
    | Subscribed
    | Unsubscribed
    | Framed
    | Struck
    | Healed
    | Suppressed
    | Cut
    | Limited
    | Unjudged
    | Discarded
    | CloseReceived
    | Tracked
    | Ended
    | Closed
    | PhaseEntered
    | PhasePaused
    | PhaseResumed
    | ProfileChanged
    | TimelineReset
    | RuleChanged
    | Listening
    | Reported
    | ClientState
    | ClientSaid
)
