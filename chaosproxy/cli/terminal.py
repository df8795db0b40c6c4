"""Lines for people: data to stdout, messages to stderr, broken between words where a terminal is too narrow."""

import re
import sys
from contextlib import suppress
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, TextIO

import click

_FIRST_COLUMN = re.compile(r" *\S+ {2,}| +")


def say(line: str) -> None:
    """Tell the user something, on stderr."""
    style: dict[str, Any] = {"fg": "yellow"} if "warning: " in line else {}
    with suppress(OSError):  # whoever listened to us has gone; clients have not
        click.secho(_fit(line, sys.stderr), err=True, **style)


def echo(line: str) -> None:
    """Write a line of what was asked for, on stdout."""
    click.echo(_fit(line, sys.stdout))


def _fit(line: str, stream: TextIO | None) -> str:
    """Break a line between words where a terminal would break it anywhere; indent the rest by its first column."""
    if stream is None or not stream.isatty():
        return line
    columns = get_terminal_size().columns
    column = _FIRST_COLUMN.match(line)
    indent = " " * (column.end() if column and column.end() < columns // 2 else 2)
    return fill(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
