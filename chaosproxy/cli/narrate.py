"""What happens, in one plain line each, for whoever watches `run`; and the remedy, once, where it looks like a mistake.

Pure: what was told goes in, lines come out. What peers say is escaped and cut; header values, queries and messages are
never shown.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..events import (
    Accepted,
    Answered,
    Asked,
    ClientSaid,
    ClientState,
    Closed,
    CloseReceived,
    Cut,
    DialDelayed,
    Dialled,
    Discarded,
    Ended,
    Established,
    Event,
    Framed,
    Healed,
    Limited,
    Listening,
    Opened,
    PhaseEntered,
    PhasePaused,
    PhaseResumed,
    ProfileChanged,
    Reported,
    Requested,
    Responded,
    RuleChanged,
    Secured,
    Struck,
    Subscribed,
    SubscriptionAsked,
    SubscriptionRefused,
    Suppressed,
    TimelineReset,
    Tracked,
    Unjudged,
    Unsubscribed,
)
from ..journal import kind_of
from ..opening import PLAINTEXT
from ..problems import escape
from ..session import Session
from ..sockets import Upstream
from ..units import SECOND
from ..wire.frames import Side
from ..wire.tls import FAILED
from ..world import Told

LINES_PER_SECOND_MAX = 50
SOURCES_MAX = 1024
SHOWN_CHARACTERS_MAX = 80

TLS_REMEDY = (
    "this port speaks plain text: set forceTLS: false (pusher-js), or use ws:// in place of wss://; "
    "or let it speak TLS: run --tls dev"
)
PLAINTEXT_REMEDY = (
    "this port speaks TLS: set forceTLS: true and wssPort (pusher-js), or use wss:// in place of ws://; "
    "or let it speak plain text: run without --tls and --tls-cert"
)
DISTRUST_REMEDY = (
    "a client does not trust our certificate: make it trust the CA that the greeting names "
    "(Node: NODE_EXTRA_CA_CERTS), and connect to a name that the certificate is for"
)
POLLING_REMEDY = (
    "message rules do not act on polling: set enabledTransports: ['ws'] (pusher-js) "
    "or transports: ['websocket'] (socket.io)"
)
CONTAINER_REMEDY = (
    "in a container, localhost is the container itself: name the service (ws://soketi:6001) or host.docker.internal"
)
# Where SockJS (so pusher-js and soketi too), socket.io and engine.io poll, stream and send.
_POLLING = re.compile(r".*/(xhr(_streaming|_send)?|eventsource|htmlfile|jsonp(_send)?)|.*/(socket|engine)\.io/?")
_TLS_MARK = "a TLS hello"
_DISTRUST_MARKS = ("unknown ca", "certificate unknown", "bad certificate")


class Line(NamedTuple):
    """A line for the terminal; details are for those who ask for them."""

    text: str
    is_detail: bool = False
    is_warning: bool = False


class Said(NamedTuple):
    """A line with its time and what it is about; as text, it is the line that people read."""

    at: int  # since the start
    text: str
    event: str = ""
    attempt: int | None = None
    connection: int = 0
    client: str | None = None
    is_detail: bool = False
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.at / SECOND:9.3f}  {self.text}"


class Narrator:
    """Turns what is told into lines. At most LINES_PER_SECOND_MAX of a second are shown; the rest is counted."""

    def __init__(
        self,
        upstream: Upstream,
        started_at: int,
        is_verbose: bool = False,
        has_message_rules: Callable[[], bool] = lambda: False,
    ) -> None:
        self._upstream = upstream
        self._started_at = started_at
        self._is_verbose = is_verbose
        self._has_message_rules = has_message_rules
        self._sources: dict[int, str] = {}  # the peer's host, by attempt
        self._warned: set[tuple[str, str]] = set()
        self._second = -1
        self._lines = 0
        self._left_out = 0

    def tell(self, told: Told) -> list[Said]:
        """What to say of one event."""
        shown: list[Said] = []
        at = told.at - self._started_at
        second = at // SECOND
        if second != self._second:
            if self._left_out:
                shown.append(Said(at, f"… {self._left_out} more lines (the journal has them all)"))
            self._second, self._lines, self._left_out = second, 0, 0
        about = Said(at, "", kind_of(type(told.event)))
        if told.session:
            session = told.session
            about = about._replace(attempt=session.number, connection=session.connection, client=session.client)
        for line in self._lines_of(told):
            if line.is_detail and not self._is_verbose:
                continue
            if self._lines >= LINES_PER_SECOND_MAX and not line.is_warning:
                self._left_out += 1
                continue
            self._lines += 1
            shown.append(about._replace(text=line.text, is_detail=line.is_detail, is_warning=line.is_warning))
        return shown

    def _lines_of(self, told: Told) -> Iterator[Line]:
        session, event = told.session, told.event
        if session is None:
            yield _line_of_all(event)
            return
        if isinstance(event, Accepted):
            self._sources[session.number] = event.peer.rpartition(":")[0]
        yield _line_of_one(name_of(session), event)
        yield from self._remedies(session, event)
        if isinstance(event, Closed):
            self._sources.pop(session.number, None)

    def _remedies(self, session: Session, event: Event) -> Iterator[Line]:
        match event:
            case Answered(_, "proxy", reason) if reason.startswith(_TLS_MARK):
                yield from self._once("tls", self._sources.get(session.number, ""), TLS_REMEDY)
            case Requested(_, _, path, _) if _POLLING.fullmatch(path) and self._has_message_rules():
                yield from self._once("polling", self._sources.get(session.number, ""), POLLING_REMEDY)
            case Answered(400, "proxy", reason) if reason == PLAINTEXT:
                yield from self._once("plaintext", self._sources.get(session.number, ""), PLAINTEXT_REMEDY)
            case Secured(Side.CLIENT, _, error) if error.endswith(_DISTRUST_MARKS) and not session.certificate:
                yield from self._once("distrust", self._sources.get(session.number, ""), DISTRUST_REMEDY)
            case Dialled(error) if FAILED in error:
                yield from self._once("upstream's TLS", "", f"clients get 502: {escape(error)}")
            case Dialled(error) if error:
                what = "are reset" if self._upstream.is_opaque else "get 502"
                yield from self._once(
                    "upstream", "", f"clients {what} until {self._upstream.address} is there; {CONTAINER_REMEDY}"
                )
            case _:
                pass

    def _once(self, kind: str, source: str, text: str) -> Iterator[Line]:
        if (kind, source) in self._warned or len(self._warned) >= SOURCES_MAX:
            return
        self._warned.add((kind, source))
        yield Line(f"warning: {text}", is_warning=True)


def name_of(session: Session) -> str:
    """Name a connection as profiles count them; an attempt that has asked for nothing yet by its own number."""
    if not session.connection:
        return f"attempt {session.number}"
    client = f" of {shown(session.client)}" if session.client else ""
    return f"connection {session.connection}{client}"


def shown(text: str) -> str:
    """Make a peer's text fit for a terminal: no controls, not long."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
    return escape(cut)


