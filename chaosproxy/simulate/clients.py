"""Modelled clients. One does as pusher-js 8 does, with its numbers; the others as a plain client with a good heart.

What such a client sees of a profile is what `chaosproxy simulate` tells. It is a model: timers are exact, and nothing
of it depends on a machine's speed. Real clients are judged by `chaosproxy run`.
"""

import json
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, urlencode

from ..profile import Identify
from ..recovery import Backoff, Heartbeat, Reaction, Silence, reaction_to
from ..units import MILLISECOND, SECOND
from ..wire.frames import Opcode, Side
from ..wire.http import BadHead, HeadReader, Response, is_tunnel, parse_request, parse_response
from .frames import Ear, Mouth, close_code
from .network import Network, Peer, Socket, Timer
from .servers import Talk, read_object

KEY = b64encode(b"chaosproxy model")
PATH = "/app/key?protocol=7"
HEADERS = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n"
)
NO_STATUS, ABNORMAL = 1005, 1006
LEAVING_TIME = 2 * SECOND  # for the server's FIN behind a close, as Chromium waits

Tell = Callable[[str, str], None]
"""Tell of something: its kind, of which few are shown, and the words."""


def request(identify: Identify | None, name: str) -> bytes:
    """An upgrade request that names the client where the profile looks for its name."""
    path, headers = PATH, HEADERS
    if identify and identify.query:
        path += "&" + urlencode({identify.query: name})
    elif identify and identify.header:
        headers += f"{identify.header}: {name}\r\n".encode("latin-1", "replace")
    elif identify:
        path = "/" + quote(name) + path
    return f"GET {path} HTTP/1.1\r\n".encode() + headers + b"\r\n"


class Leaving(Peer):
    """A client's connection that it has let go of: it waits a while for the end."""

    def __init__(self, network: Network, socket: Socket) -> None:
        self._socket = socket
        self._timer = network.after(LEAVING_TIME, socket.end)

    def received(self, data: bytes) -> None:
        pass

    def ended(self) -> None:
        self._timer.cancel()
        self._socket.end()

    def lost(self) -> None:
        self._timer.cancel()


class Client(Peer):
    """A client that connects, and connects again."""

    def __init__(self, network: Network, number: int, tell: Tell, channels: tuple[str, ...] = ()) -> None:
        self.network = network
        self.number = number
        self.name = f"client {number}"
        self.channels = channels
        self.state = "connecting"
        self.attempts = 0
        self.losses = 0
        self.heard = 0
        self.subscribed: list[str] = []
        self._tell = tell
        self._socket: Socket | None = None
        self._timers: dict[str, Timer] = {}

    @property
    def is_settled(self) -> bool:
        """Whether it is where it wants to be, or has given up."""
        return self.state in ("connected", "disconnected") and set(self.subscribed) >= set(self.channels)

    def begin(self) -> None:
        """Connect for the first time."""
        self._dial()

    # -- what kinds of clients differ in ------------------------------------------------------------------------------

    @abstractmethod
    def _failed(self, reason: str) -> None:
        """An attempt has failed before anything was open."""

    # -- attempts -----------------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        self.attempts += 1
        self._socket = self.network.connect(self, f"192.0.2.{self.number % 250 + 1}:{40000 + self.attempts % 20000}")
        if self._socket is None:
            self._failed("refused")

    def _let_go(self) -> None:
        """Look after the connection no more."""
        if self._socket is not None:
            self._socket.peer = Leaving(self.network, self._socket)
            self._socket = None

    def _say(self, kind: str, words: str) -> None:
        self._tell(f"{self.name}: {kind}", words)

    def _set_timer(self, name: str, delay: int, do: Callable[[], None]) -> None:
        self._stop_timer(name)
        self._timers[name] = self.network.after(delay, do)

    def _stop_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()


