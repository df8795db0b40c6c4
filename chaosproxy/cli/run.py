"""The life of `chaosproxy run`: start, greet, narrate, drain on a signal, and the exit code that tells how it went."""

import asyncio
import gc
import signal
import traceback
from contextlib import nullcontext, suppress

from ..expectations.base import counted
from ..proxy import Proxy
from .greeting import no_client_yet
from .live import living, may_live
from .premises import Say, Settings, prepare
from .show import Show
from .trouble import ExitCode
from .voice import Plain, Voice

NO_CLIENT_S = 10


async def run(settings: Settings, say: Voice, *, is_live: bool = False) -> int:
    """Run until a signal; return the exit code. Raise Trouble where it can't start."""
    signals = _Signals()
    signals.listen()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: say(_internal(context)))
    fence, security = await prepare(settings, say)
    show = Show(settings, fence, security, say)
    try:
        await show.start()
        # What is there by now stays to the end. To look through it again and again would hold up clients.
        gc.collect()
        gc.freeze()
        show.greet()
        reminder = asyncio.get_running_loop().call_later(NO_CLIENT_S, _remind, show, say)
        with living(show.stage, say) if is_live and isinstance(say, Plain) and may_live(settings) else nullcontext():
            await signals.first.wait()
            reminder.cancel()
            show.stage.note_end()
            return await _drain(show, signals, settings.grace_s, say)
    finally:
        await show.stop()


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


async def _drain(show: Show, signals: _Signals, grace_s: float, say: Say) -> int:
    """Tell all peers 1001 and wait for them; a second signal cuts that short."""
    if count := sum(proxy.open_relays for proxy in show.proxies):
        say(f"draining {count} connections, for at most {grace_s:g} s (a second signal ends them at once)")
    stopping = asyncio.ensure_future(show.drain(grace_s))
    hurrying = asyncio.ensure_future(signals.second.wait())
    await asyncio.wait({stopping, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    is_cut = not stopping.done()
    for task in (stopping, hurrying):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    say(_summary(show.proxy))
    return 128 + signals.last if is_cut else ExitCode.OK


def _summary(proxy: Proxy) -> str:
    totals = proxy.world.totals
    strikes = ", ".join(f"{fault} {count}" for fault, count in sorted(proxy.world.tally.strikes.items())) or "none"
    attempts, opened = counted(totals.attempts, "attempt"), counted(totals.opened, "connection")
    return f"{attempts}, {opened} opened; faults struck: {strikes}"


def _remind(show: Show, say: Say) -> None:
    proxy = show.proxy
    if show.has_sessions:
        return  # clients are to come to those
    if not proxy.world.totals.attempts and proxy.world.is_listening:
        is_opaque, is_tls = proxy.world.options.is_opaque, bool(proxy.security.listen)
        say(no_client_yet(proxy.upstream, proxy.address, NO_CLIENT_S, is_opaque=is_opaque, is_tls=is_tls))


def _internal(context: dict[str, object]) -> str:
    error = context.get("exception")
    lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
    return "internal error: " + str(context.get("message")) + "\n" + "".join(lines)
