"""The opening of a connection: heads, dial and answer, up to the 101 or to whatever else was answered.

Heads are parsed strictly and their bytes passed on as they came; until the upstream has accepted, not one byte behind
the client's request reaches it.
"""

from abc import abstractmethod

from .events import Action, Answered, Dial, Dialled, Event, Pause, Reset, Send
from .legs import Fate, Legs, State, Timer
from .units import SECOND
from .wire.bodies import BodyEnd
from .wire.frames import Side
from .wire.http import (
    BadHead,
    HeadReader,
    Request,
    Response,
    build_answer,
    is_tunnel,
    parse_request,
    parse_response,
)

HEAD_TIME = 10 * SECOND  # for a complete request head
ANSWER_TIME = 60 * SECOND  # for the upstream's complete response head
EARLY_BYTES_MAX = 1024 * 1024  # sent by the client behind its request, before the answer

UNREACHED = "; is the server up? (in a container, localhost is the container itself)"
_TLS_HELLO = 0x16


class Opening(Legs):
    """A connection from its accept on, as far as HTTP is spoken on it."""

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.client = ""  # whose connection it is
        self.connection = 0  # the how-manieth of that client; 0 until its head is complete
        self.events: list[Event] = []
        self.state = State.HEAD
        self.request: Request | None = None
        self.wants_dial = False
        self.legs[Side.CLIENT].is_connected = True
        self._mask = b""  # for frames of our own toward the server
        self._timers[Timer.HEAD, Side.CLIENT] = now + HEAD_TIME
        self._reader = HeadReader(from_client=True)
        self._body: BodyEnd | None = None
        self._early = bytearray()  # what the client sent behind its request
        self._late = bytearray()  # what the upstream sent while a half-open kept its answer back
        self._is_hushed = False
        self._question = b""  # the request as the upstream gets it
        self._has_asked = False  # the request has been sent to the upstream

    @property
    @abstractmethod
    def is_silent(self) -> bool:
        """Whether a half-open keeps everything back."""

    @abstractmethod
    def _open(self, response: Response) -> None:
        """The upstream has accepted: what follows is no HTTP."""

    @abstractmethod
    def _begin_exchange(self, request: Request, rest: bytes) -> None:
        """The client asked for no upgrade; `rest` came behind the head."""

    @abstractmethod
    def _pass_end(self, side: Side) -> None:
        """One side of the open tunnel has ended."""

    @abstractmethod
    def _start_ending(self, by: str, how: str, code: int | None = None) -> None:
        """From here on nothing is carried."""

    @abstractmethod
    def _maybe_release(self) -> None:
        """Let go of legs on which both ways have ended."""

    # -- what the world decides, and the dial -----------------------------------------------------------------------

    def hush(self, is_hushed: bool, now: int) -> None:
        """Do not answer an incomplete or bad head, while a half-open or a hang keeps all new connections waiting."""
        self._is_hushed = is_hushed
        is_idle = self.request is not None and not self._reader.begun  # between two plain requests
        if self.state is State.HEAD and not is_hushed and not is_idle:
            self._timers[Timer.HEAD, Side.CLIENT] = now + HEAD_TIME

    @property
    def needs_world(self) -> bool:
        """Whether the world has something to hear or to decide."""
        return bool(self.events) or (self.state is State.ASKED and not self.connection)

    def admit(self, client: str, connection: int, question: bytes, mask: bytes, now: int) -> None:
        """The request has its number. Rules follow, then `dial` unless one of them answers it.

        `question` is the request as the upstream gets it, `mask` the mask key of frames of our own toward the server.
        """
        self._now = now
        self.client, self.connection = client, connection
        self._question, self._mask = question, mask
        self.wants_dial = True

    def dial(self, now: int) -> list[Action]:
        """Connect to the upstream."""
        self._now = now
        if self.state is State.ASKED and self.wants_dial:
            self.wants_dial = False
            self.state = State.DIALLING
            self._actions.append(Dial())
        return self._take_actions()

    def dialled(self, now: int) -> list[Action]:
        """The upstream accepted our dial."""
        self._now = now
        self.events.append(Dialled(""))
        leg = self.legs[Side.SERVER]
        leg.is_connected = True
        if self.state is not State.DIALLING:
            self._actions.append(Reset(Side.SERVER))  # nobody waits for it any more
            self._set_gone(Side.SERVER)
            return self._take_actions()
        if leg.pauses:
            self._actions.append(Pause(Side.SERVER))
        self._await_answer()
        return self._take_actions()

    def _await_answer(self) -> None:
        self.state = State.ANSWER
        self._reader = HeadReader(from_client=False)
        if not self.is_silent:
            self._ask()

    def dial_failed(self, error: str, now: int) -> list[Action]:
        """The upstream could not be reached."""
        self._now = now
        self.events.append(Dialled(error))
        self.legs[Side.SERVER].fate = Fate.GONE
        if self.state is State.DIALLING and not self.is_silent:
            self._upstream_failed(f"the upstream can't be reached: {error}", UNREACHED)
        elif self.state is State.DIALLING:
            self.legs[Side.SERVER].is_lost = True
        self._maybe_release()
        return self._take_actions()

    # -- heads ------------------------------------------------------------------------------------------------------

    def _read_request(self, data: bytes) -> None:
        if data[0] == _TLS_HELLO and not self._reader.begun:
            self._refuse_head(BadHead(400, "a TLS hello came to a plaintext port"))
            return
        try:
            raw = self._reader.feed(data)
            self._timers.setdefault((Timer.HEAD, Side.CLIENT), self._now + HEAD_TIME)
            if raw is None:
                return
            self.request = parse_request(raw)
        except BadHead as bad:
            self._refuse_head(bad)
            return
        self._timers.pop((Timer.HEAD, Side.CLIENT))
        if not self.request.is_upgrade:
            self._begin_exchange(self.request, self._reader.rest)
            return
        self.state = State.ASKED
        if self._reader.rest:
            self._keep_early(self._reader.rest)

    def _refuse_head(self, bad: BadHead) -> None:
        if self._is_hushed:
            self._hang()
            return
        self._answer(bad.status, "proxy", bad.reason, build_answer(bad.status, body=f"chaosproxy: {bad.reason}\n"))

    def _hang(self) -> None:
        """Never answer."""
        self.wants_dial = False
        self.state = State.HUNG

    def _answer(self, status: int, by: str, reason: str, data: bytes) -> None:
        """Answer the request ourselves and end the client's leg behind it."""
        self.events.append(self._told_answer(status, by, reason))
        self._start_ending(by, f"answered {status}")
        if self.legs[Side.CLIENT].fate is Fate.OPEN:
            self._actions.append(Send(Side.CLIENT, data))
            self._finish_leg(Side.CLIENT)
        self._reset_leg(Side.SERVER)

    def _told_answer(self, status: int, by: str, reason: str) -> Event:
        return Answered(status, by, reason)

    def _keep_early(self, data: bytes) -> None:
        self._early += data
        if len(self._early) >= EARLY_BYTES_MAX:
            self._set_pause(Side.CLIENT, "early", True)

    def _keep_late(self, data: bytes) -> None:
        self._late += data
        self._set_pause(Side.SERVER, "late", len(self._late) >= EARLY_BYTES_MAX)

    def _ask(self) -> None:
        """Send the request to the upstream, if it is not there yet, and wait for the answer."""
        self._timers[Timer.ANSWER, Side.SERVER] = self._now + ANSWER_TIME
        if not self._has_asked:
            self._has_asked = True
            self._actions.append(Send(Side.SERVER, self._question))

    def _read_answer(self, data: bytes) -> None:
        if self.is_silent:
            self._keep_late(data)
            return
        assert self.request is not None
        try:
            raw = self._reader.feed(data)
            while raw is not None:
                response = parse_response(raw)
                if response.status == 101 or response.status >= 200:
                    break
                self._actions.append(Send(Side.CLIENT, raw))
                raw = self._reader.feed(b"")
            if raw is None:
                return
            if response.status == 101 and not is_tunnel(response, self.request):
                raise BadHead(502, "the upstream's 101 does not accept this WebSocket handshake")
            self._body = None if response.status == 101 else BodyEnd(response)
        except BadHead as bad:
            self._upstream_failed(bad.reason)
            return
        self._timers.pop((Timer.ANSWER, Side.SERVER), None)
        self.events.append(Answered(response.status, "server", ""))
        self._actions.append(Send(Side.CLIENT, raw))
        if response.status == 101:
            self._open(response)
        else:
            self.state = State.REFUSED
            self._early.clear()
            self._pass_body(self._reader.rest)

    def _read_refusal(self, data: bytes) -> None:
        if self.is_silent:
            self._keep_late(data)
        else:
            self._pass_body(data)

    def _pass_body(self, data: bytes) -> None:
        assert self._body is not None
        try:
            if part := self._body.feed(data):
                self._actions.append(Send(Side.CLIENT, part))
        except BadHead as bad:
            self._upstream_failed(bad.reason)
            return
        if self._body.is_over:
            self._start_ending("server", "refused")
            self._finish_leg(Side.CLIENT)
            self._finish_leg(Side.SERVER)

    def _upstream_failed(self, reason: str, remedy: str = "") -> None:
        """The upstream failed before its answer was complete: 502, or the same failure where an answer has begun."""
        if self.state is State.REFUSED:
            self._start_ending("server", "fin")
            if self._body is not None and not self.legs[Side.SERVER].is_lost:
                self._finish_leg(Side.CLIENT)
            else:
                self._reset_leg(Side.CLIENT)
            self._finish_leg(Side.SERVER)
            return
        self._answer(502, "proxy", reason, build_answer(502, body=f"chaosproxy: {reason}{remedy}\n"))

    def _proceed(self) -> None:
        """Go on with a handshake that a half-open kept back; what ended meanwhile ends behind what came before."""
        client, server = self.legs
        if client.is_lost:
            self._start_ending("client", "reset")
            self._reset_leg(Side.SERVER)
            return
        if not server.is_lost and self.state is State.ANSWER:
            self._ask()
        late = bytes(self._late)
        self._late.clear()
        self._set_pause(Side.SERVER, "late", False)
        if late and self.state is State.ANSWER:
            self._read_answer(late)
        elif late:
            self._pass_body(late)
        if not server.read_ended:
            return
        if self.state is State.TUNNEL:
            self._pass_end(Side.SERVER)
        elif self.state in (State.ANSWER, State.REFUSED):
            self._upstream_failed("the upstream ended the connection before its answer was complete")
