"""Live lines at the foot of a terminal, below the plain lines, which scroll by as ever.

No alternate screen, and nothing of the terminal is set, so that nothing is to be set back: whatever ends us, what stays
is text. A terminal that takes nothing for the moment (Ctrl-S) must not keep the proxy waiting: lines wait instead.
"""

import os
import select
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, TextIO

import click

from .board import Line
from .terminal import dress, fit

WAITING_MAX = 1000  # lines that wait for the terminal; the oldest go first
_STYLES = {"bold": {"bold": True}, "dim": {"dim": True}, "": {}}


class Size(NamedTuple):
    """Of a terminal."""

    columns: int
    lines: int


class Display:
    """Writes to a terminal: lines that stay, and above the cursor some that are drawn anew."""

    def __init__(self, stream: TextIO, *, has_colour: bool) -> None:
        self._stream = stream
        self._descriptor = stream.fileno()
        self._has_colour = has_colour
        self._drawn = 0  # how many lines are there now
        self._block = ""
        self._waiting: deque[str] = deque(maxlen=WAITING_MAX)

    @property
    def size(self) -> Size:
        try:
            columns, lines = os.get_terminal_size(self._descriptor)
        except OSError:
            columns, lines = 0, 0
        return Size(columns or 80, lines or 24)

    @property
    def is_ours(self) -> bool:
        """Whether we are in the foreground: in the background, the lines at the foot are the shell's."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True  # it controls nobody

    def print(self, line: str) -> None:
        """Write a line that stays, above the live ones."""
        self._waiting.append(self._coloured(dress(fit(line, self.size.columns), line)))
        self._flush()

    def draw(self, lines: Sequence[Line]) -> None:
        """Put these in place of the live lines."""
        block = "\n".join(self._styled(line) for line in lines) if self.is_ours else ""
        if block != self._block or self._waiting:
            self._block = block
            self._flush(is_anew=True)

    def forget(self) -> None:
        """Somebody else has written: what was drawn is not to be erased any more."""
        self._drawn, self._block = 0, ""

    def close(self) -> None:
        """Erase the live lines."""
        self._block = ""
        self._flush(is_anew=True)

    def _flush(self, *, is_anew: bool = False) -> None:
        if not (self._waiting or is_anew) or not self._takes():
            return
        up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
        erase = f"\r{up}\x1b[J" if self._drawn else ""
        text = erase + "".join(f"{line}\n" for line in self._waiting) + self._block
        self._waiting.clear()
        self._drawn = self._block.count("\n") + 1 if self._block else 0
        with suppress(OSError):  # whoever looked at us has gone; clients have not
            self._stream.write(text)
            self._stream.flush()

    def _takes(self) -> bool:
        try:
            return bool(select.select([], [self._descriptor], [], 0)[1])
        except (OSError, ValueError):
            return True

    def _styled(self, line: Line) -> str:
        style = _STYLES.get(line.tone, {"fg": line.tone})
        return self._coloured(click.style(line.text, **style))

    def _coloured(self, text: str) -> str:
        return text if self._has_colour else click.unstyle(text)
