"""Two clients to watch under fire: one that does what pusher-js does, and one as people write it by hand.

Both report what happens to them as events, in the order in which it happens, and never raise because of the network or
the server. A client's view is what counts here: `NaiveClient` may report `connected` on a link that has long been dead.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chaosproxy.demo.frames import Json, decode, encode
from chaosproxy.recovery import Backoff, Heartbeat, Reaction, Silence, reaction_to

CLOSE_PATIENCE_S = 1.0


class ClientState(Enum):
    """The connection states of pusher-js."""

    INITIALIZED = "initialized"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNAVAILABLE = "unavailable"  # still trying, but for longer than a user should be left without word
    DISCONNECTED = "disconnected"  # on purpose or for good


class Kind(Enum):
    """What a client reports, and what `detail` then holds."""

    STATE = "state"  # the new ClientState's value
    DIAL = "dial"  # the attempt's number, from 1 and never reset
    SUBSCRIBED = "subscribed"  # the channel
    MESSAGE = "message"  # the event's name and its channel
    CLOSED = "closed"  # the close code; 1006 when there was no close frame
    ERROR = "error"  # what went wrong, in words


class ClientEvent(NamedTuple):
    at_ns: int  # time.monotonic_ns()
    client: str
    kind: Kind
    detail: str


OnEvent = Callable[[ClientEvent], None]
Authorise = Callable[[str, str], Mapping[str, str]]  # (socket_id, channel) -> auth, and channel_data where due

_PROBLEMS = (OSError, InvalidHandshake, ConnectionClosed)  # TimeoutError is an OSError
_PING = encode({"event": "pusher:ping", "data": {}})
_PONG = encode({"event": "pusher:pong", "data": {}})


class _Welcome(NamedTuple):
    """What `pusher:connection_established` says."""

    socket_id: str
    activity_timeout_s: float


class _Client:
    def __init__(
        self, name: str, url: str, channels: Sequence[str], on_event: OnEvent, authorise: Authorise | None
    ) -> None:
        self.name = name
        self.state = ClientState.INITIALIZED
        self._url = url
        self._channels = tuple(channels)
        self._on_event = on_event
        self._authorise = authorise
        self._dials = 0

    def _report(self, kind: Kind, detail: str) -> None:
        self._on_event(ClientEvent(time.monotonic_ns(), self.name, kind, detail))

    def _report_problem(self, problem: Exception) -> None:
        if isinstance(problem, ConnectionClosed):
            self._report(Kind.CLOSED, str(problem.rcvd.code if problem.rcvd else 1006))
        else:
            self._report(Kind.ERROR, f"{type(problem).__name__} {problem}".rstrip())

    def _enter(self, state: ClientState) -> None:
        if state is not self.state:
            self.state = state
            self._report(Kind.STATE, state.value)

    async def _dial(self) -> ClientConnection:
        self._dials += 1
        self._report(Kind.DIAL, str(self._dials))
        # Nothing the library would do by itself may get in the way: timeouts and pings are the clients' own business.
        return await _Dial(
            self._url,
            proxy=None,
            compression=None,
            open_timeout=None,
            ping_interval=None,
            close_timeout=CLOSE_PATIENCE_S,
            max_size=None,
        )

    def _hear(self, frame: str | bytes) -> Mapping[str, Json]:
        """Report what a frame says; return it as an object, empty when it is not one."""
        message = _read(frame)
        match message.get("event"):
            case None:
                self._report(Kind.ERROR, f"not a Pusher message: {frame[:80]!r}")
            case "pusher_internal:subscription_succeeded":
                self._report(Kind.SUBSCRIBED, str(message.get("channel")))
            case "pusher:error" | "pusher:subscription_error" as event:
                self._report(Kind.ERROR, f"{event} {encode(message.get('data'))}")
            case "pusher:connection_established" | "pusher:ping" | "pusher:pong":
                pass
            case event:
                self._report(Kind.MESSAGE, f"{event} {message.get('channel')}")
        return message

    def _subscriptions(self, socket_id: str) -> list[str]:
        """Return the frames that subscribe a new connection to all channels."""
        grants = [
            self._authorise(socket_id, channel) if self._authorise else {"auth": ""} for channel in self._channels
        ]
        return [
            encode({"event": "pusher:subscribe", "data": {**grant, "channel": channel}})
            for grant, channel in zip(grants, self._channels, strict=True)
        ]


class GoodClient(_Client):
    """A client that gets over whatever happens to its connection, as pusher-js does.

    It notices a silent link (ping, then pong timeout), obeys close codes, backs off when attempts keep failing, limits
    each attempt's time, and subscribes anew after each reconnect. After an ordinary close it stays `connected` until
    the next attempt a second later, and from `unavailable` it goes to `connected` directly; both are pusher-js's ways.

    `activity_timeout_s` is an upper bound: the server may announce a shorter one.
    """

    def __init__(
        self,
        name: str,
        url: str,
        channels: Sequence[str],
        *,
        on_event: OnEvent,
        authorise: Authorise | None = None,
        activity_timeout_s: float = 120.0,
        pong_timeout_s: float = 30.0,
        unavailable_timeout_s: float = 10.0,
        attempt_timeout_s: float = 15.0,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(name, url, channels, on_event, authorise)
        self._activity_timeout_s = activity_timeout_s
        self._pong_timeout_s = pong_timeout_s
        self._unavailable_timeout_s = unavailable_timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._backoff = backoff or Backoff()
        self._unavailable_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Stay connected until cancelled; return only when the server says that there is no point in trying."""
        failed_attempts = 0
        try:
            while True:
                self._start_connecting()
                reaction = await self._attempt()
                if reaction is Reaction.GIVE_UP:
                    return
                failed_attempts = 0 if self.state is ClientState.CONNECTED else failed_attempts + 1
                await asyncio.sleep(self._backoff.delay_s(reaction, failed_attempts, self.name))
        finally:
            self._settle(ClientState.DISCONNECTED)

    def _start_connecting(self) -> None:
        if self.state in (ClientState.CONNECTING, ClientState.UNAVAILABLE):
            return  # just one more attempt
        self._enter(ClientState.CONNECTING)
        self._unavailable_timer = asyncio.get_running_loop().call_later(
            self._unavailable_timeout_s, self._enter, ClientState.UNAVAILABLE
        )

    def _settle(self, state: ClientState) -> None:
        if self._unavailable_timer is not None:
            self._unavailable_timer.cancel()
        self._enter(state)

    async def _attempt(self) -> Reaction:
        """Dial, live through the connection to its end, and tell what that end asks for."""
        link: ClientConnection | None = None
        try:
            async with asyncio.timeout(self._attempt_timeout_s):
                link = await self._dial()
                greeting = self._hear(await link.recv())
            welcome = _read_welcome(greeting)
            if welcome is None:
                return reaction_to(_error_code(greeting))
            self._settle(ClientState.CONNECTED)
            await self._converse(link, welcome)
            await _hang_up(link, patience_s=0.0)  # who is silent will not answer a close frame either
            return Reaction.AT_ONCE
        except _PROBLEMS as problem:
            self._report_problem(problem)
            return reaction_to(link.close_code if link else None)
        finally:
            if link:
                await _hang_up(link, CLOSE_PATIENCE_S)

    async def _converse(self, link: ClientConnection, welcome: _Welcome) -> None:
        """Subscribe, listen and keep the link alive; return when it has gone silent. Raises ConnectionClosed."""
        clock = asyncio.get_running_loop()
        activity_timeout_s = min(welcome.activity_timeout_s, self._activity_timeout_s)
        heartbeat = Heartbeat(activity_timeout_s, self._pong_timeout_s, clock.time())
        outgoing = self._subscriptions(welcome.socket_id)
        while True:
            try:
                async with asyncio.timeout_at(heartbeat.deadline_s):
                    while outgoing:
                        await link.send(outgoing.pop(0))
                    message = self._hear(await link.recv())
            except TimeoutError:
                if heartbeat.expire(clock.time()) is Silence.LOST:
                    self._report(Kind.ERROR, "no pong: the link is dead")
                    return
                outgoing.append(_PING)
                continue
            heartbeat.heard(clock.time())
            if message.get("event") == "pusher:ping":
                outgoing.append(_PONG)


