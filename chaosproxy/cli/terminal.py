"""Lines for people: data to stdout, messages to stderr, broken between words where a terminal is too narrow."""

import os
import re
import sys
from contextlib import suppress
from shutil import get_terminal_size
from textwrap import fill
from typing import TextIO

import click

_FIRST_COLUMN = re.compile(r" *\S+ {2,}| +")


def say(line: str) -> None:
    """Tell the user something, on stderr."""
    with suppress(OSError):  # whoever listened to us has gone; clients have not
        click.echo(dress(_fit(line, sys.stderr), line), err=True)


def silent(line: str) -> None:
    """Say nothing, to those who asked for quiet."""


def echo(line: str) -> None:
    """Write a line of what was asked for, on stdout."""
    click.echo(_fit(line, sys.stdout))


def dress(text: str, line: str) -> str:
    """Colour what a line has become as befits the line."""
    return click.style(text, fg="yellow") if "warning: " in line else text


def wants_colour() -> bool | None:
    """What the environment says of colours: the usual variables. None where that is left to the stream."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0", "false") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    if os.environ.get("TERM") == "dumb" or os.environ.get("CLICOLOR") == "0":
        return False
    return None


def _fit(line: str, stream: TextIO | None) -> str:
    if stream is None or not stream.isatty():
        return line
    return fit(line, get_terminal_size().columns)


def fit(line: str, columns: int) -> str:
    """Break a line between words where a terminal would break it anywhere; indent the rest by its first column."""
    column = _FIRST_COLUMN.match(line)
    indent = " " * (column.end() if column and column.end() < columns // 2 else 2)
    return fill(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
