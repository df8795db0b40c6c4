"""Modelled clients that know no protocol of their own: one of WebSockets, one of bytes, one of plain HTTP."""

import json

from ..recovery import Backoff, Reaction
from ..units import MILLISECOND, SECOND
from ..wire.frames import Opcode
from ..wire.http import HeadReader, parse_response
from .clients import Client, Tell, WebClient, seconds
from .network import Network
from .servers import Talk


class PlainClient(WebClient):
    """Sends messages and hears them come back. It pings every 20 s and waits 20 s, as Python's websockets does.

    An attempt has 10 s. After a loss it waits 1 s, and twice as long after each failed attempt, up to 30 s.
    """

    PING_TIME, PONG_TIME, OPEN_TIME = 20 * SECOND, 20 * SECOND, 10 * SECOND

    def __init__(self, network: Network, number: int, tell: Tell, channels: tuple[str, ...] = ()) -> None:
        super().__init__(network, number, tell, channels)
        self._failures = 0

    def _dial(self) -> None:
        self._set_timer("open", self.OPEN_TIME, self._give_up)
        super()._dial()

    def _give_up(self) -> None:
        self._hang_up()
        self._failed(f"no answer within {seconds(self.OPEN_TIME)}")

    def _failed(self, reason: str) -> None:
        self._stop_timer("open")
        self._failures += 1
        self._retry("attempts", f"attempt {self.attempts}: {reason}")

    def _retry(self, kind: str, words: str) -> None:
        delay = round(Backoff().delay_s(Reaction.AFTER_PAUSE, self._failures, self.name) * 1000) * MILLISECOND
        self._say(kind, f"{words}; tries again in {seconds(delay)}")
        self._set_timer("retry", delay, self._dial)

    def _opened(self) -> None:
        self._stop_timer("open")
        self._failures = 0
        self.state = "connected"
        self._say("times open", f"attempt {self.attempts}: open")
        self._talk = Talk(self.network, lambda number: self._mouth.text(json.dumps({"number": number})))
        self._set_timer("ping", self.PING_TIME, self._ping)

    def _ping(self) -> None:
        self._mouth.ping()
        self._set_timer("pong", self.PONG_TIME, self._notice)
        self._set_timer("ping", self.PING_TIME + MILLISECOND, self._ping)

    def _notice(self) -> None:
        self._hang_up(1011)
        self._lose(f"notices the silence: no pong within {seconds(self.PONG_TIME)}")

    def _closed(self, code: int, how: str) -> None:
        self._lose(f"loses its connection: {code} ({how})")

    def _lose(self, words: str) -> None:
        for timer in ("ping", "pong"):
            self._stop_timer(timer)
        self._talk.stop()
        self.losses += 1
        self.state = "connecting"
        self._retry("losses", words)

    def _heard(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PONG:
            self._stop_timer("pong")
        else:
            self.heard += 1


class StreamClient(Client):
    """Sends lines and hears them come back (tcp://). It never notices silence; it is back 1 s after each end."""

    PAUSE = 1 * SECOND

    def ready(self) -> None:
        assert self._socket is not None
        socket = self._socket
        self.state = "connected"
        self._say("times connected", f"attempt {self.attempts}: connected")
        self._talk = Talk(self.network, lambda number: socket.send(b"line %d\n" % number))

    def received(self, data: bytes) -> None:
        self.heard += data.count(b"\n")

    def ended(self) -> None:
        self._lose("FIN")

    def lost(self) -> None:
        self._lose("RST")

    def _lose(self, how: str) -> None:
        if self._socket is None:
            return
        if self.state == "connected":
            self._talk.stop()
            self.losses += 1
        self._let_go()
        self.state = "connecting"
        self._say("losses", f"loses its connection: {how}")
        self._set_timer("retry", self.PAUSE, self._dial)

    def _failed(self, reason: str) -> None:
        self._say("attempts", f"attempt {self.attempts}: {reason}")
        self._set_timer("retry", self.PAUSE, self._dial)


class Requester(Client):
    """Makes a plain HTTP request every 5 s, as a backend does that publishes. Each has a connection of its own."""

    EVERY = 5 * SECOND
    ASKING = b"GET /apps/1/channels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    def __init__(self, network: Network, number: int, tell: Tell, channels: tuple[str, ...] = ()) -> None:
        super().__init__(network, number, tell, channels)
        self.name = "http client"
        self.state = "connected"

    def begin(self) -> None:
        self.network.after(self.EVERY, self._ask)

    def _ask(self) -> None:
        self.network.after(self.EVERY, self._ask)
        if self._socket is None:
            self._asked_at = self.network.now
            self._dial()

    def ready(self) -> None:
        self._reader = HeadReader(from_client=False)
        assert self._socket is not None
        self._socket.send(self.ASKING)

    def received(self, data: bytes) -> None:
        raw = self._reader.feed(data)
        if raw is not None:
            self.heard += 1
            self._finish("answers", f"answered {parse_response(raw).status}")

    def ended(self) -> None:
        self._failed("ended without an answer")

    def lost(self) -> None:
        self._failed("reset")

    def distrusts(self, certificate: str) -> None:
        self._failed("the certificate is not trusted")

    def _failed(self, reason: str) -> None:
        self._finish("failures", reason)

    def _finish(self, kind: str, words: str) -> None:
        self._let_go()
        took = seconds(self.network.now - self._asked_at)
        self._say(kind, f"request {self.attempts}: {words} after {took}")
