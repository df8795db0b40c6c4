"""The demo as it is run: a process, its lines and its exit code."""

import signal
import subprocess
import sys

from chaosproxy.demo.show import NEXT

PATIENCE_S = 30
STORY = [
    ("good", "connected"),
    ("naive", "subscribed to news"),
    ("proxy", "FAULT: the network vanishes"),
    ("good", "NOTICED after"),
    ("good", "attempt 2 is refused"),
    ("good", "unavailable"),
    ("proxy", "HEALED after"),
    ("good", "BACK with attempt"),
    ("good", "subscribed to news again"),
    ("good", "hears messages again"),
    ("naive", "connected and deaf"),
]
COMMAND = [sys.executable, "-m", "chaosproxy", "demo"]


def test_the_demo_tells_its_story_in_order() -> None:
    done = subprocess.run([*COMMAND, "--seconds", "7"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = iter(done.stdout.splitlines())
    for actor, words in STORY:
        assert any(line.split(maxsplit=2)[1:2] == [actor] and words in line for line in lines), (actor, words)
    assert any(line.split()[:1] == ["verdict"] and "PASS" in line and "FAIL: never noticed" in line for line in lines)
    assert [line.strip() for line in list(lines)[-len(NEXT) :]] == list(NEXT)


def test_the_fault_comes_within_3_s() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        fault = next(line for line in process.stdout if "FAULT" in line)
        process.kill()
    assert float(fault.split()[0]) < 3


def test_an_interrupt_ends_it_with_the_summary_so_far() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        next(line for line in process.stdout if "FAULT" in line)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (0, "")
    assert "not decided: ended early" in rest
