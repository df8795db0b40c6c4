"""Where verdicts go: the table, files for CI servers and programs, GitHub's annotations and step summary."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..problems import show
from ..report import Judged, annotations, as_json, junit, lines, markdown
from .trouble import ExitCode, Trouble


class Reports:
    """Where the verdicts go. Files are opened first: minutes of play must not end with one that can't be."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._writers: list[tuple[str, Callable[[Sequence[Judged]], bytes]]] = []
        makers: dict[str, Callable[[Sequence[Judged]], bytes]] = {
            "junit": junit,
            "markdown": lambda every: markdown(every).encode(),
            "json_file": lambda every: (json.dumps(as_json(every), indent=2) + "\n").encode(),
        }
        self.has_table = given["json_file"] != "-"
        for name, make in makers.items():
            path = given[name]
            if path is None:
                continue
            if path != "-":
                self._try(path)
            elif name != "json_file":
                raise click.UsageError(f"--{name} needs a file; only --json can go to stdout")
            self._writers.append((path, make))

    @staticmethod
    def _try(path: str) -> None:
        try:
            Path(path).write_bytes(b"")
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise Trouble(f"the report can't be written to {show(path)}: {reason}", ExitCode.USAGE) from None

    def table(self, judged: Judged) -> None:
        """Show how a run went."""
        if self.has_table:
            for line in lines(judged):
                bad = line.startswith(("FAILED", "  FAIL"))
                good = line.startswith("passed")
                click.secho(line, fg="red" if bad else "green" if good else None)

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
