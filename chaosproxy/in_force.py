"""Which rules are in force, on which connections, and since when: the timeline's, and those added by hand.

A change is one instant: the listener opens or closes, rules that ended heal, new ones act on live connections.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .blows import Blows
from .effects import Silence
from .events import Action, Event, Listening, PhaseEntered, RuleChanged
from .faults import Moment
from .link import Link, rank
from .pacing import Pacer
from .plain_rules import PlainRules
from .profile import BoundRule, Profile
from .session import Session
from .tally import Tally
from .timeline import Standing, Timeline
from .wire.frames import Side

Step = tuple[Session, list[Action]]


class Told(NamedTuple):
    """An event with its time and place, as the journal wants it."""

    at: int
    session: Session | None
    event: Event


class Active(NamedTuple):
    """A rule in force, and since which visit of a phase: its links are per connection."""

    rule: BoundRule
    visit: int  # of any phase
    visit_of_phase: int  # the dice's: phases put before move no strike
    since: int
    shared: dict[Side, Pacer] | None  # what all its connections share
    only: set[int] | None  # attempts, where it acts on no others
    freed: set[int]  # attempts on which it was ended by hand

    def takes(self, session: Session) -> bool:
        """Whether it may act on a connection at all; its match is another question."""
        return (self.only is None or session.number in self.only) and session.number not in self.freed


class LiveRule(NamedTuple):
    """A rule that was added by hand."""

    rule: BoundRule
    expiry: int | None  # when it heals by itself
    only: set[int] | None = None  # attempts that are still there, where it acts on no others


class InForce(ABC):
    """The rules of one proxy, as they come and go."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.seed = seed
        self.sessions: dict[int, Session] = {}
        self.timeline = Timeline(profile)
        self.is_listening = True
        self.is_draining = False
        self.tally = Tally()
        self.told: list[Told] = []  # drained by the rim
        self.steps: list[Step] = []
        self._is_cleared = False  # no rule is in force, and none begins
        self._standing_ids = frozenset(rule.id for rule in profile.bound_rules(None))  # they hold in every phase
        self._active: dict[str, Active] = {}
        self._live: dict[str, LiveRule] = {}
        self._plain = PlainRules(seed)
        self._blows = Blows()
        self._make_link: Callable[..., Link] = Link
        self._opened = 0  # since the phase began
        self._closed = 0

    @property
    @abstractmethod
    def standing(self) -> Standing:
        """What the conditions of `until` see now."""

    @property
    def _counts(self) -> Standing:
        """What has happened since the phase began. What holds now takes a look at every connection."""
        return Standing(self._opened, self._closed, 0, 0, frozenset())

    @abstractmethod
    def _reach_healed(self, among: Iterable[Session], now: int) -> None:
        """Take requests to the upstream that were kept back, if nothing new hinders them."""

    @property
    def live_rules(self) -> list[BoundRule]:
        return [live.rule for live in self._live.values()]

    def attempts_of(self, rule_id: str) -> list[int] | None:
        """The attempts on which a live rule acts; None where it acts on all."""
        live = self._live.get(rule_id)
        return None if live is None or live.only is None else sorted(live.only)

    @property
    def active_rules(self) -> list[BoundRule]:
        return [active.rule for active in self._active.values()]

    # -- phases and rules -------------------------------------------------------------------------------------------

    def _start(self, now: int) -> None:
        if not self._is_cleared and self.timeline.start(now):
            self._entered("start", now)

    def _advance(self, now: int) -> None:
        # At most one round in one instant: conditions that all hold at once would go round for ever.
        for _ in self.profile.phases:
            standing = self.standing if self.timeline.looks_at_states else self._counts
            reason = self.timeline.reason_to_move(now, standing)
            if reason is None:
                return
            self.timeline.move(now)
            self._entered(reason, now)

    def _entered(self, reason: str, now: int) -> None:
        phase = self.timeline.phase
        self._opened = self._closed = 0
        self.told.append(Told(now, None, PhaseEntered(phase.name if phase else "", self.timeline.visit, reason)))
        self._change_rules(f"phase {phase.name}" if phase else "end of the timeline", now)

    def _wanted_rules(self) -> dict[str, LiveRule]:
        """By id, those of the profile as if they were live ones."""
        if self._is_cleared:
            return {}
        bound = [] if self.timeline.is_over else self.profile.bound_rules(self.timeline.phase)
        return {rule.id: LiveRule(rule, None) for rule in bound} | self._live  # a live rule replaces its namesake

    def _change_rules(self, reason: str, now: int, only: Iterable[int] | None = None) -> None:
        """One instant: the listener, then rules that ended heal, then new ones act on live connections.

        `only` names the attempts that the change concerns, where it concerns no others.
        """
        before, self._active = self._active, {}
        started: list[Active] = []
        for rule_id, (rule, _, attempts) in self._wanted_rules().items():
            active = before.get(rule_id)
            if active is None or not self._goes_on(active, rule):
                shared: dict[Side, Pacer] | None = {} if rule.fault.is_shared else None
                visits = self.timeline.visit, self.timeline.visit_of_phase
                active = Active(rule, *visits, now, shared, attempts, set())
                started.append(active)
            self._active[rule_id] = active
        refuses = any(Moment.LISTEN in active.rule.fault.moments for active in self._active.values())
        self._set_listener(not refuses and not self.is_draining, reason, now)
        kept = {id(active) for active in self._active.values()}
        ended = [active for active in before.values() if id(active) not in kept]
        among = self._in_order(only)
        healing = self._links_of(ended, among)
        self._relink(among)  # before the heals: a connection that one of them lets open meets the new rules
        for session, link in healing:
            self.steps.append((session, session.heal(link, now)))
        for active in ended:
            self._plain.forget(active.rule.id)
        self._hush(among, now)
        for session in among:
            if session.connection:
                self.steps.append((session, session.arm(now)))
        for active in sorted(started, key=lambda active: rank(active.rule.fault)):
            self._strike_live(active, among, now)
        self._reach_healed(among, now)

    def _hush(self, among: Iterable[Session], now: int) -> None:
        """Heads that are still coming are not answered while a rule keeps all new connections waiting."""
        waiting = [active for active in self._active.values() if active.rule.keeps_all_waiting]
        chosen = {number for active in waiting for number in active.only or ()}
        everybodys = [active for active in waiting if active.only is None]
        for session in among:
            if session.number in chosen or everybodys or session.is_hushed:
                hushing = [active.rule for active in waiting if active.takes(session)]
                is_cut_off = any(isinstance(rule.fault.effect(), Silence) for rule in hushing)
                if (bool(hushing), is_cut_off) != (session.is_hushed, session.is_cut_off):
                    self.steps.append((session, session.hush(bool(hushing), now, is_cut_off=is_cut_off)))

    def _goes_on(self, active: Active, rule: BoundRule) -> bool:
        """Whether a rule that is in force neither heals nor restarts: the same one in the same phase, or by its id."""
        if active.rule is rule:
            return True
        if (active.rule.fault, active.rule.when) != (rule.fault, rule.when) or rule.id in self._live:
            return False
        return rule.is_named or rule.id in self._standing_ids or active.visit == self.timeline.visit

    def _set_listener(self, is_open: bool, reason: str, now: int) -> None:
        if is_open != self.is_listening:
            self.is_listening = is_open
            self.told.append(Told(now, None, Listening(is_open, reason)))
            if not is_open and not self.is_draining:
                self.tally.strike("refuse")

    @staticmethod
    def _links_of(ended: Iterable[Active], among: Iterable[Session]) -> list[tuple[Session, Link]]:
        ids = [active.rule.id for active in ended]
        return [(session, session.links[rule]) for rule in ids for session in among if rule in session.links]

    def _relink(self, among: Iterable[Session]) -> None:
        for session in among:
            if not session.connection:
                if session.requests:
                    self._relink_plain(session)
                continue
            links: list[Link] = []
            for active in self._active.values():
                if not active.takes(session):
                    continue
                link = session.links.get(active.rule.id)
                if link is None or link.rule is not active.rule:
                    link = self._link(active, session)
                    if not link.when.takes_connection(session.connection, session.request):
                        continue
                links.append(link)
            session.set_links(links)

    def _relink_plain(self, session: Session) -> None:
        session.set_links(self._plain.silencers(self._taking(session), session.links))

    def _taking(self, session: Session) -> list[Active]:
        """The rules in force that may act on a connection."""
        return [active for active in self._active.values() if active.takes(session)]

    def _strike_live(self, active: Active, among: Iterable[Session], now: int) -> None:
        links = [(session, session.links.get(active.rule.id)) for session in among if not session.is_over]
        hit = [(session, link) for session, link in links if link and link.acts_on_live and link.hits_connection()]
        self._blows.plan(hit, getattr(active.rule.fault, "over", 0), now)
        self._strike_planned(now)

    def _strike_planned(self, now: int) -> None:
        self.steps += [(blow.session, blow.session.strike(blow.link, now)) for blow in self._blows.take(now)]

    def _in_order(self, only: Iterable[int] | None = None) -> list[Session]:
        """By connection number: all, or those of the attempts named that are still there."""
        named = self.sessions.values() if only is None else map(self.sessions.get, only)
        found = (session for session in named if session)
        return sorted(found, key=lambda session: (session.connection, session.number))

    def _drop_live(self, rule_id: str, change: str, now: int) -> None:
        rule, _, only = self._live.pop(rule_id)
        self.told.append(Told(now, None, RuleChanged(rule_id, rule.fault.name, change)))
        self._change_rules(f"rule {change}", now, only)

    def _take_steps(self) -> list[Step]:
        steps, self.steps = self.steps, []
        return steps

    def _link(self, active: Active, session: Session) -> Link:
        place = (active.visit_of_phase, session.client, session.connection or f"attempt {session.number}")
        return self._make_link(active.rule, self.seed, place, active.since, active.shared)
