"""How clients get over losses, measured as it happens: when they notice, how soon they try anew, when they are back.

It hears what the journal hears, and needs no judge. What it keeps is bounded: an entry for each live connection, one
for each of the CLIENTS_MAX clients heard of last, and the buckets. The words are those of the expectations: a loss that
a client learns only from a heal, a close or a reset is not noticed by itself; a connection serves its client once it is
open, or established where a protocol is spoken; one that outlives its silence has not been lost.

Clients are told apart by `identify`; without it all are one, which is lost when its last connection is.
"""

from collections import OrderedDict
from collections.abc import Callable

from .attempt import ENDING, SILENCING, lets_server_speak, spares
from .events import (
    Accepted,
    Answered,
    Asked,
    ClientState,
    Closed,
    CloseReceived,
    Ended,
    Established,
    Event,
    Healed,
    Opened,
    Reported,
    Requested,
    Struck,
)
from .expectations.base import REVIVING
from .observe import CLIENTS_MAX, CONNECTED
from .session import Session
from .tally import Buckets
from .units import SECOND
from .wire.frames import Side
from .world import Told

RECONNECT_BOUNDS = tuple(
    round(bound * SECOND) for bound in (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 15, 30, 60, 120, 300)
)
"""From those that try anew at once to a back-off of minutes; close together where most pause, about a second."""
DETECTION_BOUNDS = tuple(
    round(bound * SECOND) for bound in (0.1, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 45, 60, 75, 90, 120, 180, 300)
)
"""Around the heartbeats in use: 25 to 30 s, and as much again for an answer."""
RECOVERY_BOUNDS = tuple(
    round(bound * SECOND) for bound in (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)
)


class _Client:
    """A client, over its connections."""

    def __init__(self) -> None:
        self.trying = 0  # connections and attempts that are not over for it
        self.serving = 0  # connections that are of use to it
        self.ended_at: int | None = None  # the last of the former
        self.lost_at: int | None = None  # the last of the latter
        self.silenced: set[_Connection] = set()  # and it has not noticed


class _Connection:
    """A connection of a client, from its accept on."""

    def __init__(self, accepted_at: int) -> None:
        self.accepted_at = accepted_at
        self.client: _Client | None = None  # it may ask for nothing, and be no client's
        self.is_plain = False
        self.is_struck = False  # by whatever fault that leaves a mark behind its heal
        self.is_up = False  # it was opened, or established
        self.has_served = False
        self.is_over = False  # for its client, or given up by it
        self.is_known = False  # to its client, that it is lost
        self.hushes: dict[str, bool] = {}  # by rule: whether its client hears nothing
        self.hushed_at: int | None = None
        self.healed_at: int | None = None

    @property
    def serves(self) -> bool:
        return self.is_up and not self.is_over and not self.hushes

    def lost_at(self, at: int) -> int:
        """From when it was of no use, if it ends now: from its silence, where that lasts or has only just healed."""
        if self.hushed_at is None or not self.has_served:
            return at
        has_revived = not self.hushes and self.healed_at is not None and at > self.healed_at + REVIVING
        return at if has_revived else self.hushed_at


