"""The options of TLS: what they say together, and the contexts made of them."""

from typing import Any, NamedTuple

import click

from ..addresses import is_loopback
from ..profile import Profile
from ..security import PLAIN, Security, developing, showing, trusting
from ..sockets import Address, Upstream


class TlsOptions(NamedTuple):
    """What the command line says of TLS."""

    is_developing: bool = False
    certificate: str | None = None
    key: str | None = None
    upstream_ca: str | None = None
    is_insecure: bool = False

    @property
    def is_listening(self) -> bool:
        """Whether clients speak TLS."""
        return self.is_developing or self.certificate is not None


def tls_options(given: dict[str, Any], upstream: Upstream) -> TlsOptions:
    """Read the options. Raise UsageError where they don't go together."""
    options = TlsOptions(
        given["tls"] == "dev", given["tls_cert"], given["tls_key"], given["upstream_ca"], given["upstream_insecure"]
    )
    if (options.certificate is None) != (options.key is None):
        missing = "--tls-key" if options.key is None else "--tls-cert"
        raise click.UsageError(f"--tls-cert and --tls-key go together; {missing} is missing")
    if options.is_developing and options.certificate is not None:
        raise click.UsageError("expected one of --tls dev and --tls-cert, got both")
    if options.upstream_ca is not None and options.is_insecure:
        raise click.UsageError("expected one of --upstream-ca and --upstream-insecure, got both")
    if (options.upstream_ca is not None or options.is_insecure) and not upstream.is_tls:
        option = "--upstream-insecure" if options.is_insecure else "--upstream-ca"
        raise click.UsageError(f"{option} is for upstreams that speak TLS; write wss://{upstream.address}")
    return options


def host_header(wanted: str | None, upstream: Upstream) -> str:
    """What requests shall name as Host toward the upstream; nothing to keep what the client names.

    Where nothing is wanted, a server that is not on this machine gets its own name: it may serve many.
    """
    if wanted is None:
        wanted = "keep" if is_loopback(upstream.address.host) else "upstream"
    return {"keep": "", "upstream": upstream.authority}.get(wanted, wanted)


def make_security(options: TlsOptions, upstream: Upstream, listen: Address, profile: Profile) -> Security:
    """Read the certificates, or make them. It may block. Raise CertificateTrouble where they can't be had."""
    security = PLAIN
    if options.is_developing:
        security = developing(listen.host)
    elif options.certificate is not None and options.key is not None:
        needs_bad = any(hasattr(rule.fault, "kind") and rule.fault.needs_tls for rule in profile.every_rule())
        security = showing(options.certificate, options.key, listen.host if needs_bad else None)
    if upstream.is_tls:
        security = security._replace(upstream=trusting(options.upstream_ca, is_insecure=options.is_insecure))
    return security


def warnings(options: TlsOptions, upstream: Upstream, security: Security) -> list[str]:
    """What should be known of these options."""
    lines: list[str] = []
    if options.is_insecure:
        lines.append(f"warning: the certificate of {upstream} is not verified (--upstream-insecure)")
    if options.certificate is not None and security.ca:
        lines.append(
            "warning: bad certificates are signed by the development CA: to a client that does not trust "
            f"{security.ca} each of them is one of an unknown CA"
        )
    return lines
