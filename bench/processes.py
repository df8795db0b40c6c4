"""Starting servers, waiting until they answer, and ending them all, whatever happens."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import monotonic

from bench import frames

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 15.0
END_SECONDS_MAX = 3.0


class NotStarted(Exception):
    """A server ended, or did not answer a handshake in time; the text says why."""


def free_ports(count: int) -> list[int]:
    """Return so many different ports on 127.0.0.1 that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def server(command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """Run a command until the block ends; enter it once a WebSocket opens through `port`. Yields the pid."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a group of its own, to end its workers with it
        )
        try:
            _await_handshake(process, port, log)
            yield process.pid
        finally:
            _end(process)


def _await_handshake(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = monotonic() + START_SECONDS_MAX
    while not _opens(port):
        if monotonic() > deadline:
            raise NotStarted(f"no WebSocket opened within {START_SECONDS_MAX:g} s{_last_words(log)}")
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise NotStarted(f"it ended with status {process.returncode}{_last_words(log)}")


def _opens(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
        connection.sendall(frames.request(port))
        return connection.recv(len(frames.SWITCHING), socket.MSG_WAITALL) == frames.SWITCHING
    return False


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: ask first, then insist."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS_MAX)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
