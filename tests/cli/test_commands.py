"""The verbs as users call them: what is said, where, and the exit code."""

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chaosproxy import library
from chaosproxy.faults import FAULTS
from tests.cli.screen import Screen

CHAOSPROXY = [sys.executable, "-m", "chaosproxy"]
PATIENCE_S = 20
ASKING = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPTING = (  # RFC 6455, section 1.3
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Ran:
    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def chaosproxy(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
    return Ran(
        subprocess.run(
            [*CHAOSPROXY, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=False,
        )
    )


def on_terminal(*arguments: str, columns: int) -> list[str]:
    """The lines on a terminal of some width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen([*CHAOSPROXY, *arguments], stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        with open(ours, "rb", buffering=0) as screen:
            text = b""
            with suppress(OSError):  # EIO is how a terminal says that nobody writes to it any more
                while more := screen.read(65536):
                    text += more
        assert process.wait(PATIENCE_S) == 0
    return text.decode().splitlines()


@contextmanager
def running(*arguments: str, upstream: str = "ws://127.0.0.1:9") -> Iterator["subprocess.Popen[str]"]:
    command = [*CHAOSPROXY, "run", upstream, "--control", "none", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def greeted(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return process.stderr.readline()


def rest(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return process.stderr.read()


class TestProfiles:
    def test_are_listed_with_what_they_reproduce(self) -> None:
        ran = chaosproxy("profiles")
        assert (ran.code, ran.err) == (0, "\nmore: chaosproxy profiles NAME\n")
        assert [line.split()[0] for line in ran.out.splitlines()] == library.names()

    def test_lines_break_between_words_on_a_terminal(self) -> None:
        lines = on_terminal("profiles", columns=60)
        assert max(map(len, lines)) <= 60
        column = next(line.index("A client's") for line in lines if "A client's" in line)
        assert all(line[: column - 2].isspace() or line[:column].split()[0] in library.names() for line in lines[:-2])

    def test_one_is_printed_as_it_is(self) -> None:
        assert chaosproxy("profiles", "hang").out == library.text("hang")

    def test_an_unknown_one_is_answered_by_the_nearest(self) -> None:
        ran = chaosproxy("profiles", "hangs")
        assert ran.code == 2
        assert "nearest: hang" in ran.err

    def test_good_ones_are_valid(self) -> None:
        ran = chaosproxy("validate", *library.names())
        assert (ran.code, ran.err) == (0, "")
        assert [line.split()[:2] for line in ran.out.splitlines()] == [["ok", name] for name in library.names()]

    def test_every_problem_comes_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text(
            "version: 1\nname: bad\nphases:\n  - name: one\n    lasts: 5\n    rules:\n      - latencie: 1s\n"
        )
        ran = chaosproxy("validate", "hang", "bad.yaml", "./none.yaml", cwd=tmp_path)
        assert ran.code == 2
        assert ran.out.startswith("ok hang ")
        assert "bad.yaml:5:12: phases[0].lasts: expected a duration" in ran.err
        assert "bad.yaml:7:9:" in ran.err and "did you mean latency" in ran.err
        assert "none.yaml: no such file or directory" in ran.err


class TestReference:
    def test_faults_are_listed_and_described(self) -> None:
        listed = chaosproxy("faults").out
        assert all(name in listed for name in FAULTS)
        assert "acts    on the listener" in chaosproxy("faults", "refuse").out

    def test_an_unknown_fault_is_answered_by_the_nearest(self) -> None:
        ran = chaosproxy("faults", "refused")
        assert (ran.code, ran.err) == (2, "chaosproxy: unknown fault refused; did you mean refuse?\n")

    def test_the_schema_is_json(self) -> None:
        assert "phases" in json.loads(chaosproxy("schema").out)["properties"]


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "which server? For example: chaosproxy run ws://localhost:6001"),
            (["wss://127.0.0.1:7001"], "would call itself"),
            (["ws://a:1", "--tls-cert", "c.pem"], "--tls-cert and --tls-key go together; --tls-key is missing"),
            (["ws://a:1", "--tls-key", "k.pem"], "--tls-cert is missing"),
            (["ws://a:1", "--tls-cert", "/c", "--tls-key", "/k"], "--tls-cert /c with --tls-key /k can't be used: no"),
            (["ws://a:1", "--tls", "dev", "--tls-cert", "/c", "--tls-key", "/k"], "one of --tls dev and --tls-cert"),
            (["ws://a:1", "--upstream-ca", "/ca"], "for upstreams that speak TLS; write wss://a:1"),
            (["ws://a:1", "--upstream-insecure"], "--upstream-insecure is for upstreams that speak TLS"),
            (["wss://a", "--upstream-ca", "/ca"], "--upstream-ca /ca can't be used: no such file or directory"),
            (
                ["wss://a", "--upstream-ca", "/ca", "--upstream-insecure"],
                "one of --upstream-ca and --upstream-insecure",
            ),
            (["ws://a:1", "--host", "a b"], "expected keep, upstream, or a name such as example.com"),
            (
                ["ws://a:1", "--fault", "bad_certificate=expired@5s"],
                "bad_certificate needs TLS with the clients: start",
            ),
            (
                ["ws://a:1", "--profile", "tls-handshake-stall"],
                "tls_stall needs TLS with the clients: start with --tls",
            ),
            (["wss://8.8.8.8", "--fault", "close={code: 4200, to: server}@5s"], "start with --i-own-this-server"),
            (["ws://localhost:6001/app"], "takes no path"),
            (["ws://a:1", "--upstream", "ws://b:1"], "named twice"),
            (["ws://127.0.0.1:7001"], "would call itself; choose another: --listen 127.0.0.1:7011"),
            (["ws://localhost:7001"], "would call itself"),
            (["ws://127.0.0.1:7001", "--listen", "0.0.0.0:7001"], "would call itself"),
            (["ws://[::ffff:127.0.0.1]:7001"], "would call itself"),
            (["ws://0:7001"], "would call itself"),
            (["ws://[::]:7001", "--listen", "[::1]:7001"], "would call itself"),
            (["tcp://0.0.0.0:7002"], "clients would reach the control API"),
            (["ws://[::ffff:0.0.0.0]:7002"], "clients would reach the control API"),
            (["ws://localhost:7002"], "clients would reach the control API; choose another: --control 127.0.0.1:7012"),
            (["ws://a:1", "--listen", "0.0.0.0:7002"], "--listen and --control are the same"),
            (["ws://a:1", "--control", "127.0.0.1:7001"], "--listen and --control are the same"),
            (["ws://a:1", "--profile", "hangs"], "nearest: hang"),
            (["ws://a:1", "--profile", "hang", "--fault", "hang"], "and --fault, got --profile and --fault"),
            (["ws://a:1", "--profile", ""], "the profile's name is empty"),
            (["ws://a:1", "--journal", ""], "can't be written"),
            (["ws://a:1", "--listen", "192.0.2.1:7001"], "it is not an address of this machine"),
            (
                ["ws://a:1", "--listen", "127.0.0.1:0", "--control", "192.0.2.1:7002", "--token", "x"],
                "(--control): cannot assign",
            ),
            (["ws://a:1", "--fault", "clothe=4200@5s"], "did you mean close"),
            (["ws://a:1", "--grace", "10"], "a duration with a unit"),
            (["ws://a:1", "--journal", "/nowhere/j"], "the journal /nowhere/j can't be written"),
            (["ws://8.8.8.8:1", "--fault", "close={code: 4200, to: server}@5s"], "start with --i-own-this-server"),
        ],
    )
    def test_a_mistake_is_met_with_its_remedy(self, arguments: list[str], message: str) -> None:
        ran = chaosproxy("run", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert message in " ".join(ran.err.split())
        assert "Traceback" not in ran.err

    def test_all_that_makes_no_sense_on_tcp_is_told_at_once(self) -> None:
        yaml = "version: 1\nrules: [close: 4200, {drop: {}, when: {nth: 2}}]\n"
        ran = chaosproxy("run", "tcp://127.0.0.1:9", "--profile-yaml", yaml)
        assert ran.code == 2
        assert ran.err.splitlines() == [
            "chaosproxy: this profile can't be used with tcp://127.0.0.1:9:",
            "  rules[0].close: close needs frames, and tcp:// carries none; use fin or reset",
            "  rules[1].drop: drop needs messages, and tcp:// carries none; use stall or reset",
            "  rules[1].when.nth: nth: needs messages, and tcp:// carries none; it can't be used (from:, connection:, "
            "age: and chance: can)",
        ]

    def test_a_whole_profile_may_stand_in_the_environment(self) -> None:
        ran = chaosproxy("run", "ws://a:1", env={"CHAOSPROXY_PROFILE_YAML": "version: 1\nphases: 7\n"})
        assert ran.code == 2
        assert "CHAOSPROXY_PROFILE_YAML:2:9: phases: expected" in ran.err

    def test_two_profiles_of_the_environment_are_named_by_their_variables(self) -> None:
        env = {"CHAOSPROXY_PROFILE": "hang", "CHAOSPROXY_PROFILE_YAML": "version: 1"}
        assert "got CHAOSPROXY_PROFILE and CHAOSPROXY_PROFILE_YAML" in chaosproxy("run", "ws://a:1", env=env).err

    def test_a_misspelt_variable_is_told(self) -> None:
        env = {
            "CHAOSPROXY_FAULTS": "refuse",
            "CHAOSPROXY_SERVICE_HOST": "1.2.3.4",
            "CHAOSPROXY_PORT_7001_TCP": "tcp://",
            "CHAOSPROXY_PURE": "1",
        }
        ran = chaosproxy("run", "ws://a:1", "--profile", "nothing", env=env)
        assert ran.err.count("warning") == 1
        assert "CHAOSPROXY_FAULTS is not a variable of chaosproxy; did you mean CHAOSPROXY_FAULT?" in ran.err

    @pytest.mark.parametrize(("name", "meant"), [("TOKEN", "; did you mean CHAOSPROXY_CONTROL_TOKEN?"), ("XYZZY", "")])
    def test_only_a_near_variable_is_suggested(self, name: str, meant: str) -> None:
        ran = chaosproxy("run", "ws://a:1", "--profile", "nothing", env={f"CHAOSPROXY_{name}": "x"})
        assert ran.err.startswith(f"warning: CHAOSPROXY_{name} is not a variable of chaosproxy{meant}\n")

    def test_output_that_can_not_be_written_is_told(self) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*CHAOSPROXY, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False
            )
        assert done.stderr == "chaosproxy: can't write the output: no space left on device\n"
        assert done.returncode == 1

    def test_the_demo_ends_when_nobody_reads_it(self) -> None:
        with subprocess.Popen([*CHAOSPROXY, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr
            process.stdout.readline()
            process.stdout.close()
            assert (process.wait(PATIENCE_S), process.stderr.read()) == (1, b"")

    def test_options_win_over_the_environment(self) -> None:
        env = {"CHAOSPROXY_UPSTREAM": "ws://a:1", "CHAOSPROXY_PROFILE": "hang"}
        ran = chaosproxy("run", "--fault", "clothe", env=env)
        assert "clothe" in ran.err

    def test_an_upstream_is_checked_when_asked_for(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            ran = chaosproxy("run", f"ws://127.0.0.1:{bound.getsockname()[1]}", "--check-upstream")
        assert ran.code == 3
        assert "can't be reached: connection refused" in ran.err

    @pytest.mark.parametrize("option", ["--listen", "--control"])
    def test_a_busy_port_is_told_with_its_holder(self, option: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            others = ["--listen", "127.0.0.1:0"] if option == "--control" else ["--control", "none"]
            ran = chaosproxy("run", "ws://127.0.0.1:9", *others, option, f"127.0.0.1:{port}")
        assert ran.code == 4
        assert f"port {port} ({option}) is taken by " in ran.err
        assert f"(pid {os.getpid()})" in ran.err

    def test_health_says_that_nobody_answers(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            ran = chaosproxy("health", env={"CHAOSPROXY_CONTROL": f"127.0.0.1:{bound.getsockname()[1]}"})
        assert ran.code == 1
        assert "nobody answers" in ran.err


class TestRun:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_a_signal_drains_and_exits_0(self, number: signal.Signals, loop: str) -> None:
        with running("--listen", "127.0.0.1:0", "--loop", loop) as process:
            assert greeted(process).startswith("point your client at ws://127.0.0.1:")
            process.send_signal(number)
            code, err = process.wait(PATIENCE_S), rest(process)
        assert code == 0
        assert "new Pusher(key" in err
        assert err.endswith("0 attempts, 0 connections opened; faults struck: none\n")

    def test_a_tcp_upstream_is_carried_from_end_to_end(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as upstream, socket.socket() as client:
            url = f"tcp://127.0.0.1:{upstream.getsockname()[1]}"
            with running("--listen", "127.0.0.1:0", "--fault", "latency=10ms", upstream=url) as process:
                where = greeted(process)
                assert where.startswith("point your client at 127.0.0.1:")
                client.connect(("127.0.0.1", int(where.split(":")[1].split()[0])))
                client.sendall(b"PING\r\n")
                server, _ = upstream.accept()
                assert server.recv(6, socket.MSG_WAITALL) == b"PING\r\n"
                server.close()
                assert client.recv(1) == b""
                client.close()
                process.send_signal(signal.SIGTERM)
                code, err = process.wait(PATIENCE_S), rest(process)
        assert code == 0
        assert f"upstream  {url}" in err
        assert "pusher" not in err
        assert "1 attempt, 1 connection opened; faults struck: latency 1" in err

    def test_quiet_says_nothing_and_the_journal_may_go_to_stdout(self) -> None:
        with running("-q", "--listen", "127.0.0.1:0", "--journal", "-") as process:
            assert process.stdout
            header = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            code, err = process.wait(PATIENCE_S), rest(process)
        assert (code, header["profile"], err) == (0, "none", "")

    def test_a_second_signal_ends_at_once(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as upstream, socket.socket() as client:
            url = f"ws://127.0.0.1:{upstream.getsockname()[1]}"
            with running("--listen", "127.0.0.1:0", upstream=url) as process:
                port = int(greeted(process).split(":")[2].split()[0])
                client.connect(("127.0.0.1", port))
                client.sendall(ASKING)
                server, _ = upstream.accept()
                server.recv(4096)
                server.sendall(ACCEPTING)
                client.recv(4096)
                process.send_signal(signal.SIGINT)
                assert process.stderr and any("draining 1 connections" in line for line in process.stderr)
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE_S) == 130
                server.close()


class TestQuietAndVerbose:
    @pytest.mark.parametrize(
        "verb", [["run", "ws://127.0.0.1:9"], ["verify", "hang", "--upstream", "ws://127.0.0.1:9"]]
    )
    def test_both_are_a_mistake(self, verb: list[str]) -> None:
        ran = chaosproxy(*verb, "-q", "-v")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.endswith("Error: expected one of --quiet and --verbose, got --quiet and --verbose\n")

    def test_the_one_that_is_typed_counts_more_than_a_variable(self) -> None:
        arguments = ["run", "wss://127.0.0.1:9", "--check-upstream", "--upstream-insecure"]
        ran = chaosproxy(*arguments, "-q", env={"CHAOSPROXY_VERBOSE": "1", "CHAOSPROXY_NONE": "x"})
        assert ran.code == 3
        (line,) = ran.err.splitlines()
        assert line.startswith("chaosproxy: the upstream 127.0.0.1:9 can't be reached")
        ran = chaosproxy(*arguments, "-v", env={"CHAOSPROXY_QUIET": "1", "CHAOSPROXY_NONE": "x"})
        assert "warning: CHAOSPROXY_NONE" in ran.err

    def test_verify_and_sweep_say_nothing_but_what_they_found(self) -> None:
        server = "ws://127.0.0.1:9"
        ran = chaosproxy("verify", "hang", "--upstream", server, "--upstream-wait", "1s", "-q")
        assert (ran.code, ran.out) == (3, "")
        assert len(ran.err.splitlines()) == 1
        assert ran.err.startswith("chaosproxy: ")


class TestColour:
    @pytest.mark.parametrize(
        ("env", "is_coloured"),
        [
            ({}, False),
            ({"CLICOLOR_FORCE": "1"}, True),
            ({"FORCE_COLOR": "0"}, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ],
    )
    def test_the_usual_variables_are_heeded_where_there_is_no_terminal(
        self, env: dict[str, str], is_coloured: bool
    ) -> None:
        ran = chaosproxy("run", "ws://127.0.0.1:9", "--check-upstream", env={"CHAOSPROXY_NONE": "x", **env})
        assert ("\x1b[33m" in ran.err) == is_coloured

    @pytest.mark.parametrize(
        ("env", "is_coloured"),
        [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"CLICOLOR": "0"}, False)],
    )
    def test_and_where_there_is_one(self, env: dict[str, str], is_coloured: bool) -> None:
        with Screen(
            [*CHAOSPROXY, "run", "ws://127.0.0.1:9", "--check-upstream"], env={"CHAOSPROXY_NONE": "x", **env}
        ) as screen:
            assert screen.wait_end() == 3
            assert (b"\x1b[33m" in screen.raw) == is_coloured
