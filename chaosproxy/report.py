"""What a verdict looks like: lines for people, JUnit and Markdown for CI, JSON for programs."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .expectations import Outcome
from .problems import escape
from .units import SECOND
from .verdict import Row

SEEN_COLUMN_MAX = 64
_WORDS = {Outcome.PASSED: "ok", Outcome.HOLDS: "ok", Outcome.OPEN: "open", Outcome.FAILED: "FAIL"}
_TAIL = frozenset({"seq", "at", "event"})


class Judged(NamedTuple):
    """A run and its rows, with the journal's records that they name."""

    profile: str
    seed: int
    took: int  # nanoseconds
    digest: str
    rows: tuple[Row, ...]
    evidence: dict[int, str]  # records as JSON, by number
    clients: list[Any]  # see observations
    repeat: int = 0  # which of several runs it is, from 1; 0 where there is one
    picture: dict[str, Any] | None = None  # see picture
    began: int = 0  # nanoseconds of the journal before it, where others came before

    @property
    def has_passed(self) -> bool:
        return all(row.outcome in (Outcome.PASSED, Outcome.HOLDS) for row in self.rows)

    @property
    def name(self) -> str:
        return f"{self.profile} #{self.repeat}" if self.repeat else self.profile

    def lines_of(self, row: Row) -> list[str]:
        """The records that show what a row says."""
        return [record_line(number, self.evidence.get(number)) for number in row.evidence]


def record_line(number: int, text: str | None) -> str:
    """A journal record in one line: its number, its time, what happened, and every field that says something."""
    if text is None:
        return f"#{number} (the journal's tail does not go back so far; --journal FILE keeps all of it)"
    record = json.loads(text)
    fields = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in record.items()
        if key not in _TAIL and (value or type(value) in (int, float))
    ]
    return escape(f"#{number} {record['at']:.3f} s {record['event']} {' '.join(fields)}".rstrip())


def head(judged: Judged) -> str:
    """Which run it is."""
    since = f" from {judged.began / SECOND:.1f} s on" if judged.began else ""
    return f"{judged.name}, {judged.took / SECOND:.1f} s{since}, seed {judged.seed}, digest {judged.digest}"


def lines(judged: Judged) -> Iterator[str]:
    """A run as a table; under what failed, its evidence."""
    has_failed = any(row.outcome is Outcome.FAILED for row in judged.rows)
    yield f"{'passed' if judged.has_passed else 'FAILED' if has_failed else 'open'}: {head(judged)}"
    width = min(SEEN_COLUMN_MAX, max(len(row.title) for row in judged.rows))
    for row in judged.rows:
        yield escape(f"  {_WORDS[row.outcome]:<4}  {row.title:<{width}}  {row.seen}")
        if row.outcome not in (Outcome.PASSED, Outcome.HOLDS):
            yield from (f"          {line}" for line in judged.lines_of(row))


def markdown(every: Sequence[Judged]) -> str:
    """All runs as tables, for a step summary or a comment."""
    parts: list[str] = []
    for judged in every:
        mark = "✅" if judged.has_passed else "❌"
        parts.append(f"### {mark} chaosproxy: {judged.name}\n")
        parts.append(f"seed {judged.seed}, {judged.took / SECOND:.1f} s, digest `{judged.digest}`\n")
        parts.append("| | expected | seen |\n|---|---|---|")
        for row in judged.rows:
            good = row.outcome in (Outcome.PASSED, Outcome.HOLDS)
            parts.append(f"| {'✅' if good else '❌'} | {_cell(row.title)} | {_cell(row.seen)} |")
        for row in judged.rows:
            if row.outcome is Outcome.FAILED and row.evidence:
                records = "\n".join(judged.lines_of(row))
                parts.append(f"\n<details><summary>{_cell(row.title)}</summary>\n\n```\n{records}\n```\n</details>")
        parts.append("")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return escape(text).replace("|", "\\|").replace("<", "&lt;")


def junit(every: Sequence[Judged]) -> bytes:
    """All runs in the XML that CI servers read: a suite for each run, a case for each row."""
    root = ET.Element("testsuites", name="chaosproxy")
    for judged in every:
        failures = [row for row in judged.rows if row.outcome is Outcome.FAILED]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=escape(judged.name),
            tests=str(len(judged.rows)),
            failures=str(len(failures)),
            errors="0",
            skipped="0",
            time=f"{judged.took / SECOND:.3f}",
        )
        properties = ET.SubElement(suite, "properties")
        for key, value in (("seed", str(judged.seed)), ("digest", judged.digest)):
            ET.SubElement(properties, "property", name=key, value=value)
        for row in judged.rows:
            case = ET.SubElement(
                suite, "testcase", classname=escape(f"chaosproxy.{judged.name}"), name=escape(row.title), time="0"
            )
            if row.outcome is Outcome.FAILED:
                failure = ET.SubElement(case, "failure", message=escape(row.seen), type="expectation")
                failure.text = "\n".join([escape(row.seen), *judged.lines_of(row)])
            else:
                ET.SubElement(case, "system-out").text = escape(row.seen)
    ET.indent(root)
    made: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def drawn(judged: Judged, *, has_verdict: bool = True) -> dict[str, Any]:
    """A run for a report in HTML: its picture, its verdict, and the records that this names."""
    records = {str(number): json.loads(text) for number, text in sorted(judged.evidence.items())}
    return {"picture": judged.picture, "verdict": _run(judged) if has_verdict else None, "records": records}


def as_json(every: Sequence[Judged]) -> dict[str, Any]:
    """All there is to know."""
    return {"passed": all(judged.has_passed for judged in every), "runs": [_run(judged) for judged in every]}


def _run(judged: Judged) -> dict[str, Any]:
    return {
        "profile": judged.profile,
        "repeat": judged.repeat or None,
        "seed": judged.seed,
        "seconds": round(judged.took / SECOND, 3),
        "began_seconds": round(judged.began / SECOND, 3),
        "digest": judged.digest,
        "passed": judged.has_passed,
        "clients": judged.clients,
        "rows": [row_as_json(row, judged.evidence) for row in judged.rows],
    }


def row_as_json(row: Row, evidence: dict[int, str]) -> dict[str, Any]:
    """A row, with the records that show what it says."""
    return {
        "name": row.name,
        "about": row.about,
        "outcome": row.outcome.value,
        "seen": row.seen,
        "expected": row.is_expected,
        "evidence": [json.loads(evidence[number]) for number in row.evidence if number in evidence],
    }


def annotations(every: Sequence[Judged]) -> Iterator[str]:
    """What failed, as GitHub's workflow commands."""
    for judged in every:
        for row in judged.rows:
            if row.outcome is Outcome.FAILED:
                title = _property(f"{judged.name}: {row.title}")
                yield f"::error title={title}::{_data(escape(row.seen))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(escape(text)).replace(":", "%3A").replace(",", "%2C")
