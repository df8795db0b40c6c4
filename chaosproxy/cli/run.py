"""The life of `chaosproxy run`: start, greet, narrate, drain on a signal, and the exit code that tells how it went."""

import asyncio
import errno
import os
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from secrets import token_urlsafe
from time import monotonic_ns
from typing import NamedTuple

from ..certificates import CertificateTrouble
from ..control import ControlServer
from ..journal import Sink, open_journal
from ..metrics import Metrics
from ..opaque import profile_misfits, words_of
from ..problems import show as shown
from ..profile import Profile
from ..proxy import Proxy
from ..rule import Rule
from ..security import PLAIN, Security
from ..sockets import Address, Upstream
from ..stage import Stage
from ..wire.tls import FAILED, explain
from ..world import DIALS_PER_SECOND_MAX, Options, Told
from .addresses import Owner, is_loopback, leads_to, owner_of, reachable
from .greeting import greeting, no_client_yet, trust
from .narrate import CONTAINER_REMEDY, Narrator
from .port_holder import holder_of
from .secure import TlsOptions, make_security, warnings
from .session_grounds import SessionGrounds
from .trouble import ExitCode, Trouble

NO_CLIENT_S = 10
CHECK_TIME_S = 5.0
LOOK_UP_TIME_S = 3.0


class Settings(NamedTuple):
    """All that `run` is told."""

    upstream: Upstream
    listen: Address
    profile: Profile
    options: Options
    tls: TlsOptions
    control: Address | None
    control_hosts: tuple[str, ...]
    token: str | None
    client_token: str | None
    journal: str | None
    grace_s: float
    checks_upstream: bool
    owns_server: bool
    is_verbose: bool


Say = Callable[[str], None]


class Fence:
    """Lets rules that harm a server act on one's own only, by the address it has."""

    def __init__(self, upstream: Address, owner: Owner) -> None:
        self._upstream = upstream
        self._owner = owner

    @classmethod
    async def around(cls, upstream: Address, owns_server: bool) -> "Fence":
        """Look the upstream up."""
        owner = Owner.UNKNOWN
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_UP_TIME_S):
                owner = Owner.LOOPBACK if owns_server else await asyncio.to_thread(owner_of, upstream.host)
        return cls(upstream, owner)

    @property
    def is_own(self) -> bool:
        """Whether the server counts as the user's own."""
        return self._owner in (Owner.LOOPBACK, Owner.PRIVATE)

    def refuses(self, rule: Rule) -> str | None:
        """Why a rule must not act here, if so."""
        if not rule.harms_server or self._owner in (Owner.LOOPBACK, Owner.PRIVATE):
            return None
        where = f"{self._upstream.host} is {self._owner.value}"
        remedy = "start with --i-own-this-server if it is yours"
        if rule.fault.harms_receiver:
            remedy += ", or act on its messages only: when: {from: server}"
        return f"{rule.fault.name} can harm the server, and {where}: {remedy}"

    def check(self, profile: Profile) -> str:
        """Raise Trouble where a rule of the profile is refused; return a line of warning, or nothing."""
        harmful = [rule for rule in profile.every_rule() if rule.harms_server]
        for rule in harmful:
            if refusal := self.refuses(rule):
                raise Trouble(refusal, ExitCode.USAGE)
        if not harmful or self._owner is not Owner.PRIVATE:
            return ""
        names = ", ".join(sorted({rule.fault.name for rule in harmful}))
        return f"warning: {names} can harm {self._upstream}, which counts as your own since its address is private"

    def check_cap(self, dials_per_second_max: int) -> None:
        """Raise Trouble where a server that may be somebody else's could be flooded with dials."""
        is_own = self._owner in (Owner.LOOPBACK, Owner.PRIVATE)
        if is_own or 0 < dials_per_second_max <= DIALS_PER_SECOND_MAX:
            return
        raise Trouble(
            f"--dials-per-second {dials_per_second_max} lets clients that reconnect at once flood the server, and "
            f"{self._upstream.host} is {self._owner.value}: start with --i-own-this-server if it is yours, or leave "
            f"the cap at {DIALS_PER_SECOND_MAX} or less",
            ExitCode.USAGE,
        )


