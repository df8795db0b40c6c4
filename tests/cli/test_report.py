"""`chaosproxy report` as users call it: in the terminal, as a file, of what was cut off, and of what is no journal."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import CHAOSPROXY, PATIENCE_S, chaosproxy
from tests.cli.test_replay import ended, proxy, talk
from tests.control.test_picturing import runs_in
from tests.test_retold import journalled

EXPECTING = """{"version": 1, "name": "outage", "phases": [
  {"name": "healthy", "lasts": "2s"}, {"name": "outage", "lasts": "5s", "rules": [{"half_open": {"heal": "reset"}}]}
], "expect": [{"one_connection": "true"}]}"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "run.jsonl").write_text("".join(journalled(EXPECTING)))
    (tmp_path / "plain.jsonl").write_text("".join(journalled('{"version": 1}')))
    return tmp_path


def told_in(path: Path) -> dict[str, Any]:
    (told,) = runs_in(path.read_text())
    return told


def test_in_a_log_it_is_the_verdict_and_the_lanes(place: Path) -> None:
    ran = chaosproxy("report", "run.jsonl", cwd=place)
    lines = ran.out.splitlines()

    assert (ran.code, ran.err) == (0, "")
    assert lines[0].startswith("passed: outage, ")
    assert any(line.startswith("  ok    one_connection: true") for line in lines)
    lanes = lines[lines.index("") + 1 :]
    assert lanes[0].startswith("phases │healthy─")
    assert lanes[1].startswith("client ───")
    assert all(len(line) <= 100 for line in lanes)
    assert "\x1b" not in ran.out


def test_it_is_as_wide_as_it_is_told_and_ascii_where_the_output_is(place: Path) -> None:
    environment = {**os.environ, "COLUMNS": "61", "PYTHONIOENCODING": "ascii"}
    command = [*CHAOSPROXY, "report", "run.jsonl", "--lanes", "1"]
    ran = subprocess.run(command, cwd=place, env=environment, capture_output=True, timeout=PATIENCE_S, check=True)
    lanes = ran.stdout.decode("ascii").splitlines()

    lanes = lanes[lanes.index("") + 1 :]
    assert lanes[0].startswith("phases |healthy-")
    assert max(len(line) for line in lanes[:3]) <= 61


def test_as_a_file_it_is_html_with_everything_in_it(place: Path) -> None:
    ran = chaosproxy("report", "run.jsonl", "-o", "report.html", cwd=place)
    told = told_in(place / "report.html")

    assert (ran.code, ran.out, ran.err) == (0, "", "the report is in report.html\n")
    assert told["verdict"]["passed"]
    assert [lane["row"] for lane in told["picture"]["lanes"]] == [0]
    named = {str(record["seq"]) for row in told["verdict"]["rows"] for record in row["evidence"]}
    assert named == told["records"].keys()


def test_it_comes_from_stdin_and_goes_to_stdout(place: Path) -> None:
    with (place / "run.jsonl").open("rb") as journal:
        command = [*CHAOSPROXY, "report", "-", "-o", "-"]
        ran = subprocess.run(command, stdin=journal, capture_output=True, timeout=PATIENCE_S, check=True, text=True)

    (told,) = runs_in(ran.stdout)
    assert told["picture"]["profile"] == "outage"


def test_it_is_no_verdict_unless_it_is_asked_for_one(place: Path) -> None:
    bad = ["report", "run.jsonl", "--expect", "marked: banner-shown"]
    assert chaosproxy(*bad, cwd=place).code == 0
    assert chaosproxy(*bad, "-o", "report.html", "--check", cwd=place).code == 1
    assert not told_in(place / "report.html")["verdict"]["passed"]
    ran = chaosproxy(*bad, "--check", cwd=place)
    assert ran.code == 1
    assert ran.out.startswith("FAILED: outage, ")
    assert chaosproxy("report", "run.jsonl", "--check", cwd=place).code == 0


def test_where_nothing_is_expected_there_is_no_verdict(place: Path) -> None:
    ran = chaosproxy("report", "plain.jsonl", cwd=place)
    assert ran.code == 0
    assert ran.out.startswith("profile, ")
    chaosproxy("report", "plain.jsonl", "-o", "plain.html", cwd=place)
    assert told_in(place / "plain.html")["verdict"] is None

    ran = chaosproxy("report", "plain.jsonl", "--check", cwd=place)
    assert ran.code == 2
    assert "--check: there is nothing to judge by; add --expect EXPECTATION" in ran.err


def test_a_run_that_was_killed_is_told_as_far_as_it_went(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        address = f"ws://127.0.0.1:{upstream.getsockname()[1]}"
        arguments = ["run", address, "--control", "none", "--journal", str(tmp_path / "run.jsonl"), "--journal-bytes"]
        with proxy(*arguments) as (process, port):
            upstream.settimeout(PATIENCE_S)
            assert talk(port, upstream, 3)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)
    whole = (tmp_path / "run.jsonl").read_bytes()
    assert b'"event":"input"' in whole
    (tmp_path / "cut.jsonl").write_bytes(whole[:-7])
    ran = chaosproxy("report", "cut.jsonl", "--expect", "one_connection: true", "-o", "cut.html", cwd=tmp_path)

    assert ran.code == 0
    assert "the journal does not say that the run has ended" in ran.err
    told = told_in(tmp_path / "cut.html")
    assert [lane["path"] for lane in told["picture"]["lanes"]] == ["/"]


def test_a_run_that_is_ended_is_judged_up_to_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        address = f"ws://127.0.0.1:{upstream.getsockname()[1]}"
        arguments = ["run", address, "--control", "none", "--journal", str(tmp_path / "run.jsonl")]
        with proxy(*arguments) as (process, port):
            upstream.settimeout(PATIENCE_S)
            assert talk(port, upstream, 3)
            assert ended(process)[0] == 0
    ran = chaosproxy("report", "run.jsonl", "--expect", "one_connection: true", "--check", cwd=tmp_path)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("passed: ")


WRONG = {
    "a journal that is none": (["report", "text.txt"], "text.txt is no journal: line 1: expected"),
    "nothing": (["report", "empty"], "empty is no journal: line 1: expected the header"),
    "no file": (["report", "nowhere"], "nowhere can't be read: no such file or directory"),
    "a folder": (["report", "."], ". can't be read: is a directory"),
    "a damaged line": (["report", "damaged.jsonl"], "damaged.jsonl is no journal: line 2: expected seq:"),
    "no place for it": (["report", "run.jsonl", "-o", "no/where.html"], "the report can't be written to no/where.html"),
    "an expectation that is none": (
        ["report", "run.jsonl", "--expect", "reconnectd_within: 5s"],
        "did you mean reconnected_within",
    ),
}


@pytest.mark.parametrize(("arguments", "problem"), WRONG.values(), ids=list(WRONG))
def test_what_can_not_be_is_said_and_exits_with_2(arguments: list[str], problem: str, place: Path) -> None:
    (place / "text.txt").write_text("hello\nworld\n")
    (place / "empty").touch()
    header = (place / "run.jsonl").read_text().splitlines()[0]
    (place / "damaged.jsonl").write_text(header + "\n" + json.dumps({"event": "accepted", "seq": "x"}) + "\n")
    ran = chaosproxy(*arguments, cwd=place)

    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.err
    assert "Traceback" not in ran.err
