"""Which phase it is. Time, counts and steps by hand move it, but for steps not while it is paused."""

from typing import NamedTuple

from .profile import Phase, Profile
from .units import SECOND


class Standing(NamedTuple):
    """What `until` conditions look at. States count what holds now, events what happened since the phase began."""

    opened: int
    closed: int
    established: int
    subscribed: int
    channels: frozenset[str]


class Timeline:
    """The phases of a profile, played `repeat` times. Without phases it stands still, and its rules hold for ever."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._index = -1
        self._round = 0
        self.is_running = False
        self.is_over = False
        self.entered_at = 0
        self.visit = 0  # how many phases have been entered so far
        self._visits = [0] * len(profile.phases)
        self.paused_at: int | None = None  # since when its clock stands still
        self.failures: list[str] = []  # phases that did not end as they should

    @property
    def phase(self) -> Phase | None:
        """The current phase; None before the start, after the end, and in a profile without phases."""
        return self._profile.phases[self._index] if 0 <= self._index < len(self._profile.phases) else None

    @property
    def visit_of_phase(self) -> int:
        """The how-manieth visit of the current phase this is, from 1; 0 outside of all."""
        return self._visits[self._index] if self.phase else 0

    @property
    def looks_at_states(self) -> bool:
        """Whether what ends the phase is what holds now, and not only what has happened."""
        until = self.phase.until if self.phase else None
        return until is not None and until.condition in ("established", "subscribed")

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

    def elapsed(self, now: int) -> int:
        """How long the phase has lasted, without the time for which it was paused."""
        return (now if self.paused_at is None else self.paused_at) - self.entered_at

    @property
    def time_left(self) -> int | None:
        """Of a paused phase that ends by time: how much of that is left."""
        limit = self._limit
        return None if limit is None or self.paused_at is None else max(0, limit - self.elapsed(self.paused_at))

    @property
    def deadline(self) -> int | None:
        """When time ends the phase."""
        limit = self._limit
        return None if limit is None or self.is_paused else self.entered_at + limit

    @property
    def _limit(self) -> int | None:
        """How long the phase lasts at most."""
        phase = self.phase
        if phase is None or phase.until is None:
            return phase.lasts if phase else None
        times = [phase.until.within, phase.until.seconds and phase.until.seconds * SECOND]
        return min((time for time in times if time is not None), default=None)

    def pause(self, now: int) -> bool:
        """Stop the clock of the phase, and of those that are entered by hand meanwhile; whether it went."""
        if self.is_paused:
            return False
        self.paused_at = now
        return True

    def resume(self, now: int) -> bool:
        """Let the phase go on where it was paused; whether it was."""
        if self.paused_at is None:
            return False
        self.entered_at += now - self.paused_at
        self.paused_at = None
        return True

    def start(self, now: int) -> bool:
        """Begin, if not begun; whether a phase was entered."""
        if self.is_running or self.is_over:
            return False
        self.is_running = True
        if not self._profile.phases:
            return False
        self._enter(0, now)
        return True

    def reason_to_move(self, now: int, standing: Standing) -> str | None:
        """Why the phase ends now, if it does. When a `within` expires, what was there is remembered as a failure."""
        phase = self.phase
        if phase is None or self.is_paused:
            return None
        if phase.until and (met := self._met(standing)):
            return met
        deadline = self.deadline
        if deadline is None or now < deadline:
            return None
        if phase.until and phase.until.within is not None and phase.until.seconds is None:
            failure = f"phase {phase.name} did not end: {self.progress(standing)}"
            self.failures.append(failure)
            return failure
        return "time"

    def move(self, now: int) -> None:
        """Go to the next phase, or to the end."""
        if self._index + 1 < len(self._profile.phases):
            self._enter(self._index + 1, now)
            return
        self._round += 1
        if self._profile.repeat == "forever" or self._round < self._profile.repeat:
            self._enter(0, now)
            return
        self._index = len(self._profile.phases)
        self.is_over = True
        self.entered_at = now

    def jump(self, name: str, now: int) -> bool:
        """Go to a phase by its name, by hand."""
        names = [phase.name for phase in self._profile.phases]
        if name not in names:
            return False
        self.is_running, self.is_over = True, False
        self._enter(names.index(name), now)
        return True

    def _enter(self, index: int, now: int) -> None:
        self._index = index
        self.entered_at = now
        if self.is_paused:
            self.paused_at = now
        self.visit += 1
        self._visits[index] += 1

    def _met(self, standing: Standing) -> str | None:
        assert self.phase and self.phase.until
        until = self.phase.until
        match until.condition:
            case "seconds" | "step":
                return None
            case "subscribed" if isinstance(until.subscribed, list):
                return "subscribed" if standing.channels.issuperset(until.subscribed) else None
            case condition:
                wanted: int = getattr(until, condition)
                return condition if getattr(standing, condition) >= wanted else None

    def progress(self, standing: Standing) -> str:
        """How much of what the phase waits for is there."""
        assert self.phase and self.phase.until
        condition = self.phase.until.condition
        wanted = getattr(self.phase.until, condition)
        if isinstance(wanted, list):
            missing = [channel for channel in wanted if channel not in standing.channels]
            return f"no subscription to {', '.join(missing)}"
        if condition == "step":
            return "nobody stepped on"
        return f"{getattr(standing, condition)} of {wanted} {condition}"
