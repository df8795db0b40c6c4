"""Faults that speak Pusher: what a server of that protocol says when it refuses, and what it promises.

Codes and shapes are those of soketi 1.6 and of Pusher Channels' own list; the wording is ours.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..effects import Close, Dismiss, Effect, Insert, Leg
from ..protocols.pusher import ERROR, ESTABLISHED, SUBSCRIBE, SUBSCRIPTION_ERROR, channel_of
from ..units import SECOND, Duration, Flag, Integer, expected
from ..wire.frames import FIN, Opcode, Shape
from ..wire.pointer import Number, Pointer, rewrite
from .base import OF_MESSAGES, Delivery, Dice, Fault, Hits, Moment
from .damage import Damage

MESSAGES: dict[int, str] = {
    4000: "Connect over TLS only.",
    4001: "There is no app of this key.",
    4003: "The app is disabled.",
    4004: "The app is over its quota of connections.",
    4005: "There is nothing at this path.",
    4006: "The protocol's version is malformed.",
    4007: "This version of the protocol is not supported.",
    4008: "No version of the protocol was named.",
    4009: "The connection is not authorized.",
    4100: "The app has all the connections it may have.",
    4200: "Please reconnect at once.",
    4201: "No pong came in time.",
    4202: "The connection was idle for too long.",
    4301: "The client event was rejected.",
    4302: "The server could not do this.",
}
_FAMILY = "pusher"
_ACTIVITY_TIMEOUT = Pointer("/data/activity_timeout", ("data", "activity_timeout"))


class PusherError(Fault):
    """Sends clients pusher:error with a code, then a close frame of that code, as soketi does.

    By the code's range pusher-js decides what to do: 4001 to 4099, and from 4300, never come back; 4000 over TLS only;
    4100 to 4199 after a second; 4200 to 4299 at once. New connections are accepted without the server, which never
    learns of them.
    """

    name: ClassVar = "pusher_error"
    family: ClassVar = _FAMILY
    moments: ClassVar = frozenset({Moment.PHASE, Moment.ASK, Moment.OPEN, Moment.MESSAGE})
    shorthand: ClassVar = "code"
    heals: ClassVar = "a connection stays closed; new ones open"
    acts_behind: ClassVar = True
    on_bytes_instead: ClassVar = "fin or reset"
    example: ClassVar = """\
protocol: pusher
phases:
  - name: healthy
    lasts: 10s
  - name: over-quota
    lasts: 30s
    rules:
      - pusher_error: {code: 4100, quota: 1}
        when: {path: "/app/*"}
"""

    code: Annotated[Integer, Field(ge=0, le=65535)]
    """The code in the message and in the close frame."""
    message: str | None = None
    """What the message says; where left out, what the code stands for."""
    close: Flag = True
    """Whether the close frame follows. Without it the message stands alone: an open connection goes on, and on a new
    one it comes before the server's first message."""
    as_text: Flag = False
    """Put the message's data into a string, as in other messages, in place of an object."""
    hits: Hits = Hits.LIVE
    """live connections, once, as the phase begins; new ones; or all."""
    quota: Annotated[Integer, Field(ge=0)] | None = None
    """Only new connections, and only while so many of those that `when:` takes are there already."""

    @model_validator(mode="after")
    def _quota_of_new_ones(self) -> "PusherError":
        if self.quota is not None and (not self.close or "hits" in self.model_fields_set):
            raise expected("neither hits: nor close: beside quota:, which refuses new connections")
        return self

    def unfit(self) -> Mapping[str, str] | None:
        return None if self.quota is None else dict.fromkeys(OF_MESSAGES, "quota: looks at connections only")

    @property
    def acts_at(self) -> frozenset[Moment]:
        return self.moments - {Moment.OPEN if self.close else Moment.ASK}

    @property
    def strikes(self) -> Hits:
        return self.hits if self.quota is None else Hits.NEW

    def effect(self) -> Effect:
        data: Any = {"code": self.code, "message": self.message or MESSAGES.get(self.code, "")}
        words = _text(ERROR, data=json.dumps(data) if self.as_text else data)
        if not self.close:
            return Insert(Leg.CLIENT, (Shape(FIN | Opcode.TEXT, words),))
        return Dismiss(words, Close(Leg.CLIENT, self.code, b"", after_held=False))


class SubscriptionError(Fault):
    """Answers pusher:subscribe by pusher:subscription_error in the server's place, which never gets it.

    pusher-js never asks again for that channel on the same connection.
    """

    name: ClassVar = "subscription_error"
    family: ClassVar = _FAMILY
    moments: ClassVar = frozenset({Moment.MESSAGE})
    shorthand: ClassVar = "status"
    heals: ClassVar = "later subscriptions reach the server; one that was refused is not made up for"
    is_loss: ClassVar = True
    may_miss: ClassVar = True
    protocol: ClassVar = "pusher"
    example: ClassVar = """\
protocol: pusher
rules:
  - subscription_error: 401
    when: {channel: "private-*"}
"""

    status: Annotated[Integer, Field(ge=100, le=9999)] = 401
    """What soketi says: 401 for a wrong signature, 4009 a malformed name, 4100 a full presence channel, 4301 limits."""
    type: Literal["AuthError", "LimitReached", "InvalidName", "ServerError"] = "AuthError"
    """The kind of error that it names."""
    error: str = "The connection is unauthorized."
    """What it says of the error."""

    def conditions(self) -> Mapping[str, Any]:
        return {"sender": "client", "event": SUBSCRIBE}

    def unfit(self) -> Mapping[str, str]:
        keys = ("sender", "opcode", "event")
        return dict.fromkeys(keys, f"{self.name} acts on {SUBSCRIBE} (channel: names the channel)")

    def apply(self, delivery: Delivery, dice: Dice) -> Sequence[Delivery]:
        return (delivery,) if self.reply(delivery) is None else ()

    def reply(self, delivery: Delivery) -> Effect | None:
        channel = channel_of(delivery.body or b"")
        if not channel:
            return None
        data = {"type": self.type, "error": self.error, "status": self.status}
        words = _text(SUBSCRIPTION_ERROR, channel=channel, data=data)
        return Insert(Leg.CLIENT, (Shape(FIN | Opcode.TEXT, words),))


class Heartbeat(Damage):
    """Rewrites the activity timeout that the server announces, so that clients ping, and notice a dead link, sooner.

    pusher-js takes the shorter of this and its own activityTimeout; its pongTimeout (30 s) is its own affair.
    """

    name: ClassVar = "heartbeat"
    family: ClassVar = _FAMILY
    shorthand: ClassVar = "timeout"
    protocol: ClassVar = "pusher"
    heals: ClassVar = "new connections are told the server's own; open ones keep what they were told"
    example: ClassVar = """\
protocol: pusher
rules:
  - heartbeat: 2s
"""

    timeout: Annotated[Duration, Field(ge=1)]
    """What the server seems to announce."""

    def conditions(self) -> Mapping[str, Any]:
        return {"sender": "server", "event": ESTABLISHED}

    def unfit(self) -> Mapping[str, str]:
        keys = ("sender", "opcode", "event", "channel")
        return dict.fromkeys(keys, f"{self.name} acts on {ESTABLISHED}, the server's first message")

    def damage(self, body: bytes, opcode: int, dice: Dice) -> bytes | None:
        seconds = Number(json.dumps(self.timeout / SECOND).removesuffix(".0"))
        return rewrite(body, {_ACTIVITY_TIMEOUT: seconds}, ())


def _text(event: str, **fields: Any) -> bytes:
    return json.dumps({"event": event, **fields}, separators=(",", ":"), ensure_ascii=False).encode()
