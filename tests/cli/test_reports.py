"""Which pictures are kept for a file, so that thousands of runs do not fill the memory."""

import re
from pathlib import Path
from typing import Any

import pytest

from chaosproxy.cli import reports as reporting
from chaosproxy.cli.reports import Reports
from chaosproxy.expectations import Outcome
from chaosproxy.report import Judged
from chaosproxy.verdict import Row
from tests.control.test_picturing import runs_in
from tests.test_picture import Run


def judged(number: int, *, has_passed: bool = True) -> Judged:
    outcome = Outcome.PASSED if has_passed else Outcome.FAILED
    return Judged("cut", 7, 5, "d", (Row("a row", "", outcome, "seen"),), {}, [], number, Run().told)


def reports(**given: Any) -> Reports:
    return Reports({"junit": None, "markdown": None, "html": None, "json_file": None, "verbose": False} | given)


def test_without_a_file_for_them_none_is_kept() -> None:
    assert reports().kept(judged(1)).picture is None


def test_with_one_the_first_are_kept_and_of_the_rest_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reporting, "RUNS_DRAWN_MAX", 2)
    path = tmp_path / "out.html"
    made = reports(html=str(path))
    every = [made.kept(judged(number, has_passed=number not in (4, 6, 7))) for number in range(1, 9)]
    made.write(every)

    assert [run["verdict"]["repeat"] for run in runs_in(path.read_text())] == [1, 2, 4, 6]
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "the HTML report shows 4 of 8 runs" in said
