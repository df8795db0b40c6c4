"""Modelled servers. One speaks the Pusher protocol as soketi does, one sends messages back, and one bytes.

A server is always up and answers at once. It publishes for a while, then is quiet for longer than any heartbeat waits.
"""

import json
from collections.abc import Callable

from ..units import SECOND
from ..wire.frames import Opcode, Side
from ..wire.http import BadHead, HeadReader, build_acceptance, build_answer, parse_request
from .frames import Ear, Mouth, close_code
from .network import Network, Peer, Socket, Timer

ACTIVITY_TIMEOUT_S = 30  # what soketi announces
BUSY_MESSAGES = 15  # one a second, then silence up to the end of the round
ROUND = 90 * SECOND
PUBLISHED = "room"


def moment(number: int) -> int:
    """When the n-th message of a talk comes, from 0, since its beginning."""
    rounds, place = divmod(number, BUSY_MESSAGES)
    return rounds * ROUND + (place + 1) * SECOND


class Talk:
    """Says something again and again: a busy time, then a quiet one, round by round."""

    def __init__(self, network: Network, say: Callable[[int], None]) -> None:
        self._network = network
        self._say = say
        self._number = 0
        self._began_at = network.now
        self._timer = self._arm()

    def stop(self) -> None:
        self._timer.cancel()

    def _arm(self) -> Timer:
        return self._network.after(self._began_at + moment(self._number) - self._network.now, self._go_on)

    def _go_on(self) -> None:
        self._number += 1
        self._timer = self._arm()
        self._say(self._number)


class WebServer(Peer):
    """Answers plain requests with 200 and upgrades with 101, and sends every message back."""

    def __init__(self, network: Network, socket: Socket, ids: Callable[[], int]) -> None:
        self.network = network
        self.socket = socket
        self.ids = ids
        self.mouth = Mouth(socket.send, Side.SERVER)
        self._reader: HeadReader | None = HeadReader(from_client=True)
        self._ear = Ear(Side.CLIENT)
        self._has_closed = False

    def received(self, data: bytes) -> None:
        if self._reader is not None:
            self._read_head(self._reader, data)
            return
        for heard in self._ear.hear(data):
            if self._has_closed:
                return
            if heard.failure is not None:
                self._close(heard.failure)
            elif heard.opcode == Opcode.CLOSE:
                self._close(close_code(heard.payload))
            elif heard.opcode == Opcode.PING:
                self.mouth.pong(heard.payload)
            elif heard.opcode != Opcode.PONG:
                self.heard(heard.payload)

    def ended(self) -> None:
        self._has_closed = True
        self.left()
        self.socket.end()

    def lost(self) -> None:
        self._has_closed = True
        self.left()

    def opened(self) -> None:
        """A WebSocket has opened."""

    def heard(self, payload: bytes) -> None:
        """A message came."""
        self.mouth.text(payload.decode(errors="replace"))

    def left(self) -> None:
        """The client is gone."""

    def _read_head(self, reader: HeadReader, data: bytes) -> None:
        try:
            raw = reader.feed(data)
            if raw is None:
                return
            request = parse_request(raw)
        except BadHead as bad:
            self.socket.send(build_answer(bad.status))
            return
        if request.is_upgrade:
            self._reader = None
            self.socket.send(build_acceptance(request))
            self.opened()
        else:
            self._reader = HeadReader(from_client=True)
            self.socket.send(build_answer(200, [("Connection", "keep-alive")], "ok"))
        if reader.rest:
            self.received(reader.rest)

    def _close(self, code: int | None) -> None:
        self._has_closed = True
        self.mouth.close(code)
        self.socket.end()
        self.left()


class PusherServer(WebServer):
    """As soketi: it greets, confirms subscriptions, answers pings and publishes to one channel."""

    def __init__(self, network: Network, socket: Socket, ids: Callable[[], int]) -> None:
        super().__init__(network, socket, ids)
        self._talk: Talk | None = None

    def opened(self) -> None:
        self._say(
            "pusher:connection_established", {"socket_id": f"{self.ids()}.1", "activity_timeout": ACTIVITY_TIMEOUT_S}
        )

    def heard(self, payload: bytes) -> None:
        message = read_object(payload)
        channel = read_object(message.get("data")).get("channel")
        match message.get("event"):
            case "pusher:ping":
                self.mouth.text(json.dumps({"event": "pusher:pong", "data": {}}))
            case "pusher:subscribe" if isinstance(channel, str):
                presence = {"presence": {"ids": ["1"], "hash": {}, "count": 1}}
                data = presence if channel.startswith("presence-") else {}
                self._say("pusher_internal:subscription_succeeded", data, channel)
                if channel == PUBLISHED and self._talk is None:
                    self._talk = Talk(self.network, lambda number: self._say("news", {"number": number}, PUBLISHED))
            case _:
                pass  # what clients tell each other goes to the others

    def left(self) -> None:
        if self._talk:
            self._talk.stop()

    def _say(self, event: str, data: object, channel: str | None = None) -> None:
        place = {} if channel is None else {"channel": channel}
        self.mouth.text(json.dumps({"event": event, **place, "data": json.dumps(data)}))


class StreamServer(Peer):
    """Sends all bytes back (tcp://)."""

    def __init__(self, network: Network, socket: Socket, ids: Callable[[], int]) -> None:
        self.socket = socket

    def received(self, data: bytes) -> None:
        self.socket.send(data)

    def ended(self) -> None:
        self.socket.end()

    def lost(self) -> None:
        pass


def read_object(value: object) -> dict[str, object]:
    """A JSON object, also as text; an empty one for anything else."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