async def run(settings: Settings, say: Say) -> int:
    """Run until a signal; return the exit code. Raise Trouble where it can't start."""
    signals = _Signals()
    signals.listen()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: say(_internal(context)))
    if loop := await asyncio.to_thread(_loop_in, settings):
        raise Trouble(loop, ExitCode.USAGE)
    if settings.upstream.is_opaque and (misfits := words_of(profile_misfits(settings.profile))):
        lines = [f"this profile can't be used with {settings.upstream}:", *misfits]
        raise Trouble("\n  ".join(lines), ExitCode.USAGE)
    fence = await Fence.around(settings.upstream.address, settings.owns_server)
    if warning := fence.check(settings.profile):
        say(warning)
    fence.check_cap(settings.options.dials_per_second_max)
    security = await _secure(settings)
    for warning in warnings(settings.tls, settings.upstream, security):
        say(warning)
    if settings.checks_upstream:
        await asyncio.to_thread(_check, settings.upstream, security.upstream)
    show = _Show(settings, fence, security, say)
    try:
        await show.start()
        reminder = asyncio.get_running_loop().call_later(NO_CLIENT_S, _remind, show, say)
        await signals.first.wait()
        reminder.cancel()
        return await _drain(show.proxy, signals, settings.grace_s, say)
    finally:
        await show.stop()


async def _secure(settings: Settings) -> Security:
    """Have the certificates, and see that every rule has what it needs of them."""
    for rule in settings.profile.every_rule():
        if not settings.tls.is_listening and (lack := PLAIN.lacks(rule.fault)):
            raise Trouble(lack, ExitCode.USAGE)
    try:
        return await asyncio.to_thread(
            make_security, settings.tls, settings.upstream, settings.listen, settings.profile
        )
    except CertificateTrouble as trouble:
        raise Trouble(str(trouble), ExitCode.USAGE) from None


def _loop_in(settings: Settings) -> str:
    """Say which two addresses must not be the same and are. Look names up only where ports are equal."""
    upstream, listen, control = settings.upstream.address, settings.listen, settings.control
    if leads_to(upstream, listen):
        return (
            f"--listen {listen} and the upstream {upstream} are the same: the proxy would call itself; "
            f"choose another: --listen {_another(listen)}"
        )
    if control is None:
        return ""
    if leads_to(upstream, control):
        return (
            f"--control {control} and the upstream {upstream} are the same: clients would reach the control API; "
            f"choose another: --control {_another(control)}"
        )
    if leads_to(control, listen) or leads_to(listen, control):
        return f"--listen and --control are the same, {listen}; choose another: --control {_another(control)}"
    return ""


def _another(address: Address) -> Address:
    return address._replace(port=address.port + 10 if address.port < 65_000 else address.port - 10)


