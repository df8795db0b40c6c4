"""A terminal with somebody before it: a command on a real pseudo-terminal, and what is then on its screen."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

PATIENCE_S = 20.0
HISTORY_LINES = 5000
_OF_TERMINALS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")


class Screen:
    """Runs a command. `text` is the screen as it is; `scrolled` what has gone out at its top."""

    def __init__(
        self,
        command: Sequence[str | Path],
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=HISTORY_LINES, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._ours, theirs = pty.openpty()
        self._set_size(theirs, columns, lines)
        environment = {name: value for name, value in os.environ.items() if name not in _OF_TERMINALS}
        self.process = subprocess.Popen(
            [*command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": "xterm-256color", **(env or {})},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._is_over = False

    @staticmethod
    def _set_size(descriptor: int, columns: int, lines: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note("\n".join(["on the screen:", *self.lines]))
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """The screen without what is empty at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n").split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def scrolled(self) -> list[str]:
        rows = self._screen.history.top
        return ["".join(row[at].data for at in range(self._screen.columns)).rstrip() for row in rows]

    @property
    def all_lines(self) -> list[str]:
        return [*self.scrolled, *self.lines]

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column, from 0."""
        return self._screen.cursor.y, self._screen.cursor.x

    @property
    def is_cursor_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def colours(self, row: int) -> set[str]:
        """Those in which a row is written."""
        return {cell.fg for cell in self._screen.buffer[row].values() if cell.data.strip()}

    def wait_for(self, seen: str | Callable[[], object]) -> None:
        """Until there is a text on the screen, or something is true of it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (seen in self.text if isinstance(seen, str) else seen()):
            assert self._read(deadline), f"the command has ended, and {seen!r} was not seen"
            assert time.monotonic() < deadline, f"{seen!r} was not seen"

    def wait_end(self) -> int:
        """The exit code; all that was written is on the screen then."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            assert time.monotonic() < deadline, "the command did not end"
        return self.process.wait(PATIENCE_S)

    def _read(self, deadline: float) -> bool:
        if self._is_over:
            return False
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if ready:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # EIO is how a terminal says that nobody writes to it any more
                data = b""
            if not data:
                self._is_over = True
                return False
            self.raw += data
            self._stream.feed(data)
        return True

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.type("\x03")

    def hold(self) -> None:
        """Ctrl-S: the terminal takes nothing more."""
        self.type("\x13")

    def go_on(self) -> None:
        """Ctrl-Q."""
        self.type("\x11")

    def feed(self, text: str) -> None:
        """Somebody else writes."""
        self._stream.feed(text.encode())

    def resize(self, columns: int, lines: int) -> None:
        self._set_size(self._ours, columns, lines)
        self._screen.resize(lines, columns)
        os.killpg(self.process.pid, signal.SIGWINCH)
