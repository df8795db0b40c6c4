"""A client for tests that block: the `websockets` library's, which knows nothing of the code under test."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 10.0


@contextlib.contextmanager
def joined(url: str, *channels: str, **options: Any) -> Iterator[ClientConnection]:
    """A connection that is established and subscribed."""
    given: dict[str, Any] = {"proxy": None, "close_timeout": 1, "ping_interval": None, **options}
    with connect(f"{url}/app/app-key", **given) as client:
        hear(client, "pusher:connection_established")
        for channel in channels:
            client.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}}))
            hear(client, "pusher_internal:subscription_succeeded")
        yield client


def ask(client: ClientConnection) -> None:
    """Ask for a sign of life."""
    client.send(json.dumps({"event": "pusher:ping", "data": {}}))


def hear(client: ClientConnection, event: str) -> None:
    """Take the next message, which must be of this event."""
    assert json.loads(client.recv(timeout=PATIENCE_S))["event"] == event
