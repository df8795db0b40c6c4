"""Users' mistakes in a profile: each with its place, what was expected, what stood there, and what to do about it."""

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

Path = tuple[str | int, ...]
SHOWN_CHARACTERS_MAX = 40
PROBLEMS_MAX = 200

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 counts as lines
_WORD = re.compile(r"[\w.%:+/*<>=@-]+")
_NAME = re.compile(r"[\w-]+")


class Place(NamedTuple):
    """Where something stands, both from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    """One mistake. `str` gives the one line that is printed, logged and sent over the API."""

    source: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{escape(self.source)}:{self.line}:{self.column}: "
        return place + (f"{self.path}: " if self.path else "") + self.message + (f"; {self.hint}" if self.hint else "")


class BadProfile(Exception):
    """A profile that can't be used; `problems` are in the order of their places, at most PROBLEMS_MAX."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered = sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.path))
        if len(ordered) > PROBLEMS_MAX:
            last = ordered[PROBLEMS_MAX - 1]._replace(path="", message="and more of them further on", hint="")
            ordered = [*ordered[:PROBLEMS_MAX], last]
        super().__init__("\n".join(map(str, ordered)))
        self.problems = ordered


def render(problem: Problem, text: str) -> str:
    """Write a problem for a terminal: its line, then the line of the source with a caret below."""
    lines = _LINE_BREAK.split(text.removeprefix("\ufeff"))
    if problem.line > len(lines):
        return str(problem)
    line = lines[problem.line - 1]
    before = escape(line[: problem.column - 1].replace("\t", " "))
    shown = before + escape(line[problem.column - 1 :].replace("\t", " "))
    begin = max(0, len(before) - 80)
    caret = " " * (len(before) - begin) + "^"
    return f"{problem}\n    {shown[begin : begin + 160].rstrip()}\n    {caret}"


def place_of(text: str, index: int) -> Place:
    """Find the place of a character."""
    *before, line = _LINE_BREAK.split(text[:index])
    return Place(len(before) + 1, len(line) + 1)


def escape(text: str) -> str:
    """Make text safe for terminals and logs: what isn't printable (controls, bidi marks) is written as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def show(text: str) -> str:
    """Show a value of the user's: as it is where it is one word, otherwise in quotes; never long."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
    if cut == text and _WORD.fullmatch(text) and text.isprintable():
        return text
    return escape(json.dumps(cut, ensure_ascii=False))


def show_kind(value: object) -> str:
    """Name what isn't a scalar."""
    if isinstance(value, list | dict):
        kind = "list" if isinstance(value, list) else "mapping"
        return f"a {kind}" if value else f"an empty {kind}"
    return "nothing"


def show_path(path: Path) -> str:
    """Write a path as users would: phases[0].rules[1].latency.delay."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += ("." if shown else "") + (part if _NAME.fullmatch(part) and len(part) <= 40 else show(part))
    return shown


def one_of(words: Sequence[str]) -> str:
    """Join alternatives: a, b or c."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """The words that one may have meant, the nearest first; none where none is near."""
    return get_close_matches(word.lower().replace("-", "_"), list(words), n=2, cutoff=0.65)
