"""The opening of a connection: heads, dial and answer, up to the 101 or to whatever else was answered.

Heads are parsed strictly and their bytes passed on as they came; until the upstream has accepted, not one byte behind
the client's request reaches it.
"""

from abc import abstractmethod
from collections.abc import Sequence

from .effects import HoldHandshake
from .events import Action, Answered, Dial, Dialled, Ended, Event, Pause, Reset, Send
from .faults import Moment
from .handshake import Handshake
from .legs import Fate, State, Timer
from .link import Link
from .tally import Tally
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
PLAINTEXT = "a plaintext request came to a TLS port (use wss:// in place of ws://)"


class Opening(Handshake):
    """A connection from its accept on, as far as HTTP is spoken on it."""

    def __init__(self, tally: Tally, now: int) -> None:
        super().__init__(tally, now)
        self.client = ""  # whose connection it is
        self.connection = 0  # the how-manieth of that client; 0 until its head is complete
        self.state = State.HEAD
        self.request: Request | None = None
        self.wants_dial = False
        self.legs[Side.CLIENT].is_connected = True
        self._mask = b""  # for frames of our own toward the server
        self._timers[Timer.HEAD, Side.CLIENT] = now + HEAD_TIME
        self._reader = HeadReader(from_client=True)
        self._body: BodyEnd | None = None
        self._early = bytearray()  # what the client sent behind its request
        self._late = bytearray()  # what the upstream sent while its answer was kept back
        self._kept_answer: Response | None = None  # complete, and waiting
        self.is_ruled = False  # the rules on requests have acted
        self.is_hushed = False
        self._question = b""  # the request as the upstream gets it
        self._has_asked = False  # the request has been sent to the upstream

    @abstractmethod
    def blocks(self, side: Side) -> bool:
        """Whether a half-open keeps back what `side` sends."""

    @abstractmethod
    def _open(self, response: Response, late: bytes) -> None:
        """The upstream has accepted: what follows, beginning with `late`, is no HTTP."""

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

    def hush(self, is_hushed: bool, now: int, *, is_cut_off: bool = False) -> list[Action]:
        """Do not answer an incomplete or bad head, while a half-open or a hang keeps all new connections waiting.

        A half-open (`is_cut_off`) holds a TLS handshake too.
        """
        self.is_hushed = is_hushed
        self.is_cut_off = is_cut_off
        is_idle = self.request is not None and not self._reader.begun  # between two plain requests
        if self.state is State.HEAD and not is_hushed and not self.is_waiting and not is_idle:
            self._timers[Timer.HEAD, Side.CLIENT] = now + HEAD_TIME
        return self._take_actions()

    def _heal_handshake(self, rule_id: str) -> None:
        effect = self._at_handshake.pop(rule_id, None)
        if isinstance(effect, HoldHandshake) and self.state is State.HEAD:
            self._timers[Timer.HEAD, Side.CLIENT] = self._now + HEAD_TIME

    def refuse_plaintext(self, now: int) -> list[Action]:
        """The client spoke something else where TLS is spoken. It is answered in plain text too."""
        self._now = now
        self._refuse_head(BadHead(400, PLAINTEXT))
        self._maybe_release()
        return self._take_actions()

    @property
    def needs_world(self) -> bool:
        """Whether the world has something to hear or to decide."""
        return bool(self.events) or self.is_to_be_ruled

    @property
    def is_to_be_ruled(self) -> bool:
        """Whether the request has got its number, or is to get it, and the rules on requests follow now."""
        return self.state is State.ASKED and not (self.is_ruled or self.is_waiting or self.blocks(Side.CLIENT))

    def greet(self, links: Sequence[Link], now: int) -> list[Action]:
        """A client has been accepted: rules may let it wait before anything is read."""
        self._now = now
        if self.state is State.HEAD and self._begin_wait(Moment.ACCEPT, links):
            self._timers.pop((Timer.HEAD, Side.CLIENT))
            self._set_pause(Side.CLIENT, "wait", True)
        return self._take_actions()

    def admit(self, client: str, connection: int, question: bytes, mask: bytes, now: int) -> None:
        """The request has its number. Rules follow, then `dial` unless one of them answers it.

        `question` is the request as the upstream gets it, `mask` the mask key of frames of our own toward the server.
        """
        self._now = now
        self.client, self.connection = client, connection
        self._question, self._mask = question, mask
        self.wants_dial = True

    def delay_request(self, now: int) -> list[Action]:
        """Let the request wait, if a rule says so, before it meets the rules on requests and is passed on."""
        self._now = now
        self._begin_wait(Moment.ASK, self.links.values())
        return self._take_actions()

    def found_ended(self, side: Side, now: int) -> list[Action]:
        """A leg that is not being read was found with its peer's FIN waiting behind unread data."""
        self._now = now
        self.events.append(Ended(side, "fin, not read yet", None, ""))
        if side is Side.CLIENT:
            self._cut_wait_short()
        return self._take_actions()

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
        if not self._awaits_dial:
            self._actions.append(Reset(Side.SERVER))  # nobody waits for it any more
            self._set_gone(Side.SERVER)
            return self._take_actions()
        if leg.pauses:
            self._actions.append(Pause(Side.SERVER))
        self._reached()
        return self._take_actions()

    @property
    def _awaits_dial(self) -> bool:
        """Whether the dial under way is still wanted."""
        return self.state is State.DIALLING

    def _reached(self) -> None:
        """There is a leg to the upstream that can take the request."""
        self.state = State.ANSWER
        self._reader = HeadReader(from_client=False)
        if not self.blocks(Side.CLIENT):
            self._ask()

    def dial_failed(self, error: str, now: int, remedy: str = UNREACHED) -> list[Action]:
        """The upstream could not be reached, or not by TLS."""
        self._now = now
        self.events.append(Dialled(error))
        self.legs[Side.SERVER].fate = Fate.GONE
        if self._awaits_dial and not self.blocks(Side.SERVER):
            self._upstream_failed(f"the upstream can't be reached: {error}", remedy)
        elif self._awaits_dial:
            self.legs[Side.SERVER].is_lost = True
        self._maybe_release()
        return self._take_actions()

    # -- heads ------------------------------------------------------------------------------------------------------

    def _read_request(self, data: bytes) -> None:
        if self.is_waiting or self.blocks(Side.CLIENT):
            self._early += data  # read before the loop could stop reading
            return
        if data[0] == _TLS_HELLO and not self._reader.begun:
            self._refuse_head(BadHead(400, "a TLS hello came to a plaintext port"))
            return
        try:
            raw = self._reader.feed(data)
            if raw is None:
                self._timers.setdefault((Timer.HEAD, Side.CLIENT), self._now + HEAD_TIME)
                return
            self.request = parse_request(raw)
        except BadHead as bad:
            self._refuse_head(bad)
            return
        self._timers.pop((Timer.HEAD, Side.CLIENT), None)  # none where it has run out unanswered
        self.is_ruled = False
        if not self.request.is_upgrade:
            self._begin_exchange(self.request, self._reader.rest)
            return
        self.state = State.ASKED
        if self._reader.rest:
            self._keep_early(self._reader.rest)

    def _refuse_head(self, bad: BadHead) -> None:
        if self.is_hushed:
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
        if not self.blocks(Side.SERVER):
            self._timers[Timer.ANSWER, Side.SERVER] = self._now + ANSWER_TIME
        if not self._has_asked:
            self._has_asked = True
            self._actions.append(Send(Side.SERVER, self._question))

    def _read_answer(self, data: bytes) -> None:
        if self.blocks(Side.SERVER) or self._kept_answer:
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
        if self._begin_wait(Moment.ANSWER, self.links.values()):
            self._kept_answer = response
        else:
            self._pass_answer(response)

    def _pass_answer(self, response: Response) -> None:
        assert self.request is not None
        late = self._reader.rest + self._take_late()
        self.events.append(Answered(response.status, "server", ""))
        if response.status == 101:
            self._actions.append(Send(Side.CLIENT, self._spoiled(response, self.request)))
            self._open(response, late)
        else:
            self._actions.append(Send(Side.CLIENT, response.raw))
            self.state = State.REFUSED
            self._early.clear()
            self._pass_body(late)

    def _take_late(self) -> bytes:
        late = bytes(self._late)
        self._late.clear()
        self._set_pause(Side.SERVER, "late", False)
        return late

    def _end_wait(self) -> None:
        match self.state:
            case State.HEAD:
                self._timers[Timer.HEAD, Side.CLIENT] = self._now + HEAD_TIME
                self._set_pause(Side.CLIENT, "wait", False)
                early = bytes(self._early)
                self._early.clear()
                if early:
                    self._read_request(early)
            case State.ANSWER if self._kept_answer and not self.blocks(Side.SERVER):
                self._pass_kept_answer()
            case _:
                pass  # the world goes on with a request, a heal with what is silent

    def _pass_kept_answer(self) -> None:
        assert self._kept_answer
        answer, self._kept_answer = self._kept_answer, None
        self._pass_answer(answer)
        self._pass_server_end()

    def _read_refusal(self, data: bytes) -> None:
        if self.blocks(Side.SERVER):
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
        if self._kept_answer:
            if not self.is_waiting and not self.blocks(Side.SERVER):
                self._pass_kept_answer()
            return
        if not server.is_lost and self.state is State.ANSWER and not self.blocks(Side.CLIENT):
            self._ask()
        if self.blocks(Side.SERVER):
            return
        late = self._take_late()
        if late and self.state is State.ANSWER:
            self._read_answer(late)
        elif late:
            self._pass_body(late)
        self._pass_server_end()

    def _pass_server_end(self) -> None:
        """The upstream's end, which came while its answer was kept back."""
        if not self.legs[Side.SERVER].read_ended or self._kept_answer:
            return
        if self.state is State.TUNNEL:
            self._pass_end(Side.SERVER)
        elif self.state in (State.ANSWER, State.REFUSED):
            self._upstream_failed("the upstream ended the connection before its answer was complete")
