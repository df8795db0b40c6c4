"""Faults of opening: what a client meets when it connects."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from ..events import Effect, Hold, Reply
from ..units import Integer, WireText, expected
from ..wire.http import build_answer
from .base import Fault, Moment

_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"


class Refuse(Fault):
    """Refuses new connections: the listener is closed, a dial gets ECONNREFUSED. Live connections live on."""

    name: ClassVar = "refuse"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.LISTEN})
    heals: ClassVar = "the same port listens again"
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
    acts_on_http: ClassVar = True
    example: ClassVar = """\
phases:
  - name: overloaded
    lasts: 30s
    rules:
      - reject: {status: 503, headers: {Retry-After: "5"}, body: "try again later"}
"""

    status: Annotated[Integer, Field(ge=200, le=599)]
    """The status of the answer, from 200 to 599."""
    headers: dict[Annotated[str, Field(pattern=_NAME)], WireText] = Field(default_factory=dict)
    """Headers of the answer."""
    body: str = ""
    """Its body, as plain text unless a Content-Type says otherwise."""

    @field_validator("headers")
    @classmethod
    def _latin_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        if any(not (name + value).isascii() for name, value in headers.items()):
            raise expected("headers in ASCII")
        return headers

    def effect(self) -> Effect:
        return Reply(build_answer(self.status, tuple(self.headers.items()), self.body))


class Hang(Fault):
    """Accepts new connections and never answers them, nor dials the server for them."""

    name: ClassVar = "hang"
    family: ClassVar = "opening"
    moments: ClassVar = frozenset({Moment.ASK})
    acts_on_http: ClassVar = True
    heals: ClassVar = "new connections open; those that hang go on hanging until their client gives up"
    example: ClassVar = """\
phases:
  - name: stuck
    lasts: 30s
    rules:
      - hang
"""

    def effect(self) -> Effect:
        return Hold()
