"""How true delays are: `python -m bench.delays`, a latency on each of 1,000 connections, on both loops.

The proxy is a process of its own (`bench/delaying.py`); clients and upstream are this one. Two views are printed. The
proxy's own is the error of its histogram: from when a message was due to when it was let go, each value and not its
bucket. The view from outside is from the write of the upstream to the read of the client, less the latency; it
also holds two hops over loopback and how late this process reads, so it says "never early" strictly and the rest
loosely. The upstream sends to one connection after the other at an even rate.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple, cast

from bench import frames
from bench.figures import percentile
from bench.loops import fastest
from bench.processes import REPOSITORY

DELAYS_MS = (5, 7, 11, 17, 23, 31, 41, 50)
"""Connections take turns; no two of them have a common rhythm."""
SETTLING_S = 1.0  # behind the last message
WARM_UP_S = 0.5
_STAMP_BYTES = 8
_FRAME_BYTES = len(frames.frame(bytes(_STAMP_BYTES)))


class Errors(NamedTuple):
    """How much later than it was due something came, in microseconds; less than nothing is too early."""

    messages: int
    least_us: float
    p50_us: float
    p99_us: float
    most_us: float

    @classmethod
    def of(cls, errors_ns: Sequence[int]) -> "Errors":
        counted = [(error, 1) for error in errors_ns]
        ordered = percentile(counted, 0.5), percentile(counted, 0.99)
        least, p50, p99, most = (each / 1000 for each in (min(errors_ns), *ordered, max(errors_ns)))
        return cls(len(errors_ns), least, p50, p99, most)


class Figures(NamedTuple):
    """What one loop gave."""

    own: Errors
    outside: Errors


class Receiving(asyncio.Protocol):
    """A client: notes how much later than the latency says each message came."""

    transport: asyncio.Transport

    def __init__(self, port: int, delay_ms: int, opened: "asyncio.Future[Receiving]", errors: list[int]) -> None:
        self._head = frames.request(port).replace(b"/bench", b"/%d" % delay_ms)
        self._delay = delay_ms * 1_000_000
        self._opened = opened
        self._errors = errors
        self._rest = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()
        data = self._rest + data
        if not self._is_open:
            head, end, data = data.partition(frames.HEAD_END)
            self._rest = b"" if end else head
            if not end:
                return
            self._is_open = True
            self._opened.set_result(self)
        while len(data) >= _FRAME_BYTES:
            sent = int.from_bytes(data[_FRAME_BYTES - _STAMP_BYTES : _FRAME_BYTES])
            self._errors.append(now - sent - self._delay)
            data = data[_FRAME_BYTES:]
        self._rest = data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(exc or ConnectionError("the connection ended before it opened"))


class Sending(asyncio.Protocol):
    """The upstream's end of a connection."""

    transport: asyncio.Transport

    def __init__(self, all_of_them: list["Sending"]) -> None:
        self._all = all_of_them
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(frames.HEAD_END):
            self.transport.write(frames.response(self._head))
            self._all.append(self)

    def send(self) -> None:
        self.transport.write(frames.frame(monotonic_ns().to_bytes(_STAMP_BYTES)))


async def outside(port: int, listening: socket.socket, connections: int, seconds: float, rate: int) -> list[int]:
    """Open the connections and send `rate` messages a second, over all; return the errors as seen from here."""
    loop = asyncio.get_running_loop()
    errors: list[int] = []
    servers: list[Sending] = []
    clients: list[Receiving] = []
    upstream = await loop.create_server(lambda: Sending(servers), sock=listening)
    for number in range(connections):
        opened: asyncio.Future[Receiving] = loop.create_future()
        delay_ms = DELAYS_MS[number % len(DELAYS_MS)]
        await loop.create_connection(partial(Receiving, port, delay_ms, opened, errors), "127.0.0.1", port)
        clients.append(await opened)
    await _send(servers, WARM_UP_S, rate)
    await asyncio.sleep(SETTLING_S)
    warmed_up = len(errors)
    sent = await _send(servers, seconds, rate)
    await asyncio.sleep(SETTLING_S)
    for client in clients:
        client.transport.abort()
    while any(not server.transport.is_closing() for server in servers):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    upstream.close()
    if len(errors) != warmed_up + sent:
        raise ConnectionError(f"{len(errors) - warmed_up} of {sent} messages came")
    return errors[warmed_up:]


async def _send(servers: list[Sending], seconds: float, rate: int) -> int:
    """Send at this rate; return how many were sent."""
    began, sent = monotonic_ns(), 0
    while sent < seconds * rate:
        due = began + sent * 1_000_000_000 // rate
        if (wait := due - monotonic_ns()) > 0:
            await asyncio.sleep(wait / 1e9)
        else:
            servers[sent % len(servers)].send()
            sent += 1
    return sent


def measure(loop: str, connections: int, seconds: float, rate: int) -> Figures:
    """Run a proxy on this kind of loop, and look at it from both sides."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        command = [sys.executable, "-m", "bench.delaying", loop, str(listening.getsockname()[1])]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        with process:
            assert process.stdin and process.stdout
            try:
                port = int(process.stdout.readline())
                with asyncio.Runner(loop_factory=fastest()) as runner:
                    seen = runner.run(outside(port, listening, connections, seconds, rate))
                told, _ = process.communicate(timeout=30)
            finally:
                process.kill()
    own = json.loads(told)[-len(seen) :]
    return Figures(Errors.of(own), Errors.of(seen))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delays", description="Measure how true delays are.")
    parser.add_argument("--loops", nargs="+", choices=("asyncio", "uvloop"), default=["asyncio", "uvloop"])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=1000, help="messages a second, over all (default: 1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to send (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, for trends")
    options = parser.parse_args(arguments)
    found = {loop: measure(loop, options.connections, options.seconds, options.rate) for loop in options.loops}
    print(f"{options.connections} connections, {options.rate} messages a second, {options.seconds:g} s; microseconds")
    print(f"{'':22}{'messages':>10}{'least':>10}{'p50':>10}{'p99':>10}{'most':>10}")
    for loop, figures in found.items():
        for view, errors in figures._asdict().items():
            times = "".join(f"{each:>10,.0f}" for each in errors[1:])
            print(f"{loop + ', ' + view:22}{errors.messages:>10,}{times}")
    if options.json:
        told = {
            loop: {view: errors._asdict() for view, errors in each._asdict().items()} for loop, each in found.items()
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
