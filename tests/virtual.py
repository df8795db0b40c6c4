"""A virtual network: a world with scripted peers around it, driven in virtual time. Nothing here sleeps.

It performs what the world and its sessions decide, as the relay and the proxy do, and holds every action to the rules
that real sockets would punish: nothing on a leg that is gone, nothing behind FIN, Pause and Resume in turn, a deadline
wherever something is held, progress at every deadline.
"""

from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from chaosproxy.events import Action, Dial, End, Pause, Release, Reset, Resume, Send
from chaosproxy.legs import State
from chaosproxy.profile import RULES, BoundRule, Profile, bind
from chaosproxy.session import Session
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.wire.frames import SIDES, Side
from chaosproxy.wire.http import accept_for
from chaosproxy.world import DEFAULTS, Options, Step, Told, World

CLIENT, SERVER = Side.CLIENT, Side.SERVER
MS = MILLISECOND
START = 1000 * SECOND
KEY = b64encode(b"sixteen bytes...")
E = TypeVar("E")


def profile(*phases: dict[str, Any], **top: Any) -> Profile:
    """A profile in the words of its YAML."""
    return Profile.model_validate({"version": 1, "phases": list(phases), **top})


def live_rule(fault: str, options: Any = None, *, id: str = "live", when: dict[str, Any] | None = None) -> BoundRule:
    """A rule as the control API adds it."""
    made = RULES[fault].model_validate({fault: options or {}, "id": id, "when": when or {}})
    return bind([("", made)])[0]


def request(path: str = "/app/key", headers: Iterable[str] = ()) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {KEY.decode()}", "Sec-WebSocket-Version: 13", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def switching(extension: str = "") -> bytes:
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {accept_for(KEY).decode()}"]
    lines += [f"Sec-WebSocket-Extensions: {extension}"] if extension else []
    return "\r\n".join([*lines, "", ""]).encode()


# --- Frames, made and read here without the code under test --------------------------------------------------------


class Seen(NamedTuple):
    """One frame as a receiver reads it; `payload` is unmasked."""

    first: int
    mask: bytes
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F


