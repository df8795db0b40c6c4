"""A run in virtual time and its judge. Clients do what the story says; nothing sleeps."""

import json
from typing import Any

from chaosproxy.events import ClientSaid, ClientState
from chaosproxy.expectations import Outcome
from chaosproxy.observe import Clients
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.verdict import Judge, Row, Verdict
from chaosproxy.wire.frames import Side
from chaosproxy.world import Told
from tests.virtual import CLIENT, SERVER, START, Connection, Network, close_frame, profile, text

S, MS = SECOND, MILLISECOND
MASK = b"\1\2\3\4"


class Trial:
    """A profile, its expectations, and what has happened so far. `about` are keys beside the expectation."""

    def __init__(self, *phases: dict[str, Any], expect: Any = (), **top: Any) -> None:
        expected = [expect] if isinstance(expect, dict | str) else list(expect)
        made = profile(*phases, expect=expected, **{"protocol": "pusher", **top})
        self.network = Network(made)
        self.judge = Judge(made, START)
        self._clients = Clients(has_protocol=made.protocol is not None)
        self._heard = 0
        self.records: dict[int, Told] = {}

    # -- what clients do --------------------------------------------------------------------------------------------

    def connect(self, *channels: str, client: str = "1", auth: str = "") -> Connection:
        """A client connects, is established, and subscribes."""
        connection = self.network.open(f"/app/key?client={client}")
        self.establish(connection)
        for channel in channels:
            self.subscribe(connection, channel, auth)
        return connection

    def establish(self, connection: Connection) -> None:
        data = json.dumps({"socket_id": f"{connection.session.number}.1", "activity_timeout": 30})
        self.say(connection, {"event": "pusher:connection_established", "data": data})

    def subscribe(self, connection: Connection, channel: str, auth: str = "", *, is_confirmed: bool = True) -> None:
        data = {"channel": channel} | ({"auth": auth} if auth else {})
        self.ask(connection, {"event": "pusher:subscribe", "data": data})
        if is_confirmed:
            event = {"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}
            self.say(connection, event)

    def say(self, connection: Connection, message: object) -> None:
        """The server sends."""
        connection.send(SERVER, text(json.dumps(message)))

    def ask(self, connection: Connection, message: object) -> None:
        """The client sends."""
        connection.send(CLIENT, text(json.dumps(message), MASK))

    def leave(self, connection: Connection, code: int | None = 1000) -> None:
        """The client goes by the closing handshake; the server answers."""
        connection.send(CLIENT, close_frame(code, mask=MASK))
        connection.send(SERVER, close_frame(code))
        connection.fin(SERVER)
        connection.fin(CLIENT)

    def fail(self, *, client: str = "1") -> None:
        """An attempt that a rule refuses; the client ends its side."""
        attempt = self.network.connect()
        attempt.send(CLIENT, _request(client))
        attempt.fin(CLIENT)

    def report(self, state: str, *, client: str = "") -> None:
        """A client reports a state of its own."""
        event = ClientState(client, "", state, "reported", None, "", "i", 1, 0.0, False)
        self.network.told.append(Told(self.network.now, None, event))

    def mark(self, name: str) -> None:
        event = ClientSaid("", "mark", name, None, "", None, "", "i", 1, 0.0, False)
        self.network.told.append(Told(self.network.now, None, event))

    def wait(self, duration: int) -> None:
        self.network.wait(duration)

    # -- how it stands ----------------------------------------------------------------------------------------------

    def verdict(self, *, is_over: bool = False) -> Verdict:
        for told in self.network.told[self._heard :]:
            for each in (told, *self._clients.tell(told)):
                seq = len(self.records) + 1
                self.records[seq] = each
                self.judge.hear(each, seq)
        self._heard = len(self.network.told)
        return self.judge.verdict(self.network.now, is_over=is_over)

    @property
    def row(self) -> Row:
        """The one expectation, as it stands."""
        return next(row for row in self.verdict().rows if row.is_expected)

    @property
    def outcome(self) -> Outcome:
        return self.row.outcome

    def end(self) -> Row:
        """The run is over."""
        return next(row for row in self.verdict(is_over=True).rows if row.is_expected)

    def events_of(self, row: Row) -> list[str]:
        """What its evidence tells of."""
        return [type(self.records[seq].event).__name__ for seq in row.evidence]


def _request(client: str) -> bytes:
    from tests.virtual import request

    return request(f"/app/key?client={client}")


__all__ = ["CLIENT", "MS", "SERVER", "Outcome", "S", "Side", "Trial"]
