"""The verb verify as users call it, with small clients of a few lines; real ones are in tests/interop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from threading import Thread

import pytest
from websockets.sync.server import ServerConnection, serve

from chaosproxy.cli.judging import pause_after
from tests.cli.test_commands import CHAOSPROXY, PATIENCE_S, chaosproxy
from tests.control.test_picturing import runs_in

# It comes back 0.2 s after an end, `times` in all, stays for half a second then, and goes by 1000.
CLIENT = """\
import os, sys, time
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed

for time_left in range(int(sys.argv[1]), 0, -1):
    with connect(os.environ["CHAOSPROXY_URL"] + "/chat", proxy=None) as link:
        try:
            link.recv(timeout=0.5 if time_left == 1 else 30)
        except (ConnectionClosed, TimeoutError):
            pass
    time.sleep(0.2)
print("done", os.environ["PORT"], flush=True)
sys.exit(int(sys.argv[2]))
"""
PROFILE = """\
version: 1
name: cut
phases:
  - {name: healthy, until: {opened: 1, within: 10s}}
  - {name: cut, lasts: 100ms, rules: [reset]}
expect:
  - {reconnected_within: 5s, after: fault}
"""


def echo(link: ServerConnection) -> None:
    for message in link:
        link.send(message)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serve(echo, "127.0.0.1", 0) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        serving.join()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "cut.yaml").write_text(PROFILE)
    return tmp_path


def command(times: int = 2, code: int = 0) -> list[str]:
    return ["--", sys.executable, "client.py", str(times), str(code)]


def arguments(upstream: str, *more: str) -> list[str]:
    return ["verify", "cut.yaml", "--upstream", upstream, "--env", "PORT={port}", *more]


def test_a_client_that_comes_back_passes_and_every_report_says_so(upstream: str, place: Path) -> None:
    reports = ["--junit", "out.xml", "--markdown", "out.md", "--json", "out.json", "--journal", "out.jsonl"]
    reports += ["--html", "out.html"]
    ran = chaosproxy(*arguments(upstream, *reports), *command(), cwd=place)
    assert ran.code == 0, ran.out + ran.err
    assert "done " in ran.out
    assert "passed: cut," in ran.out
    suite = ET.parse(place / "out.xml").getroot()[0]
    assert (suite.get("name"), suite.get("failures")) == ("cut", "0")
    told = json.loads((place / "out.json").read_text())
    assert told["passed"] is True
    assert [row["name"] for row in told["runs"][0]["rows"]] == [
        "a client came",
        "phases",
        "reset struck",
        "reconnected_within: 5s",
        f"the command exits with 0 ({sys.executable})",
    ]
    (drawn,) = runs_in((place / "out.html").read_text())
    assert [row["name"] for row in drawn["verdict"]["rows"]] == [row["name"] for row in told["runs"][0]["rows"]]
    assert [end["how"] for end in drawn["picture"]["lanes"][0]["ends"]] == ["reset", "close"]
    assert (place / "out.md").read_text().startswith("### ✅ chaosproxy: cut")
    assert json.loads((place / "out.jsonl").read_text().splitlines()[0])["profile"] == "cut"


def test_one_that_does_not_fails_by_name_with_the_records_that_show_it(upstream: str, place: Path) -> None:
    ran = chaosproxy(*arguments(upstream, "--expect", "attempts_at_least: 2"), *command(times=1), cwd=place)
    assert ran.code == 1, ran.out + ran.err
    lines = ran.out.splitlines()
    at = next(index for index, line in enumerate(lines) if "reconnected_within: 5s" in line)
    assert lines[at].startswith("  FAIL")
    assert "before the run ended" in lines[at]
    assert lines[at + 1].split()[3] == "struck"
    assert any(line.startswith("  FAIL  attempts_at_least: 2") and line.endswith("1 attempt") for line in lines)
    assert sum(line.startswith("  FAIL") for line in lines) == 2
    # Where exactly in its row something begins, depends on how long the client took to ask.
    assert any(re.match(r"phases +│.*│c", line) for line in lines)
    assert any(re.match(r"client +[·─▼]+×", line) for line in lines)


def test_the_commands_exit_code_is_a_row_of_its_own(upstream: str, place: Path) -> None:
    ran = chaosproxy(*arguments(upstream, "--json", "-"), *command(code=3), cwd=place)
    assert ran.code == 1
    told = json.loads(ran.out[ran.out.index("{") :])
    failed = [row for row in told["runs"][0]["rows"] if row["outcome"] == "failed"]
    assert [(row["name"], row["seen"]) for row in failed] == [
        (f"the command exits with 0 ({sys.executable})", "exit code 3")
    ]


def test_runs_that_go_alike_have_one_digest(upstream: str, place: Path) -> None:
    reports = ["--json", "out.json", "--html", "out.html"]
    ran = chaosproxy(*arguments(upstream, "--repeat", "3", *reports), *command(), cwd=place)
    assert ran.code == 0, ran.out + ran.err
    assert "\nphases " not in ran.out, "lanes are for what failed"
    assert len(runs_in((place / "out.html").read_text())) == 3
    runs = json.loads((place / "out.json").read_text())["runs"]
    assert [run["repeat"] for run in runs] == [1, 2, 3]
    assert len({run["digest"] for run in runs}) == 1
    assert [row["outcome"] for run in runs[1:] for row in run["rows"] if row["name"] == "the same as run #1"] == [
        "passed"
    ] * 2


def test_a_command_that_does_not_end_is_ended_with_the_timeline(upstream: str, place: Path) -> None:
    (place / "client.py").write_text(CLIENT.replace("sys.exit", "time.sleep(600); sys.exit"))
    ran = chaosproxy(*arguments(upstream, "--stop-when", "timeline"), *command(), cwd=place)
    assert ran.code == 0, ran.out + ran.err
    assert "it runs on, and is ended: the timeline is over" in ran.out


def test_a_run_that_takes_too_long_exits_with_124(upstream: str, place: Path) -> None:
    (place / "client.py").write_text("import time\ntime.sleep(600)\n")
    ran = chaosproxy(*arguments(upstream, "--timeout", "500ms"), *command(), cwd=place)
    assert ran.code == 124, ran.out + ran.err
    assert "the run was not over after 0.5 s (--timeout)" in ran.out
    assert "no client was seen: does it connect to the proxy" in ran.out


def test_a_server_that_comes_late_is_waited_for_and_one_that_never_comes_is_said(place: Path) -> None:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        ran = chaosproxy(*arguments(down, "--upstream-wait", "600ms"), *command(), cwd=place)
    assert ran.code == 3
    assert "can't be reached: connection refused" in ran.err


def test_on_github_there_are_annotations_and_a_summary(upstream: str, place: Path) -> None:
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(place / "summary.md")}
    ran = chaosproxy(*arguments(upstream), *command(times=1), cwd=place, env=env)
    assert ran.code == 1
    assert "\n::error title=cut%3A reconnected_within%3A 5s (from the fault)::not before the run ended" in ran.out
    assert "| ❌ | reconnected_within: 5s (from the fault) |" in (place / "summary.md").read_text()


def test_ctrl_c_ends_the_command_too(upstream: str, place: Path) -> None:
    (place / "client.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    words = [*CHAOSPROXY, *arguments(upstream), *command()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=place) as process:
        assert process.stdout
        number = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--expect", "reconnects_within: 5s"], "did you mean reconnected_within?"),
        (["--expect", "{marked: x, phase: cute}"], "expected the name of a phase, got cute; did you mean cut?"),
        (["--junit", "no/such/place.xml"], "the report can't be written to"),
        (["--journal", "-"], "--journal - is for `run`"),
        (["--env", "PORT={prot}"], "{prot}"),
        (["no-such-profile"], "no-such-profile"),
    ],
)
def test_mistakes_are_told_before_anything_runs(more: list[str], problem: str, place: Path) -> None:
    began = time.monotonic()
    ran = chaosproxy(*arguments("ws://127.0.0.1:9", *more), *command(), cwd=place)
    assert ran.code == 2, ran.out + ran.err
    assert problem in ran.err
    assert time.monotonic() - began < PATIENCE_S / 2


@pytest.mark.parametrize(("took_ms", "pause"), [(0, 0.1), (10, 0.1), (300, 3.0)])
def test_what_takes_long_to_judge_is_judged_less_often(took_ms: int, pause: float) -> None:
    assert pause_after(took_ms * 1_000_000) == pause