def _line_of_all(event: Event) -> Line:
    match event:
        case PhaseEntered("", _, "reset"):
            return Line("the phase is left (reset)", is_detail=True)
        case PhaseEntered("", _, reason):
            return Line(f"the timeline is over ({reason}): no rules from here on")
        case PhaseEntered(phase, _, reason):
            return Line(f"phase {phase} ({reason})")
        case PhasePaused(phase):
            return Line(f"phase {phase} is paused" if phase else "the timeline is paused")
        case PhaseResumed(phase):
            return Line(f"phase {phase} goes on" if phase else "the timeline goes on")
        case ProfileChanged(profile, _, seed):
            return Line(f"profile {profile or 'without a name'} is played from here on (seed {seed})")
        case TimelineReset(profile):
            return Line(f"reset: profile {profile or 'without a name'} is played anew")
        case RuleChanged(rule, fault, change):
            return Line(f"rule {rule} ({fault}) {change}")
        case Listening(True, reason):
            return Line(f"listening again ({reason})")
        case Listening(False, "draining"):
            return Line("ending: new connections are refused")
        case Listening(False, reason):
            return Line(f"new connections are refused ({reason})")
        case Reported(client, state, detail):
            more = f": {shown(detail)}" if detail else ""
            return Line(f"client {shown(client)} says {shown(state)}{more}")
        case ClientState(client, previous, state, source):
            was = f" (was {shown(previous)})" if previous else ""
            said = "says" if source == "reported" else "seems"
            return Line(f"client {shown(client)} {said} {shown(state)}{was}", is_detail=source != "reported")
        case ClientSaid(client, what, detail, code):
            more = f": {shown(detail)}{_code(code)}" if detail or code is not None else ""
            return Line(f"client {shown(client)} says {shown(what)}{more}", is_detail=what not in ("error", "mark"))
        case _:
            return Line(type(event).__name__.lower(), is_detail=True)


