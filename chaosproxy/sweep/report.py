"""What a sweep found: lines for people, in which equal neighbours share one, and JSON for programs."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any, NamedTuple

from ..units import MILLISECOND, SECOND
from .cases import SETTLE_MS, Case, Stage, Way
from .watch import Answer, Kind, Reaction

_LIKE = 1.5  # pauses of neighbours that differ by less are told as one range
_ENDINGS_WIDTH = 24
_ANSWERS_WIDTH = 9


class Finding(NamedTuple):
    """A case and what came of it."""

    case: Case
    reaction: Reaction


def lines(findings: Sequence[Finding], span: int) -> Iterator[str]:
    """The whole as a table: a part for each stage, a line for neighbours that differ in nothing but their code."""
    for title, part in groupby(findings, lambda finding: _title(finding.case)):
        yield from ("", title, f"  {'ENDING':<{_ENDINGS_WIDTH}}  {'ANSWER':<{_ANSWERS_WIDTH}}  REACTION")
        for group in _groups(list(part)):
            first, *more = wrap(", ".join(_labels([finding.case for finding in group])), _ENDINGS_WIDTH)
            answer = _answer(group[0])
            yield f"  {first:<{_ENDINGS_WIDTH}}  {answer:<{_ANSWERS_WIDTH}}  {_reaction(group, span)}"
            yield from (f"  {line}" for line in more)


def as_json(findings: Sequence[Finding], span: int) -> list[dict[str, Any]]:
    """Each case by itself; times in milliseconds."""
    return [
        {
            "stage": case.stage.value,
            "ending": case.way.value,
            "code": case.code,
            "reaction": reaction.kind.value,
            "attempts_ms": [round(after / MILLISECOND, 1) for after in reaction.attempts],
            "is_back": reaction.is_back,
            "answer": reaction.answer.value,
            "answer_code": reaction.code,
            "exit_code": reaction.exit_code,
            "words": _reaction([Finding(case, reaction)], span),
        }
        for case, reaction in findings
    ]


def _title(case: Case) -> str:
    match case.stage, case.way:
        case Stage.HANDSHAKE, Way.ERROR:
            return "In the handshake, by pusher:error before connection_established"
        case Stage.HANDSHAKE, _:
            return "In the handshake: FIN and RST in place of the 101, close frames right behind it"
        case _:
            return f"In mid-connection, {SETTLE_MS / 1000:g} s after it was there"


def _groups(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """Neighbours of whom the same can be said."""
    group: list[Finding] = []
    for finding in findings:
        if group and not _is_like(group, finding):
            yield group
            group = []
        group.append(finding)
    if group:
        yield group


def _is_like(group: Sequence[Finding], finding: Finding) -> bool:
    one, other = group[0].reaction, finding.reaction
    looks = [
        (_answer(each), each.reaction._replace(attempts=(), answer=Answer.NONE, code=None))
        for each in (group[0], finding)
    ]
    if looks[0] != looks[1] or len(one.attempts) != len(other.attempts):
        return False
    if one.kind is Kind.AT_ONCE:
        return True
    columns = zip(*(each.reaction.attempts for each in (*group, finding)), strict=True)
    return all(max(column) <= min(column) * _LIKE for column in columns)


def _labels(cases: Iterable[Case]) -> Iterator[str]:
    """Each ending, codes that follow each other as a range."""
    cases = list(cases)
    start = 0
    for index, case in enumerate(cases):
        following = cases[index + 1].code if index + 1 < len(cases) else None
        if case.code is not None and following == case.code + 1:
            continue
        first = cases[start].label
        join = {0: "", 1: ", "}.get(index - start, "–")
        yield first + (join + case.label if index > start else "")
        start = index + 1


def _answer(finding: Finding) -> str:
    """How the client ended its side, in a word; behind a RST there is nothing to answer."""
    case, reaction = finding
    if reaction.kind is Kind.NEVER or case.way is Way.RST:
        return "-"
    match reaction.answer:
        case Answer.CODE:
            return "same code" if reaction.code == case.code else str(reaction.code)
        case Answer.NO_STATUS:
            return "no status"
        case Answer.FIN:
            return "FIN"
        case Answer.RST:
            return "RST"
        case Answer.NONE:
            return "nothing"


def _reaction(group: Sequence[Finding], span: int) -> str:
    reactions = [finding.reaction for finding in group]
    first = reactions[0]
    times = list(zip(*(each.attempts for each in reactions), strict=True))
    match first.kind:
        case Kind.NEVER:
            return f"never connected: {first.detail}"
        case Kind.EXITS:
            return f"exits with {first.exit_code}, without another attempt"
        case Kind.GIVES_UP:
            return f"gives up (no attempt in {span / SECOND:g} s)"
        case Kind.AT_ONCE:
            words = f"at once ({_milliseconds(times[0])})"
        case Kind.PAUSES:
            words = f"after {_seconds(times[0])}"
        case Kind.BACKS_OFF:
            words = f"backs off: after {', '.join(_seconds(column) for column in times)}"
    if first.kind is not Kind.BACKS_OFF and len(times) > 1:
        words += f", {len(times)} attempts"
    if not first.is_back:
        words += f", not back: {first.detail}"
        words += "" if first.exit_code is None else f"; exits with {first.exit_code}"
    return words


def _milliseconds(times: Sequence[int]) -> str:
    low, high = (round(each / MILLISECOND) for each in (min(times), max(times)))
    return f"{low} ms" if low == high else f"{low}–{high} ms"


def _seconds(times: Sequence[int]) -> str:
    low, high = (f"{each / SECOND:.1f}" for each in (min(times), max(times)))
    return f"{low} s" if low == high else f"{low}–{high} s"
