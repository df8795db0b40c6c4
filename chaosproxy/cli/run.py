"""The life of `chaosproxy run`: start, greet, narrate, drain on a signal, and the exit code that tells how it went."""

import asyncio
import errno
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from time import monotonic_ns
from typing import NamedTuple

from ..profile import Profile
from ..proxy import Address, Proxy
from ..world import Options, Told
from .addresses import Owner, owner_of
from .greeting import greeting, no_client_yet
from .narrate import CONTAINER_REMEDY, Narrator
from .port_holder import holder_of

NO_CLIENT_S = 10
CHECK_TIME_S = 5.0


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    PORT_BUSY = 4
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


class Trouble(Exception):
    """It can't go on: what to say, and the exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class Settings(NamedTuple):
    """All that `run` is told."""

    upstream: Address
    listen: Address
    profile: Profile
    options: Options
    control: Address | None
    control_hosts: tuple[str, ...]
    token: str | None
    journal: str | None
    grace_s: float
    checks_upstream: bool
    owns_server: bool
    is_verbose: bool


Say = Callable[[str], None]


def fence(profile: Profile, upstream: Address, owns_server: bool) -> str:
    """Let rules that harm a server act on one's own only. Raise Trouble, or return a line of warning or nothing."""
    harmful = sorted({rule.fault.name for rule in profile.every_rule() if rule.fault.harms_server})
    if not harmful or owns_server:
        return ""
    owner = owner_of(upstream.host)
    if owner is Owner.LOOPBACK:
        return ""
    what = f"{', '.join(harmful)} can harm the server"
    if owner is Owner.PRIVATE:
        return f"warning: {what} at {upstream}, which counts as your own because its address is private"
    raise Trouble(
        f"{what}, and {upstream.host} is {owner.value}: add --i-own-this-server if it is yours", ExitCode.USAGE
    )


async def run(settings: Settings, say: Say) -> int:
    """Run until a signal; return the exit code. Raise Trouble where it can't start."""
    signals = _Signals()
    signals.listen()
    if warning := fence(settings.profile, settings.upstream, settings.owns_server):
        say(warning)
    if settings.checks_upstream:
        await _check(settings.upstream)
    narrator = Narrator(settings.upstream, monotonic_ns(), settings.is_verbose)

    def narrate(told: Told) -> None:
        for line in narrator.tell(told):
            say(line)

    proxy = Proxy(settings.upstream, settings.listen, settings.profile, settings.options, narrate)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: say(_internal(context)))
    try:
        try:
            await proxy.start()
        except OSError as error:
            raise _port_trouble(error, settings.listen, "--listen") from None
        for line in greeting(settings.upstream, proxy.address, "none", settings.profile, proxy.world.seed):
            say(line)
        reminder = asyncio.get_running_loop().call_later(NO_CLIENT_S, _remind, proxy, say)
        await signals.first.wait()
        reminder.cancel()
        return await _drain(proxy, signals, settings.grace_s, say)
    finally:
        await proxy.abort()


class _Signals:
    """SIGTERM and SIGINT: the first asks to drain, the second to end at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.last = signal.SIGTERM

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note, number)

    def _note(self, number: signal.Signals) -> None:
        self.last = number
        (self.second if self.first.is_set() else self.first).set()


async def _drain(proxy: Proxy, signals: _Signals, grace_s: float, say: Say) -> int:
    """Tell all peers 1001 and wait for them; a second signal cuts that short."""
    if proxy.open_relays:
        say(f"draining {proxy.open_relays} connections, for at most {grace_s:g} s (a second signal ends them at once)")
    stopping = asyncio.ensure_future(proxy.stop(grace_s))
    hurrying = asyncio.ensure_future(signals.second.wait())
    await asyncio.wait({stopping, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    is_cut = not stopping.done()
    for task in (stopping, hurrying):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    say(_summary(proxy))
    return 128 + signals.last if is_cut else ExitCode.OK


def _summary(proxy: Proxy) -> str:
    totals = proxy.world.totals
    strikes = ", ".join(f"{fault} {count}" for fault, count in sorted(totals.strikes.items())) or "none"
    return f"{totals.attempts} attempts, {totals.opened} connections opened; faults struck: {strikes}"


def _remind(proxy: Proxy, say: Say) -> None:
    if not proxy.world.totals.attempts and proxy.world.is_listening:
        say(no_client_yet(proxy.upstream, proxy.address, NO_CLIENT_S))


async def _check(upstream: Address) -> None:
    try:
        async with asyncio.timeout(CHECK_TIME_S):
            _, writer = await asyncio.open_connection(*upstream)
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        message = f"the upstream {upstream} can't be reached: {reason.lower()}; {CONTAINER_REMEDY}"
        raise Trouble(message, ExitCode.UNREACHABLE) from None
    writer.transport.abort()


def _port_trouble(error: OSError, address: Address, option: str) -> Trouble:
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(address.port)
        by = f" by {holder}" if holder else ""
        message = (
            f"port {address.port} ({option}) is taken{by}; choose another: {option} {address.host}:{address.port + 10}"
        )
        return Trouble(message, ExitCode.PORT_BUSY)
    reason = error.strerror or str(error)
    return Trouble(f"can't listen on {address} ({option}): {reason.lower()}", ExitCode.USAGE)


def _internal(context: dict[str, object]) -> str:
    error = context.get("exception")
    lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
    return "internal error: " + str(context.get("message")) + "\n" + "".join(lines)
