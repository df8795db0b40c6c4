"""How a connection is ended: by a close frame, FIN or RST, on both legs or one, at once or behind what is let through.

Nothing is carried once an end has begun, but for the rest of frames that have begun to leave. A leg that is half-open
sends nothing of all this: it owes its end until the heal.
"""

from collections.abc import Sequence

from .effects import Break, Close, CutLater, EndLater, Finish, Leg, Other, Then
from .engine import Direction
from .events import Closed, Cut, Discarded, Send
from .legs import REPLY_TIME, Fate, State, Timer
from .link import Link
from .opening import ANSWER_TIME, HEAD_TIME
from .recurring import Recurring
from .silence import HALF_OPEN, Silencing
from .tally import Tally
from .units import SECOND
from .wire.frames import SIDES, Opcode, Side, build_close, build_frame
from .wire.http import build_answer

CUT_TIME = 1 * SECOND  # for the end of the frame in flight, before an injected close

_GOING_AWAY = 1001


class _Plan:
    """A cut to come."""

    def __init__(
        self, link: Link, cut: Finish | Break, *, left: int = 0, due: int = 0, has_struck: bool = False
    ) -> None:
        self.link = link
        self.cut = cut
        self.left = left  # so many bytes are still let through
        self.due = due  # or when it comes
        self.has_struck = has_struck  # a message has caused it, which may still be held


