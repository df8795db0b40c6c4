"""How a verb speaks while it runs: plain lines, JSON lines for log collectors, or nothing. All of it on stderr.

A journal tells every event, for programs; this tells people, and whoever collects what containers write, what is worth
a line.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import click

from .narrate import Said
from .terminal import say, silent

WARNING = "warning: "


class Voice(Protocol):
    """Speaks lines. `narrate` is for what happened, `greet` for how it begins, `fail` for why it ends."""

    def __call__(self, line: str) -> None: ...

    def narrate(self, said: Said) -> None: ...

    def greet(self, lines: list[str], facts: Mapping[str, object]) -> None: ...

    def fail(self, line: str) -> None: ...


class Plain:
    """One plain line each; by `print`, where something else has the terminal meanwhile."""

    def __init__(self) -> None:
        self.print: Callable[[str], None] = say

    def __call__(self, line: str) -> None:
        self.print(line)

    def narrate(self, said: Said) -> None:
        self.print(str(said))

    def greet(self, lines: list[str], facts: Mapping[str, object]) -> None:
        for line in lines:
            self.print(line)

    def fail(self, line: str) -> None:
        say(f"chaosproxy: {line}")


class Quiet(Plain):
    """Nothing but why it can't go on."""

    def __init__(self) -> None:
        self.print = silent


class JsonLines:
    """One JSON object each: `time`, `level`, `text` as people would read it, and what it is about."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet  # nothing but errors

    def __call__(self, line: str) -> None:
        level = "warning" if line.startswith(WARNING) else "info"
        self._write(level, line.removeprefix(WARNING))

    def narrate(self, said: Said) -> None:
        level = "warning" if said.is_warning else "debug" if said.is_detail else "info"
        facts = {
            "seconds": round(said.at / 1e9, 6),
            "event": said.event,
            "attempt": said.attempt,
            "connection": said.connection or None,
            "client": said.client,
        }
        self._write(level, said.text.removeprefix(WARNING), facts)

    def greet(self, lines: list[str], facts: Mapping[str, object]) -> None:
        self._write("info", lines[0], {"event": "started", **facts})

    def fail(self, line: str) -> None:
        self._write("error", line)

    def _write(self, level: str, text: str, facts: Mapping[str, object] | None = None) -> None:
        if self._is_quiet and level != "error":
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {name: value for name, value in (facts or {}).items() if value is not None}
        with suppress(OSError):  # whoever listened to us has gone; clients have not
            click.echo(json.dumps({"time": time, "level": level, "text": text, **told}), err=True)


def voice_of(log: str, *, is_quiet: bool) -> Voice:
    """The voice that was asked for."""
    if log == "json":
        return JsonLines(is_quiet=is_quiet)
    return Quiet() if is_quiet else Plain()
