"""What the demo tells: who did what when, in words, and how each client stood the outage.

Pure: events of the clients and of the proxy go in; marks (one line each), lanes and a verdict come out. Times are
seconds since the beginning.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from chaosproxy.demo.clients import ClientEvent, ClientState, Kind
from chaosproxy.events import Event, Healed, Listening, PhaseEntered, Struck
from chaosproxy.units import SECOND
from chaosproxy.world import Told

PROXY, GOOD, NAIVE = "proxy", "good", "naive"
CLIENTS = (GOOD, NAIVE)
OUTAGE, RECOVERY = "outage", "recovery"


class Look(Enum):
    """How a lane looks for a while."""

    OFF = "off"
    PASSING = "passing"
    BROKEN = "broken"
    HEARING = "connected, hears"
    DEAF = "connected, deaf"
    CONNECTING = "connecting"
    UNAVAILABLE = "unavailable"


class Tone(Enum):
    PLAIN = "plain"
    WELL = "well"
    FAULT = "fault"
    TROUBLE = "trouble"


class Mark(NamedTuple):
    """One line of the story; a sign stands for it in its lane."""

    at: float
    actor: str
    text: str
    tone: Tone = Tone.PLAIN
    sign: str = ""


@dataclass
class Fortune:
    """What one client went through."""

    state: ClientState = ClientState.INITIALIZED
    is_struck: bool = False
    is_subscribed: bool = False
    is_out: bool = False  # it has lost its connection and isn't back
    noticed_at: float | None = None
    lost_at: float | None = None  # the first sign of the loss that it gave, whenever
    back_at: float | None = None
    subscribed_at: float | None = None  # since it was back
    attempt: str = ""
    heard: int = 0
    heard_since_back: int = 0
    lane: list[tuple[float, Look]] = field(default_factory=list)

    @property
    def is_deaf(self) -> bool:
        """Connected, as it thinks, and out of reach."""
        return self.state is ClientState.CONNECTED and (self.is_struck or not self.is_subscribed or self.is_out)


class Row(NamedTuple):
    """A client's line of the summary."""

    noticed: str
    back: str
    subscribed: str
    heard: str
    heard_since_back: str
    failures: tuple[str, ...]
    is_decided: bool

    @property
    def verdict(self) -> str:
        if not self.is_decided:
            return "not decided: ended early"
        return "FAIL: " + ", ".join(self.failures) if self.failures else "PASS"


