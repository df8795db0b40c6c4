"""A proxy with all that listens to it: the journal, what is known of clients, the judge of a run."""

import json
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from time import monotonic_ns

from .digest import Digester, RunDigest
from .journal import RUN_ENDED, Journal, Record, Sink
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
            profile, seed, file, options=options, on_trouble=on_trouble, on_record=self._hear, clock=monotonic_ns
        )
        self.picture = Picture(json.loads(self.journal.header), token_hex(8))
        if records_bytes:
            make_world = partial(RecordedWorld, write=self.journal.record)
        self.proxy = Proxy(upstream, listen, profile, options, self._tell, security, make_world)
        is_read = profile.protocol is not None and not options.is_opaque
        self.clients = Clients(has_protocol=is_read)
        self.judge = Judge(profile, self.journal.started_at) if is_judged else None

    async def start(self) -> None:
        """Listen, and launch the timeline. Raise OSError where the address can't be had."""
        await self.proxy.start()

    async def stop(self) -> None:
        """End everything at once. Call it even where `start` has failed."""
        await self.proxy.abort()
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
        """The run up to now, with what its verdict says, for reports."""
        world = self.proxy.world
        named = {seq for row in rows for seq in row.evidence}
        return Judged(
            profile=world.profile.name or "profile",
            seed=world.seed,
            took=took,
            digest=self.digest().whole,
            rows=rows,
            evidence={seq: text for seq in named if (text := self.journal.line(seq))},
            clients=self.observations(),
            picture=self.picture.since(0, self.journal.now),
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

    def _hear(self, record: Record) -> None:
        self.picture.hear(record)
        if self._digester:
            self._digester.hear(record)

    def _tell(self, told: Told) -> None:
        for each in (told, *self.clients.tell(told)):
            seq = self.journal.tell(each)
            if self.judge:
                self.judge.hear(each, seq)
            for listener in self.listeners:
                listener(each)
