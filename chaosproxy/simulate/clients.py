"""What modelled clients have in common: they connect, read what comes as a strict client does, and let go of it.

What such a client sees of a profile is what `chaosproxy simulate` tells. It is a model: timers are exact, and nothing
of it depends on a machine's speed. Real clients are judged by `chaosproxy run`.
"""

from abc import abstractmethod
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, urlencode

from ..profile import Identify
from ..units import SECOND
from ..wire.frames import Opcode, Side
from ..wire.http import BadHead, HeadReader, Response, is_tunnel, parse_request, parse_response
from .frames import Ear, Mouth, close_code
from .network import Network, Peer, Socket, Timer

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


def _problem_of(response: Response, asked: bytes) -> str:
    """What a strict client does not accept of a 101; nothing where it is good."""
    if not is_tunnel(response, parse_request(asked)):
        return "Upgrade, Connection or Sec-WebSocket-Accept"
    for name in (b"sec-websocket-protocol", b"sec-websocket-extensions"):
        if response.values(name):
            return f"{name.decode()} was not asked for"
    return ""


def seconds(time: int) -> str:
    """A time for people."""
    return f"{time / SECOND:.3f}".rstrip("0").rstrip(".") + "s"
