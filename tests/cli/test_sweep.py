"""The verb sweep as users call it, with small clients of a few lines; pusher-js is in tests/interop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from threading import Thread

import pytest
from websockets.http11 import Request
from websockets.sync.server import ServerConnection, serve

from tests.cli.test_commands import CHAOSPROXY, PATIENCE_S, chaosproxy

# A client without mercy: it comes back 0.6 s after any end, unless that was 4001 (it stays without) or 4002 (it exits).
CLIENT = """\
import os, sys, time
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

while True:
    try:
        with connect(os.environ["WS_URL"], proxy=None) as link:
            print("connected", flush=True)
            link.recv()
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else None
        if code == 4001:
            time.sleep(600)
        if code == 4002:
            sys.exit(5)
    except (OSError, InvalidHandshake):
        pass
    time.sleep(0.6)
"""
ENV = ("--env", "WS_URL={url}/chat")


def echo(link: ServerConnection) -> None:
    for message in link:
        link.send(message)


def think(link: ServerConnection, request: Request) -> None:
    """Answer at /slow only after a while, so that connections side by side have all asked by then."""
    if request.path == "/slow":
        time.sleep(0.25)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serve(echo, "127.0.0.1", 0, process_request=think) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_ending_is_tried_and_each_reaction_told(upstream: str, loop: str, tmp_path: Path) -> None:
    what = ("--only", "rst,4001,4002,65535,mid", "--watch", "1500ms", "--loop", loop)
    ran = chaosproxy(
        *("sweep", "--upstream", upstream, *what, *ENV, "--json", str(tmp_path / "out.json")),
        *("--", sys.executable, "-c", CLIENT),
    )

    assert ran.code == 0, ran.err
    assert re.sub(r"0\.[6-9] s", "PAUSE", ran.out).splitlines() == [
        "",
        "In mid-connection, 0.3 s after it was there",
        "  ENDING                    ANSWER     REACTION",
        "  RST                       -          after PAUSE",
        "  4001                      same code  gives up (no attempt in 1.5 s)",
        "  4002                      same code  exits with 5, without another attempt",
        "  65535                     1002       after PAUSE",
    ]
    assert ran.err.splitlines() == [
        "4 endings, 4 at a time",
        "",
        "A client that pauses for more than 1.5 s looks as if it gave up: see --watch.",
    ]
    document = json.loads((tmp_path / "out.json").read_text())
    rows = document.pop("cases")
    assert document == {
        "upstream": upstream,
        "protocol": None,
        "command": [sys.executable, "-c", CLIENT],
        "watch_ms": 1500,
        "connections": 1,
    }
    assert [(row["ending"], row["code"], row["reaction"], row["is_back"]) for row in rows] == [
        ("reset", None, "pauses", True),
        ("close", 4001, "gives_up", False),
        ("close", 4002, "exits", False),
        ("close", 65535, "pauses", True),
    ]
    assert all(600 <= row["attempts_ms"][0] < 1500 for row in rows if row["is_back"])


def test_json_can_stand_in_the_tables_place(upstream: str) -> None:
    what = ("sweep", "--upstream", upstream, "--only", "rst,mid", "--json", "-")
    one_a_line = {"CHAOSPROXY_ENV": "WORDS=two words\nWS_URL={url}/chat"}
    check = "import os; assert os.environ['WORDS'] == 'two words'\n"
    ran = chaosproxy(*what, "--", sys.executable, "-c", check + CLIENT, env=one_a_line)
    assert ran.code == 0, ran.err
    assert [row["ending"] for row in json.loads(ran.out)["cases"]] == ["reset"]


def test_connections_that_a_client_has_beside_each_other_are_no_reaction(upstream: str) -> None:
    """Two threads, each with a connection that comes back after 0.6 s, or (4001) stays away."""
    pair = "import threading\ndef run():\n" + "".join(f"    {line}\n" for line in CLIENT.splitlines()[4:])
    script = "\n".join([*CLIENT.splitlines()[:3], pair, *["threading.Thread(target=run).start()"] * 2])
    what = ("--only", "rst,4001", "--watch", "1500ms", "--json", "-")
    slow = ("--env", "WS_URL={url}/slow")
    ran = chaosproxy("sweep", "--upstream", upstream, *what, *slow, "--", sys.executable, "-c", script)

    assert ran.code == 0, ran.err
    assert ran.err.startswith("4 endings of a client with 2 connections, 4 at a time\n")
    document = json.loads(ran.out)
    assert document["connections"] == 2
    assert [(row["stage"], row["ending"], row["reaction"]) for row in document["cases"]] == [
        ("handshake", "reset", "pauses"),
        ("handshake", "close", "gives_up"),
        ("mid-connection", "reset", "pauses"),
        ("mid-connection", "close", "gives_up"),
    ]


class TestFailures:
    def test_a_client_that_never_comes_is_told_where_it_should(self, upstream: str) -> None:
        ran = chaosproxy("sweep", "--upstream", upstream, "--", sys.executable, "-c", "print('bye'); exit(3)")
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.splitlines() == [
            "chaosproxy: the client did not stay connected: it exited with 3 and made no attempt",
            "  it must connect to $CHAOSPROXY_URL, or to $CHAOSPROXY_HOST and $CHAOSPROXY_PORT;",
            "  --env WS_PORT={port} sets a variable of its own",
            "    | bye",
        ]

    def test_one_that_fails_later_is_told_with_its_last_words_and_exit_code_1(
        self, upstream: str, tmp_path: Path
    ) -> None:
        """It connects when it is started for the first time, and not any more after that."""
        once = f"import os; os.mkdir({str(tmp_path / 'was-here')!r}); print('here')\n"
        what = ("sweep", "--upstream", upstream, "--only", "fin,mid", *ENV)
        ran = chaosproxy(*what, "--", sys.executable, "-c", once + CLIENT)

        assert ran.code == 1
        assert "never connected: it exited with 1 and made no attempt" in ran.out
        lines = ran.err.splitlines()
        assert lines[1] == "FIN, mid-connection: never connected: it exited with 1 and made no attempt"
        assert lines[2] == "  | Traceback (most recent call last):" and "FileExistsError" in lines[-1]

    def test_a_server_that_is_not_there_is_exit_3(self, free_port: int) -> None:
        ran = chaosproxy("sweep", "--upstream", f"ws://127.0.0.1:{free_port}", "--", "true")
        assert ran.code == 3 and "can't be reached: connection refused" in ran.err

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["--", "true"], "Missing option '--upstream'"),
            (["--upstream", "ws://127.0.0.1:1"], "which client? For example: chaosproxy sweep --upstream"),
            (["--upstream", "tcp://127.0.0.1:1", "--", "true"], "tcp:// carries none; write ws://HOST:PORT"),
            (["--upstream", "ws://127.0.0.1:1", "--only", "4201x", "--", "true"], "expected fin, rst, none, 4200"),
            (["--upstream", "ws://127.0.0.1:1", "--only", "4240-4250", "--", "true"], "leaves nothing to try"),
            (["--upstream", "ws://127.0.0.1:1", "--watch", "0s", "--", "true"], "--watch must be longer than 0s"),
            (["--upstream", "ws://127.0.0.1:1", "--env", "P={prot}", "--", "true"], "only {host}, {port}"),
            (["--upstream", "ws://127.0.0.1:1", "--env", "A={control}", "--", "true"], "there is no control API here"),
        ],
    )
    def test_misuse_is_exit_2_with_the_remedy(self, arguments: list[str], problem: str) -> None:
        ran = chaosproxy("sweep", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert problem in " ".join(ran.err.split())

    def test_so_are_a_command_and_a_file_that_are_not_to_be_had(self, upstream: str, tmp_path: Path) -> None:
        ran = chaosproxy("sweep", "--upstream", upstream, "--", "no-such-command-anywhere")
        assert ran.code == 2 and "is it installed, and on the PATH?" in ran.err
        ran = chaosproxy("sweep", "--upstream", upstream, "--json", str(tmp_path / "no/such"), "--", "true")
        assert ran.code == 2 and "no such file or directory" in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_commands(upstream: str, tmp_path: Path, number: signal.Signals) -> None:
    """Each command leaves its number in a folder as it starts."""
    sign_in = f"import os; open(os.path.join({str(tmp_path)!r}, str(os.getpid())), 'w').close()\n"
    stay = "import time; time.sleep(600)"
    started = [*CHAOSPROXY, "sweep", "--upstream", upstream, *ENV, "--only", "4001,none,mid", "--"]
    with subprocess.Popen([*started, sys.executable, "-c", sign_in + CLIENT.replace("link.recv()", stay)]) as process:
        deadline = time.monotonic() + PATIENCE_S
        while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.fixture
def free_port() -> int:
    with socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port
