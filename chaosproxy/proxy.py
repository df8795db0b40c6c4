"""Listen, dial, and perform what the world decides. Start, stop and drain.

The listening sockets are ours (not an asyncio server's), for three reasons: `refuse` must close the door and keep the
port, accepting must pause before descriptors run out, and a full backlog must not make the loop spin.
"""

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import NamedTuple

from .alarms import Alarm, Alarms
from .effects import Leg as Legs
from .events import Listening
from .opaque import check_opaque
from .profile import EMPTY, Profile
from .relay import Leg, Relay
from .secured import SecuredLeg
from .security import PLAIN, Security
from .session import Session
from .sockets import LOOPBACK, Address, Upstream, bind, reach, words
from .wire.frames import Side
from .wire.tls import Channel
from .world import DEFAULTS, MakeWorld, Options, Step, Told, World

__all__ = ["LOOPBACK", "Address", "Proxy", "Upstream"]

BACKLOG = 128
ACCEPTS_PER_TURN = 64
DIAL_TIME_S = 10.0
SWEEP_S = 0.1
RETRY_S = 0.5  # how long accepting pauses at least, once it could not go on
SPARE_DESCRIPTORS = 64  # left for the control side, the journal and dials under way


class Hindrance(NamedTuple):
    """Why we don't listen although the world wants it, and what is said when it is over."""

    reason: str
    is_over: str


SHORT = Hindrance("the descriptor limit is near", "descriptors have come free")


