"""The verb `sweep`: how a client takes each ending of its connection. A fresh proxy and a fresh command for each."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Sequence
from tempfile import TemporaryFile
from time import monotonic_ns
from typing import IO, Any, NamedTuple, Protocol

import click

from ..certificates import CertificateTrouble
from ..problems import escape, show
from ..profile import EMPTY, Profile
from ..proxy import LOOPBACK, Proxy
from ..security import Security
from ..sockets import Upstream
from ..sweep.cases import Case, Stage, cases, parse_only
from ..sweep.report import Finding, as_json, lines
from ..sweep.watch import Calm, Kind, Watch
from ..units import SECOND
from ..world import Options, Told
from .options import DURATION, ENVIRONMENT, URL, Reader, loop_factory, option, server_options
from .place import Place, Variable, env_option, environment
from .premises import Fence, Say, check_upstream
from .process import Command, unless_interrupted, wait_at_most
from .secure import TlsOptions, host_header, make_security, tls_options, warnings
from .terminal import echo, say, silent
from .trouble import ExitCode, Trouble

JOBS = 8
GRACE_S = 1.0  # for a command that is asked to end
_TAIL_LINES = 12
_TAIL_BYTES = 4096
_ONLY = Reader("choice", parse_only)


@click.command("sweep", epilog=ENVIRONMENT, context_settings={"allow_interspersed_args": False})
@option("--upstream", type=URL, metavar="URL", required=True, help="The server: ws:// or wss://HOST:PORT.")
@server_options
@env_option(has_control=False)
@option("--protocol", type=click.Choice(["pusher"]), help="What is spoken: open is then established.")
@option(
    "--only",
    type=_ONLY,
    default=(),
    metavar="LIST",
    help="Such as fin,rst,none,1000-1015,4200; with handshake or mid, only there.",
)
@option("--watch", type=DURATION, default="6s", show_default=True, help="How long to wait for an attempt.")
@option("--start", type=DURATION, default="15s", show_default=True, help="How long the command may take to connect.")
@option("--jobs", type=click.IntRange(1, 64), default=JOBS, show_default=True, help="Commands at a time.")
@option("--json", "json_file", metavar="FILE|-", help="Write all of it as JSON; to stdout in place of the table.")
@option("--quiet", "-q", is_flag=True, help="Say nothing but the table, and errors.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def sweep(**given: Any) -> int:
    """Try every way a connection can end on a client, and tell what it does.

    COMMAND is a client of yours. It finds the proxy by CHAOSPROXY_URL, CHAOSPROXY_HOST and CHAOSPROXY_PORT, is started
    afresh for each ending (FIN, RST, no status, every close code; in the handshake and in mid-connection), and is ended
    once it is back, or when the time to watch is over.

    Exit codes: 0 all was tried, 1 the client did not connect, 2 usage, 3 server unreachable.
    """
    upstream, command = given["upstream"], given["command"]
    if not command:
        raise click.UsageError(
            f"which client? For example: chaosproxy sweep --upstream {upstream} -- node client.js, "
            "where client.js connects to CHAOSPROXY_URL"
        )
    if upstream.is_opaque:
        raise click.UsageError("sweep ends WebSocket connections, and tcp:// carries none; write ws://HOST:PORT")
    for name in ("watch", "start"):
        if not given[name]:
            raise click.UsageError(f"--{name} must be longer than 0s")
    chosen = cases(given["protocol"], given["only"])
    if not chosen:
        raise click.UsageError("--only leaves nothing to try")
    settings = Settings(
        upstream=upstream,
        tls=tls_options(given, upstream),
        options=Options(dials_per_second_max=given["dials_per_second"], host=host_header(given["host"], upstream)),
        owns_server=given["i_own_this_server"],
        protocol=given["protocol"],
        command=command,
        variables=given["variables"],
        patience=int(given["start"] * SECOND),
        span=int(given["watch"] * SECOND),
        jobs=given["jobs"],
        json_file=given["json_file"],
        say=silent if given["quiet"] else say,
    )
    environment(Place.of(LOOPBACK), settings.variables)  # what can't be filled in is told before anything runs
    with asyncio.Runner(loop_factory=loop_factory(given["loop"])) as runner:
        return runner.run(unless_interrupted(_sweep(settings, chosen)))


class Settings(NamedTuple):
    """All that a sweep is told."""

    upstream: Upstream
    tls: TlsOptions
    options: Options
    owns_server: bool
    protocol: str | None
    command: tuple[str, ...]
    variables: tuple[Variable, ...]
    patience: int
    span: int
    jobs: int
    json_file: str | None
    say: Say


class _Watching(Protocol):
    """What Calm and Watch have in common."""

    def tell(self, told: Told) -> None: ...
    def exited(self, code: int, now: int) -> None: ...
    @property
    def deadline(self) -> int: ...
    def is_over(self, now: int) -> bool: ...


async def _sweep(settings: Settings, chosen: Sequence[Case]) -> int:
    fence = await Fence.around(settings.upstream.address, settings.owns_server)
    fence.check_cap(settings.options.dials_per_second_max)
    try:
        security = await asyncio.to_thread(make_security, settings.tls, settings.upstream, LOOPBACK, EMPTY)
    except CertificateTrouble as trouble:
        raise Trouble(str(trouble), ExitCode.USAGE) from None
    for warning in warnings(settings.tls, settings.upstream, security):
        settings.say(warning)
    await asyncio.to_thread(check_upstream, settings.upstream, security.upstream)
    with _opened(settings.json_file) as file:
        stage = _Stage(settings, security)
        calm = await stage.see_calm()
        findings = await stage.play_all(chosen, calm)
        json.dump(_document(settings, calm, findings), file, indent=2, ensure_ascii=False)
        file.write("\n")
    if settings.json_file != "-":
        for line in lines(findings, settings.span):
            echo(line)
    kinds = {finding.reaction.kind for finding in findings}
    if Kind.GIVES_UP in kinds:
        settings.say("")
        settings.say(
            f"A client that pauses for more than {settings.span / SECOND:g} s looks as if it gave up: see --watch."
        )
    return ExitCode.FAILED if Kind.NEVER in kinds else ExitCode.OK


class _Stage:
    """Runs a proxy and a command, as often as it takes."""

    def __init__(self, settings: Settings, security: Security) -> None:
        self._settings = settings
        self._security = security

    async def see_calm(self) -> Calm:
        """Let the client connect, and do nothing to it. Raise Trouble where it does not."""
        settings = self._settings
        calm = Calm(monotonic_ns(), settings.patience, settings.protocol is not None)
        with TemporaryFile() as output:
            await self._run(_profile(settings.protocol), calm, output)
            if not calm.trouble:
                return calm
            told = _tail(output)
        words = [f"the client did not stay connected: {calm.trouble}"]
        if calm.trouble.endswith("made no attempt"):
            words += ["it must connect to $CHAOSPROXY_URL, or to $CHAOSPROXY_HOST and $CHAOSPROXY_PORT;"]
            words += ["--env WS_PORT={port} sets a variable of its own"]
        raise Trouble("\n  ".join([*words, *told]), ExitCode.FAILED)

    async def play_all(self, chosen: Sequence[Case], calm: Calm) -> list[Finding]:
        """Play all cases, some at a time. Of those that failed, tell why, and the command's last words."""
        findings: dict[Case, Finding] = {}
        failures: list[str] = []
        waiting = iter(chosen)
        own = f" of a client with {calm.live} connections" if calm.live > 1 else ""
        label = f"{len(chosen)} endings{own}, {min(self._settings.jobs, len(chosen))} at a time"

        async def work() -> None:
            for case in waiting:
                findings[case], told = await self._play(case, calm)
                failures.extend(told)
                progress.update(1)

        shown = io.StringIO() if self._settings.say is silent else sys.stderr
        with click.progressbar(length=len(chosen), label=label, file=shown, show_eta=False) as progress:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._settings.jobs):
                        group.create_task(work())
            except ExceptionGroup as several:  # one is enough to say
                raise several.exceptions[0] from None
        for line in failures:
            say(line)
        return [findings[case] for case in chosen]

    async def _play(self, case: Case, calm: Calm) -> tuple[Finding, list[str]]:
        """Play one case; what has to be said of it, if it failed."""
        settings = self._settings
        connections = max(1, calm.side_by_side) if case.stage is Stage.HANDSHAKE else calm.live
        watch = Watch(
            fault=case.way.value,
            firsts=connections,
            span=settings.span,
            now=monotonic_ns(),
            patience=settings.patience,
            needs_established=settings.protocol is not None,
        )
        with TemporaryFile() as output:
            await self._run(case.profile(settings.protocol, connections), watch, output)
            finding = Finding(case, watch.reaction)
            if finding.reaction.kind is not Kind.NEVER:
                return finding, []
            title = f"{case.label}, {case.stage.value}: never connected: {finding.reaction.detail}"
            return finding, [title, *_tail(output)]

    async def _run(self, profile: Profile, watching: _Watching, output: IO[bytes]) -> None:
        """Run the command behind a proxy of its own, until there is nothing more to see."""
        settings = self._settings
        moved = asyncio.Event()
        is_over = False

        def tell(told: Told) -> None:
            if not is_over:  # what comes of our own tidying up is no news
                watching.tell(told)
                moved.set()

        proxy = Proxy(settings.upstream, LOOPBACK, profile, settings.options, tell, self._security)
        try:
            await proxy.start()
            place = Place.of(proxy.address, "wss" if settings.tls.is_listening else "ws")
            variables = environment(place, settings.variables)
            async with Command(settings.command, variables, output, GRACE_S) as command:
                await _watch(watching, command, moved)
                is_over = True
        finally:
            is_over = True
            await proxy.abort()


