"""A leg that speaks TLS: between its transport, which carries ciphertext, and the session, which knows plaintext only.

It decides nothing about the connection. What TLS itself wants to say (records of the handshake, session tickets,
alerts) is kept back for as long as the session lets nothing leave, and so is the handshake while a rule holds it.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns

from .relay import Leg, Relay
from .wire.frames import Side
from .wire.tls import FAILED, Channel, begins_tls

HANDSHAKE_TIME_S = 10.0  # for the upstream's; a client's counts toward its request head
HELD_HELLO_BYTES_MAX = 64 * 1024  # from a client whose handshake is held; then it is not read any more

MakeChannel = Callable[[str], Channel]
"""Make the TLS of a new leg, by what shall be wrong with our certificate."""


class SecuredLeg(Leg):
    """One TCP connection of a relay, with TLS on it."""

    def __init__(self, relay: Relay, side: Side, make_channel: MakeChannel, name: str = "") -> None:
        super().__init__(relay, side)
        self.is_ready = side is Side.CLIENT  # a client is known from its accept on; the upstream behind its handshake
        self._name = name  # for what is said of a dial that failed
        self._make_channel = make_channel
        self._channel: Channel | None = None
        self._is_plain = False  # the client does not speak TLS, and is told so
        self._is_mute = False  # FIN has been sent
        self._is_closing = False  # as soon as everything has been said
        self._held = bytearray()  # came while the handshake is held
        self._timer: asyncio.TimerHandle | None = None

    # -- the transport ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(transport)
        self.send = self._seal
        if self.side is Side.CLIENT:
            self.relay.connected(self)
        elif self.relay.legs[self.side] is not self:
            self.abort()
        else:
            self._timer = self.relay.loop.call_later(HANDSHAKE_TIME_S, self._give_up)
            self.follow()

    def data_received(self, data: bytes) -> None:
        channel = self._channel
        if channel is not None and channel.is_open:
            self._take_in(channel, data)
        elif self._is_plain:
            super().data_received(data)
        else:
            self._held += data
            self.follow()
            if len(self._held) > HELD_HELLO_BYTES_MAX:
                self.is_reading = False
                self.set_reading()
                self.relay.rim.watch(self)

    def eof_received(self) -> bool:
        self.has_told_end = True
        channel = self._channel
        if not self.is_ready:
            self._fail("it ended the connection during the handshake; is it ws:// in place of wss://?")
        elif channel is not None and channel.is_open and not channel.has_ended:
            self.relay.perform(self.relay.session.ended(self.side, monotonic_ns(), is_truncated=True))
        elif channel is not None and not channel.is_open and not self._held:
            self._fail("it ended the connection during the handshake")
        else:
            self.relay.perform(self.relay.session.ended(self.side, monotonic_ns()))
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        if not self.is_ready and self.relay.legs[self.side] is self:
            self._fail("it reset the connection during the handshake")
        super().connection_lost(error)

    # -- what the relay asks ----------------------------------------------------------------------------------------

    def end(self, notify: bool) -> None:
        if notify and self._channel is not None:
            self._channel.notify()
        self._flush()
        self._is_mute = True
        super().end(notify)

    def follow(self) -> None:
        """Let out what was kept back, and go on with the handshake, if nothing hinders it any more."""
        if self.transport is None or self.transport.is_closing() or self._must_wait:
            return
        if self._channel is None and self.side is Side.SERVER:
            self._channel = self._make_channel("")
            self._channel.begin()
        if self._held:
            held = bytes(self._held)
            self._held.clear()
            self.is_reading = not self.relay.session.legs[self.side].pauses
            self.set_reading()
            self._shake_hands(held)
        self._flush()
        if self._is_closing:
            self.close()

    # -- TLS --------------------------------------------------------------------------------------------------------

    @property
    def _must_wait(self) -> bool:
        """Whether nothing may leave that the session does not send."""
        session = self.relay.session
        if session.is_mute(self.side):
            return True
        is_open = self._channel is not None and self._channel.is_open
        return self.side is Side.CLIENT and not is_open and session.holds_handshake

    def _shake_hands(self, data: bytes) -> None:
        session = self.relay.session
        if self._channel is None and not begins_tls(data):
            assert self.transport is not None
            self._is_plain = True
            self.send = self.transport.write
            self.relay.perform(session.refuse_plaintext(monotonic_ns()))
            return
        if self._channel is None:
            self._channel = self._make_channel(session.certificate)
        self._take_in(self._channel, data)

    def _take_in(self, channel: Channel, data: bytes) -> None:
        if channel.has_ended or channel.error:
            return
        was_open = channel.is_open
        plaintext = channel.receive(data)
        if not self._must_wait:
            self._flush()
        if channel.is_open and not was_open:
            self._opened(channel)
        if plaintext:
            self._pass_in(plaintext)
        if channel.error:
            self._fail(channel.error)
        elif channel.has_ended:
            self.has_told_end = True
            self.relay.perform(self.relay.session.ended(self.side, monotonic_ns()))

    def _pass_in(self, plaintext: bytes) -> None:
        """Take it whole: what it ends with, an alert or the peer's end, is known already."""
        if self.scan is not None:
            self.scan(plaintext)
            self.write(plaintext)
        else:
            self.relay.perform(self.relay.session.receive(self.side, plaintext, monotonic_ns()))

    def _opened(self, channel: Channel) -> None:
        self._stop_timer()
        self.relay.perform(self.relay.session.secured(self.side, channel.version, monotonic_ns()))
        if not self.is_ready:
            self.is_ready = True
            self.relay.connected(self)

    def _fail(self, error: str) -> None:
        """Nothing can be said or heard here any more: an alert may still leave, then the socket is closed."""
        self._stop_timer()
        self._is_closing = True
        if self.is_ready:
            self.relay.perform(self.relay.session.broken(self.side, error, monotonic_ns()))
        else:
            self.is_ready = True
            self.relay.dial_failed(f"{self._name}: {FAILED}: {error}", remedy="")
        self.follow()

    def _give_up(self) -> None:
        self._timer = None
        if self._must_wait:
            self._timer = self.relay.loop.call_later(HANDSHAKE_TIME_S, self._give_up)
        else:
            self._fail(f"no answer to our hello within {HANDSHAKE_TIME_S:g} s; is it ws:// in place of wss://?")

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _seal(self, data: bytes) -> None:
        if self._channel is not None:
            self._channel.seal(data)
            self._flush()

    def _flush(self) -> None:
        data = self._channel.take() if self._channel is not None else b""
        if data and self.transport is not None and not self._is_mute and not self.transport.is_closing():
            self.transport.write(data)
