"""What is done to a running proxy by hand: phases are stepped through and paused, rules added, healed, and lifted.

Each order is in force at once on live connections. An order that can't be followed changes nothing.
"""

from abc import abstractmethod

from .canonical import mask_profile
from .effects import Hold, HoldHandshake, Silence
from .events import PhaseEntered, PhasePaused, PhaseResumed, ProfileChanged, RuleChanged, TimelineReset
from .in_force import InForce, LiveRule, Step, Told
from .plain_rules import PlainRules
from .profile import BoundRule, Profile
from .rule import reads_messages
from .session import Session
from .timeline import Timeline


class Steered(InForce):
    """The rules of one proxy, by its timeline and by hand."""

    @abstractmethod
    def _read_content(self) -> None:
        """Messages of new connections are read from their first byte on, for a rule added by hand."""

    @abstractmethod
    def _read_anew(self, now: int) -> None:
        """Another profile is played: open connections are read for what it needs, as far as they can be."""

    # -- phases -----------------------------------------------------------------------------------------------------

    def step(self, now: int, phase: str | None = None) -> list[Step] | None:
        """Go to the next phase, or to the one named; None if there is none of that name."""
        if phase is not None:
            if not self.timeline.jump(phase, now):
                return None
            self._entered("step", now)
        elif not self.timeline.is_running:
            self._start(now)
        elif not self.timeline.is_over and self.profile.phases:
            self.timeline.move(now)
            self._entered("step", now)
        self._advance(now)
        return self._take_steps()

    def pause(self, now: int) -> list[Step]:
        """Let neither time nor what happens end the phase, until it goes on; rules act on, and steps are taken."""
        if self.timeline.pause(now):
            self.told.append(Told(now, None, PhasePaused(self._phase_name)))
        return self._take_steps()

    def resume(self, now: int) -> list[Step]:
        """Let the timeline go on where it stopped."""
        if self.timeline.resume(now):
            self.told.append(Told(now, None, PhaseResumed(self._phase_name)))
            self._advance(now)
        return self._take_steps()

    @property
    def _phase_name(self) -> str:
        return self.timeline.phase.name if self.timeline.phase else ""

    # -- rules ------------------------------------------------------------------------------------------------------

    def add_rule(self, rule: BoundRule, lasts: int | None, now: int, only: frozenset[int] | None = None) -> list[Step]:
        """Put a rule in force at once, for a time or until healed. An id in use replaces that rule.

        `only` names the attempts that it acts on; when the last of them is over, it ends.
        """
        if rule.id in self._live:
            self._drop_live(rule.id, "healed", now)
        attempts = None if only is None else {number for number in only if number in self.sessions}
        self._live[rule.id] = LiveRule(rule, None if lasts is None else now + lasts, attempts)
        if attempts is None and reads_messages(rule):
            # Compressed streams can only be read from their first byte: those of new connections will be.
            self._read_content()
        self.told.append(Told(now, None, RuleChanged(rule.id, rule.fault.name, "added")))
        self._change_rules("rule added", now, attempts)
        if attempts is not None:
            self._drop_idle(now)  # where all of them were gone already
        return self._take_steps()

    def heal(self, rule_id: str | None, now: int) -> list[Step] | None:
        """End one live rule, or all of them; None if there is none of that id."""
        if rule_id is not None and rule_id not in self._live:
            return None
        for key in [rule_id] if rule_id is not None else list(self._live):
            self._drop_live(key, "healed", now)
        return self._take_steps()

    def free(self, attempts: frozenset[int], now: int) -> list[Step]:
        """End on these connections what was added by hand, and whatever else keeps them from carrying anything.

        What the profile does to them beside that goes on, and a rule that begins later may hit them again. A rule by
        hand that was for none but them ends.
        """
        among = self._in_order(attempts)
        for session in among:
            self._free(session, now)
        self._hush(among, now)
        for session in among:
            if session.connection:
                self.steps.append((session, session.arm(now)))
        self._reach_healed(among, now)
        self._drop_idle(now)
        return self._take_steps()

    def _free(self, session: Session, now: int) -> None:
        ended: set[str] = set()
        for rule_id, active in self._active.items():
            if active.takes(session) and (rule_id in self._live or keeps_back(active.rule)):
                ended.add(rule_id)
                if active.only is not None:
                    active.only.discard(session.number)
                else:
                    active.freed.add(session.number)
        links = list(session.links.values())
        session.set_links([link for link in links if link.rule.id not in ended])
        for link in links:
            if link.rule.id in ended:
                self.steps.append((session, session.heal(link, now)))

    def _drop_idle(self, now: int) -> None:
        """End the live rules that have no connection left to act on."""
        for rule_id in [rule_id for rule_id, live in self._live.items() if live.only is not None and not live.only]:
            self._drop_live(rule_id, "healed", now)

    def _let_go_of(self, number: int, now: int) -> None:
        """An attempt is over, for every rule."""
        is_any_idle = False
        for active in self._active.values():
            active.freed.discard(number)
            if active.only is not None:
                active.only.discard(number)
                is_any_idle = is_any_idle or not active.only
        if is_any_idle:
            self._drop_idle(now)

    # -- another run ------------------------------------------------------------------------------------------------

    def clear(self, now: int) -> list[Step]:
        """End all rules, by hand and the profile's, and leave the timeline; connections live on. `play` is next."""
        for rule_id, live in self._live.items():
            self.told.append(Told(now, None, RuleChanged(rule_id, live.rule.fault.name, "healed")))
        self._live.clear()
        self._is_cleared = True
        if self.timeline.phase:
            self.told.append(Told(now, None, PhaseEntered("", self.timeline.visit, "reset")))
        self.timeline = Timeline(self.profile)
        self._change_rules("reset", now)
        return self._take_steps()

    def play(self, now: int, profile: Profile | None = None, seed: int | None = None) -> list[Step]:
        """Play another profile from its beginning, with its own seed or this one; or the same profile anew.

        Another one starts at once where a connection has been asked for already, the same with the next one: it is for
        what comes now. Connections go on being numbered where they were.
        """
        is_asked_for = any(session.connection for session in self.sessions.values())
        if profile is None:
            self.told.append(Told(now, None, TimelineReset(self.profile.name)))
        else:
            self.profile, self.seed = profile, profile.seed if seed is None else seed
            self._plain = PlainRules(self.seed)
            self._standing_ids = frozenset(rule.id for rule in profile.bound_rules(None))
            in_full = mask_profile(profile)
            self.told.append(Told(now, None, ProfileChanged(profile.name, profile.digest, self.seed, in_full)))
            self._read_anew(now)
        self.timeline = Timeline(self.profile)
        self._is_cleared = False
        self._opened = self._closed = 0
        self._change_rules("start", now)
        if self.profile.starts == "launch" or (profile is not None and is_asked_for):
            self._start(now)
        self._advance(now)
        return self._take_steps()


def keeps_back(rule: BoundRule) -> bool:
    """Whether a rule keeps all that it strikes from getting through until it heals."""
    return rule.fault.keeps or isinstance(rule.fault.effect(), Silence | Hold | HoldHandshake)
