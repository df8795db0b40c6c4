"""TLS as users of `run` meet it: options, files, the greeting, and the remedy for what is missing."""

import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaosproxy import library
from chaosproxy.addresses import parse_upstream
from chaosproxy.cli.secure import TlsOptions, host_header, make_security, warnings
from chaosproxy.security import Security
from chaosproxy.sockets import LOOPBACK
from tests.cli.test_commands import ACCEPTING, ASKING, PATIENCE_S, chaosproxy, rest, running
from tests.sockets.tls_peer import trust


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "chaosproxy"


def lines_until(process: "subprocess.Popen[str]", beginning: str) -> list[str]:
    assert process.stderr
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line.rstrip("\n"))
        if line.startswith(beginning):
            return lines
    raise AssertionError(lines)


def port_of(lines: list[str]) -> int:
    found = re.match(r"point your client at wss://127\.0\.0\.1:(\d+)", lines[0])
    assert found, lines
    return int(found[1])


@contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[tuple[int, list[bytes]]]:
    """A server for one connection, over TLS or not: its port, and what it has read of the request."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)

        def serve() -> None:
            try:
                accepted, _ = listening.accept()
                with context.wrap_socket(accepted, server_side=True) if context else accepted as connection:
                    requests.append(connection.recv(65536))
                    connection.sendall(ACCEPTING)
                    connection.recv(1)
            except OSError:
                pass  # the client went, or never came

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], requests
        thread.join(PATIENCE_S)


def test_tls_dev_is_trusted_by_a_client_that_does_as_it_is_told(folder: Path) -> None:
    with (
        serving(None) as (port, requests),
        running("--listen", "127.0.0.1:0", "--tls", "dev", upstream=f"ws://127.0.0.1:{port}") as process,
    ):
        lines = lines_until(process, "  browsers")
        ca = next(line for line in lines if "NODE_EXTRA_CA_CERTS=" in line).partition("=")[2]
        assert ca == str(folder / "development-ca.pem")
        context = ssl.create_default_context(cafile=ca)
        with (
            socket.create_connection(("127.0.0.1", port_of(lines)), PATIENCE_S) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as client,
        ):
            client.sendall(ASKING)
            assert client.recv(12) == b"HTTP/1.1 101"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert requests == [ASKING]
    assert stat.S_IMODE((folder / "development-ca-key.pem").stat().st_mode) == 0o600


def test_a_given_certificate_is_shown(tmp_path: Path, folder: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    leaf = trust().ca.issue_cert("proxy.test")
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    with running("--listen", "127.0.0.1:0", "--tls-cert", str(certificate), "--tls-key", str(key)) as process:
        lines = lines_until(process, "profile")
        with socket.create_connection(("127.0.0.1", port_of(lines)), PATIENCE_S) as connection:
            trust().client.wrap_socket(connection, server_hostname="proxy.test").close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert "NODE_EXTRA_CA_CERTS" not in "\n".join(lines) + rest(process)
    assert not folder.exists()


def test_without_the_extra_the_remedy_is_told() -> None:
    code = "import sys; sys.modules['cryptography'] = None; from chaosproxy.cli import main; main()"
    for arguments in (["--tls", "dev"],):
        done = subprocess.run(
            [sys.executable, "-c", code, "run", "ws://a:1", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 2
        assert "certificates can only be made with the extra tls: pip install 'chaosproxy[tls]'" in done.stderr


def test_nothing_of_cryptography_is_imported_unless_needed() -> None:
    code = "import sys, chaosproxy.cli.commands; print([name for name in sys.modules if 'cryptography' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == "[]\n"


class TestUpstream:
    def test_is_checked_over_tls_when_asked_for(self, tmp_path: Path) -> None:
        ca = tmp_path / "ca.pem"
        trust().ca.cert_pem.write_to_path(ca)
        for arguments, words in (
            ([], "its certificate is from a CA that is not known here; name its CA by --upstream-ca FILE"),
            (["--upstream-ca", str(ca)], ""),
            (["--upstream-insecure"], ""),
        ):
            with serving(trust().server) as (port, _), socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                busy = f"127.0.0.1:{taken.getsockname()[1]}"  # it ends behind the check
                ran = chaosproxy(
                    *("run", f"wss://127.0.0.1:{port}", "--check-upstream", "--control", "none", "--listen", busy),
                    *arguments,
                )
            assert ran.code == (3 if words else 4), ran.err
            assert words in ran.err
            assert ("is not verified (--upstream-insecure)" in ran.err) == ("--upstream-insecure" in arguments)

    def test_that_does_not_speak_tls_is_told_apart(self) -> None:
        with serving(None) as (port, _):
            ran = chaosproxy("run", f"wss://127.0.0.1:{port}", "--check-upstream", "--control", "none")
        assert ran.code == 3
        assert "TLS failed: it does not speak TLS; is it ws:// in place of wss://?" in ran.err

    def test_that_goes_during_the_handshake_is_told_apart(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def accept_and_go() -> None:
                accepted, _ = listening.accept()
                accepted.recv(65536)
                accepted.close()

            thread = threading.Thread(target=accept_and_go)
            thread.start()
            ran = chaosproxy("run", f"wss://127.0.0.1:{listening.getsockname()[1]}", "--check-upstream")
            thread.join(PATIENCE_S)
        assert ran.code == 3
        assert "TLS failed: it ended the connection during the handshake; is it ws://" in ran.err

    def test_settings_come_from_the_environment_too(self, tmp_path: Path) -> None:
        env = {"CHAOSPROXY_UPSTREAM": "wss://a", "CHAOSPROXY_UPSTREAM_CA": "/nowhere", "CHAOSPROXY_HOST": "keep"}
        ran = chaosproxy("run", "--control", "none", env=env)
        assert (ran.code, "--upstream-ca /nowhere can't be used" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("wanted", "url", "host"),
    [
        (None, "ws://localhost:6001", ""),
        (None, "wss://127.0.0.1:6001", ""),
        (None, "ws://soketi:6001", "soketi:6001"),
        (None, "wss://example.com", "example.com"),
        ("keep", "wss://example.com", ""),
        ("upstream", "ws://localhost:6001", "localhost:6001"),
        ("other.example", "ws://localhost:6001", "other.example"),
    ],
)
def test_the_host_is_kept_but_for_servers_elsewhere(wanted: str | None, url: str, host: str) -> None:
    assert host_header(wanted, parse_upstream(url)) == host


@pytest.mark.parametrize(("name", "shows"), [("tls-wrong-name", True), ("tls-handshake-stall", False), ("hang", False)])
def test_beside_a_given_certificate_bad_ones_are_made_for_a_profile_that_shows_them(
    name: str, shows: bool, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    trust().ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(both)
    options = TlsOptions(certificate=str(both), key=str(both))
    security = make_security(options, parse_upstream("ws://a:1"), LOOPBACK, library.load(name))
    assert ("wrong_name" in security.listen) == shows
    assert (security.ca is not None) == shows
    assert security.upstream is None


def test_what_is_not_safe_or_not_plain_is_warned_of() -> None:
    upstream = parse_upstream("wss://example.com")
    assert warnings(TlsOptions(), upstream, Security()) == []
    assert warnings(TlsOptions(is_insecure=True), upstream, Security()) == [
        "warning: the certificate of wss://example.com:443 is not verified (--upstream-insecure)"
    ]
    (line,) = warnings(TlsOptions(certificate="c", key="k"), upstream, Security(ca=Path("/ca.pem")))
    assert "does not trust /ca.pem" in line
    assert warnings(TlsOptions(is_developing=True), upstream, Security(ca=Path("/ca.pem"))) == []
