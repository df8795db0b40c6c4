"""Faults of the TLS handshake: what a client meets before it can ask for anything."""

from enum import StrEnum
from typing import ClassVar, Literal

from ..effects import Effect, HoldHandshake, Present
from .base import Fault, Moment


class Wrong(StrEnum):
    """What is wrong with a certificate."""

    EXPIRED = "expired"
    WRONG_NAME = "wrong_name"
    UNKNOWN_CA = "unknown_ca"


class _AtHandshake(Fault):
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.ACCEPT})
    at: ClassVar[Literal["accept"]] = "accept"
    needs_tls: ClassVar = True


class BadCertificate(_AtHandshake):
    """Shows new connections a certificate that is expired, for another name, or self-signed.

    Clients that verify give up in the TLS handshake. The listener needs TLS (`--tls dev` or `--tls-cert`). Those that
    are expired or for another name are signed by the development CA, and only clients that trust it can tell.
    """

    name: ClassVar = "bad_certificate"
    shorthand: ClassVar = "kind"
    heals: ClassVar = "new connections are shown the good certificate"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: expired
    lasts: 30s
    rules:
      - bad_certificate: expired
      - reset
"""

    kind: Wrong
    """expired (a day ago), wrong_name (for another host), or unknown_ca (self-signed)."""

    def effect(self) -> Effect:
        return Present(self.kind.value)


class TlsStall(_AtHandshake):
    """Accepts new connections and does not answer their TLS hello until it heals.

    The listener needs TLS (`--tls dev` or `--tls-cert`).
    """

    name: ClassVar = "tls_stall"
    heals: ClassVar = "the handshakes of those that still wait go on"
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: stalled
    lasts: 30s
    rules:
      - tls_stall
      - reset
"""

    def effect(self) -> Effect:
        return HoldHandshake()
