"""What must hold before a proxy starts: addresses that differ, a server that rules may harm, certificates."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ..addresses import Owner, another, leads_to, owner_of
from ..certificates import CertificateTrouble
from ..opaque import profile_misfits, words_of
from ..profile import Profile
from ..rule import Rule
from ..security import PLAIN, Security
from ..sockets import Address, Upstream
from ..wire.tls import FAILED, explain
from ..world import DIALS_PER_SECOND_MAX, MakeWorld, Options, World
from .narrate import CONTAINER_REMEDY
from .secure import TlsOptions, make_security, warnings
from .trouble import ExitCode, Trouble

CHECK_TIME_S = 5.0
LOOK_UP_TIME_S = 3.0


class Settings(NamedTuple):
    """All that a verb is told which puts a proxy before a server."""

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
    records_bytes: bool = False
    make_world: MakeWorld = World


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


async def prepare(settings: Settings, say: Say) -> tuple[Fence, Security]:
    """See that a proxy can start as it is to be, and say what to beware of. Raise Trouble where it can't."""
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
    if settings.records_bytes:
        say("warning: the journal gets every byte that clients and the server send, secrets too (--journal-bytes)")
    if settings.checks_upstream:
        await asyncio.to_thread(check_upstream, settings.upstream, security.upstream)
    return fence, security


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
            f"choose another: --listen {another(listen)}"
        )
    if control is None:
        return ""
    if leads_to(upstream, control):
        return (
            f"--control {control} and the upstream {upstream} are the same: clients would reach the control API; "
            f"choose another: --control {another(control)}"
        )
    if leads_to(control, listen) or leads_to(listen, control):
        return f"--listen and --control are the same, {listen}; choose another: --control {another(control)}"
    return ""


def check_upstream(upstream: Upstream, context: ssl.SSLContext | None) -> None:
    """Connect once, with TLS if it is spoken there. It blocks. Raise Trouble where it can't be reached."""
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
