"""Live lines on a real pseudo-terminal, and JSON lines where there is none: what people and log collectors see."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.cli.screen import PATIENCE_S, Screen
from tests.cli.test_commands import ACCEPTING
from tests.interop.processes import free_ports
from tests.virtual import close_frame, text

PYTHON = [sys.executable, "-m", "chaosproxy"]
WAITING = "waiting for a client | 0 open"
PROFILE = """\
version: 1
name: quiet
protocol: pusher
identify: {header: X-Client}
phases:
  - {name: healthy, until: step}
  - {name: outage, lasts: 90s, rules: [half_open: {hits: live}]}
"""
OURS = re.compile(r"\x1b\[(\d*A|J|[\d;]*m)")
"""What we write that is no text: cursor up, erase, colours."""


def _echo(link: ServerConnection) -> None:
    try:
        for message in link:
            link.send(message)
    except ConnectionClosed:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serve(_echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


class Run:
    """`chaosproxy run` on a screen."""

    def __init__(self, screen: Screen, port: int, control: int) -> None:
        self.screen = screen
        self.port = port
        self.url = f"ws://127.0.0.1:{port}"
        self._control = control

    def next_phase(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._control, timeout=PATIENCE_S)
        connection.request("POST", "/api/phase/next", "{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()


@contextmanager
def run(upstream: str, tmp_path: Path, *options: str, columns: int = 80, lines: int = 24, **env: str) -> Iterator[Run]:
    (tmp_path / "profile.yaml").write_text(PROFILE)
    port, control = free_ports(2)
    addresses = ["--listen", f"127.0.0.1:{port}", "--control", f"127.0.0.1:{control}"]
    command = [*PYTHON, "run", upstream, *addresses, "--profile", tmp_path / "profile.yaml", *options]
    with Screen(command, columns, lines, env) as screen:
        yield Run(screen, port, control)


def client(url: str, name: str, path: str = "/app") -> ClientConnection:
    return connect(url + path, additional_headers={"X-Client": name}, proxy=None, ping_interval=None, compression=None)


class TestLines:
    def test_a_line_for_each_connection_below_the_lines_that_stay(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path) as ran, ExitStack() as links:
            screen = ran.screen
            screen.wait_for(WAITING)
            anna = links.enter_context(client(ran.url, "anna"))
            links.enter_context(client(ran.url, "bert"))
            anna.send("hello")
            assert anna.recv() == "hello"
            screen.wait_for(lambda: "1/11B" in screen.text and "2 open" in screen.lines[-1])
            titles = next(row for row, line in enumerate(screen.lines) if line.startswith("#"))
            first, second, last = screen.lines[titles + 1 :]
            assert first.split()[:2] == ["1", "anna"] and first.split()[3:6] == ["open", "1/11B", "1/7B"]
            assert second.split()[:2] == ["2", "bert"]
            assert last.startswith("phase healthy, until step | 2 open | 2 attempts | 0 strikes")
            assert any(line.endswith("connection 1 of anna open") for line in screen.lines[:titles])
            assert screen.colours(titles + 1) == {"green"}
            assert screen.cursor[0] == len(screen.lines) - 1

    def test_a_silent_connection_says_so_and_time_goes_on_by_itself(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path) as ran:
            screen = ran.screen
            screen.wait_for(WAITING)
            with client(ran.url, "anna"):
                screen.wait_for("1 open")
                ran.next_phase()
                screen.wait_for("phase outage, 1:29 left")
                screen.wait_for("silent 3s")
                assert screen.colours(len(screen.lines) - 2) == {"red"}
                assert screen.lines[-2].endswith("half_open")
                screen.interrupt()
                assert screen.wait_end() == 0


class TestEnd:
    def test_ctrl_c_leaves_a_clean_terminal(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path) as ran:
            screen = ran.screen
            screen.wait_for(WAITING)
            with client(ran.url, "anna"):
                screen.wait_for("1 open")
                screen.interrupt()
                assert screen.wait_end() == 0
            assert screen.lines[-1] == "1 attempt, 1 connection opened; faults struck: none"
            assert screen.cursor == (len(screen.lines), 0)
            assert not screen.is_cursor_hidden
            assert b"\x1b[?1049h" not in screen.raw, "the alternate screen"
            assert not any(line.startswith("#") or " | " in line for line in screen.all_lines)
            lines = [line for line in screen.all_lines if "connection 1 of anna" in line]
            assert [line.split("anna ")[1] for line in lines] == ["open", "over: close 1001 by the proxy"]

    def test_an_internal_error_is_told_on_a_clean_terminal(self, upstream: str, tmp_path: Path) -> None:
        broken = "import chaosproxy.cli.run as r\nasync def bad(*a): raise RuntimeError('boom')\nr._drain = bad\n"
        broken += "from chaosproxy.cli import main\nmain()\n"
        port, control = free_ports(2)
        addresses = ["--listen", f"127.0.0.1:{port}", "--control", f"127.0.0.1:{control}"]
        with Screen([sys.executable, "-c", broken, "run", upstream, *addresses]) as screen:
            screen.wait_for("0 open")
            screen.interrupt()
            assert screen.wait_end() == 70
            assert screen.lines[-1] == "RuntimeError: boom"
            assert not any(" | " in line and "open" in line for line in screen.all_lines)


class TestBounds:
    def test_the_lines_that_stay_stay_whole(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path, lines=10, columns=60) as ran:
            screen = ran.screen
            screen.wait_for(WAITING)
            with ExitStack() as links:
                for number in range(40):
                    links.enter_context(client(ran.url, f"c{number}"))
                screen.wait_for("40 open")
                screen.wait_for("… and 38 more")
                assert len(screen.lines) == 10
                assert [line.split()[0] for line in screen.lines[-5:]] == ["#", "39", "40", "…", "phase"]
            screen.wait_for("0 open")
            opened = [line.split("  ")[-1] for line in screen.all_lines if line.endswith("open") and "  " in line]
            assert opened == [f"connection 1 of c{number} open" for number in range(40)]

    def test_another_size_is_heeded(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path, columns=120, lines=20) as ran, ExitStack() as links:
            screen = ran.screen
            screen.wait_for(WAITING)
            for number in range(12):
                links.enter_context(client(ran.url, f"c{number}"))
            screen.wait_for("… and 5 more")
            screen.resize(40, 12)
            screen.wait_for("… and 9 more")
            assert [line.split()[0] for line in screen.lines[-6:]] == ["#", "10", "11", "12", "…", "phase"]
            assert all(len(line) < 40 for line in screen.lines[-6:])
            assert sum(line.startswith(" #") for line in screen.lines) == 1
            screen.resize(120, 40)
            screen.wait_for(lambda: "… and" not in screen.text)
            assert [line.split()[0] for line in screen.lines[-14:-1]] == ["#", *map(str, range(1, 13))]

    def test_what_peers_say_writes_nothing_of_its_own(self, tmp_path: Path) -> None:
        hostile = "\x1b[2J\x1b]0;pwned\x07\u202etxt.exe"
        said = {"event": "pusher_internal:subscription_succeeded", "channel": hostile, "data": "{}"}
        head = (
            b"GET /\x9b2J%1b[2J HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"X-Client: \x9b2J\x9d0;pwned\x9c\xe2\x80\xae\r\n\r\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
            ran = stack.enter_context(run(f"ws://127.0.0.1:{server.getsockname()[1]}", tmp_path, "-v"))
            screen = ran.screen
            screen.wait_for(WAITING)
            with socket.create_connection(("127.0.0.1", ran.port)) as peer:
                peer.sendall(head)
                dialled, _ = server.accept()
                stack.enter_context(dialled)
                dialled.sendall(ACCEPTING + text(json.dumps(said)))
                screen.wait_for("1 open")
                screen.wait_for("\\x1b[2J\\x1b]0;pwned\\x07\\u202etxt.exe")
                peer.sendall(close_frame(4000, hostile.encode(), b"mask"))
            screen.wait_for("0 open")
            screen.interrupt()
            assert screen.wait_end() == 0
            written = OURS.sub("", screen.raw.decode())
            assert {sign for sign in written if not sign.isprintable()} == {"\r", "\n"}
            assert "\\x9b2J\\x9d0;pwned\\x9c" in written, "the client's name, escaped"


class TestManners:
    @pytest.mark.parametrize(
        ("options", "env"),
        [(("--no-live",), {}), ((), {"TERM": "dumb"}), (("--log", "json"), {}), ((), {"CHAOSPROXY_NO_LIVE": "1"})],
    )
    def test_there_are_none_where_they_are_not_wanted(
        self, upstream: str, tmp_path: Path, options: tuple[str, ...], env: dict[str, str]
    ) -> None:
        with run(upstream, tmp_path, *options, **env) as ran:
            screen = ran.screen
            screen.wait_for("profile")
            with client(ran.url, "anna"):
                screen.wait_for(lambda: b"of anna open" in screen.raw)
                screen.interrupt()
                assert screen.wait_end() == 0
            assert b"\x1b[" not in screen.raw
            assert "1 open" not in "\n".join(screen.all_lines)

    def test_no_color_means_none(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path, NO_COLOR="1") as ran, ExitStack() as links:
            ran.screen.wait_for(WAITING)
            links.enter_context(client(ran.url, "anna"))
            ran.screen.wait_for("1 open")
            assert all(ran.screen.colours(row) <= {"default"} for row in range(24))
            assert not re.search(rb"\x1b\[[\d;]*m", ran.screen.raw)

    def test_quiet_says_nothing(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path, "-q") as ran:
            with connected(ran.url):
                ran.screen.interrupt()
                assert ran.screen.wait_end() == 0
            assert ran.screen.raw.replace(b"^C", b"") == b""

    def test_a_terminal_that_is_held_does_not_hold_the_proxy(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path) as ran, ExitStack() as links:
            screen = ran.screen
            screen.wait_for(WAITING)
            screen.hold()
            for number in range(10):
                with client(ran.url, f"c{number}") as link:
                    link.send("hello")
                    assert link.recv(PATIENCE_S) == "hello"
            links.enter_context(client(ran.url, "last"))
            screen.go_on()
            screen.wait_for("1 open | 11 attempts")
            assert any(line.endswith("connection 1 of last open") for line in screen.all_lines)

    def test_stopped_and_gone_on_it_draws_below_what_was_written_meanwhile(self, upstream: str, tmp_path: Path) -> None:
        with run(upstream, tmp_path) as ran:
            screen = ran.screen
            screen.wait_for(WAITING)
            screen.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, screen.process.pid, os.WSTOPPED | os.WNOWAIT)
            screen.feed("\r\nwritten meanwhile\r\n")
            screen.process.send_signal(signal.SIGCONT)
            screen.wait_for(lambda: screen.lines[-1].startswith(WAITING) and screen.lines[-2] == "written meanwhile")

    def test_in_the_background_the_last_lines_are_the_shells(self, upstream: str, tmp_path: Path) -> None:
        (tmp_path / "profile.yaml").write_text(PROFILE)
        (port,) = free_ports(1)
        command = [*PYTHON, "run", upstream, "--listen", f"127.0.0.1:{port}", "--control", "none"]
        command += ["--profile", str(tmp_path / "profile.yaml")]
        bash = ["bash", "--norc", "--noprofile", "-i"]
        with Screen(bash, 100, 40, {"PS1": "$ ", "INPUTRC": "/dev/null"}) as screen:
            screen.wait_for("$")
            screen.type(f"{' '.join(command)} &\n")
            screen.wait_for("seed 0")
            with connected(f"ws://127.0.0.1:{port}"):
                screen.wait_for("of anna open")
            screen.wait_for("of anna over")
            assert "waiting for a client" not in screen.text and "0 attempts" not in screen.text
            screen.type("fg\n")
            screen.wait_for("0 open | 1 attempts")
            screen.interrupt()
            screen.wait_for("1 attempt, 1 connection opened")


class TestPiped:
    def start(self, upstream: str, tmp_path: Path, *options: str, **env: str) -> "subprocess.Popen[str]":
        (tmp_path / "profile.yaml").write_text(PROFILE)
        (self.port,) = free_ports(1)
        command = [*PYTHON, "run", upstream, "--listen", f"127.0.0.1:{self.port}", "--control", "none"]
        command += ["--profile", str(tmp_path / "profile.yaml"), *options]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
        )

    def end(self, process: "subprocess.Popen[str]") -> tuple[int, str, str]:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def test_json_lines_say_what_plain_lines_say(self, upstream: str, tmp_path: Path) -> None:
        process = self.start(upstream, tmp_path, "--log", "json", CHAOSPROXY_NONE="x")
        with connected(f"ws://127.0.0.1:{self.port}"):
            code, out, err = self.end(process)
        assert (code, out) == (0, "")
        said = [json.loads(line) for line in err.splitlines()]
        assert err.isascii()
        assert all(set(each) >= {"time", "level", "text"} and each["time"].endswith("Z") for each in said)
        assert said[0]["level"] == "warning" and "CHAOSPROXY_NONE" in said[0]["text"]
        (started,) = [each for each in said if each.get("event") == "started"]
        assert started["address"] == f"127.0.0.1:{self.port}"
        assert (started["upstream"], started["profile"], started["seed"]) == (upstream, "quiet", 0)
        (opened,) = [each for each in said if each.get("event") == "opened"]
        assert (opened["level"], opened["attempt"], opened["connection"]) == ("info", 1, 1)
        assert opened["text"].startswith("connection 1 of anna")
        assert said[-1]["text"] == "1 attempt, 1 connection opened; faults struck: none"

    def test_why_it_can_not_start_is_a_json_line_too(self, upstream: str, tmp_path: Path) -> None:
        with self.start(upstream, tmp_path, "--log", "json", "--profile", "nonsense") as process:
            _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        (line,) = err.splitlines()
        assert json.loads(line)["level"] == "error"
        assert "nonsense" in json.loads(line)["text"]

    def test_quiet_json_has_nothing_but_errors(self, upstream: str, tmp_path: Path) -> None:
        process = self.start(upstream, tmp_path, "--log", "json", "-q")
        with connected(f"ws://127.0.0.1:{self.port}"):
            assert self.end(process) == (0, "", "")

    def test_plain_lines_have_no_codes_of_terminals_unless_that_is_forced(self, upstream: str, tmp_path: Path) -> None:
        for env, is_coloured in (
            ({}, False),
            ({"FORCE_COLOR": "1"}, True),
            ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ):
            process = self.start(upstream, tmp_path, CHAOSPROXY_NONE="x", **env)
            with connected(f"ws://127.0.0.1:{self.port}"):
                code, _, err = self.end(process)
            assert code == 0
            assert ("\x1b[33mwarning: CHAOSPROXY_NONE" in err) == is_coloured
            assert "open | " not in err, "a live line"


@contextmanager
def connected(url: str, name: str = "anna") -> Iterator[ClientConnection]:
    """A connection through a proxy that may not be there yet."""
    for _ in range(int(PATIENCE_S / 0.05)):
        try:
            link = client(url, name)
            break
        except OSError:
            threading.Event().wait(0.05)
    else:
        raise AssertionError("nobody listens")
    with link:
        yield link
