"""A proxy with all that listens to it: the journal, what is known of clients, the judge of a run."""

import json
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from time import monotonic_ns

from .carried import attempt_of
from .digest import Digester, RunDigest
from .events import ProfileChanged, TimelineReset
from .journal import RUN_ENDED, Journal, Record, Sink
from .meter import read_delays
from .observations import Json, tell_clients
from .observe import Clients
from .picture import Picture
from .profile import EMPTY, Profile
from .proxy import Proxy
from .recording import RecordedWorld
from .report import Judged
from .security import PLAIN, Security
from .sockets import LOOPBACK, Address, Upstream
from .verdict import Judge, Row, Verdict
from .world import DEFAULTS, MakeWorld, Options, Told, World

Listener = Callable[[Told], None]


class Stage:
    """One proxy and its listeners, each told of everything in the same order.

    `is_judged` keeps what a verdict needs, which grows with the run (up to a bound); `file` is where the journal is
    written, with all that peers say where `records_bytes` is set. What else wants to hear is added to `listeners`
    before `start`.
    """

    def __init__(
        self,
        upstream: Upstream | Address,
        listen: Address = LOOPBACK,
        profile: Profile = EMPTY,
        options: Options = DEFAULTS,
        security: Security = PLAIN,
        *,
        is_judged: bool = False,
        records_bytes: bool = False,
        make_world: MakeWorld = World,
        file: Sink | None = None,
        on_trouble: Callable[[str], None] = lambda problem: None,
    ) -> None:
        seed = profile.seed if options.seed is None else options.seed
        self.listeners: list[Listener] = []
        self._digester = Digester() if is_judged else None
        options = options._replace(is_opaque=isinstance(upstream, Upstream) and upstream.is_opaque)
        self.journal = Journal(
            profile,
            seed,
            file,
            options=options,
            on_trouble=on_trouble,
            on_record=self._record,
            clock=monotonic_ns,
            is_masked=not records_bytes,
        )
        self.picture = Picture(json.loads(self.journal.header), token_hex(8))
        if records_bytes:
            make_world = partial(RecordedWorld, write=self.journal.record)
        self.proxy = Proxy(upstream, listen, profile, options, self._tell, security, make_world)
        self.clients = Clients(has_protocol=self._reads_protocol(profile))
        self.judge = Judge(profile, self.journal.started_at) if is_judged else None
        self._began = 0  # when the last run began, of the time that the journal has

    async def start(self) -> None:
        """Listen, and launch the timeline. Raise OSError where the address can't be had."""
        await self.proxy.start()

    async def stop(self) -> None:
        """End everything at once. Call it even where `start` has failed."""
        await self.proxy.abort()
        if (delays := read_delays(self.proxy.world.tally))["count"]:
            self.journal.note("delays_told", None, **delays)
        if isinstance(self.proxy.world, RecordedWorld):
            self.proxy.world.finish()

    def verdict(self, *, is_over: bool = False) -> Verdict:
        """How the run stands, or how it has ended."""
        assert self.judge, "only a stage that is judged keeps what a verdict needs"
        return self.judge.verdict(self.note_end() if is_over else monotonic_ns(), is_over=is_over)

    def note_end(self) -> int:
        """Say in the journal that the run ends here: what follows is its aftermath. Return when that is."""
        now = monotonic_ns()
        self.journal.note(RUN_ENDED, now)
        return now

    def judged(self, rows: tuple[Row, ...], took: int) -> Judged:
        """The run up to now, with what its verdict says, for reports; `took` is all the time that the journal has."""
        world = self.proxy.world
        named = {seq for row in rows for seq in row.evidence}
        return Judged(
            profile=world.profile.name or "profile",
            seed=world.seed,
            took=took - self._began,
            digest=self.digest().whole,
            rows=rows,
            evidence={seq: text for seq in named if (text := self.journal.line(seq))},
            clients=self.observations(),
            picture=self.picture.since(0, self.journal.now),
            began=self._began,
        )

    def observations(self) -> list[Json]:
        """What clients did, as data."""
        assert self.judge, "only a stage that is judged keeps what is observed"
        return tell_clients(self.judge, monotonic_ns())

    def story(self) -> list[str]:
        """What is digested, line by line, to tell where two runs part."""
        assert self._digester, "only a stage that is judged is digested"
        return self._digester.lines()

    def digest(self) -> RunDigest:
        """The same for runs that went the same way."""
        assert self._digester, "only a stage that is judged is digested"
        return self._digester.digest()

    # -- another run ------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Heal what was added by hand, and play the profile anew, from before its start; connections live on."""
        self._restart(None, None)

    def play(self, profile: Profile, seed: int | None = None) -> None:
        """Play another profile in its place, from its beginning, with its own seed or this one."""
        self._restart(profile, seed)

    def _restart(self, profile: Profile | None, seed: int | None) -> None:
        # In two steps: what the end of the rules does to connections belongs to the run that they were part of.
        self.proxy.steer(lambda world, now: world.clear(now))
        self.proxy.steer(lambda world, now: world.play(now, profile, seed))

    def _begin_run(self, told: Told, seq: int) -> None:
        """Judge anew, with the connections that live on as if they had just come."""
        world = self.proxy.world
        self._began = told.at - self.journal.started_at
        self.clients.has_protocol = self._reads_protocol(world.profile)
        if self.judge or world.profile.expect:
            self.judge = Judge(world.profile, told.at)
            self.judge.history.take_over(attempt_of(world, session, seq) for session in world.carrying)
            self._digester = self._digester or Digester()

    def _reads_protocol(self, profile: Profile) -> bool:
        return profile.protocol is not None and not self.proxy.world.options.is_opaque

    def _record(self, record: Record) -> None:
        self.picture.hear(record)
        if self._digester:
            self._digester.hear(record)

    def _tell(self, told: Told) -> None:
        for each in (told, *self.clients.tell(told)):
            seq = self.journal.tell(each)
            if isinstance(each.event, ProfileChanged | TimelineReset):
                self._begin_run(each, seq)
            if self.judge:
                self.judge.hear(each, seq)
            for listener in self.listeners:
                listener(each)
