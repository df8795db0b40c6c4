"""All connections of one proxy: their numbers, the timeline, the listener, `until` counters and the dial cap.

Pure: events and `now` in, (session, actions) pairs and one deadline out. The proxy performs them in order.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from .effects import Leg
from .events import (
    Accepted,
    Answered,
    Asked,
    Closed,
    DialDelayed,
    Established,
    Opened,
    Reported,
    Requested,
    Responded,
    Subscribed,
    Unsubscribed,
)
from .faults import Dice, Moment
from .in_force import Step, Told
from .lanes import Limits
from .legs import State
from .link import Link, rank
from .plain_rules import delays_of
from .profile import BoundRule, Profile
from .reading import reading_of
from .session import Session
from .steered import Steered
from .stream_session import StreamSession
from .tally import Totals
from .timeline import Standing
from .units import SECOND
from .wire.frames import SIDES
from .wire.http import Request, with_host

__all__ = ["DEFAULTS", "DIALS_PER_SECOND_MAX", "MakeWorld", "Options", "Step", "Told", "World", "can_act"]

DIALS_PER_SECOND_MAX = 200


class Options(NamedTuple):
    """What the command line says beside the profile."""

    seed: int | None = None
    dials_per_second_max: int = DIALS_PER_SECOND_MAX  # 0 for no cap
    frames_journalled: bool = False
    is_opaque: bool = False  # connections are streams of bytes (tcp://)
    host: str = ""  # what requests name as Host toward the upstream; empty for what the client named
    reads_messages: bool = False  # from the first byte on, for rules that are added later


DEFAULTS = Options()


class World(Steered):
    """Everything that is decided, for one proxy."""

    def __init__(self, profile: Profile, options: Options = DEFAULTS, now: int = 0) -> None:
        super().__init__(profile, profile.seed if options.seed is None else options.seed)
        self.options = options
        self.totals = Totals()
        self.started_at = now
        self._take_profile()
        self._attempts = 0
        self._connections: dict[str, int] = {}  # given so far, by client
        self._dials: deque[int] = deque()  # of the last second
        self._waiting: deque[Session] = deque()  # for the dial cap
        self._looked_at = 0  # so many of them, from the first on, have been told
        self._established: dict[int, str] = {}
        self._subscribed: dict[int, set[str]] = {}

    # -- time -------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        times = [self.timeline.deadline, self._blows.deadline]
        times += [live.expiry for live in self._live.values()]
        if self._waiting and self._dials:
            times.append(self._dials[0] + SECOND)
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: int) -> list[Step]:
        """Time has come to `deadline`."""
        for rule_id, live in list(self._live.items()):
            if live.expiry is not None and live.expiry <= now and rule_id in self._live:
                self._drop_live(rule_id, "expired", now)
        self._advance(now)
        self._strike_planned(now)
        self._dial_waiting(now)
        return self._take_steps()

    def launch(self, now: int) -> list[Step]:
        """The proxy runs."""
        self.started_at = now
        self._change_rules("start", now)
        if self.profile.starts == "launch":
            self._start(now)
        return self._take_steps()

    # -- connections ------------------------------------------------------------------------------------------------

    def accept(self, peer: str, now: int) -> Session:
        """A client has connected; the steps are to be taken by `settle`."""
        self._attempts += 1
        self.totals.attempts += 1
        kind = StreamSession if self.options.is_opaque else Session
        session = kind(self._attempts, self._limits, self._reading, self.tally, now)
        self.sessions[session.number] = session
        self._hush([session], now)
        session.peer = peer
        session.events.append(Accepted(peer))
        at_accept = [active for active in self._taking(session) if Moment.ACCEPT in active.rule.fault.acts_at]
        links = [self._link(active, session) for active in at_accept]
        for link in links:
            if link.acts_on_connections and link.hits_connection():
                session.links[link.rule.id] = link
                self.steps.append((session, session.strike(link, now)))
        if links:
            self.steps.append((session, session.greet(links, now)))
            session.links.update({link.rule.id: link for link in links if link.has_acted})
        if self.is_draining:
            self.steps.append((session, session.close(Leg.BOTH, 1001, "", now)))
        return session

    def settle(self, session: Session, now: int) -> list[Step]:
        """Hear what happened on a session, and decide what follows. Its own actions have been performed."""
        self._hear(session, now)
        if session.is_to_be_ruled:
            self._admit(session, now)
        elif session.awaits_ruling:
            self._rule_request(session, now)
        self._advance(now)
        if session.is_over and not session.events:
            self._forget(session, now)
        return self._take_steps()

    def report(self, client: str, state: str, detail: str, now: int) -> None:
        """A client told its own state."""
        self.told.append(Told(now, None, Reported(client, state, detail)))

    def drain(self, now: int) -> list[Step]:
        """Stop: no new connections, a close with 1001 to both peers of the others, RST to silent ones."""
        self.is_draining = True
        self._set_listener(False, "draining", now)
        for session in list(self.sessions.values()):
            self.steps.append((session, session.close(Leg.BOTH, 1001, "", now)))
        return self._take_steps()

    @property
    def standing(self) -> Standing:
        """What the conditions of `until` see now."""
        subscriptions = [channels for number, channels in self._subscribed.items() if channels and self._holds(number)]
        established = sum(1 for number in self._established if self._holds(number))
        channels = frozenset(channel for channels in subscriptions for channel in channels)
        return Standing(self._opened, self._closed, established, len(subscriptions), channels)

    @property
    def carrying(self) -> list[Session]:
        """The connections that carry something, or are on their way to it, by attempt."""
        return [session for session in self.sessions.values() if session.state not in (State.ENDING, State.OVER)]

    def socket_id(self, session: Session) -> str | None:
        """What a connection is called in its protocol's terms, once it is established there."""
        return self._established.get(session.number)

    def channels(self, session: Session) -> frozenset[str]:
        """The channels to which it is subscribed."""
        return frozenset(self._subscribed.get(session.number, ()))

    def _holds(self, number: int) -> bool:
        """Whether a connection still carries anything; one that is being ended does not."""
        session = self.sessions.get(number)
        return session is not None and session.state is State.TUNNEL

    def _reach_healed(self, among: Iterable[Session], now: int) -> None:
        for session in among:
            if session.is_to_dial and session not in self._waiting:
                self._reach(session, now)
        self._dial_waiting(now)

    def _take_profile(self) -> None:
        """Take from the profile what new connections begin with."""
        profile, options = self.profile, self.options
        self._reading = reading_of(profile, options.reads_messages, options.frames_journalled)
        self._limits = Limits(profile.held_bytes_max, profile.judged_bytes_max)

    def _read_content(self) -> None:
        self._reading = self._reading._replace(is_needed=True)

    def _read_anew(self, now: int) -> None:
        self._take_profile()
        for session in self._in_order():
            session.set_reading(self._reading, now)

    # -- hearing ----------------------------------------------------------------------------------------------------

    def _hear(self, session: Session, now: int) -> None:
        events, session.events[:] = session.events[:], []
        for event in events:
            self.told.append(Told(now, session, event))
            match event:
                case Opened():
                    self._opened += 1
                    self.totals.opened += 1
                    self.totals.count_outcome("opened")
                case Answered(101, "rule"):
                    session.was_answered = True
                    self.totals.count_outcome("dismissed")
                case Answered(status, by) if status != 101 and (by != "proxy" or status < 500):
                    session.was_answered = True
                    self.totals.count_outcome(f"refused_{status // 100}xx")
                case Responded(status):
                    self.totals.count_request(f"{status // 100}xx")
                case Established(socket_id):
                    self._established[session.number] = socket_id
                case Subscribed(channel):
                    self._subscribed.setdefault(session.number, set()).add(channel)
                case Unsubscribed(channel):
                    self._subscribed.get(session.number, set()).discard(channel)
                case Closed(by, how, code):
                    if session.opened_at is not None:
                        self._closed += 1
                        self.totals.count_close(by, how, code)
                    elif not session.was_answered and (session.connection or not session.requests):
                        self.totals.count_outcome("failed")
                    if session.is_unanswered:
                        self.totals.count_request("failed")
                case _:
                    pass

    def _forget(self, session: Session, now: int) -> None:
        if self.sessions.pop(session.number, None) is None:
            return
        self._let_go_of(session.number, now)
        self._established.pop(session.number, None)
        self._subscribed.pop(session.number, None)
        for side, direction in enumerate(session.directions):
            self.totals.bytes[side] += direction.splitter.bytes
            for opcode, count in enumerate(direction.splitter.frames):
                self.totals.frames[side][opcode] += count

    # -- admitting --------------------------------------------------------------------------------------------------

    def _admit(self, session: Session, now: int) -> None:
        if not session.connection:
            self._number(session, now)
            self.steps.append((session, session.delay_request(now)))
        if session.is_to_be_ruled:
            self._rule(session, now)
        self._hear(session, now)
        self._reach(session, now)

    def _number(self, session: Session, now: int) -> None:
        """A complete upgrade request has come."""
        request = session.request  # None where it is opaque
        self._start(now)
        client = self._identify(session)
        self._connections[client] = number = self._connections.get(client, 0) + 1
        self.totals.connections += 1
        mask = int(Dice(self.seed, ("mask", client, number)).throw() * 2**32).to_bytes(4, "big")
        session.admit(client, number, self._question(request), mask, now)
        if request is not None:
            self.told.append(Told(now, session, Asked(client, number, request.path, request.names)))
        acted = {link.rule.id: link for link in session.links.values() if link.fault.acts_at == {Moment.ACCEPT}}
        links = [acted.get(active.rule.id) or self._link(active, session) for active in self._taking(session)]
        links = [link for link in links if link.when.takes_connection(number, request)]
        session.set_links(links)

    def _rule(self, session: Session, now: int) -> None:
        """The request is through: rules may answer it, or keep it."""
        session.is_ruled = True
        for link in sorted(session.links.values(), key=lambda link: rank(link.fault)):
            if not (link.acts_on_asking and session.wants_dial) or self._has_room(link, session):
                continue
            if link.hits_connection():
                self.steps.append((session, session.strike(link, now)))

    def _has_room(self, link: Link, session: Session) -> bool:
        """Whether a rule with a quota lets one more connection of those that it takes pass."""
        room = link.fault.room
        if room is None:
            return False
        others = (other for other in self.sessions.values() if other is not session and other.is_admitted)
        return sum(1 for other in others if link.rule.id in other.links) < room

    def _rule_request(self, session: Session, now: int) -> None:
        """A plain request: it has no number, and what opens and closes does not concern it."""
        request = session.request
        assert request is not None
        client = self._identify(session)
        asked = Requested(client, request.method.decode(), request.path, request.names)
        self.told.append(Told(now, session, asked))
        self._relink_plain(session)
        links = self._plain.links(self._taking(session), client, request)
        session.rule(self._question(request), delays_of(links), now)
        silencers = [link for link in session.links.values() if link.acts_on_asking]
        for link in sorted([*links, *silencers], key=lambda link: rank(link.fault)):
            if link.fault.effect() is not None and session.wants_dial:
                self.steps.append((session, session.strike(link, now)))
        self._hear(session, now)
        self._reach(session, now)

    def _reach(self, session: Session, now: int) -> None:
        """Take a request to the upstream: by the leg there is, or by a dial in its turn."""
        if session.is_to_dial and session.has_upstream:
            self.steps.append((session, session.dial(now)))
        elif session.is_to_dial:
            self._waiting.append(session)
            self._dial_waiting(now)

    def _question(self, request: Request | None) -> bytes:
        """The request as the upstream gets it."""
        if request is None:
            return b""
        strips = self.profile.compression == "strip"
        question = request.without(b"sec-websocket-extensions") if strips else request.raw
        return with_host(question, self.options.host) if self.options.host else question

    def _identify(self, session: Session) -> str:
        identify = self.profile.identify
        return "" if identify is None else identify.client_of(session.request, session.peer)

    def _dial_waiting(self, now: int) -> None:
        cap = self.options.dials_per_second_max
        while self._dials and self._dials[0] + SECOND <= now:
            self._dials.popleft()
        while self._waiting and (not cap or len(self._dials) < cap):
            session = self._waiting.popleft()
            if session.is_to_dial:
                if cap:
                    self._dials.append(now)
                self.steps.append((session, session.dial(now)))
            self._looked_at = max(0, self._looked_at - 1)
        # Only the newcomers: those that wait may be thousands, and each that comes would look at them all.
        newcomers = len(self._waiting) - self._looked_at
        self._looked_at = len(self._waiting)
        for session in [*islice(reversed(self._waiting), newcomers)][::-1]:
            if not session.is_delayed:
                session.is_delayed = True
                self.totals.dials_delayed += 1
                self.told.append(Told(now, session, DialDelayed()))


def can_act(rule: BoundRule, session: Session) -> bool:
    """Whether a rule can read and change the messages of an open connection, as far as it needs to.

    Of a compressed stream it can't, where the stream was not followed from its first byte on.
    """
    link = session.links.get(rule.id)
    needs_content = rule.when.needs_content or rule.fault.is_loss
    if link is None or not needs_content or session.state is not State.TUNNEL:
        return True
    return all(session.directions[side].is_readable for side in SIDES if link.acts_on_messages(side))


MakeWorld = Callable[[Profile, Options, int], World]