class WebClient(Client):
    """What clients of WebSockets have in common."""

    def __init__(self, network: Network, number: int, tell: Tell, channels: tuple[str, ...] = ()) -> None:
        super().__init__(network, number, tell, channels)
        self._is_open = False

    @abstractmethod
    def _opened(self) -> None:
        """The WebSocket is open."""

    @abstractmethod
    def _closed(self, code: int, how: str) -> None:
        """The WebSocket has ended; `code` is what its API tells."""

    @abstractmethod
    def _heard(self, opcode: int, payload: bytes) -> None:
        """A message came, or a pong."""

    def ready(self) -> None:
        self._reader = HeadReader(from_client=False)
        self._ear = Ear(Side.SERVER)
        assert self._socket is not None
        self._mouth = Mouth(self._socket.send, Side.CLIENT)
        self._request = request(self.network.world.profile.identify, self.name.replace(" ", "-"))
        self._socket.send(self._request)

    def distrusts(self, certificate: str) -> None:
        self._socket = None
        self._failed(f"the certificate is not trusted ({certificate})")

    def received(self, data: bytes) -> None:
        if self._is_open:
            self._hear(data)
            return
        try:
            raw = self._reader.feed(data)
            response = None if raw is None else parse_response(raw)
        except BadHead as bad:
            self._end_attempt(f"the answer is no HTTP: {bad.reason}")
            return
        if response is None or (response.status < 200 and response.status != 101):
            return
        if response.status != 101:
            self._end_attempt(f"answered {response.status}")
        elif problem := _problem_of(response, self._request):
            self._end_attempt(f"the 101 is not acceptable: {problem}")
        else:
            self._is_open = True
            self._opened()
            if self._reader.rest and self._is_open:
                self._hear(self._reader.rest)

    def ended(self) -> None:
        self._end("FIN, no close frame")

    def lost(self) -> None:
        if self._socket is not None:
            self._socket = None
            if self._is_open:
                self._is_open = False
                self._closed(ABNORMAL, "RST")
            else:
                self._failed("reset")

    def _end(self, how: str) -> None:
        if self._is_open:
            self._is_open = False
            self._let_go()
            self._closed(ABNORMAL, how)
        else:
            self._end_attempt("ended without an answer")

    def _end_attempt(self, reason: str) -> None:
        self._let_go()
        self._failed(reason)

    def _hang_up(self, code: int = 1000) -> None:
        """End the connection from this side."""
        if self._is_open:
            self._mouth.close(code)
        elif self._socket is not None:
            self._socket.end()
        self._is_open = False
        self._let_go()

    def _hear(self, data: bytes) -> None:
        for heard in self._ear.hear(data):
            if not self._is_open:
                return
            if heard.failure is not None:
                self._hang_up(heard.failure)
                self._closed(ABNORMAL, f"bad frames: fails it with {heard.failure}")
            elif heard.opcode == Opcode.CLOSE:
                code = close_code(heard.payload)
                self._mouth.close(code)
                self._is_open = False
                self._let_go()
                self._closed(NO_STATUS if code is None else code, "close frame")
            elif heard.opcode == Opcode.PING:
                self._mouth.pong(heard.payload)
            else:
                self._heard(heard.opcode, heard.payload)


