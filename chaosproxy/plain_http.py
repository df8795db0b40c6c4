"""Plain HTTP on a client's connection: one exchange after the other, until an upgrade makes a tunnel of it.

The upstream's leg is kept for the next request while both sides allow it, and dialled anew where the upstream has
ended it in between. There is no time limit on an answer or a body: long polling and slow uploads are as without us.
"""

from typing import NamedTuple

from .events import Action, Dial, Event, Responded, Send
from .exchange import Exchange
from .legs import REPLY_TIME, Fate, LegState, State, Timer
from .link import Link
from .opening import EARLY_BYTES_MAX, UNREACHED, Opening
from .tally import Tally
from .wire.frames import SIDES, Side
from .wire.http import BadHead, HeadReader, Request, build_answer

PIPELINED_BYTES_MAX = 64 * 1024  # of further requests, while the answer to one is awaited


class Delay(NamedTuple):
    """How long a rule holds the response's head back, in nanoseconds."""

    link: Link
    duration: int


class PlainHttp(Opening):
    """A connection as far as plain requests and their answers are concerned."""

    def __init__(self, tally: Tally, now: int) -> None:
        super().__init__(tally, now)
        self.exchange: Exchange | None = None  # in progress, or the last one
        self.requests = 0  # plain ones so far
        self.is_unanswered = False  # the request has had no answer, neither the upstream's nor one of ours
        self._is_dialling = False
        self._has_sent = False  # the request's head, to the upstream
        self._is_reused = False  # the upstream's leg has carried a request before
        self._is_last = False  # we are asked to end behind this one
        self._has_begun_answer = False  # the response's head has been passed on
        self._upload = bytearray()  # what of the request waits for the upstream
        self._delays: list[Delay] = []
        self._answer_due = 0

    # -- what the world decides, and the dial -----------------------------------------------------------------------

    @property
    def needs_world(self) -> bool:
        return super().needs_world or self.awaits_ruling

    @property
    def awaits_ruling(self) -> bool:
        """Whether a plain request has come and the world has not decided on it."""
        return self.state is State.EXCHANGE and not self.is_ruled

    @property
    def is_to_dial(self) -> bool:
        """Whether a request, upgrade or plain, waits for nothing but the upstream."""
        is_waiting = self.wants_dial and self.is_ruled and self.state in (State.ASKED, State.EXCHANGE)
        return is_waiting and not self.blocks(Side.CLIENT)

    @property
    def has_upstream(self) -> bool:
        """Whether the leg of an earlier request can take this one."""
        leg = self.legs[Side.SERVER]
        is_open = leg.is_connected and leg.fate is Fate.OPEN and not leg.read_ended and not leg.write_ended
        return is_open and not self._late

    @property
    def is_kept(self) -> bool:
        """Whether the upstream's leg, if there is one, is left from an earlier request and carries nothing."""
        is_unasked = self.state is State.EXCHANGE and (self.wants_dial or not self.is_ruled)
        return self.state in (State.HEAD, State.ASKED, State.HUNG) or is_unasked

    def rule(self, question: bytes, delays: list[Delay], now: int) -> None:
        """The world has decided: rules that answer or hold the request follow, then `dial` unless one does."""
        self._now = now
        self.is_ruled = True
        self._question, self._delays = question, delays
        self.wants_dial = True

    def dial(self, now: int) -> list[Action]:
        """Take the request to the upstream: on the leg there is, or by connecting anew."""
        self._now = now
        if not self.is_to_dial:
            return self._take_actions()
        self._is_reused = self.has_upstream
        if self._is_reused:
            self.wants_dial = False
            self._reached()
            return self._take_actions()
        self._renew_server()
        if self.state is not State.EXCHANGE:
            return super().dial(now)
        self.wants_dial = False
        self._is_dialling = True
        self._actions.append(Dial())
        return self._take_actions()

    def dialled(self, now: int) -> list[Action]:
        self._is_dialling = False
        return super().dialled(now)

    def dial_failed(self, error: str, now: int, remedy: str = UNREACHED) -> list[Action]:
        self._is_dialling = False
        return super().dial_failed(error, now, remedy)

    @property
    def _awaits_dial(self) -> bool:
        return super()._awaits_dial or self.state is State.EXCHANGE

    def _reached(self) -> None:
        if self.state is not State.EXCHANGE:
            super()._reached()
        elif not self.blocks(Side.CLIENT):
            self._send_request()

    def _renew_server(self) -> None:
        """The next leg to the upstream starts afresh, but for what keeps it from being read."""
        self._let_go_of_kept()
        pauses = self.legs[Side.SERVER].pauses
        self.legs[Side.SERVER] = LegState()
        self.legs[Side.SERVER].pauses = pauses

    def _hear_unasked(self, data: bytes) -> None:
        if self.blocks(Side.SERVER):
            self._keep_late(data)
        else:
            self._let_go_of_kept()

    def _let_go_of_kept(self) -> None:
        """The upstream has ended the leg that was kept, or has spoken on it unasked: the next request dials anew."""
        server = self.legs[Side.SERVER]
        if server.is_connected and server.read_ended:
            self._finish_leg(Side.SERVER)
        elif server.is_connected:
            self._reset_leg(Side.SERVER)
        self._take_late()
        self.legs[Side.CLIENT].notifies = True  # how that leg has ended says nothing of the client's
        self._set_pause(Side.CLIENT, "peer", False)  # nothing is written there any more

    # -- the request ------------------------------------------------------------------------------------------------

    def _begin_exchange(self, request: Request, rest: bytes) -> None:
        self.state = State.EXCHANGE
        self.exchange = Exchange(request)
        self.requests += 1
        self.is_unanswered = True
        self._has_sent = self._has_begun_answer = False
        self._take_upload(rest)

    def _take_upload(self, data: bytes) -> None:
        """The client goes on with its request, or begins with the next."""
        assert self.exchange is not None
        if self.blocks(Side.CLIENT):
            self._keep_early(data)
            return
        try:
            part, behind = self.exchange.take_upload(data)
        except BadHead as bad:
            self._refuse_upload(bad)
            return
        if behind:
            self._early += behind
            self._set_pause(Side.CLIENT, "early", len(self._early) >= PIPELINED_BYTES_MAX)
        if part and not self._has_sent:
            self._upload += part
            self._set_pause(Side.CLIENT, "upload", len(self._upload) >= EARLY_BYTES_MAX)
        elif part and not self.legs[Side.SERVER].is_lost:  # where a half-open keeps that from the client, it goes on
            self._actions.append(Send(Side.SERVER, part))
        self._maybe_complete()

    def _refuse_upload(self, bad: BadHead) -> None:
        if self.blocks(Side.SERVER):
            self._hang()  # what we would say does not get through
        elif self._has_begun_answer:
            self._start_ending("proxy", "reset")
            for side in SIDES:
                self._reset_leg(side)
        else:
            self._refuse_head(bad)

    def _hang(self) -> None:
        super()._hang()
        self._early.clear()
        self._upload.clear()
        self._timers.pop((Timer.RESPONSE, Side.SERVER), None)
        for reason in ("early", "upload"):
            self._set_pause(Side.CLIENT, reason, False)
        self._release_kept()

    def _release_kept(self) -> None:
        """What is never answered needs no leg that an earlier request has left."""
        if self.legs[Side.SERVER].is_connected and not self.blocks(Side.SERVER):
            self._release(Side.SERVER)
            self._set_pause(Side.CLIENT, "peer", False)

    def _send_request(self) -> None:
        self._has_sent = True
        self._actions.append(Send(Side.SERVER, self._question + self._upload))
        self._upload.clear()
        self._set_pause(Side.CLIENT, "upload", False)
        self._maybe_end_upload()

    def _maybe_end_upload(self) -> None:
        """A client that has ended is done with this request, or has cut it short: the upstream is to know."""
        if self._has_sent and self.legs[Side.CLIENT].read_ended and not self._early:
            self._end_leg(Side.SERVER)

    # -- the response -----------------------------------------------------------------------------------------------

    def _take_download(self, data: bytes) -> None:
        """The upstream goes on with its answer."""
        assert self.exchange is not None
        if self.blocks(Side.SERVER) or self._holds_answer:
            self._keep_late(data)
            return
        if not self._has_sent:
            self._fail("the upstream spoke before it was asked")
            return
        try:
            if self._has_begun_answer:
                part = self.exchange.take_download(data)
            else:
                part = self.exchange.take_heads(data)
                if self.exchange.response and not self._delay_answer():
                    part += self._begin_answer()
        except BadHead as bad:
            self._fail(bad.reason)
            return
        if part:
            self._actions.append(Send(Side.CLIENT, part))
        self._maybe_complete()

    @property
    def _holds_answer(self) -> bool:
        return self.exchange is not None and self.exchange.response is not None and not self._has_begun_answer

    def _delay_answer(self) -> bool:
        """Whether a rule holds the response back; its head has just come."""
        delays, self._delays = self._delays, []
        for delay in delays:
            self._struck(delay.link, None, None)
            self._tally.delays.add(delay.duration)
        if delays:
            self._answer_due = self._now + sum(delay.duration for delay in delays)
            self._timers[Timer.RESPONSE, Side.SERVER] = self._answer_due
        return bool(delays)

    def _begin_answer(self) -> bytes:
        assert self.exchange is not None and self.exchange.response is not None
        part = self.exchange.begin_download()
        self._has_begun_answer = True
        self.is_unanswered = False
        self.events.append(Responded(self.exchange.response.status, "server", ""))
        return part

    def _release_answer(self) -> None:
        """What was held of the response is due. A half-open still holds it back."""
        if self.blocks(Side.SERVER):
            return
        late = self._take_late()
        try:
            self._actions.append(Send(Side.CLIENT, self._begin_answer()))
        except BadHead as bad:
            self._fail(bad.reason)
            return
        if late:
            self._take_download(late)  # before the next request: it is of this answer, or too much
        else:
            self._maybe_complete()
        self._follow_server_end()

    def _maybe_complete(self) -> None:
        """Go on to the next request where both ways are complete; end where there can be none."""
        exchange = self.exchange
        if self.state is not State.EXCHANGE or exchange is None or not exchange.is_downloaded:
            return
        if self._holds_answer:
            return  # one without a body, that a rule delays
        is_last = self._is_last or not exchange.persists or (self.legs[Side.CLIENT].read_ended and not self._early)
        if is_last:
            by = "proxy" if self._is_last else "client"
            self._start_ending(by if exchange.persists else "server", "fin")
            for side in SIDES:
                self._finish_leg(side)
        elif exchange.is_uploaded:
            self._await_next()

    def _await_next(self) -> None:
        self.state = State.HEAD
        self._reader = HeadReader(from_client=True)
        early = bytes(self._early)
        self._early.clear()
        self._set_pause(Side.CLIENT, "early", False)
        if early:
            self._read_request(early)
        if self.state is State.HEAD and self.legs[Side.CLIENT].read_ended:
            self._end_idle()

    # -- ends -------------------------------------------------------------------------------------------------------

    def _end_idle(self) -> None:
        """The client has ended with no request in progress."""
        self._start_ending("client", "fin")
        for side in SIDES:
            self._finish_leg(side)

    def _client_ended(self) -> None:
        self._maybe_end_upload()
        self._maybe_complete()

    def _follow_server_end(self) -> None:
        """The upstream's end, which came while its answer was kept back."""
        if self.legs[Side.SERVER].read_ended and self.is_kept:
            self._let_go_of_kept()
        elif self.legs[Side.SERVER].read_ended and self.state is State.EXCHANGE:
            self._server_ended()

    def _server_ended(self) -> None:
        """The upstream has sent FIN, or is lost: its answer is complete by that, or cut short, or there is none."""
        exchange, server = self.exchange, self.legs[Side.SERVER]
        assert exchange is not None
        if self._holds_answer:
            return  # it ends behind its answer
        if not self._has_begun_answer and not (self._is_reused and not exchange.has_begun):
            how = "reset" if server.is_lost else "ended"
            self._fail(f"the upstream {how} the connection before its answer was complete")
            return
        # On a leg that was kept, its end may have crossed the request: the client sees what it would see without us,
        # an end and no answer, and most ask again.
        is_complete = exchange.is_downloaded or (exchange.lasts and not server.is_lost)
        self._start_ending("server", "reset" if server.is_lost else "fin")
        if server.is_lost and not is_complete:
            self._reset_leg(Side.CLIENT)
        else:
            self._finish_leg(Side.CLIENT)
        self._finish_leg(Side.SERVER)

    def _upstream_failed(self, reason: str, remedy: str = "") -> None:
        if self.state is State.EXCHANGE:
            self._fail(reason, remedy)
        else:
            super()._upstream_failed(reason, remedy)

    def _fail(self, reason: str, remedy: str = "") -> None:
        """The upstream has failed: 502, or the same failure where its answer has begun."""
        if not self._has_begun_answer:
            self._answer(502, "proxy", reason, build_answer(502, body=f"chaosproxy: {reason}{remedy}\n"))
            return
        self._start_ending("server", "fin")
        self._finish_leg(Side.CLIENT)
        self._reset_leg(Side.SERVER)

    def _answer(self, status: int, by: str, reason: str, data: bytes) -> None:
        if self.state is State.EXCHANGE and self.exchange and self.exchange.request.method == b"HEAD":
            data = data[: data.index(b"\r\n\r\n") + 4]
        super()._answer(status, by, reason, data)

    def _told_answer(self, status: int, by: str, reason: str) -> Event:
        if self.state is not State.EXCHANGE:
            return super()._told_answer(status, by, reason)
        self.is_unanswered = False
        return Responded(status, by, reason)

    def _end_behind_answer(self) -> None:
        """Let the answer in progress come to its end, for a while."""
        self._is_last = True
        self._timers.setdefault((Timer.LAST, Side.CLIENT), self._now + REPLY_TIME)

    def _end_now(self) -> None:
        """The answer in progress has had its time. One that only a FIN would complete must not look complete."""
        is_cut = any(map(self.blocks, SIDES)) or (self.exchange is not None and self.exchange.lasts)
        self._start_ending("proxy", "reset" if is_cut else "fin")
        for side in SIDES:
            (self._reset_leg if is_cut else self._finish_leg)(side)
