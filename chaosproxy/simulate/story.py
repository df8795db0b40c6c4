"""Play a profile to its end in virtual time, and tell what happens: phases, faults, and what clients make of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

from ..events import Event, Healed, Listening, PhaseEntered, Struck, Suppressed
from ..faults import Moment
from ..profile import BoundRule, Phase, Profile
from ..session import Session
from ..units import SECOND, format_duration
from ..verdict import Judge, Row
from ..wire.frames import Side
from ..world import MakeWorld, Options, Told, World
from .clients import Client
from .network import NEVER, Network, Peer, Socket
from .plain_clients import PlainClient, Requester, StreamClient
from .pusher_client import PusherClient
from .servers import PUBLISHED, PusherServer, StreamServer, WebServer

LINES_OF_A_KIND = 3  # in one phase; the rest is counted
CLIENTS_SHOWN = 3
PATIENCE = 10 * 60 * SECOND  # with a phase that has no end of its own, and waits for something
FOREVER = 2 * 60 * SECOND  # enough of what holds for ever
ROUNDS = 2  # of phases that are repeated for ever
RECOVERY = 5 * 60 * SECOND  # for clients behind the last phase
CALM = 5 * SECOND  # how long they must have been well
EVENTS_MAX = 300_000
AT_MOST = 24 * 3600 * SECOND
CHANNELS = (PUBLISHED, "private-room", "presence-room")


class Line(NamedTuple):
    """Something that happened."""

    at: int  # nanoseconds since the beginning
    who: str  # "timeline", "fault", or a client
    text: str


class ClientEnd(NamedTuple):
    """How a client fared."""

    name: str
    state: str
    attempts: int
    losses: int
    heard: int
    subscribed: tuple[str, ...]


class Story(NamedTuple):
    """All that is told of a simulation."""

    lines: list[Line]
    ended_at: int
    notes: list[str]  # what was found out about the profile: phases that do not end, rules that never struck
    clients: list[ClientEnd]
    rows: tuple[Row, ...]  # how the modelled clients meet what the profile expects


def simulate(
    profile: Profile, options: Options, clients: int = 1, at_most: int = AT_MOST, make_world: MakeWorld = World
) -> Story:
    """Play a profile. The same profile, options and number of clients tell the same story, to the byte."""
    return _Play(profile, options, clients, at_most, make_world).play()


class _Play:
    def __init__(self, profile: Profile, options: Options, clients: int, at_most: int, make_world: MakeWorld) -> None:
        self._profile = profile
        self._options = options
        self._at_most = at_most
        self._lines: list[Line] = []
        self._notes: list[str] = []
        self._kinds: Counter[str] = Counter()  # of lines, in this phase
        self._struck: set[str] = set()
        self._in_force: dict[str, tuple[BoundRule, str]] = {}  # rules that have been, with the phase
        self._entered: set[str] = set()
        self._ids = count(1)
        self._judge = Judge(profile, 0)
        self._records = 0
        self._network = Network(profile, options, self._make_server, self._hear, make_world)
        self._clients = list(self._make_clients(clients))

    def play(self) -> Story:
        self._note_rules(None)
        self._network.launch()
        for client in self._clients:
            client.begin()
        events = 0
        while (stop := self._reason_to_stop()) is None:
            self._network.advance()
            events += 1
            if events > EVENTS_MAX:
                stop = f"stopped after {EVENTS_MAX} events: the story goes on like this"
                break
        if stop:
            self._notes.append(stop)
        self._close_phase()
        self._notes += self._findings()
        verdict = self._judge.verdict(self._network.now, is_over=True)
        rows = tuple(row for row in verdict.rows if row.is_expected)
        ends = [_end_of(client) for client in self._clients]
        return Story(self._lines, self._network.now, self._notes, ends, rows)

    @property
    def _is_undecided(self) -> bool:
        """Whether an expectation waits for something that may still come, or for a time to pass."""
        return bool(self._profile.expect) and not self._judge.verdict(self._network.now).is_finished

    # -- the cast -----------------------------------------------------------------------------------------------------

    def _make_server(self, socket: Socket) -> Peer:
        kind = WebServer if not self._profile.protocol else PusherServer
        made: Callable[..., Peer] = StreamServer if self._options.is_opaque else kind
        return made(self._network, socket, lambda: next(self._ids))

    def _make_clients(self, number: int) -> Iterator[Client]:
        kind: type[Client] = PusherClient if self._profile.protocol else PlainClient
        channels = _channels(self._profile) if self._profile.protocol else ()
        for each in range(1, number + 1):
            made = StreamClient if self._options.is_opaque else kind
            yield made(self._network, each, self._teller(f"client {each}", each), channels)
        if any(rule.when.request is not None for rule in self._profile.every_rule()):
            yield Requester(self._network, number + 1, self._teller("http client"))

    def _teller(self, name: str, number: int = 0) -> Callable[[str, str], None]:
        if number > CLIENTS_SHOWN:
            return lambda kind, words: None
        return lambda kind, words: self._tell(name, words, kind)

    # -- when it is over ----------------------------------------------------------------------------------------------

    def _reason_to_stop(self) -> str | None:
        """Why to stop now: nothing more to say where it is well, a note otherwise; None to go on."""
        network, timeline = self._network, self._network.world.timeline
        next_at = network.next_at
        if next_at > self._at_most:
            self._pass(network.now if next_at == NEVER else self._at_most)
            is_early = self._profile.phases and not timeline.is_over
            return f"stopped after {format_duration(self._at_most)}, before the end of the timeline" if is_early else ""
        if not self._profile.phases:
            if next_at <= FOREVER:
                return None
            self._pass(FOREVER)
            return "there are no phases: the rules hold for ever"
        if timeline.is_over:
            waited = next_at - timeline.entered_at
            is_calm = waited >= CALM and all(client.is_settled for client in self._clients)
            return "" if (is_calm and not self._is_undecided) or waited >= RECOVERY else None
        phase = timeline.phase
        if phase is None:
            return "the timeline never starts: no client gets as far as to ask" if next_at > PATIENCE else None
        if self._profile.repeat == "forever" and timeline.visit > ROUNDS * len(self._profile.phases):
            return f"the phases are repeated for ever: {ROUNDS} rounds were played"
        if timeline.deadline is None:
            return self._reason_in_endless(phase, next_at)
        return None

    def _pass(self, at: int) -> None:
        """Let time pass in which nothing happens."""
        self._network.now = max(self._network.now, at)

    def _reason_in_endless(self, phase: Phase, next_at: int) -> str | None:
        """A phase that time does not end: wait for what it waits for, and step on by hand when that is too long."""
        is_by_hand = phase.until is None or phase.until.condition == "step"
        limit = self._network.world.timeline.entered_at + (FOREVER if is_by_hand else PATIENCE)
        if next_at <= limit:
            return None
        self._pass(limit)
        if phase.until is None:
            return f"phase {phase.name} never ends: its rules hold for ever"
        why = "waits for a step by hand"
        if not is_by_hand:
            progress = self._network.world.timeline.progress(self._network.world.standing)
            why = f"does not end by itself: {progress} after {format_duration(PATIENCE)}"
        self._notes.append(f"phase {phase.name} {why}; the simulation stepped on")
        self._network.take(self._network.world.step(self._network.now) or [])
        return None

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell(self, who: str, text: str, kind: str = "") -> None:
        if kind:
            self._kinds[kind] += 1
            if self._kinds[kind] > LINES_OF_A_KIND:
                return
        self._lines.append(Line(self._network.now, who, text))

    def _close_phase(self) -> None:
        """Count what was left out."""
        for kind, number in self._kinds.items():
            if number > LINES_OF_A_KIND:
                who, _, what = kind.rpartition(": ")
                self._lines.append(Line(self._network.now, who, f"… {number - LINES_OF_A_KIND} more {what}"))
        self._kinds.clear()

    def _hear(self, told: Told) -> None:
        session, event = told.session, told.event
        self._records += 1
        self._judge.hear(told, self._records)
        match event:
            case PhaseEntered():
                self._enter(event)
            case Listening(is_open, _):
                self._struck |= {rule.id for rule in self._network.world.active_rules if _is_of_listener(rule)}
                self._tell("fault", "new connections are accepted again" if is_open else "new connections are refused")
            case _ if session is not None:
                self._hear_connection(session, event)
            case _:
                pass

    def _hear_connection(self, session: Session, event: Event) -> None:
        name = f"connection {session.connection}" if session.connection else f"attempt {session.number}"
        match event:
            case Struck(rule, fault, side, message):
                self._struck.add(rule)
                what = "bytes" if message is None else f"message {message}"
                where = name if side is None else f"{what} from the {Side(side).label} on {name}"
                self._tell("fault", f"{fault} strikes {where}", f"fault: strikes of {fault}")
            case Healed(_, fault):
                self._tell("fault", f"{fault} ends on {name}", f"fault: ends of {fault}")
            case Suppressed(_, fault, reason):
                self._tell("fault", f"{fault or 'a change'} can't act on {name}: {reason}", f"fault: hindered {fault}")
            case _:
                pass

    def _enter(self, event: PhaseEntered) -> None:
        self._close_phase()
        phase = next((each for each in self._profile.phases if each.name == event.phase), None)
        if phase is None:
            self._tell("timeline", f"it is over ({event.reason}): no rules from here on")
            return
        self._entered.add(phase.name)
        self._note_rules(phase)
        rules = ", ".join(rule.fault.name for rule in self._profile.bound_rules(phase)) or "no rules"
        self._tell("timeline", f"phase {phase.name} begins ({event.reason}), {_end_of_phase(phase)}: {rules}")

    # -- findings -----------------------------------------------------------------------------------------------------

    def _note_rules(self, phase: Phase | None) -> None:
        for rule in self._profile.bound_rules(phase):
            self._in_force.setdefault(rule.id, (rule, phase.name if phase and rule.id not in self._in_force else ""))

    def _findings(self) -> Iterator[str]:
        for phase in self._profile.phases:
            if phase.name not in self._entered:
                yield f"phase {phase.name} was never entered"
        for rule_id, (rule, name) in self._in_force.items():
            if rule_id not in self._struck:
                where = f" (phase {name})" if name else ""
                yield f"{rule.fault.name}{where} never struck: {_why_not(rule)}"
        yield from (f"{failure}" for failure in self._network.world.timeline.failures)
        if self._network.refused:
            yield f"{self._network.refused} attempts were refused by the closed listener"
        if len(self._clients) > CLIENTS_SHOWN:
            yield f"of {len(self._clients)} clients the first {CLIENTS_SHOWN} are shown"


def _channels(profile: Profile) -> tuple[str, ...]:
    """What the modelled client subscribes to: some of each kind, and those that the profile names."""
    named = [phase.until.subscribed for phase in profile.phases if phase.until]
    channels = [channel for each in named if isinstance(each, list) for channel in each]
    channels += [rule.when.channel for rule in profile.every_rule() if rule.when.channel]
    return tuple(dict.fromkeys([*CHANNELS, *(channel for channel in channels if not set(channel) & set("*?"))]))


def _is_of_listener(rule: BoundRule) -> bool:
    return Moment.LISTEN in rule.fault.moments


def _end_of(client: Client) -> ClientEnd:
    subscribed = tuple(client.subscribed)
    return ClientEnd(client.name, client.state, client.attempts, client.losses, client.heard, subscribed)


def _end_of_phase(phase: Phase) -> str:
    if phase.lasts is not None:
        return f"for {format_duration(phase.lasts)}"
    if phase.until is None:
        return "for ever"
    condition = phase.until.condition
    wanted = getattr(phase.until, condition)
    what = "a step by hand" if condition == "step" else f"{condition} {wanted}"
    within = f", {format_duration(phase.until.within)} at most" if phase.until.within is not None else ""
    return f"until {what}{within}"


def _why_not(rule: BoundRule) -> str:
    if given := rule.when.given(*type(rule.when).model_fields):
        return f"nothing met its when: ({', '.join(given)})"
    return "it had nothing to slow down" if rule.fault.is_pacing else "what it acts on did not come"
