"""Run servers as processes of their own, on ports nobody else has, and leave none behind.

Nothing here sleeps and hopes: a server is ready when its own ready address says so. Its log is kept for when not.
"""

import contextlib
import http.client
import json
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

NODE_FOLDER = Path(__file__).parent / "node"
REACT_FOLDER = Path(__file__).parents[2] / "examples/react"
PLAYWRIGHT_FOLDER = Path(__file__).parents[2] / "examples/playwright"
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15
POLL_S = 0.05
LOG_TAIL_BYTES = 4000


# Below the range from which the kernel takes ports for outgoing connections: one of those may get in first.
_PORTS = range(10_000, 32_000)
_BLOCK = 500
_left: list[int] = []
_giving = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Return `count` different ports, free at this moment for TCP on 127.0.0.1, and never given before.

    No other process that calls this is given them, be it another worker of this run or another run.
    """
    with _giving:
        found: list[int] = []
        while len(found) < count:
            if not _left:
                _left.extend(_claim_block())
            if _is_free(port := _left.pop()):
                found.append(port)
        return found


def _claim_block() -> range:
    """Take ports for as long as this process lives.

    The claim is an abstract address: like a port it is one network namespace's, only one process can have it, and the
    kernel lets it go with that process.
    """
    firsts = _PORTS[::_BLOCK]
    for first in random.SystemRandom().sample(firsts, len(firsts)):
        claim = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            claim.bind(f"\0chaosproxy-tests-{first}")
            claim.detach()  # open until the end, and nobody's to close
            return range(first, first + _BLOCK)
        claim.close()
    raise AssertionError(f"all ports from {_PORTS.start} to {_PORTS.stop} are other tests'")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def get_status(url: str) -> int | None:
    """Return the HTTP status `url` answers with, or None if nobody does; proxies of the environment are not used."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


@contextlib.contextmanager
def node_script(name: str, settings: Mapping[str, object]) -> Iterator[Iterator[str]]:
    """Run a script of the folder node, which ends well with its stdin; give what it writes, line by line."""
    with subprocess.Popen(
        ["node", NODE_FOLDER / name, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield iter(process.stdout)
        process.stdin.close()
        assert process.wait(STOP_TIMEOUT_S) == 0


class ServerProcess:
    """A server, ready inside the `with` block; after it the server has ended, and ended well.

    When the block fails, the end of the server's log is added to the failure's notes.
    """

    name: str
    ready_url: str

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log_path = directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and return once its ready address answers 200."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command()],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_ready(self.process)
        except BaseException:
            self.kill()
            raise

    def signal_stop(self) -> None:
        """Send SIGTERM and return at once, to watch what the others notice of it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait_stopped(self) -> None:
        """Return when the server, told to stop, has ended with exit code 0; end it hard if it does not."""
        assert self.process is not None
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} ignored SIGTERM for {STOP_TIMEOUT_S} s\n{self.log_tail()}") from None
        self.process = None
        assert code == 0, f"{self.name} ended with exit code {code}\n{self.log_tail()}"

    def stop(self) -> None:
        """Stop the server by SIGTERM; it must end with exit code 0."""
        self.signal_stop()
        self.wait_stopped()

    def kill(self) -> None:
        """End the server without giving it a chance to say goodbye."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def log_tail(self) -> str:
        text = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return f"the end of {self.log_path}:\n{text}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.log_tail())
        if self.process is None:
            return
        if error is None:
            self.stop()
        else:
            self.kill()

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (status := get_status(self.ready_url)) != 200:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not ready ({self.ready_url}: {status})\n{self.log_tail()}")
            time.sleep(POLL_S)
