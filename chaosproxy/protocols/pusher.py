"""The Pusher protocol, version 7, as pusher-js 8 and soketi 1.6 speak it: JSON objects with `event`, `channel`, `data`
in text messages. `data` is often a JSON string inside the JSON. (A server's messages are far smaller than the bound on
what we parse: soketi's default is 100 KB.)
"""

import json
from typing import Any

from ..events import Established, Subscribed
from ..wire.frames import Side
from ..wire.pointer import JSON_BYTES_MAX
from .base import NOTHING, Meaning

ESTABLISHED = "pusher:connection_established"
SUBSCRIBED = "pusher_internal:subscription_succeeded"


class Pusher:
    """Events, channels, and the life of a connection: established with a socket_id, subscribed to channels."""

    name = "pusher"

    def read(self, side: Side, payload: bytes) -> Meaning:
        message = _json(payload) if len(payload) <= JSON_BYTES_MAX else None
        if not isinstance(message, dict):
            return NOTHING
        event, channel, data = message.get("event"), message.get("channel"), _data(message)
        if not isinstance(event, str):
            return NOTHING
        if not isinstance(channel, str):
            # pusher:subscribe and pusher:unsubscribe name their channel inside the data.
            channel = data.get("channel") if isinstance(data, dict) else None
        channel = channel if isinstance(channel, str) else ""
        observed: Established | Subscribed | None = None
        if side is Side.SERVER and event == ESTABLISHED and isinstance(data, dict):
            observed = Established(str(data.get("socket_id", "")))
        elif side is Side.SERVER and event == SUBSCRIBED and channel:
            observed = Subscribed(channel)
        return Meaning(event, channel, observed)


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _data(message: dict[str, Any]) -> Any:
    data = message.get("data")
    return _json(data) if isinstance(data, str) else data
