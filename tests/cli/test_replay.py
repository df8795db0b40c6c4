"""`chaosproxy replay` as users call it: with bytes, with new traffic, and with journals that can't be used."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from chaosproxy.cli.commands import cli
from chaosproxy.cli.trouble import Trouble

from .test_commands import ACCEPTING, ASKING, CHAOSPROXY, PATIENCE_S, chaosproxy

PROFILE = """\
version: 1
seed: 4
rules:
  - drop:
    when: {from: client, chance: 40%}
  - latency: 5ms
"""


def frames(count: int) -> list[bytes]:
    """Masked text messages of one character each, with a mask of zeros."""
    return [b"\x81\x81\0\0\0\0" + bytes([ord("a") + number]) for number in range(count)]


@contextmanager
def proxy(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A verb that listens, and its port."""
    command = [*CHAOSPROXY, *arguments, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            greeting = process.stderr.readline()
            if "--journal-bytes" in arguments:
                assert "warning: the journal gets every byte" in greeting
                greeting = process.stderr.readline()
            found = re.search(r"127\.0\.0\.1:([0-9]+)", greeting)
            assert found, greeting
            yield process, int(found[1])
        finally:
            process.kill()


def talk(port: int, upstream: socket.socket, count: int) -> bytes:
    """Send messages through a new connection and end it; what the server got of them."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(ASKING)
        server, _ = upstream.accept()
        with server:
            server.settimeout(PATIENCE_S)
            server.recv(len(ASKING), socket.MSG_WAITALL)
            server.sendall(ACCEPTING)
            client.recv(len(ACCEPTING), socket.MSG_WAITALL)
            for each in frames(count):
                client.sendall(each)
            client.shutdown(socket.SHUT_WR)
            got = b""
            while part := server.recv(4096):
                got += part
    return got


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out


def test_a_run_is_repeated_in_virtual_time_and_with_new_traffic(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(PATIENCE_S)
        url = f"ws://127.0.0.1:{upstream.getsockname()[1]}"
        options = ["--control", "none", "--profile-yaml", PROFILE, "--journal", str(path), "--journal-bytes"]
        with proxy("run", url, *options) as (process, port):
            got = talk(port, upstream, 12)
            assert ended(process)[0] == 0
        dropped = [each for each in frames(12) if each not in got]
        assert dropped and got

        ran = chaosproxy("replay", str(path))
        assert (ran.code, ran.err) == (0, "")
        assert re.fullmatch(r"same: [0-9]+ inputs, [0-9]+ actions, digest [0-9a-f]{16}\n", ran.out)

        cut = tmp_path / "cut.jsonl"
        cut.write_text(path.read_text()[:-200])
        ran = chaosproxy("replay", str(cut))
        assert (ran.code, ran.out) == (2, "")
        assert "the journal is cut short: its end is missing. Up to there it is the same: " in ran.err

        # The same messages are dropped by another seed, since the journal says so.
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["options"]["seed"] = 5
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")
        with proxy("replay", str(path), "--upstream", url) as (process, port):
            assert talk(port, upstream, 12) == got
            code, out = ended(process)
        strikes = len(dropped) + 1  # latency is recorded once
        assert (code, out) == (0, f"{strikes} of {strikes} recorded strikes struck again\n")

        with proxy("replay", str(path), "--upstream", url) as (process, port):
            talk(port, upstream, 0)
            code, out = ended(process)
        assert code == 1
        assert out.startswith(f"0 of {strikes} recorded strikes struck again\n  found no place: ")
        assert "at connection 1, message " in out

    # Whatever chance would say now, the recorded run was another one.
    ran = chaosproxy("replay", str(path))
    assert ran.code == 1
    assert re.match(
        r"different at input [0-9]+ \(line [0-9]+\): .*\n  then  .*\n  now   .*\n  recorded by .*\n", ran.out
    )


def test_bytes_need_a_journal() -> None:
    with pytest.raises(click.UsageError, match="--journal-bytes needs a journal to write to: add --journal FILE"):
        cli.main(["run", "ws://a:1", "--journal-bytes"], standalone_mode=False)


HEADER = {"journal": 1, "profile_in_full": {"version": 1}, "options": {"seed": 0, "dials_per_second_max": 200}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read: no such file or directory"),
        ("hello\nhello\n", "is no journal: line 1: expected a JSON object"),
        ('{"journal": 1}\n', "the header does not have the whole profile"),
        (json.dumps(HEADER) + "\n", "can't be replayed: the header: expected options.frames_journalled"),
    ],
)
def test_a_journal_that_can_not_be_used_is_told(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Trouble) as caught:
        cli.main(["replay", os.fspath(path)], standalone_mode=False)
    assert message in str(caught.value)
    assert caught.value.code == 2
