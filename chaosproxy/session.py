"""One connection as a state machine: heads, dial, open, tunnel, over. It performs nothing and knows no clock.

Each method takes what happened and `now`, and returns the actions to perform, in order. What is worth telling is left
in `events`; the world collects it. `deadline` says when `tick` wants to be called.
"""

from collections.abc import Sequence
from typing import ClassVar

from .effects import (
    Break,
    Close,
    CutLater,
    Dismiss,
    Effect,
    EndLater,
    Finish,
    HalfClose,
    Hold,
    HoldHandshake,
    Insert,
    Leg,
    Other,
    Present,
    Reply,
    Silence,
)
from .endings import Endings
from .engine import Direction
from .events import Action, Answered, CloseReceived, Ended, Healed, Opened, Secured, Send
from .lanes import Lane, Limits
from .legs import Fate, State, Timer
from .link import Link, rank
from .reading import Reading
from .tally import Tally
from .wire.frames import SIDES, Side
from .wire.http import Response, build_acceptance, parse_response
from .wire.inflate import Negotiated


class Session(Endings):
    """A client's connection and the upstream's, from accept to the end of both."""

    direction_type: ClassVar[type[Direction]] = Direction

    def __init__(self, number: int, limits: Limits, reading: Reading, tally: Tally, now: int) -> None:
        super().__init__(tally, now)
        self.number = number  # of the attempt, in the order of accepts
        self.accepted_at = now
        self.peer = ""  # the client's address
        self.was_answered = False  # by something else than 101
        self.is_delayed = False  # its dial has waited for the cap
        self.directions = tuple(
            self.direction_type(side, limits, reading, tally, self.events, self._do, self._note_close) for side in SIDES
        )

    # -- what the relay asks ----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        # Asked behind every chunk that is not just passed on: no lists.
        deadline = min(self._timers.values()) if self._timers else None
        recurs = self._recurring.deadline
        if recurs is not None and (deadline is None or recurs < deadline):
            deadline = recurs
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
            and not self._plans[side]
        )

    @property
    def is_admitted(self) -> bool:
        """Whether it is open, or was let pass to be opened."""
        return self.is_ruled and self.state in (State.ASKED, State.DIALLING, State.ANSWER, State.TUNNEL)

    @property
    def is_over(self) -> bool:
        return self.state is State.OVER

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
            case _ if side is Side.SERVER and self.is_kept:
                self._hear_unasked(data)
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

    def ended(self, side: Side, now: int, *, is_truncated: bool = False) -> list[Action]:
        """The peer sent FIN, or close_notify where it speaks TLS; FIN alone is a truncation there, and passed on so."""
        self._now = now
        leg = self.legs[side]
        if leg.read_ended:
            return self._take_actions()
        if side is Side.CLIENT:
            self._cut_wait_short()
        leg.read_ended = True
        if is_truncated:
            self.legs[side.other].notifies = False
        self._tell_end(side, "truncated" if is_truncated else "fin")
        match self.state:
            case State.TUNNEL:
                self._pass_end(side)
                self._answer_ends()
            case State.ENDING if self.is_mute(side) or (Timer.KEEP, side) in self._timers:
                pass  # remembered; performed at heal, or when its time is up
            case State.ENDING:
                self._finish_leg(side)
            case _ if self.blocks(side) or (self._kept_answer and side is Side.SERVER):
                pass  # remembered; performed at heal, or behind the answer
            case _ if side is Side.SERVER and self.is_kept:
                self._let_go_of_kept()
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
        if self._keeps_secret(side):
            self.directions[side].finish(now)
            if self._is_deserted:
                self._note_end(side.label, error)
            self._maybe_release()
            return self._take_actions()  # remembered; performed at heal, after the held bytes
        is_answered = self._kept_answer is not None
        if self.state in (State.DIALLING, State.ANSWER, State.REFUSED) and side is Side.SERVER and not is_answered:
            self._upstream_failed("the upstream reset the connection before its answer was complete")
        elif side is Side.SERVER and self.is_kept:
            self._let_go_of_kept()
        elif self.state is State.EXCHANGE and side is Side.SERVER:
            self._server_ended()
        elif self.state is not State.ENDING:  # there each leg ends in its own way
            self._pass_loss(side, error)
        self._maybe_release()
        return self._take_actions()

    def broken(self, side: Side, error: str, now: int) -> list[Action]:
        """TLS with the peer has failed: nothing can be said to it or heard from it any more."""
        self.events.append(Secured(side, "", error))
        return self.lost(side, now, "tls")

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
        for link in self._recurring.take(now):
            self._recur(link)
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

    def set_links(self, links: Sequence[Link]) -> None:
        """The rules in play have changed. Heals follow, then `arm`."""
        self.links = {link.rule.id: link for link in links}

    def set_reading(self, reading: Reading, now: int) -> None:
        """Messages are read for something else from here on."""
        for direction in self.directions:
            direction.set_reading(reading, now)

    def arm(self, now: int) -> list[Action]:
        """Let messages meet the rules in play from here on."""
        self._now = now
        for direction in self.directions:
            self._arm(direction)
            self._let_go(direction)
        self._arm_recurring()
        self._maybe_release()
        return self._take_actions()

    def heal(self, link: Link, now: int) -> list[Action]:
        """A rule has ended: undo what its fault says is undone."""
        self._now = now
        self._heal_handshake(link.rule.id)
        is_silent = link.rule.id in self._silences
        if is_silent or (link.has_acted and self.state is not State.ENDING):
            self.events.append(Healed(link.rule.id, link.fault.name))
        self._forget_plans(link)
        self._end_silence(link)
        self._maybe_release()
        return self._take_actions()

    def close(self, leg: Leg, code: int | None, reason: str, now: int, by: str = "proxy") -> list[Action]:
        """End the connection by a close frame, on behalf of nobody's rule. Silent legs get RST."""
        self._now = now
        if self.state is State.OVER:
            return []
        was = self.state
        if was is State.EXCHANGE and not self.is_silent:
            self._end_behind_answer()
            return self._take_actions()
        for side in SIDES:
            # A silent or kept leg sends nothing but the RST that ends it; one that is ending does so in seconds.
            must_break = was in (State.ENDING, State.EXCHANGE) or self.is_mute(side)
            if self.legs[side].fate is Fate.OPEN and must_break:
                self._start_ending(by, "reset")
                self._reset_leg(side)
        self._silences.clear()
        if was is State.TUNNEL:
            self._inject_close(Close(leg, code, reason.encode(), after_held=False), None, by)
        elif was is not State.ENDING:
            self._start_ending(by, "fin")
            for side in SIDES:
                self._finish_leg(side)
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

    def _open(self, response: Response, late: bytes) -> None:
        self.state = State.TUNNEL
        self.opened_at = self._now
        negotiated = Negotiated(response)
        for direction in self.directions:
            direction.open(self._now, negotiated)
            self._arm(direction)
        self._arm_recurring()
        extensions = b", ".join(response.values(b"sec-websocket-extensions")).decode("latin-1")
        self.events.append(Opened(extensions))
        early = bytes(self._early)
        self._early.clear()
        self._set_pause(Side.CLIENT, "early", False)
        self._strike_opened()
        for side, data in ((Side.SERVER, late), (Side.CLIENT, early)):
            if data and self.state is State.TUNNEL:
                self._carry(side, data)
            elif data and self.state is State.ENDING:
                self._await_reply(side, data)
        if self.legs[Side.CLIENT].read_ended and self.state is State.TUNNEL:
            self._pass_end(Side.CLIENT)

    def _strike_opened(self) -> None:
        """Rules that hit new connections act before any byte behind the 101 leaves, unless they have acted already."""
        for link in sorted(self.links.values(), key=lambda link: rank(link.fault)):
            effect = link.fault.effect()
            if effect is not None and link.acts_on_opening and not link.has_acted and link.hits_connection():
                self._do(link, effect)

    def _accept_alone(self) -> None:
        """Accept an upgrade ourselves, to say why it can't be; the upstream is not asked."""
        assert self.request is not None
        self.wants_dial = False
        head = build_acceptance(self.request)
        self.events.append(Answered(101, "rule", ""))
        self._actions.append(Send(Side.CLIENT, head))
        self._finish_leg(Side.SERVER)
        self.state = State.TUNNEL
        for direction in self.directions:
            direction.open(self._now, Negotiated(parse_response(head)))

    def _carry(self, side: Side, data: bytes) -> None:
        direction = self.directions[side]
        if direction.is_shut:
            self._undelivered[side] += len(data)
        direction.receive(data, self._now)
        self._let_go(direction)

    def _let_go(self, direction: Direction) -> None:
        """Send what is due, and carry out what hangs on it."""
        side = direction.side
        direction.release(self._now)
        self._flush(direction)
        self._set_pause(side, "held", direction.holding.is_full)
        if self._pending:
            self._close_behind_held()
        leg, other = self.legs[side], self.legs[side.other]
        if other.fate is Fate.CUTTING and not direction.is_inside_frame:
            self._say_farewell(side.other)
        if leg.read_ended and self.state is State.TUNNEL and direction.is_idle and direction.gate is None:
            self._end_other(side)

    def _note_close(self, side: Side) -> None:
        if self.state is State.TUNNEL:
            self._note_end(side.label, "close")
        if self.directions[side].splitter.has_closed:
            self.events.append(CloseReceived(side, *self.directions[side].splitter.close_status))

    def _flush(self, direction: Direction) -> None:
        if data := direction.holding.take():
            self._let_out(direction.side, data)

    def _pass_end(self, side: Side) -> None:
        """One side has ended: EOF goes to the other behind what is held."""
        direction = self.directions[side]
        direction.finish(self._now)
        self._let_go(direction)

    def _arm(self, direction: Direction) -> None:
        """Tell a direction which rules may act on its messages."""
        if self.state is State.TUNNEL:
            links = [link for link in self.links.values() if link.acts_on_messages(direction.side)]
            direction.set_links(links, self._now)

    def _arm_recurring(self) -> None:
        if self.state is State.TUNNEL:
            self._recurring.set_links(self.links.values(), self._now)

    def _recur(self, link: Link) -> None:
        effect = link.fault.effect()
        assert effect is not None
        if link.strikes and not self._silences:
            self._tally.strike(link.fault.name)  # each time counts, and the first is worth a line
        self._do(link, effect)

    # -- effects ----------------------------------------------------------------------------------------------------

    def _do(self, link: Link | None, effect: Effect, side: Side | None = None, message: int | None = None) -> None:
        if self.state in (State.ENDING, State.OVER):
            return
        is_open = self.state is State.TUNNEL
        match effect:
            case EndLater() | CutLater() if not is_open:
                return  # it will be told again when it has opened
            case Close(leg) | Finish(leg) | Break(leg) | HalfClose(leg) | Insert(leg) if not self._reaches(
                link, leg.sides
            ):
                return
            case Reply() | Dismiss() if not self._reaches(link, (Side.CLIENT,)):
                return
            case Dismiss() if self.state is State.ASKED:
                self._struck(link, side, message)
                self._accept_alone()
            case Close() | Dismiss() | HalfClose() | Insert() if not is_open:
                self._suppress(link, "the connection is not open yet")
                return
            case EndLater() if link:
                self._slow[link.rule.id] = (link, effect)  # it strikes when it lets an end wait
                return
            case CutLater() if link and side is None:
                self._plan_cut(link, effect, None)  # it strikes when it cuts
                return
            case _:
                self._struck(link, side, message)
        match effect:
            case Reply(data):
                self.wants_dial = False
                self._answer(int(data[9:12]), "rule", "", data)
            case Hold():
                self._hang()
            case Close():
                self._inject_close(effect, link, "rule")
            case Dismiss(words, close):
                self._inject_close(close, link, "rule", words)
            case Finish():
                self._finish(effect)
            case Break():
                self._break(effect, "rule" if link else "proxy")
            case HalfClose(leg):
                self._half_close(leg.sides[0])
            case CutLater() if link:
                self._plan_cut(link, effect, side)
            case Silence():
                self._fall_silent(link, effect)
            case Insert():
                self._insert(effect)
            case Present() | HoldHandshake():
                self._at_handshake[link.rule.id if link else ""] = effect

    def _insert(self, insert: Insert) -> None:
        for side in insert.leg.sides:
            mask = self._mask if side is Side.SERVER else b""
            data = insert.raw + b"".join(shape.build(mask) for shape in insert.shapes)
            is_control = not insert.raw and all(shape.first & 0x08 for shape in insert.shapes)
            self.directions[side.other].insert(data, is_control=is_control, now=self._now)
            self._let_go(self.directions[side.other])

    def _tell_end(self, side: Side, how: str) -> None:
        code, reason = self.directions[side].splitter.close_status
        self.events.append(Ended(side, how, code, reason))
