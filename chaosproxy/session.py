"""One connection as a state machine: heads, dial, open, tunnel, over. It performs nothing and knows no clock.

Each method takes what happened and `now`, and returns the actions to perform, in order. What is worth telling is left
in `events`; the world collects it. `deadline` says when `tick` wants to be called.
"""

from collections.abc import Sequence
from typing import NamedTuple

from .engine import Direction, Lane, Limits, Reading
from .events import (
    Action,
    Break,
    Close,
    Closed,
    Cut,
    Effect,
    Ended,
    Finish,
    Heal,
    Healed,
    Hold,
    Leg,
    Mode,
    Opened,
    Other,
    Reply,
    Send,
    Silence,
    Struck,
    Suppressed,
)
from .legs import REPLY_TIME, Fate, State, Timer
from .link import Link
from .opening import ANSWER_TIME, HEAD_TIME, UNREACHED
from .plain_http import Delay, PlainHttp
from .tally import Tally
from .units import SECOND
from .wire.frames import SIDES, Side, build_close
from .wire.http import (
    Response,
    build_answer,
)
from .wire.inflate import Negotiated

CUT_TIME = 1 * SECOND  # for the end of the frame in flight, before an injected close

_GOING_AWAY = 1001
_HALF_OPEN = "the connection is half-open: nothing leaves"


class _Silent(NamedTuple):
    link: Link | None
    silence: Silence


class Session(PlainHttp):
    """A client's connection and the upstream's, from accept to the end of both."""

    def __init__(self, number: int, limits: Limits, reading: Reading, tally: Tally, now: int) -> None:
        super().__init__(now)
        self.number = number  # of the attempt, in the order of accepts
        self.links: dict[str, Link] = {}  # the rules in play, by id
        self.accepted_at = now
        self.opened_at: int | None = None
        self._tally = tally
        self.was_answered = False  # by something else than 101
        self.is_delayed = False  # its dial has waited for the cap
        self.directions = tuple(
            Direction(side, limits, reading, tally, self.events, self._do, self._note_close) for side in SIDES
        )
        self.ended_by = ""  # who began the end
        self._how = ""
        self._code: int | None = None
        self._pending: tuple[Close, Link | None, str] | None = None  # a close that waits until held messages have left
        self._silences: dict[str, _Silent] = {}

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
            case State.HEAD:
                self._reset_leg(Side.SERVER)  # it speaks without being asked
            case State.EXCHANGE if side is Side.CLIENT:
                self._take_upload(data)
            case State.EXCHANGE:
                self._take_download(data)
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
            case _ if self._silences:
                pass  # remembered; performed at heal
            case State.HEAD if side is Side.SERVER:
                self._finish_leg(side)  # the next request dials anew
            case State.HEAD:
                self._end_idle()
            case State.EXCHANGE if side is Side.SERVER:
                self._server_ended()
            case State.EXCHANGE:
                self._client_ended()
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
        elif self.state is State.EXCHANGE and side is Side.SERVER:
            self._server_ended()
        elif self.state is State.HEAD and side is Side.SERVER:
            pass  # the next request dials anew
        elif self.state is not State.ENDING:  # there each leg ends in its own way
            self._start_ending(side.label, error)
            self._reset_leg(side.other)
        self._maybe_release()
        return self._take_actions()

    def found_ended(self, side: Side) -> None:
        """A leg that is not being read was found with its peer's FIN waiting behind unread data."""
        self.events.append(Ended(side, "fin, not read yet", None, ""))

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
        if self.state is State.EXCHANGE and not self._silences:
            self._end_behind_answer()
        elif self._silences or self.state is State.ENDING:
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

    # -- the tunnel -------------------------------------------------------------------------------------------------

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
                self._hang()
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

    def _delayed(self, delay: Delay) -> None:
        self._struck(delay.link, None, None)
        self._tally.delays.add(delay.duration)

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
        frozen = silence.leg.sides if silence.mode is Mode.FREEZE else ()
        # Of plain HTTP nothing is held in any mode: both peers come to a halt until it heals.
        for side in SIDES if self.state in (State.EXCHANGE, State.HEAD) else frozen:
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
                self._upstream_failed("the upstream can't be reached", UNREACHED)
            case State.ANSWER | State.REFUSED:
                self._proceed()
            case State.EXCHANGE | State.HEAD:
                self._go_on_healed()
            case State.HUNG if self.legs[Side.CLIENT].read_ended:
                self._start_ending("client", "fin")
                self._finish_leg(Side.CLIENT)
            case _:
                pass
        for side in SIDES:
            self._set_pause(side, f"frozen {key}", False)

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
            case Timer.HEAD if self._is_hushed or self._silences:
                pass
            case Timer.HEAD:
                reason = f"no complete request head within {HEAD_TIME // SECOND} s"
                self._answer(408, "proxy", reason, build_answer(408, body=f"chaosproxy: {reason}\n"))
            case Timer.RESPONSE:
                self._tally.delay_errors.add(self._now - self._answer_due)
                self._release_answer()
            case Timer.LAST:
                self._end_now()
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
        is_dialling = self.state is State.DIALLING or self._is_dialling
        return server.fate is Fate.GONE or (not server.is_connected and not is_dialling)

    def _tell_end(self, side: Side, how: str) -> None:
        code, reason = self.directions[side].splitter.close_status
        self.events.append(Ended(side, how, code, reason))
