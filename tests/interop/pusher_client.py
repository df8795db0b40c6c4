"""A real pusher-js client, in Node, driven by node/pusher_client.mjs, and the story it tells, event by event.

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

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import chaosproxy.control
from tests.interop.processes import NODE_FOLDER
from tests.interop.soketi import APP, App

Event = dict[str, Any]
Wanted = str | Callable[[Event], bool]

SCRIPT = Path(chaosproxy.control.__file__).parent / "chaosproxy.js"
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10


class PusherClient:
    """A pusher-js client that connects to 127.0.0.1:`port` when the `with` block is entered, and disconnects after it.

    `options` go to pusher-js as they are; its timers there are milliseconds (activityTimeout, pongTimeout,
    unavailableTimeout). `user_id` is who it is on presence channels. `report` is what chaosproxy.js is told: the url
    under which it reports, and the client's name.
    """

    def __init__(
        self,
        port: int,
        *,
        app: App = APP,
        channels: Iterable[str] = (),
        user_id: str = "ann",
        options: Mapping[str, object] | None = None,
        report: Mapping[str, str] | None = None,
    ) -> None:
        self.events: list[Event] = []
        self._settings = {
            "host": "127.0.0.1",
            "port": port,
            "key": app.key,
            "secret": app.secret,
            "channels": list(channels),
            "user": {"id": user_id, "info": {"name": user_id}},
            "options": dict(options or {}),
            "report": {"script": SCRIPT.as_uri(), **report} if report else None,
        }
        self._changed = threading.Condition()
        self._ended = False

    def wait_for(self, wanted: Wanted, *, after: Event | None = None, timeout_s: float = 10, **fields: object) -> Event:
        """Return the first event of the kind (or for which the predicate is true) and with exactly these `fields`.

        It may have happened already; `after` leaves out the events up to and including that one. If it does not come in
        time, or cannot come as the driver has ended, the test fails with the whole story so far.
        """
        is_wanted = wanted if callable(wanted) else lambda event: bool(event["kind"] == wanted)
        deadline = time.monotonic() + timeout_s
        position = 0 if after is None else self._position_after(after)
        with self._changed:
            while True:
                for event in self.events[position:]:
                    if is_wanted(event) and event.items() >= fields.items():
                        return event
                position = len(self.events)
                remaining_s = deadline - time.monotonic()
                if self._ended or remaining_s <= 0:
                    break
                self._changed.wait(remaining_s)
        why = "the driver has ended" if self._ended else f"not seen in {timeout_s} s"
        raise AssertionError(f"no event {wanted} {fields or ''}: {why}\n{self.story()}")

    def latest(self) -> Event:
        """Return the last event so far: pass it as `after` to wait only for what comes from now on."""
        with self._changed:
            return self.events[-1]

    def states(self) -> list[str]:
        """Return the connection states so far, oldest first."""
        return [event["current"] for event in self.events if event["kind"] == "state"]

    def now(self) -> float:
        """Return the present time on the clock of the events' `at`, in milliseconds."""
        started_ms: float = self.events[0]["monotonic_ms"]
        return time.monotonic() * 1000 - started_ms

    def story(self) -> str:
        """Return everything this client has told so far, and what its driver complained about, for people to read."""
        self._complaints.seek(0)
        complaints = self._complaints.read().decode(errors="replace")
        return "\n".join(["the client's events:", *map(json.dumps, self.events), complaints])

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

    def mark(self, name: str) -> None:
        """Set a mark, as an application does that loads chaosproxy.js."""
        self._command("mark", name=name)

    def kill(self) -> None:
        """End the client's process as a crash would: no close frame, only what the operating system does."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self._complaints = TemporaryFile()
        self._process = subprocess.Popen(
            ["node", NODE_FOLDER / "pusher_client.mjs", json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            encoding="utf-8",
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._read, name="pusher-client-reader")
        self._reader.start()
        try:
            self.wait_for("state", timeout_s=START_TIMEOUT_S)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        story_then = self.story()
        killed_before = self._process.poll() is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        story = self.story()
        self._complaints.close()
        if error is None:
            assert killed_before or code == 0, f"the driver ended with exit code {code}\n{story}"
        elif story_then not in str(error):
            error.add_note(story_then)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _command(self, do: str, **arguments: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")

    def _position_after(self, event: Event) -> int:
        return next(index + 1 for index, each in enumerate(self.events) if each is event)
