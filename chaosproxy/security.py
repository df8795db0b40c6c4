"""The TLS of a proxy as values: what its listener shows to clients, and whom it trusts upstream.

Making these reads files and may make keys, so it is done before the proxy starts, off the loop.
"""

import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from .certificates import Authority, CertificateTrouble, development_authority, make_leaf
from .faults import Fault
from .faults.tls import Wrong
from .problems import show

WRONG_NAME = "wrong-name.invalid"  # RFC 6761, section 6.4: nobody's
_EXPIRED_AGO = timedelta(days=1)
_PROTOCOLS = ["http/1.1"]  # RFC 7301; WebSockets over HTTP/2 (RFC 8441) are not carried
_WILDCARDS = ("0.0.0.0", "::")


class Security(NamedTuple):
    """How a proxy speaks TLS, if it does."""

    listen: Mapping[str, ssl.SSLContext] = {}  # by what is wrong with the certificate; the good one's key is empty
    upstream: ssl.SSLContext | None = None
    ca: Path | None = None  # the development CA's certificate, where anything is signed by it

    def lacks(self, fault: Fault) -> str:
        """What a fault needs and can't have here, with the remedy; nothing if it can act."""
        if not fault.needs_tls:
            return ""
        if not self.listen:
            return f"{fault.name} needs TLS with the clients: start with --tls dev, or --tls-cert and --tls-key"
        if getattr(fault, "kind", "") not in self.listen:
            return (
                f"no bad certificates were made at the start: start with --tls dev, or with a profile of {fault.name}"
            )
        return ""


PLAIN = Security()


def trusting(ca: str | None, *, is_insecure: bool = False) -> ssl.SSLContext:
    """For the upstream: trust the system's CAs, or only those in a file; or verify nothing."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise CertificateTrouble(f"--upstream-ca {show(ca or '')} can't be used: {_words(error)}") from None
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return _of_ours(context)


def showing(certificate: str, key: str, bad_for: str | None = None) -> Security:
    """For clients: a given certificate. Bad ones, for the listener's host, only if wanted: the development CA's."""
    context = _server_context()
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CertificateTrouble(
            f"--tls-cert {show(certificate)} with --tls-key {show(key)} can't be used: {_words(error)}"
        ) from None
    if bad_for is None:
        return Security({"": context})
    authority = development_authority()
    return Security({"": context, **_bad(authority, _names(bad_for))}, ca=authority.path)


def developing(host: str) -> Security:
    """For clients: a certificate of the development CA, for this machine's names and the listener's host."""
    authority = development_authority()
    names = _names(host)
    return Security({"": _making(authority, names), **_bad(authority, names)}, ca=authority.path)


def _names(host: str) -> list[str]:
    return list(dict.fromkeys(["localhost", "127.0.0.1", "::1", *([] if host in _WILDCARDS else [host])]))


def _bad(authority: Authority, names: Sequence[str]) -> dict[str, ssl.SSLContext]:
    return {
        Wrong.EXPIRED.value: _making(authority, names, _EXPIRED_AGO),
        Wrong.WRONG_NAME.value: _making(authority, [WRONG_NAME]),
        Wrong.UNKNOWN_CA.value: _making(None, names),
    }


def _making(authority: Authority | None, names: Sequence[str], ended_ago: timedelta | None = None) -> ssl.SSLContext:
    context = _server_context()
    # ssl takes certificates from files only; this one is in memory, so that the key never comes to lie on a disk.
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(make_leaf(authority, names, ended_ago))
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _server_context() -> ssl.SSLContext:
    return _of_ours(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))


def _of_ours(context: ssl.SSLContext) -> ssl.SSLContext:
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_PROTOCOLS)
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; decrypt it first: openssl pkey -in KEY -out KEY")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return {"no certificate or crl found": "it holds no certificate", "pem lib": "a PEM file is damaged"}.get(
            reason, reason
        )
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
