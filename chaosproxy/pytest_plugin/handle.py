"""What tests hold in their hands: the fixture `chaosproxy`.

One rule for tests that are coroutines: what steers or looks returns at once, there as elsewhere; what waits is awaited,
`await chaosproxy.aio.wait_for(…)`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..cli.place import environment
from ..events import ClientSaid, Event, Reported
from ..journal import Record
from ..problems import show
from ..session import Session
from ..verdict import Verdict
from ..world import Step, Told, World
from .connections import Connection, Decide, check_fit, choose, read_played
from .fault import Fault, bind_fault, check_chosen, check_fault, read_fault
from .running import Running, refuses
from .setting import Setting, read_upstream
from .thread import Complaint, LoopThread
from .waits import Waits

Result = TypeVar("Result")

NOT_STARTED = (
    "the proxy has no server to stand before: override the fixture chaosproxy_upstream to return its URL, call "
    "chaosproxy.start(upstream=…), or give --chaosproxy-upstream, CHAOSPROXY_UPSTREAM or the ini option "
    "chaosproxy_upstream"
)


class Aio:
    """What waits, to be awaited: other tasks of the test's loop go on meanwhile."""

    def __init__(self, thread: LoopThread, waits: Waits, chaos: "ChaosProxy") -> None:
        self.start = thread.awaited(chaos._start)
        self.wait_for = thread.awaited(waits.wait_for)
        self.wait_for_state = thread.awaited(waits.wait_for_state)
        self.wait_for_phase = thread.awaited(waits.wait_for_phase)
        self.check = thread.awaited(waits.check)


