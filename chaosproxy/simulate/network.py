"""A virtual network around a world. It performs what is decided, as relays and the proxy do, in virtual time.

To and from the proxy everything takes two milliseconds. Nothing is ever lost or late but by the rules of the profile,
and no buffer is ever full.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from ..events import Action, Dial, End, Pause, Release, Reset, Resume, Send
from ..profile import Profile
from ..session import Session
from ..units import MILLISECOND
from ..wire.frames import Side
from ..world import MakeWorld, Options, Step, Told, World

WAY = 2 * MILLISECOND  # between the proxy and a peer
SWEEP = 100 * MILLISECOND  # how soon the proxy finds out that a peer whom it does not read has ended
NEVER = 1 << 62
TICKS_MAX = 100  # at one instant, of one thing


class Peer(ABC):
    """Whoever is at the far end of a leg, and what it is told."""

    def ready(self) -> None:  # noqa: B027
        """The connection is there, and TLS where it is spoken."""

    def distrusts(self, certificate: str) -> None:  # noqa: B027
        """TLS could not be set up: this is wrong with the certificate."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes came."""

    @abstractmethod
    def ended(self) -> None:
        """FIN came."""

    @abstractmethod
    def lost(self) -> None:
        """RST came."""


class Timer:
    """Something to come, unless it is cancelled."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._is_cancelled = False

    def cancel(self) -> None:
        self._is_cancelled = True

    def fire(self) -> None:
        if not self._is_cancelled:
            self._do()


class Socket:
    """The far end's view of a leg. What it does reaches the proxy later, and the other way round."""

    peer: Peer  # told of what comes

    def __init__(self, connection: "Connection", side: Side) -> None:
        self.side = side
        self.is_read = True  # by the proxy
        self.is_gone = False  # one of both has let go of it
        self._has_ended = False
        self._is_finished = False  # the proxy has sent FIN
        self._outbox: deque[bytes | None] = deque()  # has come, and is not read yet; None is FIN
        self._connection = connection
        self._network = connection.network

    # -- what the far end does --------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if not self._has_ended:
            self._network.after(WAY, lambda: self._arrive(data))

    def end(self) -> None:
        """Send FIN."""
        if not self._has_ended:
            self._has_ended = True
            self._network.after(WAY, lambda: self._arrive(None))

    def reset(self) -> None:
        """Send RST."""
        self._has_ended = True
        self._network.after(WAY, self._break)

    # -- what the proxy does ----------------------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        if self.is_gone:
            return
        match action:
            case Send(_, data):
                self._network.after(WAY, lambda: self.peer.received(data))
            case Pause():
                self.is_read = False
            case Resume():
                self.is_read = True
                self._network.after(0, self.read)
            case End():
                self._finish()
            case Release():
                self.is_gone = True
                self._finish()
            case Reset():
                self.is_gone = True
                self._network.after(WAY, lambda: self.peer.lost())
            case Dial():
                raise AssertionError("a dial is for no leg")

    def _finish(self) -> None:
        if not self._is_finished:
            self._is_finished = True
            self._network.after(WAY, lambda: self.peer.ended())

    # -- what arrives -----------------------------------------------------------------------------------------------

    def read(self) -> None:
        """The proxy reads what has come, as long as it wants to."""
        while self._outbox and self.is_read and not self.is_gone:
            self._take(self._outbox.popleft())

    def _take(self, item: bytes | None) -> None:
        session = self._connection.session
        if item is None:
            self._connection.happen(lambda now: session.ended(self.side, now))
        else:
            self._connection.happen(lambda now: session.receive(self.side, item, now))

    def _arrive(self, item: bytes | None) -> None:
        self._outbox.append(item)
        if item is None and not self.is_read:
            self._network.after(SWEEP, self._find_end)
        self.read()

    def _find_end(self) -> None:
        if not self.is_read and not self.is_gone:
            self._connection.happen(lambda now: self._connection.session.found_ended(self.side, now))

    def _break(self) -> None:
        if not self.is_gone:
            self._network.after(0 if self.is_read else SWEEP, self._lose)

    def _lose(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            self._connection.happen(lambda now: self._connection.session.lost(self.side, now, "reset"))


class Connection:
    """A session between its two far ends."""

    def __init__(self, network: "Network", session: Session, peer: Peer) -> None:
        self.network = network
        self.session = session
        self.client = Socket(self, Side.CLIENT)
        self.client.peer = peer
        self._server: Socket | None = None
        self._has_greeted = False  # the client has said hello
        self._is_secured = not network.speaks_tls

    @property
    def is_over(self) -> bool:
        """Whether both legs are gone. (A session is over before the actions are performed that end them.)"""
        return self.session.is_over and self.client.is_gone and (self._server is None or self._server.is_gone)

    def greet(self) -> None:
        """The client begins: with TLS where that is spoken."""
        self._has_greeted = True
        if self._is_secured:
            self.client.peer.ready()
        else:
            self._secure()

    def happen(self, decide: Callable[[int], list[Action]]) -> None:
        """Something happened: let the session decide, and perform that."""
        self.perform(decide(self.network.now))

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Dial):
                self._server = None
                self.network.after(WAY, self._reach_server)
            elif socket := self._server if action.side else self.client:
                socket.perform(action)
        if self._has_greeted and not self._is_secured:
            self._secure()
        self.network.settle(self)

    def _reach_server(self) -> None:
        if not self.session.is_over:
            self._server = socket = Socket(self, Side.SERVER)
            socket.peer = self.network.make_server(socket)
            self.happen(self.session.dialled)

    def _secure(self) -> None:
        """Go on with the client's TLS handshake, if nothing hinders it any more."""
        if self.client.is_gone or self.session.is_mute(Side.CLIENT) or self.session.holds_handshake:
            return
        self._is_secured = True
        if certificate := self.session.certificate:
            self.client.peer.distrusts(certificate)
            self.client.is_gone = True
            self.happen(lambda now: self.session.broken(Side.CLIENT, "the client does not trust us", now))
        else:
            self.client.peer.ready()
            self.happen(lambda now: self.session.secured(Side.CLIENT, "TLSv1.3", now))


