"""Half-open: which leg is silent, what does not get through, and what is made up for at the heal.

A silent leg sends nothing, not even FIN, and nothing gets through to it or from it. The other leg is alive: it is read,
and its peer's FIN is answered. Where only one sender is silenced, no leg is: what it sends is kept back, its end too.
"""

from abc import abstractmethod

from .effects import Heal, Mode, Other, Silence
from .engine import Direction
from .legs import Fate, State, Timer
from .link import Link
from .opening import HEAD_TIME, UNREACHED
from .plain_http import PlainHttp
from .tally import Tally
from .wire.frames import SIDES, Side

HALF_OPEN = "the connection is half-open: nothing leaves"


class Silencing(PlainHttp):
    """A connection that rules may have made half-open."""

    directions: tuple[Direction, ...]

    def __init__(self, tally: Tally, now: int) -> None:
        super().__init__(tally, now)
        self.opened_at: int | None = None
        self._silences: dict[str, Silence] = {}  # by rule

    @abstractmethod
    def _flush(self, direction: Direction) -> None:
        """Send what has been let go."""

    @abstractmethod
    def _let_go(self, direction: Direction) -> None:
        """Send what is due, and carry out what hangs on it."""

    @abstractmethod
    def _end_by(self, side: Side, how: Other, keep_for: int | None = None, *, behind: bool = False) -> None:
        """End a leg in one of the ways, or keep it."""

    # -- what it means ----------------------------------------------------------------------------------------------

    @property
    def is_silent(self) -> bool:
        """Whether any rule makes it half-open."""
        return bool(self._silences)

    def blocks(self, side: Side) -> bool:
        return bool(self._silences) and any(silence.blocks(side) for silence in self._silences.values())

    def is_mute(self, side: Side) -> bool:
        """Whether nothing at all leaves on a leg; before the tunnel is open, that holds for both alike."""
        if not self._silences:
            return False
        silences = [silence for silence in self._silences.values() if silence.sender is None]
        return any(self.opened_at is None or side in silence.leg.sides for silence in silences)

    def _keeps_secret(self, side: Side) -> bool:
        """Whether the other peer is not to know yet that a leg is lost."""
        if self.state in (State.HUNG, State.ENDING):
            return False
        is_half_done = self.state is not State.TUNNEL and side is Side.CLIENT
        return self.blocks(side) and (not is_half_done or self.blocks(side.other))

    # -- its beginning ----------------------------------------------------------------------------------------------

    def _fall_silent(self, link: Link | None, silence: Silence) -> None:
        key = link.rule.id if link else ""
        self._silences[key] = silence
        if silence.blocks(Side.SERVER):
            self._timers.pop((Timer.ANSWER, Side.SERVER), None)
        if self.state in (State.EXCHANGE, State.HEAD):
            stopped = [side for side in SIDES if silence.blocks(side)]  # of plain HTTP nothing is held in any mode
        else:
            stopped = [*silence.sides] if silence.mode is Mode.FREEZE else []
        for side in stopped:
            self._set_pause(side, f"frozen {key}", True)
        self._set_gates()

    def _set_gates(self) -> None:
        for direction in self.directions:
            heals = [silence.heal for silence in self._silences.values() if silence.blocks(direction.side)]
            gate = next((heal for heal in (Heal.RESET, Heal.DISCARD, Heal.FLUSH) if heal in heals), None)
            direction.release(self._now)
            self._flush(direction)
            direction.set_gate(gate, self._now)

    def _answer_ends(self) -> None:
        """A live leg answers its peer's FIN by its own, while the silent one is not told yet."""
        if self.state is not State.TUNNEL or not self._silences:
            return
        for side in SIDES:
            leg, other = self.legs[side], self.legs[side.other]
            is_untold = other.is_lost or not other.write_ended
            if (
                leg.read_ended
                and is_untold
                and self.is_mute(side.other)
                and not leg.write_ended
                and not self.is_mute(side)
            ):
                self.directions[side.other].shut(self._now)  # nobody is left to whom it could go
                self._end_leg(side)

    # -- its end ----------------------------------------------------------------------------------------------------

    def _end_silence(self, link: Link) -> None:
        """A rule has ended, which may have made this connection half-open."""
        silence = self._silences.pop(link.rule.id, None)
        if silence is None:
            return
        if self.state is State.ENDING:
            self._pay(silence.heal)
        elif silence.heal is Heal.RESET or (self.state is not State.TUNNEL and silence.heal is Heal.DISCARD):
            self._start_ending("rule", "reset at heal")
            for side in SIDES:
                self._reset_leg(side)
        else:
            self._set_gates()
            self._go_on()
            for side in SIDES:
                self._set_pause(side, f"frozen {link.rule.id}", False)

    def _pay(self, heal: Heal) -> None:
        """The connection was ended meanwhile: legs that are silent no longer get their end."""
        for side in SIDES:
            leg = self.legs[side]
            if leg.owed and leg.fate is Fate.OPEN and not self.is_mute(side):
                how, keep_for = leg.owed
                leg.owed = None
                self._end_by(side, Other.RESET if heal is Heal.RESET else how, keep_for)

    def _go_on(self) -> None:
        """What was kept back gets through, as far as nothing else keeps it back."""
        match self.state:
            case State.TUNNEL:
                for direction in self.directions:
                    self._let_go(direction)
                self._answer_ends()
            case State.ANSWER | State.REFUSED:
                self._proceed()
            case State.EXCHANGE | State.HEAD:
                self._go_on_plain()
            case State.ASKED | State.DIALLING if self.legs[Side.CLIENT].is_lost and not self.blocks(Side.CLIENT):
                self._start_ending("client", "reset")
                self._reset_leg(Side.SERVER)
            case _ if self._silences:
                pass
            case State.DIALLING if self.legs[Side.SERVER].is_lost:
                self._upstream_failed("the upstream can't be reached", UNREACHED)
            case State.HUNG:
                self._release_kept()
                if self.legs[Side.CLIENT].read_ended:
                    self._start_ending("client", "fin")
                    self._finish_leg(Side.CLIENT)
            case _:
                pass

    def _go_on_plain(self) -> None:
        """Go on with plain HTTP that was kept back; what ended meanwhile ends behind what came before."""
        if self.legs[Side.CLIENT].is_lost:
            if not self.blocks(Side.CLIENT):
                self._start_ending("client", "reset")
                self._reset_leg(Side.SERVER)
            return
        if not self.blocks(Side.CLIENT):
            self._go_on_asking()
        if not self.blocks(Side.SERVER):
            self._go_on_answering()

    def _go_on_asking(self) -> None:
        """What the client sent gets through again."""
        client, server = self.legs
        early = bytes(self._early)
        self._early.clear()
        self._set_pause(Side.CLIENT, "early", False)
        if self.state is State.HEAD:
            if early:
                self._read_request(early)
            if self.state is State.HEAD and client.read_ended:
                self._end_idle()
            elif self.state is State.HEAD and self._reader.begun:
                self._timers.setdefault((Timer.HEAD, Side.CLIENT), self._now + HEAD_TIME)
            return
        if server.is_connected and not self._has_sent and not self.is_kept and not server.is_lost:
            self._send_request()
        if early:
            self._take_upload(early)
        if client.read_ended:
            self._client_ended()

    def _go_on_answering(self) -> None:
        """What the upstream sent gets through again."""
        if self.state is State.EXCHANGE and self._holds_answer:
            if (Timer.RESPONSE, Side.SERVER) not in self._timers:
                self._release_answer()
            return
        late = self._take_late()
        if late and self.is_kept:
            self._let_go_of_kept()
        elif late and self.state is State.EXCHANGE:
            self._take_download(late)
        if self.legs[Side.SERVER].is_lost and self.state is State.EXCHANGE and not (self.is_kept or self._has_sent):
            self._fail("the upstream can't be reached", UNREACHED)
        else:
            self._follow_server_end()