class Recoveries:
    """Histograms of what clients did about losses. `has_protocol` says whether one is spoken."""

    def __init__(self, has_protocol: Callable[[], bool] = lambda: False) -> None:
        self.reconnects = Buckets(RECONNECT_BOUNDS)
        self.detections = Buckets(DETECTION_BOUNDS)
        self.recoveries = Buckets(RECOVERY_BOUNDS)
        self._has_protocol = has_protocol
        self._connections: dict[Session, _Connection] = {}  # that are not over
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def tell(self, told: Told) -> None:
        session, event = told.session, told.event
        if session is None:
            self._hear_state(event, told.at)
            return
        if isinstance(event, Accepted):
            self._connections[session] = _Connection(told.at)
            return
        connection = self._connections.get(session)
        if connection is None:
            return
        if isinstance(event, Requested):
            connection.is_plain = True
        elif isinstance(event, Struck) and event.fault not in SILENCING:
            connection.is_struck = True
        elif isinstance(event, Asked) and connection.is_plain:
            connection.accepted_at = told.at  # the socket had been there for something else
        is_try = isinstance(event, Asked | Opened) or (isinstance(event, Struck) and not connection.is_plain)
        if connection.client is None and is_try and (client := self._client_of(session)):
            self._try(connection, client)
        if connection.client is not None:
            self._hear(session, connection, connection.client, event, told.at)
        if isinstance(event, Closed):
            del self._connections[session]

    def _hear_state(self, event: Event, at: int) -> None:
        match event:
            case ClientState(name, _, state, "reported", is_late=False) | Reported(name, state) if state != CONNECTED:
                if client := self._clients.get(name):
                    for connection in [*client.silenced]:
                        self._notice(connection, client, at)
            case _:
                pass

    def _hear(self, session: Session, connection: _Connection, client: _Client, event: Event, at: int) -> None:
        match event:
            case Answered(status) if status != 101:
                self._end(connection, client, at, is_own=False)
            case Opened() if not self._has_protocol():
                self._come_up(session, connection, client, at)
            case Established():
                self._come_up(session, connection, client, at)
            case Struck(rule, fault, side) if fault in SILENCING:
                link = session.links.get(rule)
                is_deaf = side is not Side.CLIENT and not (link and lets_server_speak(link.fault))
                self._hush(connection, client, rule, is_deaf, at)
            case Struck(rule, fault) if fault in ENDING:
                link = session.links.get(rule)
                if not (link and spares(link.fault)):
                    self._end(connection, client, at, is_own=False)
            case Healed(rule) if connection.hushes.pop(rule, None) is not None and not connection.hushes:
                self._heal(connection, client, at)
            case CloseReceived(Side.SERVER) | Ended(Side.SERVER) if not any(connection.hushes.values()):
                self._end(connection, client, at, is_own=False)
            case CloseReceived(Side.CLIENT) | Ended(Side.CLIENT):
                self._end(connection, client, at, is_own=True)
            case Closed(by):
                self._end(connection, client, at, is_own=by == Side.CLIENT.label)
            case _:
                pass

    # -- what happens to a client -----------------------------------------------------------------------------------

    def _try(self, connection: _Connection, client: _Client) -> None:
        """It has made an attempt, and by that given up what is silent."""
        at = connection.accepted_at
        for silenced in [each for each in client.silenced if each.hushed_at is not None and each.hushed_at <= at]:
            self._notice(silenced, client, at)
            self._end(silenced, client, at, is_own=True)
        if client.ended_at is not None:
            self.reconnects.add(max(0, at - client.ended_at))
            client.ended_at = None
        client.trying += 1
        connection.client = client

    def _come_up(self, session: Session, connection: _Connection, client: _Client, at: int) -> None:
        connection.is_up = True
        # What is told has happened some moments ago; by now a fault may have silenced what has just opened.
        if not connection.is_over and not connection.hushes and not session.is_silent:
            self._serve(connection, client, at)

    def _serve(self, connection: _Connection, client: _Client, at: int) -> None:
        if client.lost_at is not None and not connection.has_served:
            self.recoveries.add(at - client.lost_at)
        client.lost_at = None
        client.serving += 1
        connection.has_served = True

    def _hush(self, connection: _Connection, client: _Client, rule: str, is_deaf: bool, at: int) -> None:
        if connection.is_over:
            return
        was_serving, was_hushed = connection.serves and connection.has_served, bool(connection.hushes)
        connection.hushes[rule] = is_deaf or connection.hushes.get(rule, False)
        if was_hushed:
            return
        if connection.hushed_at is None or connection.healed_at != at:  # else one silence follows on another
            connection.hushed_at = at
            connection.is_known = False
        if was_serving:
            if not connection.is_known:
                client.silenced.add(connection)
            self._stop_serving(client, connection.hushed_at)

    def _heal(self, connection: _Connection, client: _Client, at: int) -> None:
        connection.healed_at = at
        client.silenced.discard(connection)
        if connection.serves:
            self._serve(connection, client, at)

    def _notice(self, connection: _Connection, client: _Client, at: int) -> None:
        """It has acted, while a connection of its was silent."""
        client.silenced.discard(connection)
        connection.is_known = True
        if connection.hushed_at is not None:
            self.detections.add(at - connection.hushed_at)

    def _end(self, connection: _Connection, client: _Client, at: int, *, is_own: bool) -> None:
        """A connection or an attempt is over for its client, by an act of its own or not."""
        if connection.is_over:
            return
        if connection in client.silenced:
            if is_own:
                self._notice(connection, client, at)
            client.silenced.discard(connection)
        was_serving = connection.serves and connection.has_served
        connection.is_over = True
        client.trying -= 1
        if not client.trying:
            client.ended_at = at
        lost_at = connection.lost_at(at)
        if was_serving and (not is_own or connection.is_struck or lost_at != at):
            self._stop_serving(client, lost_at)
        elif was_serving:
            client.serving -= 1  # it left one that worked

    @staticmethod
    def _stop_serving(client: _Client, since: int) -> None:
        client.serving -= 1
        if not client.serving:
            client.lost_at = since

    def _client_of(self, session: Session) -> _Client | None:
        """Whose connection it is; of one that has asked for nothing, the only client's there is."""
        if session.connection:
            key = session.client
        elif len(self._clients) == 1:
            key = next(iter(self._clients))
        else:
            return None
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _Client()
            if len(self._clients) > CLIENTS_MAX:
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return client