class Network:
    """A world, its connections, and the time. It begins at 0."""

    def __init__(
        self,
        profile: Profile,
        options: Options,
        make_server: Callable[[Socket], Peer],
        on_told: Callable[[Told], None],
        make_world: MakeWorld = World,
    ) -> None:
        self.now = 0
        self.world = make_world(profile, options, 0)
        self.make_server = make_server
        self.speaks_tls = any(rule.fault.needs_tls for rule in profile.every_rule())
        self.refused = 0  # attempts that were
        self._on_told = on_told
        self._connections: dict[int, Connection] = {}
        self._timers: list[tuple[int, int, Timer]] = []
        self._count = 0
        self._pending: deque[Step] = deque()
        self._is_performing = False
        self._ticks = 0

    def launch(self) -> None:
        self.take(self.world.launch(self.now))

    def connect(self, peer: Peer, address: str) -> Socket | None:
        """A client connects; None where it is refused."""
        if not self.world.is_listening:
            self.refused += 1
            return None
        connection = Connection(self, self.world.accept(address, self.now), peer)
        self._connections[connection.session.number] = connection
        self.after(WAY, connection.greet)
        connection.perform([])
        return connection.client

    def after(self, delay: int, do: Callable[[], None]) -> Timer:
        """Let something happen later."""
        timer = Timer(do)
        self._count += 1
        heappush(self._timers, (self.now + delay, self._count, timer))
        return timer

    @property
    def next_at(self) -> int:
        """When something is to happen next."""
        times = [self._timers[0][0]] if self._timers else []
        if self.world.deadline is not None:
            times.append(self.world.deadline)
        times += [due for each in self._connections.values() if (due := each.session.deadline) is not None]
        return max(self.now, min(times, default=NEVER))

    def advance(self) -> None:
        """Go to the next instant at which something happens, and let all of that happen."""
        at = self.next_at
        self._ticks = self._ticks + 1 if at == self.now else 0
        assert self._ticks < TICKS_MAX, "ticks at a deadline make no progress"
        self.now = at
        while self._timers and self._timers[0][0] <= at:
            heappop(self._timers)[2].fire()
        if self.world.deadline is not None and self.world.deadline <= at:
            self.take(self.world.tick(at))
        for connection in list(self._connections.values()):
            due = connection.session.deadline
            if due is not None and due <= at:
                connection.happen(connection.session.tick)

    def settle(self, connection: Connection) -> None:
        """Let the world hear what happened on a connection."""
        if connection.session.needs_world:
            self.take(self.world.settle(connection.session, self.now))
        if connection.is_over:
            self._connections.pop(connection.session.number, None)

    def take(self, steps: list[Step]) -> None:
        """Perform steps in order. What follows from one comes after all that are waiting."""
        self._pending += steps
        if self._is_performing:
            return
        self._is_performing = True
        try:
            self._tell()
            while self._pending:
                session, actions = self._pending.popleft()
                if connection := self._connections.get(session.number):
                    connection.perform(actions)
                self._tell()
        finally:
            self._is_performing = False

    def _tell(self) -> None:
        told, self.world.told = self.world.told, []
        for each in told:
            self._on_told(each)
