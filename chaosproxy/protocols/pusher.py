"""The Pusher protocol, version 7, as pusher-js 8 and soketi 1.6 speak it: JSON objects with `event`, `channel`, `data`
in text messages. `data` is often a JSON string inside the JSON. (A server's messages are far smaller than the bound on
what we parse: soketi's default is 100 KB.)
"""

import json
from hashlib import blake2b
from typing import Any

from ..events import Established, Observed, Subscribed, SubscriptionAsked, SubscriptionRefused, Unsubscribed
from ..wire.frames import Side
from ..wire.pointer import JSON_BYTES_MAX
from .base import NOTHING, Meaning

ESTABLISHED = "pusher:connection_established"
ERROR = "pusher:error"
SUBSCRIBE = "pusher:subscribe"
UNSUBSCRIBE = "pusher:unsubscribe"
SUBSCRIBED = "pusher_internal:subscription_succeeded"
SUBSCRIPTION_ERROR = "pusher:subscription_error"


class Pusher:
    """Events, channels, and the life of a connection: established with a socket_id, subscribed to channels."""

    name = "pusher"

    def read(self, side: Side, payload: bytes) -> Meaning:
        message = _message(payload)
        event, data = message.get("event"), _data(message)
        if not isinstance(event, str):
            return NOTHING
        channel = _channel(message, data)
        observed: Observed | None = None
        if side is Side.SERVER and event == ESTABLISHED and isinstance(data, dict):
            observed = Established(str(data.get("socket_id", "")))
        elif side is Side.SERVER and event == SUBSCRIBED and channel:
            observed = Subscribed(channel)
        elif side is Side.SERVER and event == SUBSCRIPTION_ERROR and channel:
            observed = SubscriptionRefused(channel)
        elif side is Side.CLIENT and event == SUBSCRIBE and channel:
            observed = SubscriptionAsked(channel, _auth_digest(data))
        elif side is Side.CLIENT and event == UNSUBSCRIBE and channel:
            observed = Unsubscribed(channel)
        code = data.get("code") if event == ERROR and isinstance(data, dict) else None
        return Meaning(event, channel, observed, code if type(code) is int else None)


def channel_of(payload: bytes) -> str:
    """The channel that a message names; empty where it names none."""
    message = _message(payload)
    return _channel(message, _data(message))


def _message(payload: bytes) -> dict[str, Any]:
    message = _json(payload) if len(payload) <= JSON_BYTES_MAX else None
    return message if isinstance(message, dict) else {}


def _channel(message: dict[str, Any], data: Any) -> str:
    channel = message.get("channel")
    if not isinstance(channel, str):
        # pusher:subscribe and pusher:unsubscribe name their channel inside the data.
        channel = data.get("channel") if isinstance(data, dict) else None
    return channel if isinstance(channel, str) else ""


def _auth_digest(data: Any) -> str:
    """Tells one auth value from another without giving it away."""
    auth = data.get("auth") if isinstance(data, dict) else None
    if not isinstance(auth, str) or not auth:  # pusher-js says "" for public channels
        return ""
    return blake2b(auth.encode("utf-8", "replace"), digest_size=4).hexdigest()


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _data(message: dict[str, Any]) -> Any:
    data = message.get("data")
    return _json(data) if isinstance(data, str) else data
