"""Where verdicts go: the table, files for CI servers and programs, GitHub's annotations and step summary."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..drawing import LANES_SHOWN, draw, signs_for
from ..page import report_html
from ..problems import show
from ..report import Judged, annotations, as_json, drawn, junit, lines, markdown
from .terminal import say
from .trouble import ExitCode, Trouble

RUNS_DRAWN_MAX = 100  # in one file
WIDTH = 100  # of lanes where there is no terminal


class Reports:
    """Where the verdicts go. Files are opened first: minutes of play must not end with one that can't be."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._writers: list[tuple[str, Callable[[Sequence[Judged]], bytes]]] = []
        makers: dict[str, Callable[[Sequence[Judged]], bytes]] = {
            "junit": junit,
            "markdown": lambda every: markdown(every).encode(),
            "html": _html,
            "json_file": lambda every: (json.dumps(as_json(every), indent=2) + "\n").encode(),
        }
        self.has_table = given["json_file"] != "-"
        self._is_verbose = given["verbose"]
        self._keeps_pictures = given["html"] is not None
        self._kept = 0
        for name, make in makers.items():
            path = given[name]
            if path is None:
                continue
            if path != "-":
                try_to_write(path)
            elif name != "json_file":
                raise click.UsageError(f"--{name} needs a file; only --json can go to stdout")
            self._writers.append((path, make))

    def table(self, judged: Judged) -> None:
        """Show how a run went; below a verdict that is not good, its lanes."""
        if self.has_table:
            show_table(judged)
            if self._is_verbose or not judged.has_passed:
                show_lanes(judged)

    def kept(self, judged: Judged) -> Judged:
        """A run that has been shown, for `write`: without its picture where that is not needed any more."""
        most = RUNS_DRAWN_MAX if judged.has_passed else 2 * RUNS_DRAWN_MAX  # so that there is room for what failed
        if not self._keeps_pictures or self._kept >= most:
            return judged._replace(picture=None)
        self._kept += 1
        return judged

    def write(self, every: Sequence[Judged]) -> None:
        """Write all reports."""
        for path, make in self._writers:
            if path == "-":
                click.echo(make(every).decode(), nl=False)
            else:
                Path(path).write_bytes(make(every))
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in annotations(every):
                click.echo(line, err=not self.has_table)
            if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
                with open(summary, "a", encoding="utf-8") as file:
                    file.write(markdown(every) + "\n")


def _html(every: Sequence[Judged]) -> bytes:
    shown = [judged for judged in every if judged.picture]
    if len(shown) < len(every):
        say(
            f"the HTML report shows {len(shown)} of {len(every)} runs: the first ones, and of the rest some that failed"
        )
    return report_html([drawn(judged) for judged in shown]).encode()


def try_to_write(path: str) -> None:
    """Raise Trouble where a file can't be written; it is empty then."""
    try:
        Path(path).write_bytes(b"")
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise Trouble(f"the report can't be written to {show(path)}: {reason}", ExitCode.USAGE) from None


def show_table(judged: Judged) -> None:
    """The verdict of a run, row by row."""
    for line in lines(judged):
        bad = line.startswith(("FAILED", "  FAIL"))
        good = line.startswith("passed")
        click.secho(line, fg="red" if bad else "green" if good else None)


def show_lanes(judged: Judged, most: int = LANES_SHOWN) -> None:
    """The lanes of a run, as wide as the terminal; in logs as wide as COLUMNS, or else 100."""
    if judged.picture is None:
        return
    console = Console(highlight=False, markup=False, emoji=False)
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else WIDTH
    for line in draw(judged.picture, width, signs_for(sys.stdout.encoding), most):
        console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
