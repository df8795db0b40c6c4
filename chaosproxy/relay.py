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

from .events import Action, Dial, End, Pause, Release, Reset, Resume, Send
from .session import Session
from .units import SECOND
from .wire.frames import SIDES, Side

LINGER_S = 30.0
_LINGER_RST = struct.pack("ii", 1, 0)  # close() then sends RST; abort() alone would send FIN
_TCP_CLOSE = 7  # states of tcpi_state, linux/include/net/tcp_states.h
_TCP_CLOSE_WAIT = 8


class Rim(Protocol):
    """What a relay needs from its proxy."""

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


class Leg(asyncio.Protocol):
    """One TCP connection of a relay."""

    def __init__(self, relay: "Relay", side: Side) -> None:
        self.relay = relay
        self.side = side
        self.transport: asyncio.Transport | None = None
        self.is_reading = True
        # On the pass lane: where to count, and where to write.
        self.scan: Callable[[bytes], None] | None = None
        self.write: Callable[[bytes], Any] = _nowhere

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.relay.connected(self)

    def data_received(self, data: bytes) -> None:
        if self.scan is not None:
            self.scan(data)
            self.write(data)
            return
        self.relay.perform(self.relay.session.receive(self.side, data, monotonic_ns()))

    def eof_received(self) -> bool:
        self.relay.perform(self.relay.session.ended(self.side, monotonic_ns()))
        return True  # we end our side ourselves, when the session says so

    def connection_lost(self, error: Exception | None) -> None:
        self.relay.lost(self, error)

    def pause_writing(self) -> None:
        self.relay.perform(self.relay.session.blocked(self.side, True, monotonic_ns()))

    def resume_writing(self) -> None:
        self.relay.perform(self.relay.session.blocked(self.side, False, monotonic_ns()))

    def tcp_state(self) -> int | None:
        """The kernel's view of the connection (TCP_INFO); None where the socket is gone."""
        if self.transport is None or self.transport.is_closing():
            return None
        sock = self.transport.get_extra_info("socket")
        return int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0])


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
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0

    def leg(self, side: Side) -> Leg:
        """The protocol for a new transport of this side."""
        leg = Leg(self, side)
        self.legs[side] = leg
        return leg

    def connected(self, leg: Leg) -> None:
        if leg.side is Side.CLIENT:
            self.session = self.rim.accepted(self, self.peer)
            self.has_begun = True
            self.after()
        else:
            self.perform(self.session.dialled(monotonic_ns()))

    def dial_failed(self, error: str) -> None:
        self.legs[Side.SERVER] = None  # uvloop makes the protocol before it connects
        self.perform(self.session.dial_failed(error, monotonic_ns()))

    def lost(self, leg: Leg, error: Exception | None) -> None:
        """A transport is closed. Where we asked for it, the session knows already and this changes nothing."""
        leg.scan = None
        if self.legs[leg.side] is leg:
            self.legs[leg.side] = None
        if not self.has_begun:
            self.rim.forget(self)
            return
        how = "timeout" if isinstance(error, TimeoutError) else "reset"
        self.perform(self.session.lost(leg.side, monotonic_ns(), how))

    def tick(self) -> None:
        """The timer fired. Loops may fire a little early; the session looks at its own clock, and is asked again."""
        self._timer = None
        self.perform(self.session.tick(monotonic_ns()))

    def found(self, leg: Leg, state: int) -> bool:
        """A leg that is not read was looked at; whether there is nothing more to look for."""
        if state == _TCP_CLOSE:
            self.perform(self.session.lost(leg.side, monotonic_ns(), "reset"))
            return True
        if state == _TCP_CLOSE_WAIT:
            self.session.found_ended(leg.side)
            self.after()
            return True
        return False

    def perform(self, actions: list[Action]) -> None:
        """Do what the session says, in order, then let the world hear of it."""
        for action in actions:
            match action:
                case Send(side, data):
                    if transport := self._transport(side):
                        transport.write(data)
                case Pause(side):
                    if (leg := self.legs[side]) and leg.transport:
                        leg.is_reading = False
                        leg.transport.pause_reading()
                        self.rim.watch(leg)
                case Resume(side):
                    if (leg := self.legs[side]) and leg.transport and not leg.transport.is_closing():
                        leg.is_reading = True
                        leg.transport.resume_reading()
                case End(side):
                    if transport := self._transport(side):
                        with contextlib.suppress(OSError):  # its peer has reset; the loop will say so
                            transport.write_eof()
                case Release(side):
                    if transport := self._transport(side):
                        transport.close()
                case Reset(side):
                    self._reset(side)
                case Dial():
                    self.rim.dial(self)
        self.after()

    def after(self) -> None:
        """What follows any happening: lanes, the timer, the world."""
        session = self.session
        for side in SIDES:
            leg = self.legs[side]
            if leg is not None:
                other = self.legs[side.other]
                if session.passes(side) and other is not None and other.transport is not None:
                    leg.scan = session.directions[side].splitter.scan
                    leg.write = other.transport.write
                else:
                    leg.scan = None
        deadline = session.deadline
        if deadline is None:
            if self._timer:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None or deadline != self._timer_due:
            if self._timer:
                self._timer.cancel()
            self._timer_due = deadline
            delay = max(0, deadline - monotonic_ns()) / SECOND
            self._timer = self.loop.call_later(delay, self.tick)
        if session.needs_world:
            self.rim.settle(self)
        if session.is_over:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            if self.dial_task:
                self.dial_task.cancel()
                self.dial_task = None
                if (leg := self.legs[Side.SERVER]) and leg.transport is None:
                    self.legs[Side.SERVER] = None
            if not any(self.legs):
                self.rim.forget(self)
            else:
                # Both ways have ended; what is still to be written to a peer that does not read gets this long.
                self._timer = self.loop.call_later(LINGER_S, self.abort)

    def abort(self) -> None:
        """Let go of whatever is left, at once."""
        for side in SIDES:
            self._reset(side)

    def _transport(self, side: Side) -> asyncio.Transport | None:
        leg = self.legs[side]
        if leg is None or leg.transport is None or leg.transport.is_closing():
            return None
        return leg.transport

    def _reset(self, side: Side) -> None:
        leg = self.legs[side]
        if leg is None or leg.transport is None:
            return
        # Also where a close is still waiting for its bytes to leave.
        sock = leg.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
        leg.transport.abort()
