"""What happened in a run, as expectations look at it: the attempts of each client, phases, strikes, states, marks.

It hears what the journal hears, with the number of the record that says so: an expectation that fails can point at it.
Nothing of a connection depends on it.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .attempt import CUTTING, ENDING, SILENCING, Attempt, Departure, Hush, Spot, Strike, lets_server_speak, spares
from .effects import Heal
from .events import (
    Accepted,
    Answered,
    Asked,
    ClientSaid,
    ClientState,
    Closed,
    CloseReceived,
    Ended,
    Established,
    Event,
    Healed,
    Listening,
    Opened,
    PhaseEntered,
    Reported,
    Requested,
    RuleChanged,
    Struck,
    Subscribed,
    SubscriptionAsked,
    SubscriptionRefused,
    Suppressed,
    Tracked,
    Unsubscribed,
)
from .faults import Fault
from .faults.half_open import HalfOpen
from .faults.handshake import Silent
from .units import SECOND
from .wire.frames import Side

ATTEMPTS_MAX = 100_000
TRACKED_MAX = 1_000_000
KEPT_MAX = 300_000  # of anything else, such as states, marks and subscriptions
STRIKES_MAX = 1000  # of a rule, and on an attempt; more show nothing new
RETIRING = SECOND  # before the end of a run, in which clients that go do so because of it

_KEPT = (
    ClientSaid,
    ClientState,
    CloseReceived,
    Listening,
    PhaseEntered,
    Reported,
    RuleChanged,
    Subscribed,
    SubscriptionAsked,
    SubscriptionRefused,
    Unsubscribed,
)
"""What is kept in lists that would grow with the run."""


class Visit(NamedTuple):
    """A phase, from when to when."""

    name: str
    entered: Spot
    left: Spot | None
    reason: str = ""  # why it was left

    def contains(self, spot: Spot) -> bool:
        return spot >= self.entered and (self.left is None or spot < self.left)


class State(NamedTuple):
    """A client's state, as reported or inferred."""

    spot: Spot
    state: str
    is_reported: bool


class TrackedMessage(NamedTuple):
    """A message of the server's with a field that is followed."""

    spot: Spot
    value: str
    has_left: bool
    attempt: int


