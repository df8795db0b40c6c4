"""One connection as a state machine: heads, dial, open, tunnel, over. It performs nothing and knows no clock.

Each method takes what happened and `now`, and returns the actions to perform, in order. What is worth telling is left
in `events`; the world collects it. `deadline` says when `tick` wants to be called.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from .engine import Direction, Lane, Limits, Reading
from .events import (
    Action,
    Answered,
    Break,
    Close,
    Closed,
    Cut,
    Dial,
    Dialled,
    Effect,
    Ended,
    Event,
    Finish,
    Heal,
    Healed,
    Hold,
    Leg,
    Mode,
    Opened,
    Other,
    Pause,
    Reply,
    Reset,
    Send,
    Silence,
    Struck,
    Suppressed,
)
from .legs import REPLY_TIME, Fate, Legs, Timer
from .link import Link
from .tally import Tally
from .units import SECOND
from .wire.frames import SIDES, Side, build_close
from .wire.http import (
    BadHead,
    BodyEnd,
    HeadReader,
    Request,
    Response,
    build_answer,
    is_tunnel,
    parse_request,
    parse_response,
)
from .wire.inflate import Negotiated

HEAD_TIME = 10 * SECOND  # for a complete request head
ANSWER_TIME = 60 * SECOND  # for the upstream's complete response head
CUT_TIME = 1 * SECOND  # for the end of the frame in flight, before an injected close
EARLY_BYTES_MAX = 1024 * 1024  # sent by the client behind its request, before the answer

_GOING_AWAY = 1001
_TLS_HELLO = 0x16
_UNREACHED = "; is the server up? (in a container, localhost is the container itself)"
_HALF_OPEN = "the connection is half-open: nothing leaves"


class State(Enum):
    HEAD = auto()  # the request head is coming
    ASKED = auto()  # it is complete; the world decides
    DIALLING = auto()
    ANSWER = auto()  # the upstream's head is coming
    REFUSED = auto()  # the upstream's refusal is passed on
    HUNG = auto()  # never to be answered
    TUNNEL = auto()
    ENDING = auto()  # nothing is carried any more; the legs are being ended
    OVER = auto()


class _Silent(NamedTuple):
    link: Link | None
    silence: Silence


class Session(Legs):
    """A client's connection and the upstream's, from accept to the end of both."""

    def __init__(self, number: int, limits: Limits, reading: Reading, tally: Tally, now: int) -> None:
        super().__init__(now)
        self.number = number  # of the attempt, in the order of accepts
        self.client = ""  # whose connection it is
        self.connection = 0  # the how-manieth of that client; 0 until its head is complete
        self.events: list[Event] = []
        self.state = State.HEAD
        self.request: Request | None = None
        self.links: dict[str, Link] = {}  # the rules in play, by id
        self.accepted_at = now
        self.opened_at: int | None = None
        self._tally = tally
        self.was_answered = False  # by something else than 101
        self.wants_dial = False
        self.is_delayed = False  # its dial has waited for the cap
        self.legs[Side.CLIENT].is_connected = True
        self.directions = tuple(
            Direction(side, limits, reading, tally, self.events, self._do, self._note_close) for side in SIDES
        )
        self.ended_by = ""  # who began the end
        self._how = ""
        self._code: int | None = None
        self._mask = b""  # for frames of our own toward the server
        self._pending: tuple[Close, Link | None, str] | None = None  # a close that waits until held messages have left
        self._silences: dict[str, _Silent] = {}
        self._timers[Timer.HEAD, Side.CLIENT] = now + HEAD_TIME
        self._reader = HeadReader(from_client=True)
        self._body: BodyEnd | None = None
        self._early = bytearray()  # what the client sent behind its request
        self._late = bytearray()  # what the upstream sent while a half-open kept its answer back
        self._is_hushed = False
        self._question = b""  # the request as the upstream gets it
        self._has_asked = False  # the request has been sent to the upstream

    # -- what the relay asks ----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        # Asked behind every chunk that is not just passed on: no lists.
        deadline = min(self._timers.values()) if self._timers else None
        for direction in self.directions:
            due = direction.deadline
            if due is not None and (deadline is None or due < deadline):
                deadline = due
        return deadline

    def passes(self, side: Side) -> bool:
        """Whether what `side` sends may be scanned and forwarded whole, without asking again."""
        return (
            self.state is State.TUNNEL
            and self.directions[side].lane is Lane.PASS
            and self.legs[side].fate is Fate.OPEN
            and self.legs[side.other].fate is Fate.OPEN
        )

    @property
    def is_over(self) -> bool:
        return self.state is State.OVER

    @property
    def is_silent(self) -> bool:
        return bool(self._silences)

    # -- what happened on the legs ----------------------------------------------------------------------------------

    def receive(self, side: Side, data: bytes, now: int) -> list[Action]:
        """Bytes came from `side`."""
        self._now = now
        if self.legs[side].read_ended:
            return self._take_actions()
        match self.state:
            case State.TUNNEL:
                self._carry(side, data)
            case State.HEAD if side is Side.CLIENT:
                self._read_request(data)
            case State.ASKED | State.DIALLING | State.ANSWER if side is Side.CLIENT:
                self._keep_early(data)
            case State.ANSWER:
                self._read_answer(data)
            case State.REFUSED if side is Side.SERVER:
                self._read_refusal(data)
            case State.ENDING:
                self._await_reply(side, data)
            case _:
                pass  # a hung, refused or ending connection reads and discards
        self._maybe_release()
        return self._take_actions()

    def ended(self, side: Side, now: int) -> list[Action]:
        """The peer sent FIN."""
        self._now = now
        leg = self.legs[side]
        if leg.read_ended:
            return self._take_actions()
        leg.read_ended = True
        self._tell_end(side, "fin")
        match self.state:
            case State.TUNNEL:
                self._pass_end(side)
            case State.HEAD:
                self._start_ending("client", "fin")
                self._finish_leg(Side.CLIENT)
            case _ if self._silences:
                pass  # remembered; performed at heal
            case State.ASKED | State.DIALLING | State.ANSWER | State.REFUSED if side is Side.SERVER:
                self._upstream_failed("the upstream ended the connection before its answer was complete")
            case State.HUNG:
                self._start_ending("client", "fin")
                self._finish_leg(Side.CLIENT)
            case State.ENDING:
                self._finish_leg(side)
            case _:
                pass  # a client's early FIN is passed on when the upstream has answered
        self._maybe_release()
        return self._take_actions()

    def lost(self, side: Side, now: int, error: str) -> list[Action]:
        """The connection to the peer is gone: reset, timed out."""
        self._now = now
        leg = self.legs[side]
        if leg.fate is Fate.GONE:
            return self._take_actions()
        self._tell_end(side, error)
        leg.read_ended = leg.write_ended = leg.is_lost = True
        self._set_gone(side)
        if self._silences and self.state is not State.HUNG:
            self.directions[side].finish(now)
            if self._is_deserted:
                self._note_end(side.label, error)
            self._maybe_release()
            return self._take_actions()  # remembered; performed at heal, after the held bytes
        if self.state in (State.DIALLING, State.ANSWER, State.REFUSED) and side is Side.SERVER:
            self._upstream_failed("the upstream reset the connection before its answer was complete")
        elif self.state is not State.ENDING:  # there each leg ends in its own way
            self._start_ending(side.label, error)
            self._reset_leg(side.other)
        self._maybe_release()
        return self._take_actions()

    def found_ended(self, side: Side) -> None:
        """A leg that is not being read was found with its peer's FIN waiting behind unread data."""
        self.events.append(Ended(side, "fin, not read yet", None, ""))

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
        self.state = State.ANSWER
        self._reader = HeadReader(from_client=False)
        if leg.pauses:
            self._actions.append(Pause(Side.SERVER))
        if not self._silences:
            self._ask()
        return self._take_actions()

    def dial_failed(self, error: str, now: int) -> list[Action]:
        """The upstream could not be reached."""
        self._now = now
        self.events.append(Dialled(error))
        self.legs[Side.SERVER].fate = Fate.GONE
        if self.state is State.DIALLING and not self._silences:
            self._upstream_failed(f"the upstream can't be reached: {error}", _UNREACHED)
        elif self.state is State.DIALLING:
            self.legs[Side.SERVER].is_lost = True
        self._maybe_release()
        return self._take_actions()

    def blocked(self, side: Side, is_blocked: bool, now: int) -> list[Action]:
        """The peer takes our bytes too slowly (or again): its counterpart's reading is paused (or resumed)."""
        self._now = now
        self._set_pause(side.other, "peer", is_blocked)
        return self._take_actions()

    def tick(self, now: int) -> list[Action]:
        """Time has come to `deadline`."""
        self._now = now
        for direction in self.directions:
            if direction.deadline is not None and direction.deadline <= now:
                self._let_go(direction)
        for key, due in list(self._timers.items()):
            if due <= now and key in self._timers:
                del self._timers[key]
                self._time_out(*key)
        self._maybe_release()
        return self._take_actions()

    # -- what the world decides -------------------------------------------------------------------------------------

    def hush(self, is_hushed: bool, now: int) -> None:
        """Do not answer an incomplete or bad head, while a half-open or a hang keeps all new connections waiting."""
        self._is_hushed = is_hushed
        if self.state is State.HEAD and not is_hushed:
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

    def strike(self, link: Link, now: int) -> list[Action]:
        """A rule acts on the whole connection: as its phase begins, or as the connection comes."""
        self._now = now
        effect = link.fault.effect()
        if effect is not None:
            self._do(link, effect)
        self._maybe_release()
        return self._take_actions()

    def set_links(self, links: Sequence[Link], now: int) -> list[Action]:
        """The rules in play have changed."""
        self._now = now
        self.links = {link.rule.id: link for link in links}
        for direction in self.directions:
            self._arm(direction)
            self._let_go(direction)
        self._maybe_release()
        return self._take_actions()

    def heal(self, link: Link, now: int) -> list[Action]:
        """A rule has ended: undo what its fault says is undone."""
        self._now = now
        silent = self._silences.pop(link.rule.id, None)
        if link.has_acted and self.state is not State.ENDING:
            self.events.append(Healed(link.rule.id, link.fault.name))
        if silent:
            self._heal(link.rule.id, silent.silence)
        self._maybe_release()
        return self._take_actions()

    def close(self, leg: Leg, code: int | None, reason: str, now: int, by: str = "proxy") -> list[Action]:
        """End the connection by a close frame, on behalf of nobody's rule. Silent legs get RST."""
        self._now = now
        if self.state is State.OVER:
            return []
        if self._silences or self.state is State.ENDING:
            # A silent or kept leg sends nothing but the RST that ends it; one that is ending does so in seconds.
            self._start_ending(by, "reset")
            self._silences.clear()
            for side in SIDES:
                if self.legs[side].fate is Fate.OPEN:
                    self._reset_leg(side)
        elif self.state is not State.TUNNEL:
            self._start_ending(by, "fin")
            for side in SIDES:
                self._finish_leg(side)
        else:
            self._inject_close(Close(leg, code, reason.encode(), after_held=False), None, by)
        self._maybe_release()
        return self._take_actions()

    def reset(self, leg: Leg, now: int, by: str) -> list[Action]:
        """End the connection by RST."""
        self._now = now
        self._silences.clear()
        self._break(Break(leg, Other.FIN), by)
        self._maybe_release()
        return self._take_actions()

    # -- heads ------------------------------------------------------------------------------------------------------

    def _read_request(self, data: bytes) -> None:
        if data[0] == _TLS_HELLO and not self._reader.begun:
            self._refuse_head(BadHead(400, "a TLS hello came to a plaintext port"))
            return
        try:
            raw = self._reader.feed(data)
            if raw is None:
                return
            self.request = parse_request(raw)
        except BadHead as bad:
            self._refuse_head(bad)
            return
        self._timers.pop((Timer.HEAD, Side.CLIENT))
        self.state = State.ASKED
        if self._reader.rest:
            self._keep_early(self._reader.rest)

    def _refuse_head(self, bad: BadHead) -> None:
        if self._is_hushed:
            self.state = State.HUNG
            return
        headers = [("Upgrade", "websocket")] if bad.status == 426 else []
        self._answer(bad.status, "proxy", bad.reason, build_answer(bad.status, headers, f"chaosproxy: {bad.reason}\n"))

    def _answer(self, status: int, by: str, reason: str, data: bytes) -> None:
        """Answer the request ourselves and end the client's leg behind it."""
        self.events.append(Answered(status, by, reason))
        self._start_ending(by, f"answered {status}")
        if self.legs[Side.CLIENT].fate is Fate.OPEN:
            self._actions.append(Send(Side.CLIENT, data))
            self._finish_leg(Side.CLIENT)
        self._reset_leg(Side.SERVER)

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
        if self._silences:
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
        if self._silences:
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

    def _open(self, response: Response) -> None:
        self.state = State.TUNNEL
        self.opened_at = self._now
        negotiated = Negotiated(response)
        for direction in self.directions:
            direction.open(self._now, negotiated)
            self._arm(direction)
        extensions = b", ".join(response.values(b"sec-websocket-extensions")).decode("latin-1")
        self.events.append(Opened(extensions))
        early, late = bytes(self._early), self._reader.rest
        self._early.clear()
        self._set_pause(Side.CLIENT, "early", False)
        if late:
            self._carry(Side.SERVER, late)
        if early and self.state is State.TUNNEL:
            self._carry(Side.CLIENT, early)
        if self.legs[Side.CLIENT].read_ended and self.state is State.TUNNEL:
            self._pass_end(Side.CLIENT)

    # -- the tunnel -------------------------------------------------------------------------------------------------

    def _carry(self, side: Side, data: bytes) -> None:
        direction = self.directions[side]
        direction.receive(data, self._now)
        self._let_go(direction)

    def _let_go(self, direction: Direction) -> None:
        """Send what is due, and carry out what hangs on it."""
        side = direction.side
        direction.release(self._now)
        self._flush(direction)
        self._set_pause(side, "held", direction.is_full)
        leg, other = self.legs[side], self.legs[side.other]
        if other.fate is Fate.CUTTING and not direction.is_inside_frame:
            self._say_farewell(side.other)
        if leg.read_ended and self.state is State.TUNNEL and direction.is_idle and direction.gate is None:
            self._end_other(side)

    def _note_close(self, side: Side) -> None:
        if self.state is State.TUNNEL:
            self._note_end(side.label, "close")

    def _flush(self, direction: Direction) -> None:
        if direction.ready:
            data = direction.ready[0] if len(direction.ready) == 1 else b"".join(direction.ready)
            direction.ready.clear()
            if not self.legs[direction.side.other].write_ended:
                self._actions.append(Send(direction.side.other, data))

    def _pass_end(self, side: Side) -> None:
        """One side has ended: EOF goes to the other behind what is held."""
        direction = self.directions[side]
        direction.finish(self._now)
        self._let_go(direction)

    def _end_other(self, side: Side) -> None:
        if self.legs[side].is_lost:
            self._start_ending(side.label, "reset")
            self._reset_leg(side.other)
        else:
            self._end_leg(side.other)
            self._note_end(side.label, "fin")

    def _arm(self, direction: Direction) -> None:
        """Tell a direction which rules may act on its messages."""
        if self.state is State.TUNNEL:
            links = [link for link in self.links.values() if link.acts_on_messages(direction.side)]
            direction.set_links(links, self._now)

    # -- effects ----------------------------------------------------------------------------------------------------

    def _do(self, link: Link | None, effect: Effect, side: Side | None = None, message: int | None = None) -> None:
        if link and self._silences and not isinstance(effect, Silence | Hold):
            self._suppress(link, _HALF_OPEN)
            return
        if self.state in (State.ENDING, State.OVER):
            return
        if isinstance(effect, Close) and self.state is not State.TUNNEL:
            self._suppress(link, "the connection is not open yet")
            return
        self._struck(link, side, message)
        match effect:
            case Reply(data):
                self.wants_dial = False
                self._answer(int(data[9:12]), "rule", "", data)
            case Hold():
                self.wants_dial = False
                self.state = State.HUNG
            case Close():
                self._inject_close(effect, link, "rule")
            case Finish(leg, other):
                self._finish(leg, other)
            case Break():
                self._break(effect, "rule" if link else "proxy")
            case Silence():
                self._fall_silent(link, effect)

    def _struck(self, link: Link | None, side: Side | None, message: int | None) -> None:
        if link and (message is not None or not link.strikes):
            link.has_acted = True
            link.strikes += 1
            turn = None if side is None else link.dice[side].ordinal
            self._tally.strike(link.fault.name)
            self.events.append(Struck(link.rule.id, link.fault.name, side, message, turn))

    def _suppress(self, link: Link | None, reason: str) -> None:
        if link:
            self.events.append(Suppressed(link.rule.id, link.fault.name, reason))

    def _break(self, effect: Break, by: str) -> None:
        self._start_ending(by, "reset")
        for side in effect.leg.sides:
            self._reset_leg(side)
        if effect.leg is not Leg.BOTH:
            self._end_by(effect.leg.sides[0].other, effect.other)

    def _finish(self, leg: Leg, other: Other) -> None:
        self._start_ending("rule", "fin")
        for side in leg.sides:
            self._finish_leg(side)
        if leg is not Leg.BOTH:
            self._end_by(leg.sides[0].other, other)

    def _end_by(self, side: Side, other: Other) -> None:
        match other:
            case Other.FIN:
                self._finish_leg(side)
            case Other.RESET:
                self._reset_leg(side)
            case Other.KEEP if self.legs[side].read_ended:
                self._finish_leg(side)  # its peer has ended already: there is nothing to keep it for
            case Other.KEEP:
                self._resume(side)  # read and discarded, so that its peer's end is seen

    def _inject_close(self, close: Close, link: Link | None, by: str) -> None:
        if close.after_held:
            due = max((self.directions[side.other].last_due for side in close.leg.sides), default=0)
            if self._pending or due > self._now:
                if not self._pending:
                    self._pending = (close._replace(after_held=False), link, by)
                    self._timers[Timer.AFTER_HELD, Side.CLIENT] = due
                return
        self._start_ending(by, "close", close.code)
        for side in SIDES:
            leg = self.legs[side]
            if leg.fate is not Fate.OPEN:
                continue
            if leg.write_ended:
                self._finish_leg(side)
                continue
            leg.awaits_reply = side in close.leg.sides
            code, reason = (close.code, close.reason) if leg.awaits_reply else (_GOING_AWAY, b"")
            leg.farewell = build_close(code, reason, self._mask if side is Side.SERVER else b"")
            if self.directions[side.other].is_inside_frame:
                leg.fate = Fate.CUTTING
                self._timers[Timer.CUT, side] = self._now + CUT_TIME
                self._resume(side.other)
            else:
                self._say_farewell(side)

    def _say_farewell(self, side: Side) -> None:
        """Send the close frame; its reply is behind whatever the peer has sent, so it is read even if it was paused."""
        leg = self.legs[side]
        self._timers.pop((Timer.CUT, side), None)
        self._actions.append(Send(side, leg.farewell))
        leg.fate = Fate.CLOSING
        self._resume(side)
        if leg.awaits_reply and not leg.read_ended and not self.directions[side].splitter.has_closed:
            self._timers[Timer.REPLY, side] = self._now + REPLY_TIME
        else:
            self._finish_leg(side)

    def _await_reply(self, side: Side, data: bytes) -> None:
        """A leg is being ended: what still comes is discarded, but for the rest of a frame that has begun to leave."""
        direction = self.directions[side]
        leg = self.legs[side]
        if leg.fate in (Fate.CUTTING, Fate.CLOSING) or self.legs[side.other].fate is Fate.CUTTING:
            direction.receive(data, self._now)
            self._let_go(direction)
            if leg.fate is Fate.CLOSING and direction.splitter.has_closed:
                self._finish_leg(side)

    # -- half-open --------------------------------------------------------------------------------------------------

    def _fall_silent(self, link: Link | None, silence: Silence) -> None:
        key = link.rule.id if link else ""
        self._silences[key] = _Silent(link, silence)
        self._timers.pop((Timer.ANSWER, Side.SERVER), None)
        if silence.mode is Mode.FREEZE:
            for side in silence.leg.sides:
                self._set_pause(side, f"frozen {key}", True)
        self._set_gates()

    def _set_gates(self) -> None:
        heals = [silent.silence.heal for silent in self._silences.values()]
        gate = next((heal for heal in (Heal.RESET, Heal.DISCARD, Heal.FLUSH) if heal in heals), None)
        for direction in self.directions:
            direction.release(self._now)
            self._flush(direction)
            direction.set_gate(gate, self._now)

    def _heal(self, key: str, silence: Silence) -> None:
        if silence.heal is Heal.RESET or (self.state is not State.TUNNEL and silence.heal is Heal.DISCARD):
            self._start_ending("rule", "reset at heal")
            for side in SIDES:
                self._reset_leg(side)
            return
        self._set_gates()
        match self.state:
            case State.TUNNEL:
                for direction in self.directions:
                    self._let_go(direction)
            case _ if self._silences:
                pass
            case State.ASKED if self.legs[Side.CLIENT].is_lost:
                self._start_ending("client", "reset")
            case State.DIALLING if self.legs[Side.SERVER].is_lost:
                self._upstream_failed("the upstream can't be reached", _UNREACHED)
            case State.ANSWER | State.REFUSED:
                self._proceed()
            case State.HUNG if self.legs[Side.CLIENT].read_ended:
                self._start_ending("client", "fin")
                self._finish_leg(Side.CLIENT)
            case _:
                pass
        for side in SIDES:
            self._set_pause(side, f"frozen {key}", False)

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

    # -- ends -------------------------------------------------------------------------------------------------------

    def _start_ending(self, by: str, how: str, code: int | None = None) -> None:
        """From here on nothing is carried, but for the rest of frames that have begun to leave."""
        if self.state in (State.ENDING, State.OVER):
            return
        self._note_end(by, how, code)
        if self.state is State.TUNNEL:
            for direction in self.directions:
                direction.release(self._now)
                self._flush(direction)
                direction.shut()
                self._flush(direction)
        self.state = State.ENDING
        self._carries = False
        self.wants_dial = False
        self._timers.clear()

    def _note_end(self, by: str, how: str, code: int | None = None) -> None:
        if not self.ended_by:
            self.ended_by, self._how, self._code = by, how, code

    def _time_out(self, timer: Timer, side: Side) -> None:
        match timer:
            case Timer.HEAD if self._is_hushed:
                pass
            case Timer.HEAD:
                reason = f"no complete request head within {HEAD_TIME // SECOND} s"
                self._answer(408, "proxy", reason, build_answer(408, body=f"chaosproxy: {reason}\n"))
            case Timer.ANSWER:
                reason = f"the upstream did not answer within {ANSWER_TIME // SECOND} s"
                self._answer(504, "proxy", reason, build_answer(504, body=f"chaosproxy: {reason}\n"))
            case Timer.AFTER_HELD:
                assert self._pending
                pending, self._pending = self._pending, None
                if self._silences:
                    self._suppress(pending[1], _HALF_OPEN)
                else:
                    self._inject_close(*pending)
            case Timer.CUT:
                self.events.append(Cut(side))
                self._reset_leg(side)
            case Timer.REPLY if self.legs[side].fate is Fate.CLOSING:
                self._finish_leg(side)
            case Timer.REPLY:
                self._release(side)

    def _maybe_release(self) -> None:
        """Let go of legs on which both ways have ended; tell the end when both legs are gone."""
        for side in SIDES:
            leg = self.legs[side]
            if leg.fate is not Fate.GONE and leg.is_connected and leg.read_ended and leg.write_ended:
                self._release(side)
        if self.state is not State.OVER and self._is_deserted:
            if not self.ended_by:
                self._note_end("client", "fin")
            self.state = State.OVER
            self._timers.clear()
            if self._how == "close" and self._code is None and self.ended_by in ("client", "server"):
                by = Side.CLIENT if self.ended_by == "client" else Side.SERVER
                self._code = self.directions[by].splitter.close_status[0]
            self.events.append(Closed(self.ended_by, self._how, self._code))

    @property
    def _is_deserted(self) -> bool:
        """Whether both legs are gone, or the server's never came."""
        client, server = self.legs
        if client.fate is not Fate.GONE:
            return False
        return server.fate is Fate.GONE or (not server.is_connected and self.state is not State.DIALLING)

    def _tell_end(self, side: Side, how: str) -> None:
        code, reason = self.directions[side].splitter.close_status
        self.events.append(Ended(side, how, code, reason))