def _line_of_one(name: str, event: Event) -> Line:
    match event:
        case Accepted(peer):
            return Line(f"{name} from {peer}", is_detail=True)
        case Secured(side, version, ""):
            return Line(f"{name}: {version} with the {side.label}", is_detail=True)
        case Secured(side, _, error):
            return Line(f"{name}: TLS with the {side.label} failed: {shown(error)}")
        case Asked(_, _, path, _):
            return Line(f"{name} asks for {shown(path)}", is_detail=True)
        case Requested(_, method, path, _):
            return Line(f"{name} requests {shown(method)} {shown(path)}", is_detail=True)
        case Responded(status, "server", _):
            return Line(f"{name} responded {status}", is_detail=True)
        case Responded(status, by, reason):
            return Line(f"{name} responded {status} by the {by}" + (f": {shown(reason)}" if reason else ""))
        case Dialled(""):
            return Line(f"{name}: upstream reached", is_detail=True)
        case Dialled(error):
            return Line(f"{name}: no upstream: {shown(error)}")
        case DialDelayed():
            return Line(f"{name} waits: the cap on dials per second is reached")
        case Answered(101, _, _):
            return Line(f"{name} answered 101", is_detail=True)
        case Answered(status, by, reason):
            return Line(f"{name} answered {status} by the {by}" + (f": {shown(reason)}" if reason else ""))
        case Opened(extension):
            return Line(f"{name} open" + (f" ({shown(extension)})" if extension else ""))
        case Established(_):
            return Line(f"{name} established")
        case Subscribed(channel):
            return Line(f"{name} subscribed to {shown(channel)}")
        case Unsubscribed(channel):
            return Line(f"{name} left {shown(channel)}")
        case Framed(side, opcode, size, event_name):
            more = f" {shown(event_name)}" if event_name else ""
            return Line(f"{name}: {opcode} of {size} bytes from the {side.label}{more}", is_detail=True)
        case _:
            return _line_of_harm(name, event)


def _line_of_harm(name: str, event: Event) -> Line:
    match event:
        case Struck(_, fault, side, message):
            what = f", message {message} from the {side.label}" if side is not None and message else ""
            return Line(f"{fault} struck {name}{what}")
        case Healed(_, fault):
            return Line(f"{fault} healed on {name}")
        case Suppressed(_, fault, reason):
            return Line(f"{fault or 'a fault'} could not strike {name}: {shown(reason)}")
        case Cut(side):
            return Line(f"{name}: the close became a reset toward the {side.label}, whose frame did not end")
        case Limited(side, held):
            return Line(f"{name}: {held} bytes from the {side.label} are held; reading pauses")
        case Unjudged(side, messages):
            return Line(f"{name}: {messages} messages from the {side.label} passed unjudged", is_detail=True)
        case Discarded(side, size):
            return Line(f"{name}: {size} held bytes from the {side.label} discarded")
        case Ended(side, how, code, _):
            return Line(f"{name}: the {side.label} ended: {how}" + _code(code), is_detail=True)
        case Closed(by, how, code):
            return Line(f"{name} over: {how}{_code(code)} by the {by}")
        case CloseReceived(side, code, reason):
            what = "without a code" if code is None else str(code)
            return Line(f"{name}: close {what} from the {side.label}" + (f": {shown(reason)}" if reason else ""), True)
        case SubscriptionAsked(channel, _):
            return Line(f"{name} asks for {shown(channel)}", is_detail=True)
        case SubscriptionRefused(channel):
            return Line(f"{name} may not subscribe to {shown(channel)}")
        case Tracked(side, pointer, value, has_left):
            how = "has left" if has_left else "came"
            return Line(f"{name}: {shown(pointer)} {shown(value)} from the {side.label} {how}", is_detail=True)
        case _:
            return Line(f"{name}: {kind_of(type(event)).replace('_', ' ')}", is_detail=True)


def _code(code: int | None) -> str:
    return "" if code is None else f" {code}"
