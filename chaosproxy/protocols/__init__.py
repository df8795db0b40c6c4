"""The one list of protocols: what the messages of a connection mean, for matching and for observing."""

from .base import NOTHING, Meaning, Protocol
from .pusher import Pusher

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (Pusher(),)}

__all__ = ["NOTHING", "PROTOCOLS", "Meaning", "Protocol"]
