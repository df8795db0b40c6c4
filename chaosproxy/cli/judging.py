"""Runs that are judged: the proxy, the command behind it, and the verdict."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from time import monotonic_ns
from typing import NamedTuple

from ..digest import first_difference
from ..expectations import Outcome
from ..problems import show
from ..report import Judged
from ..stage import Stage
from ..units import SECOND
from ..verdict import Row, Verdict
from .place import Place, Variable, environment
from .premises import Say, Settings, check_upstream, prepare
from .process import Command, wait_at_most
from .reports import Reports
from .show import Show
from .terminal import say, silent
from .trouble import ExitCode, Trouble
from .voice import Plain, Quiet, Voice

LOOK_S = 0.1  # how often it is judged while it runs
LOOK_SHARE = 10  # so many times as long as a look the next one waits
PARTING_S = 0.5  # for what the command's sockets still have to say, once it has exited
UPSTREAM_PAUSE_S = 0.25


class Plan(NamedTuple):
    """All that is to be played."""

    settings: tuple[Settings, ...]  # one for each profile
    command: tuple[str, ...]
    variables: tuple[Variable, ...]
    repeat: int
    timeout_s: float
    command_stdout: int | None  # where what the command says goes, if not to our stdout
    stops_with_command: bool
    upstream_wait_s: float
    say: Say = say


async def play_all(plan: Plan, reports: Reports) -> int:
    """Play everything, one run after the other."""
    every: list[Judged] = []
    has_timed_out = False
    is_first = True
    for settings in plan.settings:
        fence, security = await prepare(settings, plan.say if is_first else silent)
        if is_first:
            await _await_upstream(plan, settings, security.upstream)
        is_first = False
        first: tuple[str, list[str]] | None = None
        for number in range(1, plan.repeat + 1):
            run = _Run(plan, settings, Show(settings, fence, security, _speaker(settings), is_judged=True))
            judged = await run.play(number if plan.repeat > 1 else 0)
            has_timed_out = has_timed_out or run.has_timed_out
            if first is None:
                first = judged.digest, run.story
            elif plan.repeat > 1:
                judged = judged._replace(rows=(*judged.rows, _same(first, (judged.digest, run.story))))
            reports.table(judged)
            every.append(reports.kept(judged))
    reports.write(every)
    if has_timed_out:
        return ExitCode.TIMED_OUT
    return ExitCode.OK if all(judged.has_passed for judged in every) else ExitCode.FAILED


def _same(first: tuple[str, list[str]], other: tuple[str, list[str]]) -> Row:
    """Whether a run went as the first one did."""
    if first[0] == other[0]:
        return Row("the same as run #1", "", Outcome.PASSED, f"digest {other[0]}")
    parted = first_difference(first[1], other[1]) or ("?", "?")
    return Row("the same as run #1", "", Outcome.FAILED, f"first: {parted[0]}; now: {parted[1]}")


async def _await_upstream(plan: Plan, settings: Settings, security: ssl.SSLContext | None) -> None:
    """Wait until the server can be reached. Raise Trouble where it can't in time."""
    deadline = asyncio.get_running_loop().time() + plan.upstream_wait_s
    has_said = False
    while True:
        try:
            return await asyncio.to_thread(check_upstream, settings.upstream, security)
        except Trouble as trouble:
            if asyncio.get_running_loop().time() + UPSTREAM_PAUSE_S > deadline:
                raise
            if not has_said:
                plan.say(f"waiting for {settings.upstream}: {trouble}")
                has_said = True
            await asyncio.sleep(UPSTREAM_PAUSE_S)


class _Run:
    """One run of a profile."""

    def __init__(self, plan: Plan, settings: Settings, show: Show) -> None:
        self._plan = plan
        self._settings = settings
        self._show = show
        self._stage: Stage = show.stage
        self._exited = asyncio.Event()
        self.has_timed_out = False
        self.story: list[str] = []

    async def play(self, number: int) -> Judged:
        """Play it to its end, and judge it."""
        rows: list[Row] = []
        began = monotonic_ns()
        try:
            await self._show.start()
            async with AsyncExitStack() as stack:
                command = None
                if self._plan.command:
                    command = await stack.enter_async_context(
                        Command(self._plan.command, self._environment(), stdout=self._plan.command_stdout)
                    )
                else:
                    self._plan.say(f"waiting for clients at {self._place.url}")
                verdict = await self._watch(command)
                rows += verdict.rows
                if command:
                    rows.append(self._judge_command(command))
                if self.has_timed_out:
                    limit = f"{self._plan.timeout_s:g} s"
                    rows.append(Row("in time", "", Outcome.FAILED, f"the run was not over after {limit} (--timeout)"))
            return self._judged(tuple(rows), monotonic_ns() - began, number)
        finally:
            await self._show.stop()

    @property
    def _place(self) -> Place:
        scheme = "tcp" if self._settings.upstream.is_opaque else "wss" if self._settings.tls.is_listening else "ws"
        return Place.of(self._show.proxy.address, scheme, self._show.control_url)

    def _environment(self) -> dict[str, str]:
        return environment(self._place, self._plan.variables)

    async def _watch(self, command: Command | None) -> Verdict:
        """Wait for the end of the run, and judge it."""
        exited = asyncio.ensure_future(command.wait()) if command else None
        if exited:
            exited.add_done_callback(lambda _: self._exited.set())
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                looked_at = monotonic_ns()
                while not await self._is_at_end(command):
                    self._exited.clear()
                    await wait_at_most(self._exited, pause_after(monotonic_ns() - looked_at))
                    looked_at = monotonic_ns()
        except TimeoutError:
            self.has_timed_out = not self._stage.verdict().is_finished
        finally:
            if exited:
                exited.cancel()
        return self._stage.verdict(is_over=True)

    async def _is_at_end(self, command: Command | None) -> bool:
        if command and command.exit_code is not None:
            await self._hear_out()
            return True
        if self._plan.stops_with_command:
            return False
        verdict = self._stage.verdict()
        is_settled = all(row.outcome is not Outcome.HOLDS for row in verdict.rows)
        has_end = bool(self._settings.profile.phases)
        return verdict.is_finished and (has_end or is_settled)

    async def _hear_out(self) -> None:
        """The command has exited: hear what its sockets have sent, and see them closed."""
        deadline = asyncio.get_running_loop().time() + PARTING_S
        while self._show.proxy.open_relays and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S / 5)

    def _judge_command(self, command: Command) -> Row:
        name = f"the command exits with 0 ({show(self._plan.command[0])})"
        if command.exit_code is None:
            by = "its time is up" if self.has_timed_out else "the timeline is over"
            outcome = Outcome.FAILED if self.has_timed_out else Outcome.PASSED
            return Row(name, "", outcome, f"it runs on, and is ended: {by}")
        outcome = Outcome.FAILED if command.exit_code else Outcome.PASSED
        return Row(name, "", outcome, f"exit code {command.exit_code}")

    def _judged(self, rows: tuple[Row, ...], took: int, number: int) -> Judged:
        self.story = self._stage.story()
        return self._stage.judged(rows, took)._replace(repeat=number)


def pause_after(took: int) -> float:
    """How long not to look, in seconds, when a look took so long: it holds up the traffic."""
    return max(LOOK_S, LOOK_SHARE * took / SECOND)


def _speaker(settings: Settings) -> Voice:
    return Plain() if settings.is_verbose else Quiet()
