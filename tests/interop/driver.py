"""A process that drives a real client, told what to do line by line, and the story it tells, event by event.

An event is one JSON object. Each has `at`, in milliseconds since the client was made (Driver.now reads the same clock),
and `kind`; the other fields depend on the kind. The first is always `started`, with `monotonic_ms`.
"""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

Event = dict[str, Any]
Wanted = str | Callable[[Event], bool]

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10


class Driver:
    """A process that is started when the `with` block is entered, and told to end after it, which it must do well.

    The block begins with the first event of the kind `ready_kind`. `settings` are the last argument of `command`, as
    JSON.
    """

    ready_kind = "started"

    def __init__(self, command: Sequence[str | Path], settings: Mapping[str, object]) -> None:
        self.events: list[Event] = []
        self._command_line = [*command, json.dumps(settings)]
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

    def now(self) -> float:
        """Return the present time on the clock of the events' `at`, in milliseconds."""
        started_ms: float = self.events[0]["monotonic_ms"]
        return time.monotonic() * 1000 - started_ms

    def story(self) -> str:
        """Return everything the client has told so far, and what its driver complained about, for people to read."""
        self._complaints.seek(0)
        complaints = self._complaints.read().decode(errors="replace")
        return "\n".join(["the client's events:", *map(json.dumps, self.events), complaints])

    def kill(self) -> None:
        """End the process as a crash would: no close frame, only what the operating system does."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self._complaints = TemporaryFile()
        self._process = subprocess.Popen(
            self._command_line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            encoding="utf-8",
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._read, name="driver-reader")
        self._reader.start()
        try:
            self.wait_for(self.ready_kind, timeout_s=START_TIMEOUT_S)
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