class _Show:
    """The stage of `run`, with its metrics, control address and narrator."""

    def __init__(self, settings: Settings, fence: Fence, security: Security, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._narrator = Narrator(settings.upstream, monotonic_ns(), settings.is_verbose, self._has_message_rules)
        self._stage = Stage(
            settings.upstream,
            settings.listen,
            settings.profile,
            settings.options,
            security,
            is_judged=bool(settings.profile.expect),
            file=_open_journal(settings.journal) if settings.journal is not None else None,
            on_trouble=lambda problem: say(f"warning: {problem}"),
        )
        self.proxy = self._stage.proxy
        self._metrics = Metrics(self._stage.journal)
        self._metrics.watch(self.proxy, self._stage.clients)
        self._stage.listeners += [self._metrics.tell, self._narrate]
        self._control, self._token = self._make_control(fence)

    def _make_control(self, fence: Fence) -> tuple[ControlServer | None, str]:
        """The control server, and the token if we had to make one up."""
        address, token, made_up = self._settings.control, self._settings.token, ""
        if address is None:
            return None, ""
        if not token and not is_loopback(address.host):
            token = made_up = token_urlsafe(16)
        try:
            control = ControlServer(
                self._stage,
                self._metrics,
                address,
                self._settings.control_hosts,
                token,
                fence.refuses,
                self._settings.client_token,
                SessionGrounds(self._settings, fence, self.proxy.security),
            )
        except ValueError as problem:
            raise Trouble(str(problem), ExitCode.USAGE) from None
        return control, made_up

    @property
    def has_sessions(self) -> bool:
        """Whether a session is open, or was."""
        return self._control is not None and self._control.sessions.has_any

    async def start(self) -> None:
        """Bind both ports, then say where they are."""
        settings = self._settings
        try:
            await self._stage.start()
        except OSError as error:
            raise _port_trouble(error, settings.listen, "--listen") from None
        where, script = "none", ""
        if self._control and settings.control:
            try:
                await self._control.start()
            except OSError as error:
                raise _port_trouble(error, settings.control, "--control") from None
            where = f"http://{reachable(settings.control._replace(port=self._control.port))}"
            script = f"{where}{self._control.client_path}/chaosproxy.js"
            where += f", token {self._token}" if self._token else ""
        for line in greeting(
            settings.upstream, self.proxy.address, where, settings.profile, self.proxy.world.seed, settings.tls, script
        ):
            self._say(line)
        if settings.tls.is_developing and self.proxy.security.ca:
            for line in trust(self.proxy.security.ca):
                self._say(line)

    async def stop(self) -> None:
        await self._stage.stop()
        if self._control:
            await self._control.stop()

    def _has_message_rules(self) -> bool:
        return any(rule.acts_on_messages for rule in self.proxy.world.active_rules)

    def _narrate(self, told: Told) -> None:
        for line in self._narrator.tell(told):
            self._say(line)


def _open_journal(path: str) -> Sink:
    if path == "-":
        if sys.stdout is None:
            raise Trouble("the journal can't be written to stdout, which is closed", ExitCode.USAGE)
        return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
    try:
        return open_journal(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Trouble(f"the journal {shown(path)} can't be written: {reason}", ExitCode.USAGE) from None


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
    strikes = ", ".join(f"{fault} {count}" for fault, count in sorted(proxy.world.tally.strikes.items())) or "none"
    return f"{totals.attempts} attempts, {totals.opened} connections opened; faults struck: {strikes}"


def _remind(show: _Show, say: Say) -> None:
    proxy = show.proxy
    if show.has_sessions:
        return  # clients are to come to those
    if not proxy.world.totals.attempts and proxy.world.is_listening:
        is_opaque, is_tls = proxy.world.options.is_opaque, bool(proxy.security.listen)
        say(no_client_yet(proxy.upstream, proxy.address, NO_CLIENT_S, is_opaque=is_opaque, is_tls=is_tls))


def _check(upstream: Upstream, context: ssl.SSLContext | None) -> None:
    """Connect once, with TLS if it is spoken there. It blocks."""
    address = upstream.address
    try:
        with socket.create_connection(address, CHECK_TIME_S) as reached:
            if context:
                context.wrap_socket(reached, server_hostname=address.host).close()
    except ssl.SSLError as error:
        raise Trouble(f"the upstream {upstream}: {FAILED}: {explain(error)}", ExitCode.UNREACHABLE) from None
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        message = f"the upstream {address} can't be reached: {reason.lower()}; {CONTAINER_REMEDY}"
        raise Trouble(message, ExitCode.UNREACHABLE) from None


def _port_trouble(error: OSError, address: Address, option: str) -> Trouble:
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(address.port)
        by = f" by {holder}" if holder else ""
        message = f"port {address.port} ({option}) is taken{by}; choose another: {option} {_another(address)}"
        return Trouble(message, ExitCode.PORT_BUSY)
    # Of asyncio's errors, those of bind() have long words of their own; those of looking a name up have no errno's.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else error.strerror or str(error)
    remedy = {
        errno.EACCES: "; ports below 1024 need privileges, choose a higher one",
        errno.EADDRNOTAVAIL: "; it is not an address of this machine, 127.0.0.1 and 0.0.0.0 always are",
    }.get(number, "")
    return Trouble(f"can't listen on {address} ({option}): {reason.lower()}{remedy}", ExitCode.USAGE)


def _internal(context: dict[str, object]) -> str:
    error = context.get("exception")
    lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
    return "internal error: " + str(context.get("message")) + "\n" + "".join(lines)
