"""A stage with all that people see of it: the greeting, metrics, the control address, a line for what happens."""

import asyncio
import errno
import sys
from secrets import token_urlsafe
from time import monotonic_ns

from ..addresses import is_loopback, reachable
from ..control import ControlServer
from ..journal import Sink, open_journal
from ..metrics import Metrics
from ..port_holder import why_not
from ..problems import show as shown
from ..proxy import Proxy
from ..security import Security
from ..sockets import Address
from ..stage import Stage
from ..world import Told
from .greeting import greeting, trust
from .narrate import Narrator
from .premises import Fence, Settings
from .session_grounds import SessionGrounds
from .trouble import ExitCode, Trouble
from .voice import Voice


class Show:
    """A stage as the command line sets it up."""

    def __init__(
        self, settings: Settings, fence: Fence, security: Security, voice: Voice, *, is_judged: bool = False
    ) -> None:
        self._settings = settings
        self._voice = voice
        self._narrator = Narrator(settings.upstream, monotonic_ns(), settings.is_verbose, self._has_message_rules)
        self.stage = Stage(
            settings.upstream,
            settings.listen,
            settings.profile,
            settings.options,
            security,
            is_judged=is_judged or bool(settings.profile.expect),
            records_bytes=settings.records_bytes,
            make_world=settings.make_world,
            file=_open_journal(settings.journal) if settings.journal is not None else None,
            on_trouble=lambda problem: voice(f"warning: {problem}"),
        )
        self.proxy = self.stage.proxy
        self._metrics = Metrics(self.stage.journal)
        self._metrics.watch(self.proxy, self.stage.clients, lambda: self.stage.judge)
        self.stage.listeners += [self._metrics.tell, self._narrate]
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
                self.stage,
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
        """Whether a session or another proxy is open, or was."""
        return self._control is not None and self._control.rooms.has_any

    @property
    def proxies(self) -> list[Proxy]:
        """Ours, and those that have been put up over the control API."""
        others = self._control.rooms if self._control else ()
        return [self.proxy, *(room.stage.proxy for room in others)]

    async def start(self) -> None:
        """Bind both ports. Raise Trouble where one can't be had."""
        settings = self._settings
        try:
            await self.stage.start()
        except OSError as error:
            raise _port_trouble(error, settings.listen, "--listen") from None
        if self._control and settings.control:
            try:
                await self._control.start()
            except OSError as error:
                raise _port_trouble(error, settings.control, "--control") from None

    @property
    def control_url(self) -> str:
        """Where the control API is, once started; nothing where there is none."""
        if not (self._control and self._settings.control):
            return ""
        return f"http://{reachable(self._settings.control._replace(port=self._control.port))}"

    def greet(self) -> None:
        """Say where everything is."""
        settings, where, script, page = self._settings, self.control_url or "none", "", ""
        if self._control and self.control_url:
            script = f"{where}{self._control.client_path}/chaosproxy.js"
            # A fragment is sent to nobody. Only a token that we made up is told: others are known to who set them.
            page = f"{where}/#token={self._token}" if self._token else f"{where}/"
            where += f", token {self._token}" if self._token else ""
        seed, ca = self.proxy.world.seed, self.proxy.security.ca if settings.tls.is_developing else None
        lines = greeting(
            settings.upstream, self.proxy.address, where, settings.profile, seed, settings.tls, script, page
        )
        facts = {
            "address": str(self.proxy.address),
            "upstream": str(settings.upstream),
            "control": self.control_url or None,
            "page": page or None,
            "token": self._token or None,
            "script": script or None,
            "profile": settings.profile.name or None,
            "digest": settings.profile.digest,
            "seed": seed,
            "ca": str(ca) if ca else None,
        }
        self._voice.greet([*lines, *(trust(ca) if ca else ())], facts)

    async def drain(self, grace_s: float) -> None:
        """Say goodbye to the clients of all proxies, and end what is left after the grace time."""
        await asyncio.gather(*(proxy.stop(grace_s) for proxy in self.proxies))

    async def stop(self) -> None:
        await self.stage.stop()
        if self._control:
            await self._control.stop()

    def _has_message_rules(self) -> bool:
        return any(rule.acts_on_messages for rule in self.proxy.world.active_rules)

    def _narrate(self, told: Told) -> None:
        for said in self._narrator.tell(told):
            self._voice.narrate(said)


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


def _port_trouble(error: OSError, address: Address, option: str) -> Trouble:
    code = ExitCode.PORT_BUSY if error.errno == errno.EADDRINUSE else ExitCode.USAGE
    return Trouble(why_not(error, address, option), code)