class History:
    """All that expectations are judged by."""

    def __init__(self, faults: Mapping[str, Fault] = MappingProxyType({})) -> None:
        self._faults = faults  # of the profile's rules
        self.attempts: dict[int, Attempt] = {}
        self._by_client: dict[str, list[Attempt]] = {}
        self._nobodys: dict[int, Attempt] = {}  # those of which no request came
        self._counted: dict[str, list[Attempt]] = {}  # by client, until something happens on an attempt
        self.visits: list[Visit] = []
        self.is_timeline_over = False
        self.strikes: dict[str, list[Strike]] = {}  # by rule, the first few
        self.suppressed: dict[str, tuple[Spot, str]] = {}  # by rule, the last one
        self.refused: list[Spot] = []  # when the listener was closed by a rule
        self.live: dict[str, list[Visit]] = {}  # rules added by hand that cut, as if each were a phase
        self.states: dict[str, list[State]] = {}  # by client
        self.marks: list[tuple[Spot, str, str]] = []  # client and name
        self.tracked: dict[tuple[str, str], list[TrackedMessage]] = {}  # by client and pointer
        self.left_out = 0  # what is beyond the bounds
        self._tracked_count = 0
        self._kept_count = 0

    def take_over(self, attempts: Iterable[Attempt]) -> None:
        """Know connections that live on from before the run began."""
        for attempt in attempts:
            self.attempts[attempt.number] = attempt
            if attempt.client is None:
                self._nobodys[attempt.number] = attempt
            else:
                self._by_client.setdefault(attempt.client, []).append(attempt)

    def hear(self, spot: Spot, number: int | None, client: str | None, event: Event) -> None:
        """Something happened: to the proxy, or on an attempt; by its number, with its client's key once known."""
        if isinstance(event, _KEPT):
            if self._kept_count >= KEPT_MAX:
                self.left_out += 1
                return
            self._kept_count += 1
        if number is None:
            self._hear_of_proxy(spot, event)
            return
        self._counted.clear()
        attempt = self.attempts.get(number)
        if attempt is None:
            if not isinstance(event, Accepted):
                return  # it was left out
            if len(self.attempts) >= ATTEMPTS_MAX:
                self.left_out += 1
                return
            attempt = self.attempts[number] = Attempt(number, spot)
            self._nobodys[number] = attempt
        if client is not None and attempt.client is None:
            attempt.client = client
            del self._nobodys[number]
            self._by_client.setdefault(client, []).append(attempt)
        self._hear_of_attempt(spot, attempt, event)

    def _hear_of_proxy(self, spot: Spot, event: Event) -> None:
        match event:
            case PhaseEntered(phase, _, reason):
                if self.visits and self.visits[-1].left is None:
                    self.visits[-1] = self.visits[-1]._replace(left=spot, reason=reason)
                if phase:
                    self.visits.append(Visit(phase, spot, None))
                self.is_timeline_over = not phase
            case RuleChanged(rule, fault, "added") if fault in CUTTING:
                self.live.setdefault(rule, []).append(Visit(rule, spot, None))
            case RuleChanged(rule, _, _) if rule in self.live and self.live[rule][-1].left is None:
                self.live[rule][-1] = self.live[rule][-1]._replace(left=spot)
            case Listening(False, reason) if reason.startswith(("phase ", "rule ", "start")):
                self.refused.append(spot)
            case ClientState(client, _, state, source, is_late=False):
                self.states.setdefault(client, []).append(State(spot, state, source == "reported"))
            case Reported(client, state):
                self.states.setdefault(client, []).append(State(spot, state, True))
            case ClientSaid(client, "mark", name):
                self.marks.append((spot, client, name))
            case _:
                pass

    def _hear_of_attempt(self, spot: Spot, attempt: Attempt, event: Event) -> None:
        attempt.forget()
        match event:
            case Asked(_, connection):
                attempt.connection, attempt.asked = connection, spot
            case Requested() if attempt.asked is None:
                attempt.is_plain = True
            case Answered(status) if status != 101:
                attempt.answer = attempt.answer or (spot, status)
            case Opened():
                attempt.opened = spot
            case Established(socket_id):
                attempt.established, attempt.socket_id = spot, socket_id
            case SubscriptionAsked(channel, auth):
                attempt.asked_for.append((spot, channel, auth))
            case Subscribed(channel):
                attempt.subscribed.append((spot, channel))
            case SubscriptionRefused(channel):
                attempt.turned_down.append((spot, channel))
            case Unsubscribed(channel):
                attempt.unsubscribed.append((spot, channel))
            case Struck(rule, fault, side):
                is_spared = spares(self._faults.get(rule))
                strike = Strike(spot, rule, fault, fault in ENDING and not is_spared)
                attempt.is_struck = True
                if fault in CUTTING and not is_spared and len(attempt.strikes) < STRIKES_MAX:
                    attempt.strikes.append(strike)
                self.strikes.setdefault(rule, []).append(strike)
                del self.strikes[rule][STRIKES_MAX:]
                if fault in SILENCING:
                    self._hush(attempt, spot, rule, side)
            case Healed(rule):
                for index, hush in enumerate(attempt.hushes):
                    if hush.rule == rule and hush.healed is None:
                        attempt.hushes[index] = hush._replace(healed=spot)
            case Suppressed(rule, _, reason):
                self.suppressed[rule] = spot, reason
            case CloseReceived(side, code):
                closes = attempt.server_closes if side else attempt.closes
                closes.append(Departure(spot, "close", code))
            case Ended(Side.CLIENT, how):
                attempt.ended = attempt.ended or Departure(spot, how)
            case Ended(Side.SERVER, how):
                attempt.server_ended = attempt.server_ended or Departure(spot, how)
            case Closed(by, how, code):
                attempt.closed, attempt.closed_by = Departure(spot, how, code), by
            case Tracked(Side.SERVER, pointer, value, has_left):
                if self._tracked_count >= TRACKED_MAX:
                    self.left_out += 1
                    return
                self._tracked_count += 1
                messages = self.tracked.setdefault((attempt.client or "", pointer), [])
                messages.append(TrackedMessage(spot, value, has_left, attempt.number))
            case _:
                pass

    def _hush(self, attempt: Attempt, spot: Spot, rule: str, side: Side | None) -> None:
        fault = self._faults.get(rule)
        is_deaf = side is not Side.CLIENT and not lets_server_speak(fault)
        if not any(hush.rule == rule and hush.is_deaf == is_deaf and hush.healed is None for hush in attempt.hushes):
            is_kept = not isinstance(fault, HalfOpen | Silent) or fault.heal is not Heal.RESET
            attempt.hushes.append(Hush(rule, spot, None, is_deaf, is_kept))

    def retire(self, at: int) -> None:
        """The run is at its end: that clients go then is no loss."""
        newest: dict[str | None, Attempt] = {each.client: each for each in self.attempts.values() if each.is_counted}
        for attempt in newest.values():
            left = attempt.left
            if left and attempt.is_left_first and left.spot.at >= at - RETIRING:
                attempt.is_retired = True
                attempt.forget()

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def clients(self) -> list[str]:
        """The keys of all clients that have asked for a connection, in the order in which they came."""
        return list(self._by_client)

    def attempts_of(self, client: str) -> list[Attempt]:
        """A client's attempts, in order; with one client on the wire, also those of which no request came."""
        if client not in self._counted:
            own = self._by_client.get(client, [])
            if len(self._by_client) == 1 and self._nobodys:
                own = sorted([*own, *self._nobodys.values()], key=lambda attempt: attempt.number)
            self._counted[client] = [each for each in own if each.is_counted]
        return self._counted[client]

    def counted(self) -> Iterator[Attempt]:
        """All attempts to have a connection."""
        return (each for each in self.attempts.values() if each.is_counted)
