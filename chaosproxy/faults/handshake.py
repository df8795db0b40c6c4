"""Faults of opening: what a client meets when it connects."""

import re
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from ..effects import Effect, Heal, Hold, Leg, Mode, Reply, Silence, Spoil
from ..units import Integer, WireText, expected
from ..wire.flaws import Flaw
from ..wire.http import BODILESS, build_answer
from .base import Fault, Moment

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME = rf"^{_TOKEN}$"
_OFFER = re.compile(rf"{_TOKEN}(; ?{_TOKEN}(={_TOKEN})?)*")  # RFC 6455, section 9.1, without quoted values


class Refuse(Fault):
    """Refuses new connections: the listener is closed, a dial gets ECONNREFUSED. Live connections live on."""

    name: ClassVar = "refuse"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.LISTEN})
    heals: ClassVar = "the same port listens again"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: healthy
    lasts: 10s
  - name: down
    lasts: 20s
    rules:
      - refuse
      - reset
"""


class Reject(Fault):
    """Answers the upgrade request with an HTTP status of choice, then FIN; the server is not dialled."""

    name: ClassVar = "reject"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.ASK})
    shorthand: ClassVar = "status"
    heals: ClassVar = "new connections open"
    needs: ClassVar = "an upgrade request"
    on_bytes_instead: ClassVar = "refuse or reset: {at: accept}"
    acts_on_http: ClassVar = True
    example: ClassVar = """\
phases:
  - name: overloaded
    lasts: 30s
    rules:
      - reject: {status: 503, headers: {Retry-After: "5"}, body: "try again later"}
"""

    status: Annotated[Integer, Field(ge=200, le=999)]
    """The status of the answer, from 200 to 999, registered or not."""
    headers: dict[Annotated[str, Field(pattern=_NAME)], WireText] = Field(default_factory=dict)
    """Headers of the answer, such as Retry-After (429, 503), Location (301 to 308) or WWW-Authenticate (401)."""
    body: str = ""
    """Its body, as plain text unless a Content-Type says otherwise."""
    quota: Annotated[Integer, Field(ge=0)] | None = None
    """Only while so many connections of those that `when:` takes are there already."""

    @field_validator("headers")
    @classmethod
    def _latin_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        if any(not (name + value).isascii() for name, value in headers.items()):
            raise expected("headers in ASCII")
        return headers

    @model_validator(mode="after")
    def _body_can_be_sent(self) -> "Reject":
        if self.body and self.status in BODILESS:
            raise expected(
                f"no body beside {self.status}: such an answer ends with its head (take 200, or leave it out)"
            )
        return self

    def effect(self) -> Effect:
        return Reply(build_answer(self.status, tuple(self.headers.items()), self.body))


class Hang(Fault):
    """Accepts new connections and never answers them, nor dials the server for them."""

    name: ClassVar = "hang"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.ASK})
    acts_on_http: ClassVar = True
    heals: ClassVar = "new connections open; those that hang go on hanging until their client gives up"
    acts_on_bytes: ClassVar = True
    example: ClassVar = """\
phases:
  - name: stuck
    lasts: 30s
    rules:
      - hang
"""

    def effect(self) -> Effect:
        return Hold()


class BadAccept(Fault):
    """Spoils the server's 101 on its way to the client, which should refuse it; to the server, the connection is open.

    A client that goes on all the same can: everything else of the answer, and all behind it, passes as it came.
    """

    name: ClassVar = "bad_accept"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.ANSWER})
    shorthand: ClassVar = "kind"
    heals: ClassVar = "new connections open; one that is open stays as it is"
    needs: ClassVar = "an upgrade request"
    on_bytes_instead: ClassVar = "hang or half_open"
    example: ClassVar = """\
phases:
  - name: spoilt
    lasts: 30s
    rules:
      - bad_accept: subprotocol
"""

    kind: Flaw = Flaw.ACCEPT
    """accept (a wrong Sec-WebSocket-Accept of the right length), subprotocol or extension (one that was not offered),
    no_upgrade or no_connection (that header is missing), status (200 in place of 101)."""
    named: Annotated[str, Field(max_length=200)] = "x-chaos"
    """The subprotocol or extension that the server seems to choose; nothing is done where the client has offered it."""

    @model_validator(mode="after")
    def _names_what_can_be_chosen(self) -> "BadAccept":
        if self.kind not in (Flaw.SUBPROTOCOL, Flaw.EXTENSION):
            if "named" in self.model_fields_set:
                raise expected(f"no named: beside kind: {self.kind}; it goes with subprotocol and extension")
        elif not _OFFER.fullmatch(self.named) or (self.kind is Flaw.SUBPROTOCOL and ";" in self.named):
            raise expected(
                "a name as a header may hold it, such as graphql-ws, or permessage-deflate; x=1 (extensions)"
            )
        return self

    def effect(self) -> Effect:
        return Spoil(self.kind, self.named.encode())


class Silent(Fault):
    """Opens new connections, and from the 101 on sends nothing either way until it heals: no byte, FIN, RST or pong."""

    name: ClassVar = "silent"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.OPEN})
    shorthand: ClassVar = "heal"
    heals: ClassVar = "as `heal` says, on the same sockets; a FIN or RST that came meanwhile follows the held bytes"
    needs: ClassVar = "an upgrade request"
    on_bytes_instead: ClassVar = "hang or half_open"
    example: ClassVar = """\
phases:
  - name: mute
    lasts: 30s
    rules:
      - silent: {heal: reset}
"""

    mode: Mode = Mode.BLACKHOLE
    """blackhole reads what both peers send; freeze stops reading, so that their sending comes to a halt."""
    heal: Heal = Heal.FLUSH
    """flush delivers what was held (up to held_bytes_max, then reading stops); discard loses whole messages; reset ends
    the connection by RST."""

    @property
    def is_loss(self) -> bool:  # type: ignore[override]
        return self.heal is Heal.DISCARD

    def effect(self) -> Effect:
        return Silence(Leg.BOTH, self.mode, self.heal)
