"""`chaosproxy report`: a finished run once more, from its journal: its lanes and its verdict, as a file or as text."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click

from ..drawing import LANES_SHOWN
from ..expect_options import with_expectations
from ..journal import JournalError, iter_journal
from ..page import report_html
from ..problems import BadProfile, escape, render
from ..report import drawn, head
from ..retold import Retold, retell
from .options import ENVIRONMENT, expect_option, option
from .reports import show_lanes, show_table, try_to_write
from .terminal import say
from .trouble import ExitCode, Trouble

LINE_MAX = 64 * 1024 * 1024  # characters; a longer one is no journal's


@click.command("report", epilog=ENVIRONMENT)
@click.argument("journal", metavar="JOURNAL|-")
@option("--output", "-o", metavar="FILE", help="Write one HTML file that opens without a network; - is stdout.")
@expect_option
@option(
    "--lanes", type=click.IntRange(0), default=LANES_SHOWN, show_default=True, help="How many to draw in the terminal."
)
@option("--check", is_flag=True, help="Exit 1 if the verdict is not good.")
def report_command(**given: Any) -> int:
    """Draw the run of a journal, and judge it again.

    What `run`, `verify` or the pytest plugin has written as --journal: in the terminal, or with -o as an HTML file.
    Nothing is played: the profile is in the journal, and more expectations can be added. A journal that was cut off, or
    is still being written, will do; what it does not decide is open.

    Exit 0 if the report could be made, whatever it says (--check: if the verdict is good), 2 if it could not.
    """
    retold = _read(given["journal"], given["expectations"])
    judged = retold.judged
    if given["check"] and not retold.has_expectations:
        raise Trouble("--check: there is nothing to judge by; add --expect EXPECTATION", ExitCode.USAGE)
    _warn(retold)
    if given["output"] is not None:
        _write(given["output"], report_html([drawn(judged, has_verdict=retold.has_expectations)]))
    else:
        if retold.has_expectations:
            show_table(judged)
        else:
            click.echo(head(judged))
        click.echo()
        show_lanes(judged, given["lanes"])
    return ExitCode.FAILED if given["check"] and not judged.has_passed else ExitCode.OK


def _read(path: str, expectations: tuple[str, ...]) -> Retold:
    name = "stdin" if path == "-" else escape(path)
    try:
        with _opened(path) as file:
            records = iter_journal(iter(lambda: file.readline(LINE_MAX), ""))
            return retell(next(records), records, lambda profile: with_expectations(profile, expectations))
    except JournalError as bad:
        raise Trouble(f"{name} is no journal: {bad}", ExitCode.USAGE) from None
    except BadProfile as bad:
        problems = [render(problem, "\n".join(expectations)) for problem in bad.problems]
        raise Trouble("\n".join(problems), ExitCode.USAGE) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Trouble(f"{name} can't be read: {reason.lower()}", ExitCode.USAGE) from None


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    if path != "-":
        with open(path, encoding="ascii", errors="replace") as file:
            yield file
    elif sys.stdin is None:
        raise Trouble("the journal can't be read from stdin, which is closed", ExitCode.USAGE)
    else:
        yield TextIOWrapper(sys.stdin.buffer, encoding="ascii", errors="replace")


def _warn(retold: Retold) -> None:
    if retold.lost:
        say(f"warning: {retold.lost} records are missing: the journal could not be written")
    if not retold.is_ended and retold.has_expectations:
        say("the journal does not say that the run has ended: it was cut off, or goes on; what it leaves open is open")


def _write(path: str, text: str) -> None:
    if path == "-":
        click.echo(text, nl=False)
        return
    try_to_write(path)
    Path(path).write_text(text, encoding="utf-8")
    say(f"the report is in {escape(path)}")