class NaiveClient(_Client):
    """A client as people write it by hand, with the usual three mistakes.

    It sends no ping, so it never notices a silent link; it dials again soon and for ever, whatever the close code says;
    and it subscribes once, on its first connection, so that after a reconnect it is connected and hears nothing.
    """

    def __init__(
        self,
        name: str,
        url: str,
        channels: Sequence[str],
        *,
        on_event: OnEvent,
        authorise: Authorise | None = None,
        retry_pause_s: float = 0.25,
    ) -> None:
        super().__init__(name, url, channels, on_event, authorise)
        self._retry_pause_s = retry_pause_s
        self._has_subscribed = False

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        try:
            while True:
                try:
                    await self._attempt()
                except _PROBLEMS as problem:
                    self._report_problem(problem)
                await asyncio.sleep(self._retry_pause_s)
        finally:
            self._enter(ClientState.DISCONNECTED)

    async def _attempt(self) -> None:
        self._enter(ClientState.CONNECTING)
        link = await self._dial()
        self._enter(ClientState.CONNECTED)
        try:
            while True:
                message = self._hear(await link.recv())
                if (welcome := _read_welcome(message)) and not self._has_subscribed:
                    self._has_subscribed = True
                    for frame in self._subscriptions(welcome.socket_id):
                        await link.send(frame)
        finally:
            await _hang_up(link, CLOSE_PATIENCE_S)


class _Dial(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # browsers do not follow redirects of a WebSocket handshake


async def _hang_up(link: ClientConnection, patience_s: float) -> None:
    """Send a close frame unless the link is closed, wait that long for the answer, and leave no socket behind."""
    try:
        async with asyncio.timeout(patience_s):
            await link.close()
    except TimeoutError:
        pass
    finally:
        link.transport.abort()
        await link.wait_closed()


def _read(frame: object) -> Mapping[str, Json]:
    """Read a JSON object; return an empty one for anything else."""
    try:
        value = decode(frame) if isinstance(frame, str | bytes) else None
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _read_welcome(message: Mapping[str, Json]) -> _Welcome | None:
    if message.get("event") != "pusher:connection_established":
        return None
    data = _read(message.get("data"))
    socket_id, activity_timeout_s = data.get("socket_id"), data.get("activity_timeout")
    if not isinstance(socket_id, str) or not isinstance(activity_timeout_s, int | float) or activity_timeout_s <= 0:
        return None
    return _Welcome(socket_id, activity_timeout_s)


def _error_code(message: Mapping[str, Json]) -> int | None:
    data = message.get("data")
    code = data.get("code") if message.get("event") == "pusher:error" and isinstance(data, dict) else None
    return code if isinstance(code, int) else None
