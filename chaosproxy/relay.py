"""Perform a session's actions on two transports. One timer per connection; nothing is decided here.

On the pass lane a chunk takes the shortest way: one copy out of the shared buffer, one scan, one write.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Protocol, cast

from .alarms import Alarm, Alarms
from .events import Action, Dial, End, Pause, Release, Reset, Resume, Send
from .opening import UNREACHED
from .session import Session
from .units import MILLISECOND, SECOND
from .wire.fast import Lane
from .wire.frames import SIDES, Side

LINGER_TIME = 30 * SECOND
SLICE_MIN = 256  # what is judged is taken in slices, so that others get their turn between
SLICE_MAX = 64 * 1024
TURN = MILLISECOND // 2  # how long one leg may keep the loop
_LINGER_RST = struct.pack("ii", 1, 0)  # close() then sends RST; abort() alone would send FIN
_TCP_CLOSE = 7  # states of tcpi_state, linux/include/net/tcp_states.h
_TCP_CLOSE_WAIT = 8


class Rim(Protocol):
    """What a relay needs from its proxy."""

    alarms: Alarms

    def accepted(self, relay: "Relay", peer: str) -> Session:
        """A client has connected: give its session."""

    def settle(self, relay: "Relay") -> None:
        """Let the world hear what happened on a session."""

    def dial(self, relay: "Relay") -> None:
        """Connect to the upstream, then call `relay.dialled` or `relay.dial_failed`."""

    def watch(self, leg: "Leg") -> None:
        """Look now and then at the socket of a leg that is not being read."""

    def forget(self, relay: "Relay") -> None:
        """Both legs are gone."""


class Leg(Lane, asyncio.Protocol):
    """One TCP connection of a relay. On the pass lane, a chunk goes through `scan` to `write` and is not received."""

    def __init__(self, relay: "Relay", side: Side) -> None:
        self.relay = relay
        self.side = side
        self.transport: asyncio.Transport | None = None
        self.is_reading = True
        self.is_ready = True  # to be told to the session as connected, once it is
        self.has_told_end = False  # its peer's FIN was read, or seen while it was not read
        # On the pass lane: where to count, and where to write.
        self.scan = None
        self.write = _nowhere
        self.send: Callable[[bytes], Any] = _nowhere  # to this leg's own peer
        self._backlog = b""  # read, and not taken yet; nothing more is read meanwhile
        self._slice = SLICE_MAX // 4
        self._is_next = False  # its turn to take more comes in the next round of the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(transport)
        self.relay.connected(self)

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that this leg is to speak through."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send = self.transport.write

    def receive(self, data: bytes) -> None:
        """Take what is not only passed on."""
        if len(data) <= self._slice:
            self.relay.perform(self.relay.session.receive(self.side, data, monotonic_ns()))
            return
        self._backlog = data
        self._take()

    def _take(self) -> None:
        """Take what was read slice by slice until it is another leg's turn: tiny messages take long to judge."""
        data, self._backlog = self._backlog, b""
        began = now = monotonic_ns()
        at = 0
        while at < len(data) and self._is_open:
            if self.scan is not None:
                self.scan(data[at:])
                self.write(data[at:])
                break
            if now - began > TURN or not self.is_reading:
                self._backlog = data[at:]
                self.set_reading()
                return
            self.relay.perform(self.relay.session.receive(self.side, data[at : at + self._slice], now))
            at += self._slice
            took, now = monotonic_ns() - now, monotonic_ns()
            if took > TURN:
                self._slice = max(SLICE_MIN, self._slice // 4)
            elif took < TURN // 4:
                self._slice = min(SLICE_MAX, self._slice * 2)
        self.set_reading()

    @property
    def _is_open(self) -> bool:
        """Whether what was read is still wanted."""
        is_ours = self.relay.legs[self.side] is self
        return is_ours and self.transport is not None and not self.transport.is_closing()

    def eof_received(self) -> bool:
        self.has_told_end = True
        self.relay.perform(self.relay.session.ended(self.side, monotonic_ns()))
        return True  # we end our side ourselves, when the session says so

    def connection_lost(self, error: Exception | None) -> None:
        self.relay.lost(self, error)

    def pause_writing(self) -> None:
        self.relay.perform(self.relay.session.blocked(self.side, True, monotonic_ns()))

    def resume_writing(self) -> None:
        self.relay.perform(self.relay.session.blocked(self.side, False, monotonic_ns()))

    def end(self, notify: bool) -> None:
        """Send FIN behind what has been written. `notify` is for legs that speak TLS."""
        assert self.transport is not None
        with contextlib.suppress(OSError):  # its peer has reset; the loop will say so
            self.transport.write_eof()

    def close(self) -> None:
        """Close the socket once what has been written has left."""
        assert self.transport is not None
        self.transport.close()

    def follow(self) -> None:
        """Something has happened to the session; for legs that keep things back of their own."""

    def tcp_state(self) -> int | None:
        """The kernel's view of the connection (TCP_INFO); None where the socket is gone."""
        if self.transport is None or self.transport.is_closing():
            return None
        sock = self.transport.get_extra_info("socket")
        return int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0])

    def has_failed(self) -> bool:
        """Whether a reset or a time-out waits to be told. Asking takes it from the socket."""
        assert self.transport is not None
        return bool(self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def abort(self) -> None:
        """End it by RST, also where a close is still waiting for its bytes to leave."""
        if self.transport is None:
            return
        self._set_linger()
        self.transport.abort()

    def reset_behind(self) -> None:
        """End it by RST once the kernel has what has been written."""
        if self.transport is not None and not self.transport.is_closing():
            self._set_linger()
            self.transport.close()

    def _set_linger(self) -> None:
        """The close to come sends RST, and no FIN."""
        assert self.transport is not None
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)

    def set_reading(self) -> None:
        """Make the loop read, or not, as it was last asked to."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.is_reading and not self._backlog:
            self.transport.resume_reading()
            return
        self.transport.pause_reading()
        if self.is_reading and not self._is_next:
            self._is_next = True
            self.relay.loop.call_soon(self._take_on)

    def _take_on(self) -> None:
        self._is_next = False
        if self._backlog and self.is_reading:
            self._take()


def _nowhere(data: bytes) -> None:
    raise AssertionError("the pass lane is not set")


class Relay:
    """A session and its two legs."""

    session: Session  # there as soon as the client's leg is connected

    def __init__(self, rim: Rim, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        self.rim = rim
        self.peer = peer
        self.has_begun = False  # there is a session
        self.loop = loop
        self.legs: list[Leg | None] = [None, None]
        self.dial_task: asyncio.Task[None] | None = None
        self._timer: Alarm | None = None
        self._timer_due = 0
        self._keeps_back = False  # a leg wants to follow what happens to the session
        self._is_lingering = False  # the session is over, and bytes may still have to leave
        self._performing: list[Action] | None = None

    def leg(self, side: Side, make: Callable[["Relay", Side], Leg] = Leg) -> Leg:
        """The protocol for a new transport of this side."""
        leg = make(self, side)
        self.legs[side] = leg
        self._keeps_back = self._keeps_back or make is not Leg
        return leg

    def connected(self, leg: Leg) -> None:
        if self.legs[leg.side] is not leg:
            leg.abort()  # asyncio tells of a connection even where its dial has been cancelled
        elif leg.side is Side.CLIENT:
            self.session = self.rim.accepted(self, self.peer)
            self.has_begun = True
            self.after()
        else:
            self.perform(self.session.dialled(monotonic_ns()))
        if not leg.is_reading:
            self.loop.call_soon(leg.set_reading)  # uvloop starts reading behind `connection_made`

    def dial_failed(self, error: str, remedy: str = UNREACHED) -> None:
        self.perform(self.session.dial_failed(error, monotonic_ns(), remedy))

    def lost(self, leg: Leg, error: Exception | None) -> None:
        """A transport is closed. Where we asked for it, the session knows already and this changes nothing."""
        leg.scan = None
        if self.legs[leg.side] is not leg:
            return
        self.legs[leg.side] = None
        if not self.has_begun:
            self.rim.forget(self)
            return
        how = "timeout" if isinstance(error, TimeoutError) else "reset"
        self.perform(self.session.lost(leg.side, monotonic_ns(), how))

    def tick(self) -> None:
        """The session's deadline has come."""
        self._timer = None
        self.perform(self.session.tick(monotonic_ns()))

    def found(self, leg: Leg, state: int) -> bool:
        """A leg that is not read was looked at; whether there is nothing more to look for."""
        if state == _TCP_CLOSE and not leg.has_failed():
            return True  # both FINs are acknowledged; what the peer sent before its own is still to be read
        if state == _TCP_CLOSE:
            actions = self.session.lost(leg.side, monotonic_ns(), "reset")
            leg.abort()  # nobody else will: the session takes it for gone, and the loop does not look
            self.perform(actions)
            return True
        if state == _TCP_CLOSE_WAIT and not leg.has_told_end:
            leg.has_told_end = True
            self.perform(self.session.found_ended(leg.side, monotonic_ns()))
        return False

    def perform(self, actions: list[Action]) -> None:
        """Do what the session says, in order, then let the world hear of it."""
        if self._performing is not None:
            self._performing += actions  # a write has blocked: what follows from that comes behind
            return
        self._performing = actions
        try:
            for action in actions:
                self._do(action)
        finally:
            self._performing = None
        self.after()

    def _do(self, action: Action) -> None:
        match action:
            case Send(side, data):
                if leg := self._open_leg(side):
                    leg.send(data)
            case Pause(side) | Resume(side):
                if leg := self.legs[side]:
                    # What the session wants by now: a step of the world may be performed later than it was decided.
                    leg.is_reading = not self.session.legs[side].pauses
                    leg.set_reading()
                    if not leg.is_reading:
                        self.rim.watch(leg)
            case End(side, notify):
                if leg := self._open_leg(side):
                    leg.end(notify)
            case Release(side):
                if leg := self._open_leg(side):
                    leg.close()
            case Reset(side, behind):
                if leg := self.legs[side]:
                    leg.reset_behind() if behind else leg.abort()
            case Dial():
                self._let_go_of_server()
                self.rim.dial(self)

    def _let_go_of_server(self) -> None:
        """Make room for another leg to the upstream; one that was let go of before may not be closed yet."""
        leg, self.legs[Side.SERVER] = self.legs[Side.SERVER], None
        if leg and leg.transport and leg.transport.get_write_buffer_size():
            leg.abort()

    def after(self) -> None:
        """What follows any happening: lanes, the timer, the world."""
        session = self.session
        for side in SIDES:
            leg = self.legs[side]
            if leg is not None:
                other = self.legs[side.other]
                if session.passes(side) and other is not None and other.transport is not None:
                    leg.scan = session.directions[side].splitter.scan
                    leg.write = other.send
                else:
                    leg.scan = None
        if self._keeps_back:
            for leg in self.legs:
                if leg is not None:
                    leg.follow()
        if not self._is_lingering:
            self._set_timer(session.deadline)
        if session.needs_world:
            self.rim.settle(self)
        if session.is_over:
            self._linger()

    def _set_timer(self, deadline: int | None) -> None:
        if self._timer:
            if deadline == self._timer_due:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer_due = deadline
            self._timer = self.rim.alarms.at(deadline, self.tick)

    def _linger(self) -> None:
        """Both ways have ended; what is still to be written to a peer that does not read gets its time."""
        if not self._is_lingering:
            self._is_lingering = True
            self._set_timer(None)
            self._timer = self.rim.alarms.at(monotonic_ns() + LINGER_TIME, self.abort)
            self.stop_dial()
        if not any(self.legs):
            self._set_timer(None)
            self.rim.forget(self)

    def stop_dial(self) -> None:
        """Cancel the dial, unless it has connected: uvloop would close that transport and never say so."""
        leg = self.legs[Side.SERVER]
        if self.dial_task and (leg is None or leg.transport is None):
            self.dial_task.cancel()
            self.legs[Side.SERVER] = None
        elif leg is not None and not leg.is_ready:
            self.legs[Side.SERVER] = None
            leg.abort()
        self.dial_task = None

    def abort(self) -> None:
        """Let go of whatever is left, at once."""
        for leg in self.legs:
            if leg:
                leg.abort()

    def _open_leg(self, side: Side) -> Leg | None:
        leg = self.legs[side]
        return None if leg is None or leg.transport is None or leg.transport.is_closing() else leg
