"""What the hub asks its server to do, as values."""

from collections.abc import Mapping
from typing import NamedTuple

from chaosproxy.demo.auth import App
from chaosproxy.demo.frames import Json


class Send(NamedTuple):
    socket_id: str
    text: str


class Close(NamedTuple):
    """Send a close frame with this code and, like soketi, no reason."""

    socket_id: str
    code: int


class Post(NamedTuple):
    """Tell the app's webhooks of this event."""

    app: App
    event: Mapping[str, Json]


Action = Send | Close | Post