def frame(payload: bytes, opcode: int = 1, *, mask: bytes = b"", fin: bool = True, rsv1: bool = False) -> bytes:
    size = len(payload)
    head = bytes(((0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode,))
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes((bit | size,))
    elif size < 65536:
        head += bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((bit | 127,)) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else head + payload


def text(payload: bytes | str, mask: bytes = b"") -> bytes:
    return frame(payload.encode() if isinstance(payload, str) else payload, mask=mask)


def close_frame(code: int | None, reason: bytes = b"", mask: bytes = b"") -> bytes:
    return frame(b"" if code is None else code.to_bytes(2, "big") + reason, 8, mask=mask)


def read_frames(stream: bytes) -> tuple[list[Seen], bytes]:
    """The frames of a stream, and the incomplete rest."""
    frames: list[Seen] = []
    at = 0
    while at + 2 <= len(stream):
        length, masked, head = stream[at + 1] & 0x7F, stream[at + 1] & 0x80, at + 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if head + width > len(stream):
                break
            length = int.from_bytes(stream[head : head + width], "big")
            head += width
        mask = stream[head : head + 4] if masked else b""
        head += 4 if masked else 0
        if head + length > len(stream):
            break
        payload = stream[head : head + length]
        if mask:
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        frames.append(Seen(stream[at], mask, payload))
        at = head + length
    return frames, stream[at:]


def read_messages(stream: bytes) -> tuple[list[Seen], bytes]:
    """The messages and control frames of a stream as a strict receiver reads them, and the incomplete rest."""
    frames, rest = read_frames(stream)
    messages: list[Seen] = []
    begun: list[Seen] = []
    for seen in frames:
        assert seen.opcode in (0, 1, 2, 8, 9, 10), f"opcode {seen.opcode}: the stream is out of step"
        if seen.opcode & 8:
            assert seen.first & 0xF0 == 0x80 and len(seen.payload) <= 125
            messages.append(seen)
            continue
        assert bool(begun) == (seen.opcode == 0), "a fragment without its beginning, or a beginning within a message"
        begun.append(seen)
        if seen.first & 0x80:
            messages.append(Seen(begun[0].first | 0x80, begun[0].mask, b"".join(part.payload for part in begun)))
            begun = []
    return messages, b"".join(part.payload for part in begun) + rest


def payloads(stream: bytes) -> list[bytes]:
    """The payloads of the text and binary messages in a complete stream."""
    messages, rest = read_messages(stream)
    assert rest == b""
    return [message.payload for message in messages if not message.opcode & 8]


# --- The network ---------------------------------------------------------------------------------------------------


class Peer:
    """The far end of a leg: what it has received and when, and what it has sent and we have not read."""

    def __init__(self) -> None:
        self.received: list[tuple[int, bytes]] = []
        self.fin_at: int | None = None
        self.reset_at: int | None = None
        self.is_read = True
        self.is_gone = False  # released or reset by us, or reset by the peer
        self.has_ended = False  # the peer has sent FIN or RST
        self.outbox: deque[bytes | None] = deque()  # not read by us yet; None is FIN

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.received)

    @property
    def arrivals(self) -> list[tuple[int, bytes]]:
        """Received payloads of messages, with their time since START in ms (handshake left out)."""
        found: list[tuple[int, bytes]] = []
        stream = b""
        for at, data in self.received:
            stream += data
            if stream.startswith((b"HTTP/", b"GET ")):
                stream = stream.partition(b"\r\n\r\n")[2]
            frames, stream = read_frames(stream)
            found += [((at - START) // MS, seen.payload) for seen in frames]
        return found

    @property
    def stream(self) -> bytes:
        """What has been received behind the head."""
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def frames(self) -> list[Seen]:
        frames, rest = read_frames(self.stream)
        assert rest == b""
        return frames

    @property
    def close_code(self) -> int | None:
        closes = [seen for seen in self.frames if seen.opcode == 8]
        return int.from_bytes(closes[-1].payload[:2], "big") if closes else None


class Connection:
    """A session between its two peers. The methods are what the peers do."""

    def __init__(self, network: "Network", session: Session) -> None:
        self.network = network
        self.session = session
        self.client = Peer()
        self.server = Peer()
        self.is_dialled = False  # Dial was performed
        self.is_answered = False  # and the upstream has accepted or refused it
        self.is_connected = False  # it has accepted
        self.past_servers: list[Peer] = []  # whose legs were let go of, before another dial
        self.sent = bytearray()  # by the client
        self.log: list[tuple[int, Action]] = []
        self.timer: int | None = None  # as the relay sets it: when something was performed, and at no other time

    def peer(self, side: Side) -> Peer:
        return self.server if side else self.client

    def send(self, side: Side, *chunks: bytes) -> None:
        """The peer writes; each chunk is read on its own."""
        peer = self.peer(side)
        for chunk in chunks:
            if chunk and not peer.has_ended and not peer.is_gone:
                peer.outbox.append(chunk)
                if side is CLIENT:
                    self.sent += chunk
        self.network.run()

    def read_ahead(self, side: Side, data: bytes) -> None:
        """The loop has read this before it could stop reading."""
        if side is CLIENT:
            self.sent += data
        self.network.happen(self, lambda now: self.session.receive(side, data, now))

    def fin(self, side: Side) -> None:
        peer = self.peer(side)
        if not peer.has_ended and not peer.is_gone:
            peer.has_ended = True
            peer.outbox.append(None)
        self.network.run()

    def rst(self, side: Side) -> None:
        peer = self.peer(side)
        if peer.is_gone or (side is SERVER and not self.is_connected):
            return
        peer.has_ended = peer.is_gone = True
        peer.outbox.clear()
        self.network.happen(self, lambda now: self.session.lost(side, now, "reset"))
        self.network.run()

    def blocked(self, side: Side, is_blocked: bool) -> None:
        peer = self.peer(side)
        if peer.is_gone or (side is SERVER and not self.is_connected):
            return
        self.network.happen(self, lambda now: self.session.blocked(side, is_blocked, now))
        self.network.run()

    def dial_answered(self, error: str = "") -> None:
        """The upstream accepts our dial, or fails it."""
        assert self.is_dialled and not self.is_answered
        self.is_answered = True
        if error:
            self.network.happen(self, lambda now: self.session.dial_failed(error, now))
        else:
            self.is_connected = True
            self.network.happen(self, self.session.dialled)
        self.network.run()

    def open(self, path: str = "/app/key", extension: str = "", headers: Iterable[str] = ()) -> "Connection":
        """The whole handshake, up to the 101."""
        self.send(CLIENT, request(path, headers))
        assert self.is_dialled, f"not dialled: {self.session.state}"
        if not self.is_connected:
            self.dial_answered()
        self.send(SERVER, switching(extension))
        return self

    @property
    def is_over(self) -> bool:
        return self.session.is_over

    def actions(self, *kinds: type) -> list[Action]:
        return [action for _, action in self.log if isinstance(action, kinds or Action)]


class Network:
    """A world, its connections, and the time."""

    def __init__(self, profile: Profile, options: Options = DEFAULTS, *, accepts_dials: bool = True) -> None:
        self.now = START
        self.world = self.make_world(profile, options, START)
        self.connections: dict[int, Connection] = {}
        self.accepts_dials = accepts_dials
        self.told: list[Told] = []
        self.log: list[tuple[Connection, Action]] = []
        self._pending: deque[Step] = deque()
        self._is_performing = False
        self._is_running = False
        self._dialled: deque[Connection] = deque()
        self.take(self.world.launch(self.now))

    def make_world(self, profile: Profile, options: Options, now: int) -> World:
        return World(profile, options, now)

    # -- steering ---------------------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """A client connects."""
        session = self.world.accept("127.0.0.1:1", self.now)
        connection = Connection(self, session)
        self.connections[session.number] = connection
        self.perform(connection, [])
        self.run()
        return connection

    def open(self, path: str = "/app/key", extension: str = "") -> Connection:
        return self.connect().open(path, extension)

    def steer(self, decide: Callable[[World, int], list[Step] | None]) -> None:
        steps = decide(self.world, self.now)
        assert steps is not None
        self.take(steps)
        self.run()

    def add(self, rule: BoundRule, lasts: int | None = None, only: Iterable["Connection"] | None = None) -> None:
        attempts = None if only is None else frozenset(each.session.number for each in only)
        self.steer(lambda world, now: world.add_rule(rule, lasts, now, attempts))

    def heal(self, rule_id: str | None = None) -> None:
        self.steer(lambda world, now: world.heal(rule_id, now))

    def step(self, phase: str | None = None) -> None:
        self.steer(lambda world, now: world.step(now, phase))

    def free(self, *connections: "Connection") -> None:
        attempts = frozenset(each.session.number for each in connections)
        self.steer(lambda world, now: world.free(attempts, now))

    def pause(self) -> None:
        self.steer(lambda world, now: world.pause(now))

    def resume(self) -> None:
        self.steer(lambda world, now: world.resume(now))

    def reset(self) -> None:
        self.steer(lambda world, now: world.clear(now))
        self.steer(lambda world, now: world.play(now))

    def play(self, played: Profile, seed: int | None = None) -> None:
        self.steer(lambda world, now: world.clear(now))
        self.steer(lambda world, now: world.play(now, played, seed))

    def drain(self) -> None:
        self.steer(lambda world, now: world.drain(now))

    @property
    def phase(self) -> str:
        return self.world.timeline.phase.name if self.world.timeline.phase else ""

    @property
    def at(self) -> int:
        """Milliseconds since START."""
        return (self.now - START) // MS

    def events(self, *kinds: type[E]) -> list[E]:
        return [told.event for told in self.told if isinstance(told.event, kinds)]

    # -- time -------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        times = [connection.timer for connection in self.connections.values()]
        return min((time for time in [self.world.deadline, *times] if time is not None), default=None)

    def wait(self, duration: int) -> None:
        """Let time pass, ticking at every deadline on the way."""
        self.wait_until(self.now + duration)

    def wait_until(self, end: int) -> None:
        ticks = 0
        while (deadline := self.deadline) is not None and deadline <= end:
            ticks = ticks + 1 if deadline <= self.now else 0
            assert ticks < 100, "ticks at a deadline make no progress"
            self.now = max(self.now, deadline)
            if self.world.deadline is not None and self.world.deadline <= self.now:
                self.take(self.world.tick(self.now))
                self.run()
            for connection in list(self.connections.values()):
                due = connection.timer
                if due is not None and due <= self.now:
                    self.happen(connection, connection.session.tick)
                    self.run()
        self.now = end

    # -- performing -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything happen that takes no time: dials are answered, what can be read is read."""
        if self._is_running:
            return
        self._is_running = True
        try:
            is_busy = True
            while is_busy:
                is_busy = False
                while self._dialled and self.accepts_dials:
                    connection = self._dialled.popleft()
                    is_busy = True
                    if not connection.is_answered and not connection.is_over:
                        connection.dial_answered()
                for connection in list(self.connections.values()):
                    for side in SIDES:
                        is_busy = self._read(connection, side) or is_busy
            for connection in self.connections.values():
                if connection.client.is_gone and (connection.server.is_gone or not connection.is_dialled):
                    assert connection.is_over, "both legs are gone, and the session does not know"
                got = sum(server.data.count(b"GET /") for server in (*connection.past_servers, connection.server))
                assert got <= connection.sent.count(b"GET /"), "a request was sent twice"
                if connection.is_over:
                    assert connection.client.is_gone, "over, with a client leg left"
                    assert connection.server.is_gone or not connection.is_connected, "over, with a server leg left"
        finally:
            self._is_running = False

    def _read(self, connection: Connection, side: Side) -> bool:
        peer = connection.peer(side)
        if side is SERVER and not connection.is_connected:
            return False
        if not peer.outbox or not peer.is_read or peer.is_gone:
            return False
        item = peer.outbox.popleft()
        if item is None:
            self.happen(connection, lambda now: connection.session.ended(side, now))
        else:
            self.happen(connection, lambda now: connection.session.receive(side, item, now))
        return True

    def happen(self, connection: Connection, decide: Callable[[int], list[Action]]) -> None:
        """Something happened on a connection: let its session decide, and perform that."""
        session = connection.session
        was_mute = [session.is_mute(side) for side in SIDES]
        was_blocked = [session.blocks(side) and session.state is State.TUNNEL for side in SIDES]
        actions = decide(self.now)
        for side in SIDES:
            if was_mute[side] and session.is_mute(side):
                loud = [
                    each for each in actions if isinstance(each, Send | End | Release | Reset) and each.side is side
                ]
                # A leg on which both FINs have gone by is let go of without a byte.
                loud = [
                    each for each in loud if not (isinstance(each, Release) and self._has_ended(connection, each.side))
                ]
                assert not loud or session.is_over, f"half-open, and not silent: {loud}"
            if was_blocked[side] and session.blocks(side) and session.state is State.TUNNEL:
                sent = [each for each in actions if isinstance(each, Send) and each.side is side.other]
                assert not sent, f"kept back, and sent: {sent}"
        self.perform(connection, actions)

    @staticmethod
    def _has_ended(connection: Connection, side: Side) -> bool:
        return connection.peer(side).has_ended and connection.peer(side).fin_at is not None

    def take(self, steps: list[Step]) -> None:
        """Perform steps in order; what follows from one comes after all that are waiting. As the proxy does."""
        self._pending += steps
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while self._pending:
                session, actions = self._pending.popleft()
                if session.number in self.connections:
                    self.perform(self.connections[session.number], actions)
            self.told += self.world.told
            self.world.told.clear()
        finally:
            self._is_performing = False

    def perform(self, connection: Connection, actions: list[Action]) -> None:
        for index, action in enumerate(actions):
            connection.log.append((self.now, action))
            self.log.append((connection, action))
            self._act(connection, action)
            if isinstance(action, Release | Reset) and not (action.side is SERVER and Dial() in actions[index:]):
                # Our transport reports its own end, as the loops do, unless another has taken its place by then.
                assert connection.session.lost(action.side, self.now, "closed") == []
        session = connection.session
        connection.timer = session.deadline
        for side in SIDES:
            direction = session.directions[side]
            if direction.holding.waits_for_time and not session.is_over:
                assert session.deadline is not None, "held bytes and no deadline"
        if session.is_over:
            assert session.deadline is None, "over, and waiting for something"
        if session.needs_world:
            self.take(self.world.settle(session, self.now))
        if not self._is_performing:
            self.told += self.world.told
            self.world.told.clear()

    def _act(self, connection: Connection, action: Action) -> None:
        if isinstance(action, Dial):
            if connection.is_dialled:
                assert connection.server.is_gone, "a second dial"
                connection.past_servers.append(connection.server)
                connection.server, connection.is_connected, connection.is_answered = Peer(), False, False
            connection.is_dialled = True
            self._dialled.append(connection)
            return
        side = action.side
        peer = connection.peer(side)
        assert not peer.is_gone, f"{action} on a leg that is gone"
        assert side is CLIENT or connection.is_connected, f"{action} on a leg that is not connected"
        match action:
            case Send(_, data):
                assert peer.fin_at is None, f"{action} behind FIN"
                assert data, "an empty write"
                peer.received.append((self.now, data))
            case Pause():
                assert peer.is_read, "a second Pause"
                peer.is_read = False
            case Resume():
                assert not peer.is_read, "a Resume without its Pause"
                peer.is_read = True
            case End():
                assert peer.fin_at is None, "a second FIN"
                peer.fin_at = self.now
            case Release():
                peer.fin_at = self.now if peer.fin_at is None else peer.fin_at
                self._let_go(peer)
            case Reset():
                peer.reset_at = self.now
                self._let_go(peer)

    @staticmethod
    def _let_go(peer: Peer) -> None:
        peer.is_gone = True
        peer.outbox.clear()

    # -- laws at the end --------------------------------------------------------------------------------------------

    def end_all(self) -> None:
        """Every peer ends; then nothing may be left in the world."""
        for connection in list(self.connections.values()):
            connection.fin(CLIENT)
            connection.fin(SERVER)
        self.wait(60 * SECOND)
        self.heal()
        for connection in list(self.connections.values()):
            connection.rst(CLIENT)
            connection.rst(SERVER)
        self.wait(60 * SECOND)
        for connection in self.connections.values():
            assert connection.session.state is State.OVER, f"not over: {connection.session.state}"
        assert self.world.sessions == {}
        assert self.world.standing[2:4] == (0, 0)
