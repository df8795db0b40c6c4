"""On what the sessions of `run` stand: its own server, or another that is the user's own as well."""

import asyncio

from ..addresses import parse_upstream
from ..certificates import CertificateTrouble
from ..control.orders import Refused
from ..control.rooms import DIALS_PER_SECOND_OF_OTHERS, Terms
from ..security import Security, trusting
from ..sockets import Upstream
from .premises import Fence, Settings
from .secure import host_header


class SessionGrounds:
    """The terms of sessions, by the options of `run`."""

    def __init__(self, settings: Settings, fence: Fence, security: Security) -> None:
        self._settings = settings
        self._fence = fence
        self._security = security

    async def __call__(self, upstream: str | None) -> Terms:
        """Look at the server that a session names. Raise ValueError where it names none, Refused where it must not."""
        given = self._settings
        named = given.upstream if upstream is None else parse_upstream(upstream)
        if named == given.upstream:
            return self._terms(named, self._fence, self._security)
        fence = await self._fence.around(named.address, given.owns_server)
        if not fence.is_own:
            raise Refused(
                403,
                f"{named.address.host} is not on this machine or a private network: to let sessions stand before a "
                "server other than that of `run`, start with --i-own-this-server if it is yours",
            )
        return self._terms(named, fence, await self._security_before(named))

    def _terms(self, upstream: Upstream, fence: Fence, security: Security) -> Terms:
        options = self._settings.options
        if options.host in ("", self._settings.upstream.authority):
            options = options._replace(host=host_header(None, upstream))
        if not fence.is_own:
            cap = min(options.dials_per_second_max or DIALS_PER_SECOND_OF_OTHERS, DIALS_PER_SECOND_OF_OTHERS)
            options = options._replace(dials_per_second_max=cap)
        return Terms(upstream, options, security, fence.refuses)

    async def _security_before(self, upstream: Upstream) -> Security:
        """The same toward clients; toward the server what it needs, with the CAs that `run` was told to trust."""
        if not upstream.is_tls:
            return self._security._replace(upstream=None)
        tls = self._settings.tls
        try:
            context = await asyncio.to_thread(trusting, tls.upstream_ca, is_insecure=tls.is_insecure)
        except CertificateTrouble as trouble:
            raise ValueError(str(trouble)) from None
        return self._security._replace(upstream=context)