class Proxy:
    """One proxy: a listener, an upstream, a world. Several may live in one process, even in one loop."""

    def __init__(
        self,
        upstream: Upstream | Address,
        listen: Address = LOOPBACK,
        profile: Profile = EMPTY,
        options: Options = DEFAULTS,
        on_told: Callable[[Told], None] = lambda told: None,
        security: Security = PLAIN,
        make_world: MakeWorld = World,
    ) -> None:
        spoken = upstream if isinstance(upstream, Upstream) else Upstream(upstream)
        self.upstream = spoken.address
        self.listen = listen
        self.security = security
        if spoken.is_opaque:
            check_opaque(profile)
            options = options._replace(is_opaque=True)
        self.world = make_world(profile, options, monotonic_ns())
        self.port = 0
        self.alarms = Alarms()
        self._on_told = on_told
        self._relays: set[Relay] = set()
        self._by_number: dict[int, Relay] = {}
        self._sockets: list[socket.socket] = []
        self._is_open = False  # the sockets listen
        self._hindrance: Hindrance | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        # Loops keep only weak references to tasks.
        self._connecting: set[asyncio.Task[None]] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._watched: set[Leg] = set()
        self._world_timer: Alarm | None = None
        self._world_due: int | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._pending: deque[Step] = deque()
        self._is_performing = False
        self._is_empty = asyncio.Event()
        self._descriptors_max = 0

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind, listen, and launch the timeline. Raise OSError where the address can't be had."""
        self._loop = asyncio.get_running_loop()
        self._sockets = await bind(self.listen)
        self.port = self._sockets[0].getsockname()[1]
        self.alarms.open()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._spare = min(SPARE_DESCRIPTORS, limit // 4)
        self._descriptors_max = limit - len(os.listdir("/proc/self/fd")) - self._spare
        self._is_empty.set()
        self._listen()
        self._take(self.world.launch(monotonic_ns()))

    async def stop(self, grace_s: float = 10.0) -> None:
        """Drain: no new connections, 1001 to all, then end whatever is left after the grace period."""
        self._take(self.world.drain(monotonic_ns()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_empty.wait(), grace_s)
        await self.abort()

    async def abort(self) -> None:
        """End everything at once. Call it even where `start` has failed."""
        self._close_listener()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        await asyncio.gather(*self._connecting)
        for relay in list(self._relays):
            if relay.has_begun:
                relay.perform(relay.session.reset(Legs.BOTH, monotonic_ns(), "proxy"))
            relay.abort()  # also what only waits for its bytes to leave
        await asyncio.gather(*self._dialling, return_exceptions=True)
        if self._relays:
            await self._is_empty.wait()
        self._watched.clear()
        self.alarms.close()
        for timer in (self._sweep_timer, self._retry_timer):
            if timer:
                timer.cancel()
        self._world_timer = self._sweep_timer = self._retry_timer = None

    @property
    def address(self) -> Address:
        """Where clients connect."""
        return Address(self.listen.host, self.port)

    @property
    def open_relays(self) -> int:
        return len(self._relays)

    @property
    def paused_legs(self) -> int:
        """Legs that are not being read."""
        return sum(1 for leg in self._watched if leg.transport is not None and not leg.is_reading)

    def steer(self, decide: Callable[[World, int], list[Step] | None]) -> bool:
        """Let the world decide something by hand and perform it before returning; False if it could not."""
        steps = decide(self.world, monotonic_ns())
        self._take(steps or [])
        return steps is not None

    # -- the listener -----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Open the door. Raise OSError where another process has taken the port while it was shut."""
        opened: list[socket.socket] = []
        try:
            for listening in self._sockets:
                listening.listen(BACKLOG)
                opened.append(listening)
        except OSError:
            for listening in opened:  # no other: shut where it does not listen, a socket stays shut for good
                listening.shutdown(socket.SHUT_RDWR)
            raise
        self._is_open = True
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _close_listener(self) -> None:
        """Refuse from here on, and keep the port. Who is in the queue has connected, and is accepted."""
        if not self._is_open:
            return
        self._is_open = False
        for listening in self._sockets:
            self._accept(listening, BACKLOG + 1)
            self._loop.remove_reader(listening)
            listening.shutdown(socket.SHUT_RDWR)

    def _follow_listener(self) -> None:
        if not self.world.is_listening:
            self._hindrance = None  # what hindered us is looked for anew when the world opens again
            self._close_listener()
        elif self._hindrance:
            self._close_listener()
        elif self._sockets and not self._is_open:
            try:
                self._listen()
            except OSError as error:
                reason = f"port {self.port} can't be opened again: {words(error)}"
                self._hinder(Hindrance(reason, "the port is free again"))

    def _hinder(self, hindrance: Hindrance) -> None:
        """Accepting pauses, and is tried again every now and then."""
        if self._hindrance or not self.world.is_listening:
            return
        self._hindrance = hindrance
        self._tell_listening(False, hindrance.reason)
        self._loop.call_soon(self._follow_listener)
        if self._retry_timer is None:
            self._retry_timer = self._loop.call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        if not self._hindrance or not self._sockets:
            return
        try:
            if self._has_room():
                self._listen()
        except OSError:
            pass  # the port is still not to be had
        if self._is_open:
            hindrance, self._hindrance = self._hindrance, None
            self._tell_listening(True, hindrance.is_over)
        else:
            self._retry_timer = self._loop.call_later(RETRY_S, self._retry)

    def _tell_listening(self, is_open: bool, reason: str) -> None:
        self.world.told.append(Told(monotonic_ns(), None, Listening(is_open, reason)))
        self._take([])

    @property
    def _is_crowded(self) -> bool:
        return len(self._relays) * 2 >= self._descriptors_max

    def _has_room(self) -> bool:
        """Whether so many descriptors are free that accepting will not stop again at once."""
        if len(self._relays) * 8 >= self._descriptors_max * 3:
            return False
        try:
            used = len(os.listdir("/proc/self/fd"))
        except OSError:
            return False
        return used + self._spare // 2 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def _accept(self, listening: socket.socket, most: int = ACCEPTS_PER_TURN) -> None:
        for _ in range(most):
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                is_short = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
                self._hinder(SHORT if is_short else Hindrance(words(error), "accepting works again"))
                return
            connection.setblocking(False)
            relay = Relay(self, self._loop, str(Address(str(peer[0]), peer[1])))
            self._relays.add(relay)
            self._is_empty.clear()
            _keep(self._connecting, self._loop.create_task(self._connect(relay, connection)))
            if self._is_crowded:
                self._hinder(SHORT)
                return

    async def _connect(self, relay: Relay, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._client_leg(relay), connection)
        except OSError:
            connection.close()
            self.forget(relay)

    def _client_leg(self, relay: Relay) -> Leg:
        contexts = self.security.listen
        if not contexts:
            return relay.leg(Side.CLIENT)

        def shake_hands(certificate: str) -> Channel:
            return Channel(contexts.get(certificate, contexts[""]), is_server=True)

        return relay.leg(Side.CLIENT, lambda relay, side: SecuredLeg(relay, side, shake_hands))

    def _server_leg(self, relay: Relay) -> Leg:
        context = self.security.upstream
        if context is None:
            return relay.leg(Side.SERVER)

        def shake_hands(certificate: str) -> Channel:
            return Channel(context, is_server=False, name=self.upstream.host)

        return relay.leg(Side.SERVER, lambda relay, side: SecuredLeg(relay, side, shake_hands, str(self.upstream)))

    # -- what relays need -------------------------------------------------------------------------------------------

    def accepted(self, relay: Relay, peer: str) -> Session:
        session = self.world.accept(peer, monotonic_ns())
        self._by_number[session.number] = relay
        return session

    def settle(self, relay: Relay) -> None:
        self._take(self.world.settle(relay.session, monotonic_ns()))

    def dial(self, relay: Relay) -> None:
        relay.dial_task = self._loop.create_task(self._dial(relay))
        _keep(self._dialling, relay.dial_task)

    async def _dial(self, relay: Relay) -> None:
        try:
            async with asyncio.timeout(DIAL_TIME_S):
                connection = await reach(self.upstream)
            # Not create_connection: uvloop's closes a descriptor twice where the connection ends at once.
            await self._loop.connect_accepted_socket(lambda: self._server_leg(relay), connection)
        except TimeoutError:
            relay.dial_failed(f"no answer from {self.upstream} within {DIAL_TIME_S:g} s")
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that can't be one
            relay.dial_failed(f"{self.upstream}: {words(error)}")

    def watch(self, leg: Leg) -> None:
        self._watched.add(leg)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Look at the sockets of legs that are not read: their loop can't tell that the peer has ended."""
        self._sweep_timer = None
        for leg in list(self._watched):
            state = None if leg.is_reading else leg.tcp_state()
            if state is None or leg.relay.found(leg, state):
                self._watched.discard(leg)
        if self._watched and self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)

    def forget(self, relay: Relay) -> None:
        self._relays.discard(relay)
        if relay.has_begun:
            self._by_number.pop(relay.session.number, None)
        if not self._relays:
            self._is_empty.set()

    # -- steps of the world -----------------------------------------------------------------------------------------

    def _take(self, steps: list[Step]) -> None:
        """Perform steps in order. What follows from one comes after all that are waiting."""
        self._pending += steps
        if self._is_performing:
            return
        self._is_performing = True
        try:
            self._tell()
            while self._pending:
                session, actions = self._pending.popleft()
                if relay := self._by_number.get(session.number):
                    relay.perform(actions)
                self._tell()
        finally:
            self._is_performing = False
        if self.world.deadline != self._world_due:
            self._set_world_timer()

    def _tell(self) -> None:
        if self.world.is_listening != self._is_open:
            self._follow_listener()
        if self.world.told:
            told, self.world.told = self.world.told, []
            for item in told:
                self._on_told(item)

    def _set_world_timer(self) -> None:
        if self._world_timer:
            self._world_timer.cancel()
            self._world_timer = None
        self._world_due = deadline = self.world.deadline
        if deadline is not None:
            self._world_timer = self.alarms.at(deadline, self._tick_world)

    def _tick_world(self) -> None:
        self._world_timer = None
        self._world_due = None
        self._take(self.world.tick(monotonic_ns()))


def _keep(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    tasks.add(task)
    task.add_done_callback(tasks.discard)