class ChaosProxy:
    """The proxy of one test, with a port, a journal and a verdict of its own."""

    def __init__(self, thread: LoopThread, setting: Setting, journal: Path) -> None:
        waits = Waits(self._get)
        self._thread = thread
        self._setting = setting
        self._path = journal
        self._running: Running | None = None
        self._marks = 0
        self.notes: list[str] = []
        self._is_concluded = False
        self._is_over = False
        self._has_faults_by_hand = False
        self.aio = Aio(thread, waits, self)
        self.start = thread.blocking(self._start)
        self.wait_for = thread.blocking(waits.wait_for)
        self.wait_for_state = thread.blocking(waits.wait_for_state)
        self.wait_for_phase = thread.blocking(waits.wait_for_phase)
        self.check = thread.blocking(waits.check)
        self._waits = waits

    # -- life -------------------------------------------------------------------------------------------------------

    async def _start(self, upstream: str) -> None:
        """Put the proxy before this server. Only where neither a fixture nor a marker has named one before."""
        if self._running:
            raise Complaint(f"the proxy stands before {self._running.upstream} already")
        self._running = await Running.start(self._setting, read_upstream(upstream), self._path, self.notes.append)

    def _get(self) -> Running:
        if self._running is None:
            raise Complaint(NOT_STARTED)
        return self._running

    def begin(self, upstream: Any) -> None:
        """Start where a server is known from the first. The fixture does so."""
        self._thread.run(self._start(upstream))

    def stop(self) -> None:
        """End every connection, and listen no more. The fixture does so at its end."""
        if self._running and not self._is_over:
            self._thread.run(self._running.stop())
        self._is_over = True
        if self._thread.troubles:
            troubles, self._thread.troubles = self._thread.troubles, []
            raise RuntimeError("chaosproxy itself has failed:\n" + "\n".join(troubles))

    def conclude(self) -> str:
        """Judge what the profile expects, now that the test is at its end: what to say where that is not so."""
        self._is_concluded = True
        if not (self._setting.is_judged and self._setting.profile.expect):
            return ""
        if self._running is None:
            return NOT_STARTED
        verdict = self._thread.run(self._waits.conclude())
        return "" if verdict.has_passed else self._look(lambda running: running.table(verdict))

    def story(self) -> list[str]:
        """What helps to understand a failure: the verdict as it stands, the last records, how to have it again."""
        if self._running is None:
            return []
        return self._look(self._story)

    def _story(self, running: Running) -> list[str]:
        profile = running.world.profile
        name, seed, digest = profile.name or "without a name", running.world.seed, running.stage.digest().whole
        told = [f"profile {name}, seed {seed}, digest {digest}, before {running.upstream}"]
        told += self.notes
        if profile.expect and not self._is_concluded:
            told.append(running.table(running.stage.verdict()))
        last = list(running.last_records())
        total = running.stage.journal.last
        told.append(f"the last {len(last)} of {total} records:" if total > len(last) else "all records:")
        told += [f"  {line}" for line in last]
        told.append(f"journal: {running.shown_path}")
        without = " (without the faults that the test added by hand)" if self._has_faults_by_hand else ""
        return [*told, f"look at it: {running.drawing_command}", f"strike anew: {running.command}{without}"]

    # -- where it is ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where clients connect: ws://HOST:PORT (or tcp://), to which they add their path."""
        return self._get().place.url

    @property
    def host(self) -> str:
        return self._get().place.host

    @property
    def port(self) -> int:
        return self._get().place.port

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a client that is a process: ours, and CHAOSPROXY_URL, CHAOSPROXY_HOST and CHAOSPROXY_PORT."""
        return environment(self._get().place)

    # -- steering: each returns once it is in force -----------------------------------------------------------------

    def fault(
        self,
        fault: str,
        /,
        *,
        when: Mapping[str, Any] | None = None,
        lasts: str | None = None,
        id: str | None = None,
        connections: Iterable[Connection] | None = None,
        **options: Any,
    ) -> Fault:
        """Put a fault in force, on live connections too, with its options and `when` as in a profile.

        With `connections` it acts on those only. It heals at the end of a `with` block, by `heal`, after `lasts`
        ("5s"), or with the test.
        """
        __tracebackhide__ = True
        chosen = None if connections is None else [each.attempt for each in connections]
        order = read_fault(fault, options, when, lasts, id, chosen)
        only = None if order.connections is None else frozenset(order.connections)

        def add(running: Running) -> Fault:
            check_fault(order.rule, running.stage.proxy, refuses(running))
            check_chosen(order.rule, only, running.world)
            taken = {rule.id for rule in running.world.live_rules}
            taken |= {rule.id for rule in running.world.profile.every_rule() if rule.id}
            rule = bind_fault(order.rule, taken)
            running.stage.proxy.steer(lambda world, now: world.add_rule(rule, order.lasts, now, only))
            self._has_faults_by_hand = True
            return Fault(rule, self._heal)

        return self._steer(add)

    def heal(self) -> None:
        """End all faults that `fault` has put in force."""
        self._heal(None)

    def _heal(self, rule_id: str | None) -> None:
        if not self._is_over:  # then nothing is in force any more
            self._steer(lambda running: running.stage.proxy.steer(lambda world, now: world.heal(rule_id, now)))

    def step(self, phase: str | None = None) -> str | None:
        """Go to the next phase of the profile, or to the one named, and return the name of the one that it is then."""
        __tracebackhide__ = True

        def step(running: Running) -> str | None:
            world = running.world
            known = [each.name for each in world.profile.phases]
            if phase is None and not known:
                raise Complaint("the profile has no phases to step through; fault(…) adds a fault by itself")
            if phase is None and world.timeline.is_over:
                raise Complaint("the last phase is over; to go back to one, name it: step(PHASE)")
            if phase is not None and phase not in known:
                raise Complaint(f"there is no phase {show(phase)}; there are: {', '.join(known) or 'none'}")
            running.stage.proxy.steer(lambda world, now: world.step(now, phase))
            return _phase(world)

        return self._steer(step)

    def pause(self) -> None:
        """Let neither time nor what happens end the phase; its rules act on, and `step` goes on."""
        self._steer(lambda running: running.stage.proxy.steer(lambda world, now: world.pause(now)))

    def resume(self) -> None:
        """Let the phase go on where it was paused."""
        self._steer(lambda running: running.stage.proxy.steer(lambda world, now: world.resume(now)))

    def reset(self) -> None:
        """Heal all faults, and play the profile anew, from before its start; connections live on."""
        self._steer(lambda running: running.stage.reset())

    def play(self, profile: str | Mapping[str, Any], seed: int | None = None) -> str | None:
        """Play another profile, a shipped one by its name or a whole one; return the name of the phase that it is."""
        __tracebackhide__ = True
        order = read_played(profile, seed)

        def play(running: Running) -> str | None:
            check_fit(order.profile, running)
            running.stage.play(order.profile, order.seed)
            return _phase(running.world)

        return self._steer(play)

    def connections(self, **conditions: Any) -> list[Connection]:
        """The connections for which all of the conditions hold: client, path, state, silent, older_than."""
        __tracebackhide__ = True
        return self._look(
            lambda running: [Connection(session, self._act) for session in choose(running.world, conditions)]
        )

    def freeze(self, *connections: Connection, lasts: str | None = None, **options: Any) -> Fault:
        """Let connections fall silent until that heals: half_open, which stops reading unless `mode` says otherwise."""
        __tracebackhide__ = True
        return self.fault("half_open", lasts=lasts, connections=connections, **{"mode": "freeze", **options})

    def _act(self, attempt: int, make: Callable[[Session], Decide]) -> None:
        __tracebackhide__ = True

        def act(running: Running) -> None:
            session = running.world.sessions.get(attempt)
            if session is None or session.is_over:
                raise Complaint(f"the connection of attempt {attempt} is over")
            running.stage.proxy.steer(make(session))

        self._steer(act)

    def report(self, state: str, *, client: str = "", detail: str = "") -> None:
        """Tell a client's state on its behalf, such as unavailable; `states:` and `wait_for_state` know it then."""
        self._tell(lambda now: Reported(client, state, detail))

    def mark(self, name: str, *, client: str = "") -> None:
        """Note that something has happened, such as banner-shown: `marked:` expects it."""
        self._marks += 1
        tail = (None, "", None, "", "pytest", self._marks)
        self._tell(lambda now: ClientSaid(client, "mark", name, *tail, client_ms=now / 1_000_000, is_late=False))

    def _tell(self, make: Callable[[int], Event]) -> None:
        """Have something told, as if the wire had shown it."""

        def tell(world: World, now: int) -> list[Step]:
            world.told.append(Told(now, None, make(now)))
            return []

        self._steer(lambda running: running.stage.proxy.steer(tell))

    def _steer(self, steer: Callable[[Running], Result]) -> Result:
        __tracebackhide__ = True
        if self._is_over:
            raise Complaint("the proxy has been stopped")
        return self._thread.call(lambda: steer(self._get()))

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str | None:
        """The phase's name; None before the first, after the last, and in a profile without phases."""
        return self._look(lambda running: _phase(running.world))

    @property
    def journal(self) -> list[Record]:
        """What has happened so far, record by record."""
        return self._look(lambda running: [json.loads(text) for text in running.every_record()])

    @property
    def digest(self) -> str:
        """The same for runs that went the same way."""
        return self._look(lambda running: running.stage.digest().whole)

    def verdict(self) -> Verdict:
        """How the run stands: rows, each passed, failed, open, or holding."""
        return self._look(lambda running: running.stage.verdict())

    def _look(self, look: Callable[[Running], Result]) -> Result:
        __tracebackhide__ = True
        if self._is_over:  # so nothing of it is in use any more, and the thread may have ended as well
            return look(self._get())
        return self._thread.call(lambda: look(self._get()))


def _phase(world: World) -> str | None:
    phase = world.timeline.phase
    return phase.name if phase else None
