"""The TLS of one leg as a layer of its own: ciphertext goes in, plaintext and ciphertext come out.

It is pure although it imports ssl, the only one of the pure modules that does: a MemoryBIO knows no socket, and an
SSLObject no clock. asyncio's own TLS would end a connection at the first FIN and answer by itself; here nothing leaves
that is not taken, and each way ends on its own (RFC 8446, section 6.1).
"""

import ssl
from contextlib import suppress

FAILED = "TLS failed"
"""Stands in the reason why a dial came to nothing, where the upstream was reached and its TLS was to blame."""

_RECORD_TYPES_AT_FIRST = (0x15, 0x16)  # alert and handshake (RFC 8446, section 5.1)
_READ_SIZE = 256 * 1024
_INSECURE = "or do without verification by --upstream-insecure"
_NAME_ITS_CA = f"name its CA by --upstream-ca FILE, {_INSECURE}"
# X509_V_ERR_*, include/openssl/x509_vfy.h of OpenSSL
_UNTRUSTED = {
    9: ("its certificate is not valid yet", f"look at the clocks, {_INSECURE}"),
    10: ("its certificate has expired", f"renew it, {_INSECURE}"),
    18: ("its certificate is self-signed", _NAME_ITS_CA),
    19: ("its certificate is from a CA that is not known here", _NAME_ITS_CA),
    20: ("its certificate is from a CA that is not known here", _NAME_ITS_CA),
    21: ("its certificate is from a CA that is not known here", _NAME_ITS_CA),
    62: ("its certificate is for another name", f"dial the name that it is for, {_INSECURE}"),
    64: ("its certificate is for another address", f"dial the name that it is for, {_INSECURE}"),
}
_NO_TLS = "it does not speak TLS; is it ws:// in place of wss://?"
_WORDS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,  # the same, as OpenSSL 3.2 and later say it
    "UNEXPECTED_EOF_WHILE_READING": "it ended the connection during the handshake; is it ws:// in place of wss://?",
}


def begins_tls(data: bytes) -> bool:
    """Whether a peer that sends this first speaks TLS."""
    return data[0] in _RECORD_TYPES_AT_FIRST


class Channel:
    """The TLS of one leg. What it has to send is in `take`; errors are told by `error`, never raised."""

    def __init__(self, context: ssl.SSLContext, *, is_server: bool, name: str | None = None) -> None:
        self._inbound = ssl.MemoryBIO()
        self._outbound = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._inbound, self._outbound, server_side=is_server, server_hostname=name)
        self._has_received = False
        self.is_open = False  # the handshake is complete
        self.has_ended = False  # the peer has sent close_notify
        self.error = ""  # why nothing more can be received, in words; a remedy stands behind a semicolon

    @property
    def version(self) -> str:
        """The protocol's version, such as TLSv1.3, once the handshake is complete."""
        return self._tls.version() or ""

    def begin(self) -> None:
        """Say hello, as a client."""
        self.receive(b"")

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext in; give what it says. What follows from it for the handshake is in `take`."""
        if self.error or self.has_ended:
            return b""
        if data and not self._has_received:
            self._has_received = True
            if not begins_tls(data):
                self.error = _NO_TLS
                return b""
        self._inbound.write(data)
        parts: list[bytes] = []
        try:
            if not self.is_open:
                self._tls.do_handshake()
                self.is_open = True
            while part := self._tls.read(_READ_SIZE):
                parts.append(part)
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        except ssl.SSLError as error:
            self.error = explain(error)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seal(self, data: bytes) -> None:
        """Encrypt what is to be said. Before the handshake is complete nothing can be."""
        if not self.is_open or self.error:
            return
        rest = memoryview(data)
        while rest:  # one record at a time
            rest = rest[self._tls.write(rest) :]

    def notify(self) -> None:
        """Say close_notify: nothing more comes from us. The peer may still send."""
        if not self.is_open or self.error:
            return
        with suppress(ssl.SSLError):  # ours has been written; the peer's has yet to come
            self._tls.unwrap()

    def take(self) -> bytes:
        """Give the ciphertext that is to be sent, once."""
        return self._outbound.read()


def explain(error: ssl.SSLError) -> str:
    """What went wrong, for people, with a remedy if there is one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what, remedy = _UNTRUSTED.get(error.verify_code, (error.verify_message, _INSECURE.removeprefix("or ")))
        return f"{what}; {remedy}"
    reason = error.reason or str(error)
    if reason in _WORDS:
        return _WORDS[reason]
    _, is_alert, alert = reason.partition("ALERT_")
    if is_alert:
        return f"the peer says {alert.replace('_', ' ').lower()}"
    return reason.replace("_", " ").lower()