class Endings(Silencing):
    """A connection that is ended by its peers, by rules, or by hand."""

    def __init__(self, tally: Tally, now: int) -> None:
        super().__init__(tally, now)
        self._recurring = Recurring()
        self.ended_by = ""  # who began the end
        self._how = ""
        self._code: int | None = None
        self._pending: tuple[Close, Link | None, str] | None = None  # a close that waits until held messages have left
        self._words: tuple[bytes, Link | None] | None = None  # what the client is told before the close frame
        self._plans: tuple[list[_Plan], list[_Plan]] = ([], [])  # cuts behind bytes of a side
        self._ages: list[_Plan] = []
        self._slow: dict[str, tuple[Link, EndLater]] = {}  # by rule: how long an end waits before it is passed on
        self._has_waited: set[Side] = set()  # whose FIN has waited
        self._undelivered = [0, 0]  # bytes of a side that came when they could go nowhere any more

    # -- what rules do ----------------------------------------------------------------------------------------------

    def _reaches(self, link: Link | None, sides: Sequence[Side]) -> bool:
        """Whether an end reaches any of the legs it is aimed at. Where it does, silent ones get theirs at the heal."""
        mute = [side for side in sides if self.is_mute(side)]
        if mute:
            self._suppress(link, HALF_OPEN)
        return len(mute) < len(sides)

    def _break(self, effect: Break, by: str, *, behind: bool = False) -> None:
        self._start_ending(by, "reset")
        for side in effect.leg.sides:
            self._end_by(side, Other.RESET, behind=behind)
        if effect.leg is not Leg.BOTH:
            self._end_by(effect.leg.sides[0].other, effect.other, effect.keep_for, behind=behind)

    def _finish(self, effect: Finish, *, behind: bool = False) -> None:
        for side in effect.leg.sides:
            self.legs[side].notifies = effect.notify
        self._start_ending("rule", "fin")
        for side in effect.leg.sides:
            self._end_by(side, Other.FIN)
        if effect.leg is not Leg.BOTH:
            self._end_by(effect.leg.sides[0].other, effect.other, effect.keep_for, behind=behind)

    def _end_by(self, side: Side, how: Other, keep_for: int | None = None, *, behind: bool = False) -> None:
        if self.is_mute(side):
            self.legs[side].owed = (how, keep_for)
            return
        match how:
            case Other.FIN:
                self._finish_leg(side)
            case Other.RESET:
                self._reset_leg(side, behind=behind)
            case Other.KEEP if self.legs[side].fate is Fate.GONE:
                pass
            case Other.KEEP if keep_for is not None:
                self._timers[Timer.KEEP, side] = self._now + keep_for
                self._resume(side)
            case Other.KEEP if self.legs[side].read_ended:
                self._finish_leg(side)  # its peer has ended already: there is nothing to keep it for
            case Other.KEEP:
                self._resume(side)  # read and discarded, so that its peer's end is seen

    def _half_close(self, side: Side) -> None:
        """FIN toward a leg; what comes from it is carried on."""
        self._note_end("rule", "fin")
        self._shut_off(self.directions[side.other])
        self._end_leg(side)

    # -- the injected close -----------------------------------------------------------------------------------------

    def _inject_close(self, close: Close, link: Link | None, by: str, words: bytes = b"") -> None:
        """End the connection by a close frame; `words`, a text message, go to the client right before it."""
        if close.after_held:
            if not self._pending:
                self._pending = (close._replace(after_held=False), link, by)
                for side in close.leg.sides:
                    self.directions[side.other].holding.mark()
                self._close_behind_held()
            return
        self._words = (words, link) if words else None
        self._start_ending(by, "close", close.code)
        for side in SIDES:
            leg = self.legs[side]
            if leg.fate is not Fate.OPEN:
                continue
            if leg.write_ended or self.is_mute(side):
                self._end_by(side, Other.FIN)
                continue
            leg.then = close.then if side in close.leg.sides else None
            code, reason = (_GOING_AWAY, b"") if leg.then is None else (close.code, close.reason)
            leg.farewell = build_close(code, reason, self._mask if side is Side.SERVER else b"")
            if self.directions[side.other].is_inside_frame:
                leg.fate = Fate.CUTTING
                self._timers[Timer.CUT, side] = self._now + CUT_TIME
                self._resume(side.other)
            else:
                self._say_farewell(side)

    def _say_words(self) -> None:
        """Send the message that goes before a close, unless inside another one that has begun."""
        assert self._words
        (words, link), self._words = self._words, None
        if self.directions[Side.SERVER].is_inside_message:
            self._suppress(link, "its message: another one is in progress")
        else:
            self._actions.append(Send(Side.CLIENT, build_frame(Opcode.TEXT, words)))

    def _close_behind_held(self) -> None:
        """Inject the close that waits, once all has left that was held before it."""
        if self._pending and not any(direction.holding.has_marks for direction in self.directions):
            pending, self._pending = self._pending, None
            if self._reaches(pending[1], pending[0].leg.sides):
                self._inject_close(*pending)

    def _say_farewell(self, side: Side) -> None:
        """Send the close frame; its reply is behind whatever the peer has sent, so it is read even if it was paused."""
        leg = self.legs[side]
        self._timers.pop((Timer.CUT, side), None)
        if self._words and side is Side.CLIENT:
            self._say_words()
        self._actions.append(Send(side, leg.farewell))
        leg.fate = Fate.CLOSING
        self._resume(side)
        match leg.then:
            case Then.REPLY if not leg.read_ended and not self.directions[side].splitter.has_closed:
                self._timers[Timer.REPLY, side] = self._now + REPLY_TIME
            case Then.NOTHING if not leg.read_ended:
                pass  # its peer will end it, or not
            case Then.RESET:
                self._reset_leg(side, behind=True)
            case _:
                self._finish_leg(side)

    def _await_reply(self, side: Side, data: bytes) -> None:
        """A leg is being ended: what still comes is discarded, but for the rest of a frame that has begun to leave."""
        direction = self.directions[side]
        leg = self.legs[side]
        if leg.fate in (Fate.CUTTING, Fate.CLOSING) or self.legs[side.other].fate is Fate.CUTTING:
            direction.receive(data, self._now)
            self._let_go(direction)
            if leg.fate is Fate.CLOSING and leg.then is Then.REPLY and direction.splitter.has_closed:
                self._finish_leg(side)

    # -- cuts and delays --------------------------------------------------------------------------------------------

    def _plan_cut(self, link: Link, effect: CutLater, side: Side | None) -> None:
        """Cut at an age; behind so many more bytes of the sides a rule names; or behind a message of `side`."""
        if effect.age is not None:
            assert self.opened_at is not None
            self._ages.append(_Plan(link, effect.cut, due=self.opened_at + effect.age))
            self._cut_aged()
            return
        assert effect.after is not None
        if side is not None:
            plan = _Plan(link, effect.cut, left=self.directions[side].queued + effect.after)
            plan.has_struck = True
            self._plans[side].append(plan)
            self._cut_due(side)
            return
        for each in SIDES:
            if link.when.takes_side(each):
                left = self.directions[each].kept + effect.after
                self._plans[each].append(_Plan(link, effect.cut, left=left))

    def _let_out(self, side: Side, data: bytes) -> None:
        """Send what a side has sent to the other, as far as a cut lets it."""
        if self.legs[side.other].write_ended:
            self._undelivered[side] += len(data)
            return
        plans = self._plans[side]
        if not plans:
            self._actions.append(Send(side.other, data))
            return
        let_through = min(len(data), *(plan.left for plan in plans))
        for plan in plans:
            plan.left -= let_through
        self._actions.append(Send(side.other, data[:let_through]))
        is_cut = self._cut_due(side)
        if rest := data[let_through:]:
            if is_cut:
                self.events.append(Discarded(side, len(rest)))
            else:
                self._let_out(side, rest)

    def _cut_due(self, side: Side) -> bool:
        """Carry out the cuts behind what has been let through; whether one has ended the connection."""
        due = [plan for plan in self._plans[side] if not plan.left]
        self._plans[side][:] = [plan for plan in self._plans[side] if plan.left]
        return any(self._cut(plan, side) for plan in due)

    def _cut_aged(self) -> None:
        due = [plan for plan in self._ages if plan.due <= self._now]
        self._ages = [plan for plan in self._ages if plan.due > self._now]
        for plan in due:
            self._cut(plan, None)
        self._timers.pop((Timer.AGE, Side.CLIENT), None)
        if self._ages:
            self._timers[Timer.AGE, Side.CLIENT] = min(plan.due for plan in self._ages)

    def _cut(self, plan: _Plan, side: Side | None) -> bool:
        if self.state is not State.TUNNEL or not self._reaches(plan.link, plan.cut.leg.sides):
            return False
        if not plan.has_struck:
            self._struck(plan.link, side, None)
        if isinstance(plan.cut, Break):
            self._break(plan.cut, "rule", behind=True)
        else:
            self._finish(plan.cut, behind=True)
        return True

    def _end_other(self, side: Side) -> None:
        """All that a side has sent has been passed on: its end is next."""
        if self.legs[side].is_lost:
            self._start_ending(side.label, "reset")
            self._reset_leg(side.other)
        elif self._is_late(side):
            self._end_leg(side.other)
            self._note_end(side.label, "fin")

    def _is_late(self, side: Side) -> bool:
        """Whether a FIN has waited as long as rules want it to."""
        if self.legs[side.other].write_ended or side in self._has_waited:
            return True
        if (Timer.PASS_END, side) in self._timers:
            return False
        delay = self._delay_of_end(side, is_reset=False)
        if delay:
            self._timers[Timer.PASS_END, side] = self._now + delay
        return not delay

    def _delay_of_end(self, side: Side, *, is_reset: bool) -> int:
        """How long rules let a side's end wait before the other learns of it."""
        slow = [
            (link, later.delay)
            for link, later in self._slow.values()
            if link.when.takes_side(side) and (later.resets or not is_reset)
        ]
        for link, _ in slow:
            self._struck(link, side, None)
        return sum(delay for _, delay in slow)

    def _pass_loss(self, side: Side, error: str) -> None:
        """A leg is lost: RST goes to the other, at once unless rules keep it for a while."""
        delay = self._delay_of_end(side, is_reset=True) if self.state is State.TUNNEL else 0
        self._start_ending(side.label, error)
        if delay:
            self.legs[side.other].kept_end = Other.RESET
            self._end_by(side.other, Other.KEEP, delay)
        else:
            self._reset_leg(side.other)

    def _forget_plans(self, link: Link) -> None:
        """A rule has ended: what it has begun to count is counted no more."""
        for plans in (*self._plans, self._ages):
            plans[:] = [plan for plan in plans if plan.link is not link or plan.has_struck]
        self._slow.pop(link.rule.id, None)
        self._cut_aged()

    # -- ends -------------------------------------------------------------------------------------------------------

    def _start_ending(self, by: str, how: str, code: int | None = None) -> None:
        """From here on nothing is carried, but for the rest of frames that have begun to leave."""
        if self.state in (State.ENDING, State.OVER):
            return
        self._note_end(by, how, code)
        for plans in (*self._plans, self._ages):
            plans.clear()
        if self.state is State.TUNNEL:
            for direction in self.directions:
                self._shut_off(direction)
        self.state = State.ENDING
        self._carries = False
        self.wants_dial = False
        self._timers.clear()
        self._recurring.clear()

    def _shut_off(self, direction: Direction) -> None:
        """Send what is due, and of the rest only what belongs to a frame that has begun to leave."""
        direction.release(self._now)
        self._flush(direction)
        direction.shut(self._now)
        self._flush(direction)

    def _note_end(self, by: str, how: str, code: int | None = None) -> None:
        if not self.ended_by:
            self.ended_by, self._how, self._code = by, how, code

    def _time_out(self, timer: Timer, side: Side) -> None:
        match timer:
            case Timer.WAIT:
                self._end_wait()
            case Timer.HEAD if self.is_hushed or self.holds_handshake or self.is_silent:
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
            case Timer.CUT:
                self.events.append(Cut(side))
                self._reset_leg(side)
            case Timer.REPLY if self.legs[side].fate is not Fate.CLOSING:
                self._release(side)
            case Timer.KEEP:
                self._end_by(side, self.legs[side].kept_end)
            case Timer.REPLY:
                self._finish_leg(side)
            case Timer.AGE:
                self._cut_aged()
            case Timer.PASS_END:
                self._has_waited.add(side)
                self._let_go(self.directions[side])

    def _maybe_release(self) -> None:
        """Let go of legs on which both ways have ended; tell the end when both legs are gone."""
        for side in SIDES:
            leg = self.legs[side]
            if leg.fate is not Fate.GONE and leg.is_connected and leg.read_ended and leg.write_ended:
                self._release(side)
        self._end_widowed()
        if self.state is not State.OVER and self._is_deserted:
            if not self.ended_by:
                self._note_end("client", "fin")
            self.state = State.OVER
            self._timers.clear()
            self._recurring.clear()
            if self._how == "close" and self._code is None and self.ended_by in ("client", "server"):
                by = Side.CLIENT if self.ended_by == "client" else Side.SERVER
                self._code = self.directions[by].splitter.close_status[0]
            self.events += [Discarded(side, self._undelivered[side]) for side in SIDES if self._undelivered[side]]
            self.events.append(Closed(self.ended_by, self._how, self._code))

    def _end_widowed(self) -> None:
        """A leg has had its FIN, and its counterpart is gone: what its peer still sends could go nowhere."""
        for side in SIDES:
            leg, other = self.legs[side], self.legs[side.other]
            is_alone = other.fate is Fate.GONE and not other.is_lost
            if self.state is State.TUNNEL and is_alone and leg.write_ended and not leg.read_ended:
                self._start_ending(side.other.label, "fin")
                self._finish_leg(side)

    @property
    def _is_deserted(self) -> bool:
        """Whether both legs are gone, or the server's never came."""
        client, server = self.legs
        if client.fate is not Fate.GONE:
            return False
        is_dialling = self.state is State.DIALLING or self._is_dialling
        return server.fate is Fate.GONE or (not server.is_connected and not is_dialling)
