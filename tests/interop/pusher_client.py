"""A real pusher-js client, in Node or in a page of Chromium, and the story it tells, event by event.

An event is one JSON object. Each has `at`, in milliseconds since the client was made (PusherClient.now reads the same
clock), and `kind`; the other fields depend on the kind:

    started             monotonic_ms
    state               previous (None at first), current, socket_id (pusher-js keeps the last while not connected)
    error               type, code, message, and path: where the code was found ("error.data.code", "data.code" or None)
    connecting_in       seconds
    subscribed          channel, socket_id; members, a list of user ids, if it is a presence channel
    subscription_error  channel, type, error, status
    message             channel, event, data (member_added and member_removed are such events)
    triggered           channel, event, sent: whether pusher-js gave it to an open connection
    uncaught            error: what pusher-js threw into nobody's hands
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import chaosproxy.control
from tests.interop.browser import chromium_settings
from tests.interop.driver import Driver, Event
from tests.interop.processes import NODE_FOLDER
from tests.interop.soketi import APP, App

SCRIPT = Path(chaosproxy.control.__file__).parent / "chaosproxy.js"

SHORT_TIMERS = {"activityTimeout": 3000, "pongTimeout": 2000, "unavailableTimeout": 4000}

__all__ = ["CHROMIUM", "NODE", "RUNTIMES", "SHORT_TIMERS", "UNDICI", "Event", "PusherClient", "Runtime"]


class Runtime(NamedTuple):
    """Where pusher-js runs, and so whose WebSocket it has."""

    name: str
    command: tuple[str | Path, ...]
    settings: Callable[[], dict[str, object]] = dict


NODE = Runtime("node", ("node", NODE_FOLDER / "pusher_client.mjs"))  # faye-websocket, which pusher-js brings along
UNDICI = Runtime("undici", ("node", "--experimental-websocket", "--no-warnings", NODE_FOLDER / "pusher_client.mjs"))
CHROMIUM = Runtime("chromium", ("node", NODE_FOLDER / "browser_client.mjs"), chromium_settings)
RUNTIMES = (NODE, UNDICI, CHROMIUM)


class PusherClient(Driver):
    """A pusher-js client that connects to 127.0.0.1:`port` when the `with` block is entered, and disconnects after it.

    `options` go to pusher-js as they are; its timers there are milliseconds (activityTimeout, pongTimeout,
    unavailableTimeout). `user_id` is who it is on presence channels, `runtime` where it runs. `report` is what
    chaosproxy.js is told: the url under which it reports, and the client's name.
    """

    ready_kind = "state"

    def __init__(
        self,
        port: int,
        *,
        app: App = APP,
        channels: Iterable[str] = (),
        user_id: str = "ann",
        options: Mapping[str, object] | None = None,
        runtime: Runtime = NODE,
        report: Mapping[str, str] | None = None,
    ) -> None:
        settings = {
            "host": "127.0.0.1",
            "port": port,
            "key": app.key,
            "secret": app.secret,
            "channels": list(channels),
            "user": {"id": user_id, "info": {"name": user_id}},
            "options": dict(options or {}),
            "report": {"script": SCRIPT.as_uri(), **report} if report else None,
        }
        super().__init__(runtime.command, settings | runtime.settings())

    def states(self) -> list[str]:
        """Return the connection states so far, oldest first."""
        return [event["current"] for event in self.events if event["kind"] == "state"]

    def connect(self) -> None:
        self._command("connect")

    def disconnect(self) -> None:
        self._command("disconnect")

    def subscribe(self, channel: str) -> None:
        self._command("subscribe", channel=channel)

    def unsubscribe(self, channel: str) -> None:
        self._command("unsubscribe", channel=channel)

    def trigger(self, channel: str, event: str, data: object) -> None:
        """Send a client event: its name starts with "client-", its channel is a private or presence channel."""
        self._command("trigger", channel=channel, event=event, data=data)

    def leave(self) -> None:
        """Go to another page; only in a browser."""
        self._command("leave")

    def mark(self, name: str) -> None:
        """Set a mark, as an application does that loads chaosproxy.js."""
        self._command("mark", name=name)