async def _watch(watching: _Watching, command: Command, moved: asyncio.Event) -> None:
    """Wait until all has been seen. `moved` is set by whatever the proxy tells."""
    exiting = asyncio.ensure_future(command.wait())
    exiting.add_done_callback(lambda _: moved.set())
    try:
        while not watching.is_over(now := monotonic_ns()):
            await wait_at_most(moved, (watching.deadline - now) / SECOND)
            moved.clear()
            if command.exit_code is not None:
                watching.exited(command.exit_code, monotonic_ns())
    finally:
        exiting.cancel()


def _profile(protocol: str | None) -> Profile:
    return Profile.model_validate({"version": 1, "protocol": protocol})


def _tail(output: IO[bytes]) -> list[str]:
    """The last lines of what the command wrote."""
    size = os.fstat(output.fileno()).st_size
    written = os.pread(output.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace")
    told = [f"  | {escape(line)}" for line in written.splitlines()[-_TAIL_LINES:]]
    return told or ["  (it wrote nothing)"]


def _opened(path: str | None) -> IO[str]:
    """Where the JSON goes. It is opened first: a sweep of minutes must not end with a path that can't be written."""
    if path == "-" and sys.stdout is None:
        raise Trouble("the JSON can't be written to stdout, which is closed", ExitCode.USAGE)
    try:
        if path == "-":
            return open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False)
        return open(path or os.devnull, "w", encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Trouble(f"the JSON can't be written to {show(path or '')}: {reason}", ExitCode.USAGE) from None


def _document(settings: Settings, calm: Calm, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "upstream": str(settings.upstream),
        "protocol": settings.protocol,
        "command": settings.command,
        "watch_ms": settings.span // 1_000_000,
        "connections": calm.live,
        "cases": as_json(findings, settings.span),
    }