class PusherClient(WebClient):
    """As pusher-js 8 with `enabledTransports: ['ws']` and its default timeouts.

    Attempts are made 15, 30, 60, 60 … s apart, and one that fails before the 101 is waited out. What follows a close is
    by its code; a silent link is asked after the activity timeout, and given up after another 30 s. Once a connection
    younger than 240 s has ended without a close frame, later ones are asked sooner: after half its age, 10 s at least.
    """

    UNAVAILABLE_TIME = 10 * SECOND
    ATTEMPT_TIME, ATTEMPT_TIME_MAX = 15 * SECOND, 60 * SECOND
    PAUSE = 1 * SECOND
    ACTIVITY_TIMEOUT_S, PONG_TIMEOUT_S, PING_DELAY_MIN_S = 120.0, 30.0, 10.0

    _ping_delay_s = ACTIVITY_TIMEOUT_S  # learnt from connections that broke

    def begin(self) -> None:
        self._connect()

    def _connect(self) -> None:
        if self.attempts:
            self._enter("connecting")
        self._attempt_time = self.ATTEMPT_TIME
        self._set_timer("unavailable", self.UNAVAILABLE_TIME, self._give_up_hope)
        self._try()

    def _try(self) -> None:
        time, self._attempt_time = self._attempt_time, min(2 * self._attempt_time, self.ATTEMPT_TIME_MAX)
        self._set_timer("attempt", time, self._try_again)
        self._slot_ends_at = self.network.now + time
        self._dial()

    def _try_again(self) -> None:
        if self._socket is not None:
            self._say("attempts", f"attempt {self.attempts}: no answer, given up")
            self._hang_up()
        self._try()

    def _failed(self, reason: str) -> None:
        left = self._slot_ends_at - self.network.now
        self._say("attempts", f"attempt {self.attempts}: {reason}; the next is due in {_seconds(left)}")

    def _opened(self) -> None:
        self._is_established = False
        self._opened_at_s = self._seconds

    def _learn(self, opened_at_s: float) -> None:
        """A connection has ended uncleanly."""
        age_s = self._seconds - opened_at_s
        if age_s < 2 * self.ACTIVITY_TIMEOUT_S:
            self._ping_delay_s = max(age_s / 2, self.PING_DELAY_MIN_S)

    def _closed(self, code: int, how: str) -> None:
        self._stop_timer("heartbeat")
        if code == ABNORMAL:
            self._learn(self._opened_at_s)
        if not self._is_established:
            self._refused(code, f"attempt {self.attempts}: closed before it was established ({code}, {how})")
            return
        self._lost(f"loses its connection: {code} ({how})")
        self._recover(code)

    def _lost(self, words: str) -> None:
        self._talk.stop()
        self.losses += 1
        self.subscribed.clear()
        self._say("losses", words)

    def _refused(self, code: int | None, words: str) -> None:
        """The server has refused behind the 101: this ends the attempt, and the code tells what follows."""
        self._stop_timer("attempt")
        self._say("attempts", words)
        self._recover(code)

    def _recover(self, code: int | None) -> None:
        match reaction_to(code):
            case Reaction.AT_ONCE:
                self._set_timer("retry", 0, self._connect)
            case Reaction.AFTER_PAUSE:
                self._set_timer("retry", self.PAUSE, self._connect)
            case Reaction.GIVE_UP:
                self._stop_timer("unavailable")
                self._enter("disconnected")

    def _heard(self, opcode: int, payload: bytes) -> None:
        message = read_object(payload)
        event = message.get("event")
        if opcode == Opcode.PONG:
            return
        if not self._is_established:
            self._greet(event, message)
            return
        if not message:
            self._say("broken messages", "hears what is no JSON object")
            return
        self._heartbeat.heard(self._seconds)
        self._set_heartbeat()
        match event:
            case "pusher:ping":
                self._send("pusher:pong", {})
            case "pusher_internal:subscription_succeeded":
                self._note_subscription(str(message.get("channel")))
            case "pusher:subscription_error":
                status = read_object(message.get("data")).get("status")
                self._say("refused channels", f"is refused {message.get('channel')} ({status})")
            case "pusher:error":
                self._say("errors", f"hears an error: {read_object(message.get('data')).get('code')}")
            case "pusher:pong":
                pass
            case _:
                self.heard += 1

    def _greet(self, event: object, message: dict[str, object]) -> None:
        data = read_object(message.get("data"))
        timeout = data.get("activity_timeout")
        if event == "pusher:error":
            code = data.get("code")
            code = code if isinstance(code, int) else None
            self._hang_up()
            self._refused(code, f"attempt {self.attempts}: refused by an error, {code}")
        elif event == "pusher:connection_established" and isinstance(timeout, int | float) and timeout > 0:
            self._establish(str(data.get("socket_id")), float(timeout))
        else:
            # pusher-js is stuck here for good, and `connect()` does not help it.
            self._stop_timer("attempt")
            self._say("attempts", f"attempt {self.attempts}: the first message is broken; it never tries again")

    def _establish(self, socket_id: str, activity_timeout_s: float) -> None:
        self._is_established = True
        for timer in ("attempt", "unavailable"):
            self._stop_timer(timer)
        self._enter("connected", f"attempt {self.attempts}: established as {socket_id}")
        activity_timeout_s = min(activity_timeout_s, self._ping_delay_s)
        self._heartbeat = Heartbeat(activity_timeout_s, self.PONG_TIMEOUT_S, self._seconds)
        self._set_heartbeat()
        self._talk = Talk(self.network, self._talk_to_others)
        for channel in self.channels:
            auth = "" if channel.partition("-")[0] not in ("private", "presence") else "key:signature"
            self._send("pusher:subscribe", {"auth": auth, "channel": channel})

    def _note_subscription(self, channel: str) -> None:
        self.subscribed.append(channel)
        if set(self.subscribed) == set(self.channels):
            again = " again" if self.losses else ""
            self._say("subscriptions", f"is subscribed{again}: {', '.join(self.channels)}")

    # -- heartbeat ----------------------------------------------------------------------------------------------------

    @property
    def _seconds(self) -> float:
        return self.network.now / SECOND

    def _set_heartbeat(self) -> None:
        delay = round(self._heartbeat.deadline_s * SECOND) - self.network.now
        self._set_timer("heartbeat", delay, self._feel_pulse)

    def _feel_pulse(self) -> None:
        if self._heartbeat.expire(self._seconds) is Silence.ASK:
            self._send("pusher:ping", {})
            self._set_heartbeat()
            return
        self._hang_up()
        opened_at_s = self._opened_at_s
        self.network.after(
            LEAVING_TIME, lambda: self._learn(opened_at_s)
        )  # no reply to the close frame: it was not clean
        self._lost(f"notices the silence: no pong within {self.PONG_TIMEOUT_S:g}s")
        self._connect()

    # -- saying -------------------------------------------------------------------------------------------------------

    def _talk_to_others(self, number: int) -> None:
        if "private-room" in self.subscribed:
            self._send("client-note", {"number": number}, "private-room")

    def _send(self, event: str, data: object, channel: str | None = None) -> None:
        place = {} if channel is None else {"channel": channel}
        self._mouth.text(json.dumps({"event": event, "data": data, **place}))

    def _enter(self, state: str, words: str = "") -> None:
        if state != self.state or words:
            self.state = state
            self._say(f"times {state}", f"{words + ', ' if words else 'is '}{state}")

    def _give_up_hope(self) -> None:
        if self.state == "connecting":
            self._enter("unavailable")


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
        self._failed(f"no answer within {_seconds(self.OPEN_TIME)}")

    def _failed(self, reason: str) -> None:
        self._stop_timer("open")
        self._failures += 1
        self._retry("attempts", f"attempt {self.attempts}: {reason}")

    def _retry(self, kind: str, words: str) -> None:
        delay = round(Backoff().delay_s(Reaction.AFTER_PAUSE, self._failures, self.name) * 1000) * MILLISECOND
        self._say(kind, f"{words}; tries again in {_seconds(delay)}")
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
        self._lose(f"notices the silence: no pong within {_seconds(self.PONG_TIME)}")

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
        took = _seconds(self.network.now - self._asked_at)
        self._say(kind, f"request {self.attempts}: {words} after {took}")


def _problem_of(response: Response, asked: bytes) -> str:
    """What a strict client does not accept of a 101; nothing where it is good."""
    if not is_tunnel(response, parse_request(asked)):
        return "Upgrade, Connection or Sec-WebSocket-Accept"
    for name in (b"sec-websocket-protocol", b"sec-websocket-extensions"):
        if response.values(name):
            return f"{name.decode()} was not asked for"
    return ""


def _seconds(time: int) -> str:
    return f"{time / SECOND:.3f}".rstrip("0").rstrip(".") + "s"
