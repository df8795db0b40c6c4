"""What an opaque connection costs with no rule: figures that others hold themselves to, against the real command.

The best of several rounds counts, since this machine may be busy with something else.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import perf_counter

import pytest

from tests.live import LOOPS, PATIENCE_S

ROUNDS = 5
ECHOES = 400
ADDED_S_MAX = 300e-6  # one way, on average
BYTES_PER_S_MIN = 100e6
TAPE = bytes(64 * 1024 * 1024)

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("loop", LOOPS)]


@contextmanager
def proxied(port: int, loop: str) -> Iterator[int]:
    """The proxy before a port, as users run it; its own port."""
    command = [sys.executable, "-m", "chaosproxy", "run", f"tcp://127.0.0.1:{port}", "--control", "none"]
    command += ["--listen", "127.0.0.1:0", "--loop", loop]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            yield int(process.stderr.readline().split(":")[1].split()[0])
        finally:
            process.kill()


@contextmanager
def serving(serve: "type[_Echo | _Sink]") -> Iterator[int]:
    """A server of one connection after another, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = serve(listening)
        server.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            server.join(PATIENCE_S)


class _Server(threading.Thread):
    def __init__(self, listening: socket.socket) -> None:
        super().__init__(daemon=True)
        self._listening = listening

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError


class _Echo(_Server):
    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(data)


class _Sink(_Server):
    def serve(self, connection: socket.socket) -> None:
        buffer = bytearray(1 << 20)
        size = 0
        while got := connection.recv_into(buffer):
            size += got
        connection.sendall(size.to_bytes(8, "big"))  # the reply to a half-close


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _round_trip_s(port: int) -> float:
    with closing(_connect(port)) as client:
        for _ in range(ECHOES // 10):
            client.sendall(b"warm up")
            assert client.recv(7, socket.MSG_WAITALL) == b"warm up"
        began = perf_counter()
        for _ in range(ECHOES):
            client.sendall(b"x" * 64)
            assert len(client.recv(64, socket.MSG_WAITALL)) == 64
        return (perf_counter() - began) / ECHOES


def _bytes_per_s(port: int) -> float:
    with closing(_connect(port)) as client:
        began = perf_counter()
        client.sendall(TAPE)
        client.shutdown(socket.SHUT_WR)
        assert int.from_bytes(client.recv(8, socket.MSG_WAITALL), "big") == len(TAPE)
        return len(TAPE) / (perf_counter() - began)


def test_an_echo_takes_little_longer(loop: str) -> None:
    with serving(_Echo) as direct, proxied(direct, loop) as port:
        rounds = [(_round_trip_s(direct), _round_trip_s(port)) for _ in range(ROUNDS)]
    added = min((proxied_s - direct_s) / 2 for direct_s, proxied_s in rounds)
    print(f"\n{loop}: one way +{added * 1e6:.0f} us; round trips direct, proxied in us:", _in_us(rounds))
    assert added < ADDED_S_MAX


def test_bulk_flows_fast(loop: str) -> None:
    with serving(_Sink) as direct, proxied(direct, loop) as port:
        rounds = [(_bytes_per_s(direct), _bytes_per_s(port)) for _ in range(ROUNDS)]
    best = max(through for _, through in rounds)
    print(f"\n{loop}: {best / 1e6:.0f} MB/s, direct {max(direct for direct, _ in rounds) / 1e6:.0f} MB/s")
    assert best >= BYTES_PER_S_MIN


def _in_us(rounds: list[tuple[float, float]]) -> list[tuple[int, int]]:
    return [(round(direct * 1e6), round(through * 1e6)) for direct, through in rounds]