class Story:
    def __init__(self, started_ns: int) -> None:
        self._started_ns = started_ns
        self.marks: list[Mark] = []
        self.fault_at: float | None = None
        self.heal_at: float | None = None
        self.is_over = False
        self.published = 0
        self.fortunes = {client: Fortune() for client in CLIENTS}
        self.proxy_lane: list[tuple[float, Look]] = [(0.0, Look.PASSING)]

    def lane(self, actor: str) -> list[tuple[float, Look]]:
        """When a lane began to look how."""
        return self.proxy_lane if actor == PROXY else self.fortunes[actor].lane

    # -- the proxy --------------------------------------------------------------------------------------------------

    def hear_proxy(self, told: Told) -> list[Mark]:
        at = (told.at - self._started_ns) / SECOND
        client = told.session.client if told.session else ""
        return self._add(self._proxy_marks(at, client, told.event))

    def _proxy_marks(self, at: float, client: str, event: Event) -> list[Mark]:
        match event:
            case PhaseEntered(phase) if phase == OUTAGE:
                self.fault_at = at
                self.proxy_lane.append((at, Look.BROKEN))
                return [Mark(at, PROXY, "FAULT: the network vanishes", Tone.FAULT)]
            case PhaseEntered(phase) if phase == RECOVERY:
                self.heal_at = at
                self.proxy_lane.append((at, Look.PASSING))
                for fortune in self.fortunes.values():
                    fortune.is_struck = False
                return [
                    Mark(
                        at, PROXY, f"HEALED after {at - (self.fault_at or 0):.1f} s: everything passes again", Tone.WELL
                    )
                ]
            case PhaseEntered(""):
                self.is_over = True
                deaf = [name for name, fortune in self.fortunes.items() if fortune.is_deaf]
                words = "connected and deaf: it did not subscribe again"
                return [Mark(at, name, words, Tone.TROUBLE) for name in deaf]
            case Struck(_, "half_open") if client in self.fortunes:
                self.fortunes[client].is_struck = True
                self._look(client, at)
                return [Mark(at, PROXY, f"half_open: {client}'s connection is silent, and nobody is told", Tone.FAULT)]
            case Healed(_, "half_open") if client in self.fortunes:
                return [Mark(at, PROXY, f"half_open ends: what is left of {client}'s connection is reset", Tone.PLAIN)]
            case Listening(False, _) if self.fault_at is not None and self.heal_at is None:
                return [Mark(at, PROXY, "refuse: new connections get ECONNREFUSED", Tone.FAULT)]
            case _:
                pass
        return []

    # -- the clients ------------------------------------------------------------------------------------------------

    def hear_client(self, event: ClientEvent) -> list[Mark]:
        at = (event.at_ns - self._started_ns) / SECOND
        fortune = self.fortunes[event.client]
        marks = self._client_marks(at, event, fortune)
        self._look(event.client, at)
        return self._add(marks)

    def _client_marks(self, at: float, event: ClientEvent, fortune: Fortune) -> list[Mark]:
        name, detail = event.client, event.detail
        match event.kind:
            case Kind.STATE:
                fortune.state = ClientState(detail)
                return self._state_marks(at, name, fortune)
            case Kind.DIAL:
                fortune.attempt = detail
            case Kind.SUBSCRIBED:
                fortune.is_subscribed = True
                if fortune.back_at is not None and fortune.subscribed_at is None:
                    fortune.subscribed_at = at
                    return [Mark(at, name, f"subscribed to {detail} again", Tone.WELL)]
                return [Mark(at, name, f"subscribed to {detail}")]
            case Kind.MESSAGE:
                fortune.heard += 1
                if fortune.back_at is not None:
                    fortune.heard_since_back += 1
                    if fortune.heard_since_back == 1:
                        return [Mark(at, name, "hears messages again", Tone.WELL)]
            case Kind.CLOSED:
                return self._loss_marks(at, name, fortune, f"connection lost (close code {detail})")
            case Kind.ERROR if "Refused" in detail:
                return [Mark(at, name, f"attempt {fortune.attempt} is refused, tries again", Tone.TROUBLE, "×")]
            case Kind.ERROR:
                return self._loss_marks(at, name, fortune, detail)
            case _:
                pass
        return []

    def _state_marks(self, at: float, name: str, fortune: Fortune) -> list[Mark]:
        match fortune.state:
            case ClientState.CONNECTED:
                fortune.is_subscribed = fortune.is_struck = False
                if fortune.is_out:
                    fortune.is_out, fortune.back_at = False, at
                    since = f", {at - self.heal_at:.1f} s after the heal" if self.heal_at is not None else ""
                    return [Mark(at, name, f"BACK with attempt {fortune.attempt}{since}", Tone.WELL, "✓")]
                return [Mark(at, name, "connected", Tone.WELL)]
            case ClientState.UNAVAILABLE:
                return [Mark(at, name, "unavailable: tells its user, and tries on", Tone.TROUBLE)]
            case ClientState.CONNECTING if fortune.is_out:
                return []  # the attempt says so
            case ClientState.DISCONNECTED:
                return []
            case state:
                return [Mark(at, name, state.value)]

    def _loss_marks(self, at: float, name: str, fortune: Fortune, words: str) -> list[Mark]:
        if self.fault_at is None or fortune.is_out:
            return [Mark(at, name, words, Tone.TROUBLE)]
        fortune.is_out = True
        fortune.lost_at = at
        if self.heal_at is None:
            fortune.noticed_at = at
            return [Mark(at, name, f"NOTICED after {at - self.fault_at:.1f} s: {words}", Tone.WELL, "!")]
        return [Mark(at, name, f"{words}, only because the proxy healed", Tone.TROUBLE, "!")]

    def _look(self, client: str, at: float) -> None:
        fortune = self.fortunes[client]
        look = Look.DEAF if fortune.is_deaf else _LOOKS[fortune.state]
        if not fortune.lane or fortune.lane[-1][1] is not look:
            fortune.lane.append((at, look))

    def _add(self, marks: list[Mark]) -> list[Mark]:
        self.marks += marks
        return marks

    # -- the verdict ------------------------------------------------------------------------------------------------

    def row(self, client: str) -> Row:
        """How a client stood the outage, so far."""
        fortune, failures = self.fortunes[client], []
        if fortune.noticed_at is None:
            noticed = "never" if self.heal_at is None else "never, only from the heal"
            failures.append("never noticed")
        else:
            noticed = f"after {fortune.noticed_at - (self.fault_at or 0):.1f} s"
        if fortune.back_at is None or self.heal_at is None:
            back = "no"
            failures.append("did not come back")
        else:
            back = f"{max(0.0, fortune.back_at - self.heal_at):.1f} s after the heal"
        subscribed = "yes" if fortune.subscribed_at is not None else "no"
        if fortune.subscribed_at is None:
            failures.append("did not subscribe again")
        heard = f"{fortune.heard} of {self.published}"
        return Row(noticed, back, subscribed, heard, str(fortune.heard_since_back), tuple(failures), self.is_over)


_LOOKS = {
    ClientState.INITIALIZED: Look.OFF,
    ClientState.CONNECTING: Look.CONNECTING,
    ClientState.CONNECTED: Look.HEARING,
    ClientState.UNAVAILABLE: Look.UNAVAILABLE,
    ClientState.DISCONNECTED: Look.OFF,
}
