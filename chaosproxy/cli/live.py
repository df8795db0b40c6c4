"""Live lines while `run` is on a terminal: drawn anew when something has happened, at most four times a second.

What passes on connections costs nothing here: counts are looked at when a line is drawn.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic_ns

from ..attempt import SILENCING
from ..events import Closed, Established, Framed, Healed, Struck
from ..stage import Stage
from ..units import SECOND
from ..world import Told
from .board import Notes, Rates, board, bytes_of
from .display import Display
from .premises import Settings
from .terminal import wants_colour
from .voice import Plain

REDRAW_S = 0.25
BEAT_S = 1.0  # ages and rates


class Live:
    """Draws the board of a stage until it is closed. Told of what happens, it draws soon."""

    def __init__(self, stage: Stage, display: Display) -> None:
        self._stage = stage
        self._display = display
        self._loop = asyncio.get_running_loop()
        self._notes = Notes(set(), {})
        self._rates = Rates()
        self._bytes = (0, 0)
        self._measured_at = monotonic_ns()
        self._soon: asyncio.TimerHandle | None = None
        self._beat = self._loop.call_later(BEAT_S, self._tick)
        self._drawn_at = 0.0
        self.draw()

    def tell(self, told: Told) -> None:
        """Something has happened."""
        if isinstance(told.event, Framed):
            return
        self._note(told)
        self.draw_soon()

    def _note(self, told: Told) -> None:
        if told.session is None:
            return
        number = told.session.number
        match told.event:
            case Established():
                self._notes.established.add(number)
            case Struck(_, fault) if fault in SILENCING:
                self._notes.silent_since.setdefault(number, told.at)
            case Healed(_, fault) if fault in SILENCING and not told.session.is_silent:
                self._notes.silent_since.pop(number, None)
            case Closed():
                self._notes.established.discard(number)
                self._notes.silent_since.pop(number, None)
            case _:
                pass

    def draw_soon(self) -> None:
        """Draw once the last drawing is REDRAW_S ago."""
        if self._soon is None:
            wait = self._drawn_at + REDRAW_S - self._loop.time()
            self._soon = self._loop.call_later(max(0.0, wait), self.draw)

    def draw(self) -> None:
        """Draw now."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._drawn_at = self._loop.time()
        columns, lines = self._display.size
        world, now = self._stage.proxy.world, monotonic_ns()
        lines_max = max(1, lines // 2)
        self._display.draw(board(world, self._stage.clients, self._notes, self._rates, now, columns, lines_max))

    def begin_anew(self) -> None:
        """We were stopped and go on: by now the terminal shows something else."""
        self._display.forget()
        self.draw_soon()

    def close(self) -> None:
        """Leave the terminal as if nothing had been drawn."""
        self._beat.cancel()
        if self._soon is not None:
            self._soon.cancel()
        self._display.close()

    def _tick(self) -> None:
        self._beat = self._loop.call_later(BEAT_S, self._tick)
        now, counted = monotonic_ns(), bytes_of(self._stage.proxy.world)
        seconds = (now - self._measured_at) / SECOND
        client, server = ((after - before) / seconds for after, before in zip(counted, self._bytes, strict=True))
        self._rates = Rates(max(0.0, client), max(0.0, server))
        self._bytes, self._measured_at = counted, now
        self.draw_soon()


@contextmanager
def living(stage: Stage, voice: Plain) -> Iterator[None]:
    """Draw live lines meanwhile; what is said goes above them."""
    is_coloured = wants_colour() is not False
    display = Display(sys.stderr, has_colour=is_coloured)
    live = Live(stage, display)
    stage.listeners.append(live.tell)
    before, voice.print = voice.print, display.print
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, live.draw_soon)
    loop.add_signal_handler(signal.SIGCONT, live.begin_anew)
    try:
        yield
    finally:
        for number in (signal.SIGWINCH, signal.SIGCONT):
            loop.remove_signal_handler(number)
        voice.print = before
        stage.listeners.remove(live.tell)
        live.close()


def may_live(settings: Settings) -> bool:
    """Whether there is a terminal that can do more than print, and nothing else is written to it."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", ""):
        return False
    return not (settings.journal == "-" and sys.stdout is not None and sys.stdout.isatty())
