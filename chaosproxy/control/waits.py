"""Wait until something holds of a proxy, told by its events and never by looking again and again.

What states say is counted as it stands now (so many connections are subscribed, so many clients in a state); what
events say is counted since the proxy started, or the run began anew, so that nobody who asks late has missed it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ..events import ClientSaid, Closed, Opened, PhaseEntered, ProfileChanged, Struck, TimelineReset
from ..faults import FAULTS
from ..problems import nearest, one_of, show
from ..stage import Stage
from ..units import SECOND, format_duration
from ..world import Told
from .answers import NotCome
from .orders import Refused
from .state import tell_phase

WAITS_MAX = 64
MARKS_MAX = 1000  # names that are counted; a page may set any
JUDGE_AGAIN_S = 0.1  # a verdict may be decided by time alone, of which no event tells
PLAIN = ("opened", "closed", "established", "subscribed", "verdict")
NAMED = ("phase", "struck", "state", "mark")
UNJUDGED = "there is no verdict: the profile has no expect:; give it one, or open a session (POST /api/sessions)"


class Condition(NamedTuple):
    """What is waited for: so many of it."""

    name: str
    wanted: int
    there: Callable[[], int]

    def look(self, future: "asyncio.Future[int]") -> None:
        """Tell who waits how many there are, if they are enough."""
        if not future.done() and (there := self.there()) >= self.wanted:
            future.set_result(there)


class Waits:
    """All who wait for something of one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._counts: Counter[str] = Counter()
        self._struck_before: Counter[str] = Counter()  # by faults, in runs that are over
        self._waiting: dict[asyncio.Future[int], Condition] = {}
        stage.listeners.append(self.hear)

    @property
    def count(self) -> int:
        return len(self._waiting)

    def hear(self, told: Told) -> None:
        """Something happened."""
        if isinstance(told.event, ProfileChanged | TimelineReset):
            self._counts.clear()
            self._struck_before = Counter(self._stage.proxy.world.tally.strikes)
        for name in _names_of(told):
            if name in self._counts or not name.startswith("mark:") or len(self._counts) < MARKS_MAX:
                self._counts[name] += 1
        for future, condition in self._waiting.items():
            if condition.name != "verdict":
                condition.look(future)

    async def wait(self, condition: Condition, patience: int) -> int | None:
        """Wait until it holds, for so many nanoseconds at most. Return how many there were then; None if it is late."""
        if (there := condition.there()) >= condition.wanted:
            return there
        if len(self._waiting) >= WAITS_MAX:
            raise Refused(503, f"{WAITS_MAX} others wait already")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[future] = condition
        judging = _Repeated(lambda: condition.look(future)) if condition.name == "verdict" else None
        try:
            return await asyncio.wait_for(future, patience / SECOND)
        except TimeoutError:
            return None
        finally:
            del self._waiting[future]
            if judging:
                judging.cancel()

    def close(self) -> None:
        """The stage ends: who still waits is told so."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(Refused(410, "it has ended meanwhile"))

    # -- what one can wait for --------------------------------------------------------------------------------------

    def condition(self, text: str, count: int) -> Condition:
        """Read what shall hold. Raise Refused with what could be meant, or what is missing for it."""
        kind, has_name, name = text.partition(":")
        if bool(has_name) != (kind in NAMED) or kind not in (*PLAIN, *NAMED) or (has_name and not name):
            raise Refused(422, _expected(kind, text))
        match kind:
            case "opened" | "closed":
                there = self._counter(kind)
            case "established" | "subscribed":
                there = self._standing(kind)
            case "verdict":
                there = self._verdict()
            case "phase":
                self._check(name, [phase.name for phase in self._stage.proxy.world.profile.phases], "phase")
                there = self._counter(text)
            case "struck":
                there = self._strikes(name)
            case "state":
                there = self._clients(name)
            case _:
                there = self._counter(text)
        return Condition(text, count, there)

    def _counter(self, name: str) -> Callable[[], int]:
        return lambda: self._counts[name]

    def _standing(self, name: str) -> Callable[[], int]:
        world = self._stage.proxy.world
        if not world.profile.protocol:
            raise Refused(409, f"{name} is read from messages: it needs protocol: at the top of the profile")
        return lambda: int(getattr(world.standing, name))

    def _verdict(self) -> Callable[[], int]:
        if not self._stage.judge:
            raise Refused(409, UNJUDGED)
        return lambda: int(self._stage.verdict().is_finished)

    def _strikes(self, name: str) -> Callable[[], int]:
        world = self._stage.proxy.world
        if name in FAULTS:
            return lambda: world.tally.strikes.get(name, 0) - self._struck_before[name]
        bound = [rule for phase in world.profile.phases or (None,) for rule in world.profile.bound_rules(phase)]
        known = {rule.id for rule in (*bound, *world.live_rules)}
        if not self._counts[f"struck:{name}"]:
            self._check(name, [*known, *FAULTS], "fault or rule")
        return self._counter(f"struck:{name}")

    def _clients(self, state: str) -> Callable[[], int]:
        return lambda: sum(1 for seen in self._stage.clients.seen() if seen.state == state)

    def _check(self, name: str, known: list[str], what: str) -> None:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {one_of(near)}?" if near else f"there are: {', '.join(known[:40]) or 'none'}"
            raise Refused(422, f"there is no {what} of the name {show(name)}; {hint}")

    def tell(self, condition: Condition, patience: int, now: int) -> NotCome:
        """What was there when the time was over."""
        there = condition.there()
        if condition.name == "verdict":
            open_rows = [row.title for row in self._stage.verdict().rows if row.outcome == "open"]
            seen = f"open: {'; '.join(open_rows)}" if open_rows else "the timeline has not ended"
        else:
            seen = f"{there} of {condition.wanted}"
        return {
            "error": f"{condition.name} did not come within {format_duration(patience)}: {seen}",
            "there": there,
            "wanted": condition.wanted,
            "phase": tell_phase(self._stage.proxy.world, now),
        }


class _Repeated:
    """A look every now and then."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._timer = asyncio.get_running_loop().call_later(JUDGE_AGAIN_S, self._again)

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(JUDGE_AGAIN_S, self._again)
        self._look()

    def cancel(self) -> None:
        self._timer.cancel()


def _names_of(told: Told) -> tuple[str, ...]:
    """What an event counts as."""
    match told.event:
        case Opened():
            return ("opened",)
        case Closed() if told.session is not None and told.session.opened_at is not None:
            return ("closed",)
        case PhaseEntered(phase) if phase:
            return (f"phase:{phase}",)
        case Struck(rule):
            return (f"struck:{rule}",)
        case ClientSaid(_, "mark", name):
            return (f"mark:{name}",)
        case _:
            return ()


def _expected(kind: str, text: str) -> str:
    forms = [*PLAIN, *(f"{name}:NAME" for name in NAMED)]
    if kind in PLAIN:
        return f"expected {kind} alone, got {show(text)}"
    if kind in NAMED:
        return f"expected {kind}:NAME, got {show(text)}"
    near = nearest(kind, (*PLAIN, *NAMED))
    hint = f"; did you mean {one_of(near)}?" if near else ""
    return f"expected for={one_of(forms)}, got {show(text) if text else 'nothing'}{hint}"
