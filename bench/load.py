"""The client side, a process of its own: drives one workload through one port and prints one Sample as JSON.

Everything that is sent, and everything that must come back, is laid out on tapes beforehand. So checking a chunk is one
comparison of bytes, and a message that is lost, altered, merged or split is noticed at once.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from functools import partial
from typing import cast

from bench import cpu, frames
from bench.figures import Sample, percentile
from bench.loops import fastest
from bench.workloads import WORKLOADS, Workload

WARM_UP_SHARE = 0.15
DIFFERENT_MESSAGES = 8
LOCALHOST = "127.0.0.1"
CHUNK_BYTES_MAX = 262_144  # what both loops read at once, at most

PhaseEnd = asyncio.Future[None]


class Tapes:
    """The same messages over and over, as they leave and as they come back."""

    def __init__(self, workload: Workload) -> None:
        sent, echoed = frames.tapes(workload.payload_bytes, DIFFERENT_MESSAGES)
        self.sent_frame_bytes = len(sent[0])
        self.echoed_frame_bytes = len(echoed[0])
        self.sent = self._endless(sent, workload.in_flight * self.sent_frame_bytes)
        self.echoed = self._endless(echoed, CHUNK_BYTES_MAX)

    @staticmethod
    def _endless(parts: list[bytes], longest_cut: int) -> bytes:
        once = b"".join(parts)
        return once * (2 + longest_cut // len(once))


class Connection(asyncio.Protocol):
    """Keeps `in_flight` messages on their way until its share of a phase has come back."""

    transport: asyncio.Transport

    def __init__(self, workload: Workload, tapes: Tapes, port: int, opened: PhaseEnd) -> None:
        self.workload = workload
        self.tapes = tapes
        self.port = port
        self.phase_end = opened
        self.failure: ConnectionError | None = None
        self.head: bytes | None = b""
        self.to_send = 0
        self.sent = 0
        self.received_bytes = 0
        self.awaited = 0
        self.departures: deque[tuple[int, int]] = deque()
        self.round_trips: list[tuple[int, int]] = []
        """(nanoseconds, how many messages took that long)"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.transport.write(frames.request(self.port))

    def start(self, messages: int, end: PhaseEnd) -> None:
        """Send so many messages; `end` is set when the last of them is back."""
        if self.failure:
            raise self.failure
        self.phase_end = end
        self.round_trips = []
        self.to_send = self.awaited = messages
        self.send(min(messages, self.workload.in_flight), time.perf_counter_ns())

    def send(self, messages: int, now: int) -> None:
        size = self.tapes.sent_frame_bytes
        start = self.sent % DIFFERENT_MESSAGES * size
        self.transport.write(self.tapes.sent[start : start + messages * size])
        self.departures.append((now, messages))
        self.sent += messages
        self.to_send -= messages

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        if self.head is not None:
            self.receive_head(data)
            return
        size = self.tapes.echoed_frame_bytes
        if not self.tapes.echoed.startswith(data, self.received_bytes % (DIFFERENT_MESSAGES * size)):
            self.fail("what came back is not what was sent")
            return
        echoed_before = self.received_bytes // size
        self.received_bytes += len(data)
        arrived = self.received_bytes // size - echoed_before
        if not arrived:
            return
        self.awaited -= arrived
        self.note(arrived, now)
        if self.to_send:
            self.send(min(self.to_send, arrived), now)
        elif self.awaited == 0:
            self.phase_end.set_result(None)

    def note(self, arrived: int, now: int) -> None:
        """Record the round trips of the messages that have been away longest."""
        while arrived:
            if not self.departures:
                self.fail("more came back than was sent")
                return
            departed, messages = self.departures.popleft()
            if messages > arrived:
                self.departures.appendleft((departed, messages - arrived))
                messages = arrived
            self.round_trips.append((now - departed, messages))
            arrived -= messages

    def receive_head(self, data: bytes) -> None:
        assert self.head is not None
        self.head += data
        if frames.HEAD_END not in self.head:
            return
        if self.head.startswith(frames.SWITCHING) and self.head.endswith(frames.HEAD_END):
            self.head = None
            self.phase_end.set_result(None)
        else:
            self.fail(f"no clean 101 but {self.head[:80]!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"connection lost: {exc}")

    def fail(self, why: str) -> None:
        self.failure = self.failure or ConnectionError(why)
        self.transport.abort()
        if not self.phase_end.done():
            self.phase_end.set_exception(self.failure)


async def open_all(workload: Workload, port: int) -> list[Connection]:
    """Connect and shake hands."""
    loop = asyncio.get_running_loop()
    tapes = Tapes(workload)
    connections = []
    for _ in range(workload.connections):
        opened: PhaseEnd = loop.create_future()
        _, connection = await loop.create_connection(
            partial(Connection, workload, tapes, port, opened), LOCALHOST, port
        )
        await opened
        connections.append(connection)
    return connections


async def run_phase(connections: list[Connection], messages_each: int) -> float:
    """Send so many messages on each connection and return the seconds until all of them are back."""
    loop = asyncio.get_running_loop()
    ends: list[PhaseEnd] = [loop.create_future() for _ in connections]
    start = time.perf_counter()
    for connection, end in zip(connections, ends, strict=True):
        connection.start(messages_each, end)
    await asyncio.gather(*ends)
    return time.perf_counter() - start


async def measure(workload: Workload, port: int, seconds: float, watch: list[int]) -> Sample:
    """Warm up, find the number of messages that takes about `seconds`, then send exactly that many."""
    connections = await open_all(workload, port)
    messages_each = workload.in_flight
    while (took := await run_phase(connections, messages_each)) < seconds * WARM_UP_SHARE:
        messages_each *= 2
    messages_each = max(1, round(messages_each * seconds / took))

    bytes_before = sum(connection.received_bytes for connection in connections)
    cpu_before = cpu.spent_ns(watch)
    took = await run_phase(connections, messages_each)
    cpu_after = cpu.spent_ns(watch)
    received_bytes = sum(connection.received_bytes for connection in connections) - bytes_before
    messages = messages_each * len(connections)
    if received_bytes != messages * connections[0].tapes.echoed_frame_bytes:
        raise ConnectionError(f"{messages} messages sent, but {received_bytes} bytes came back")

    for connection in connections:
        connection.transport.abort()
    round_trips = [pair for connection in connections for pair in connection.round_trips]
    return Sample(
        messages=messages,
        payload_bytes=messages * workload.payload_bytes,
        seconds=took,
        p50_us=percentile(round_trips, 0.50) / 1000,
        p99_us=percentile(round_trips, 0.99) / 1000,
        cpu_us=(cpu_after - cpu_before) / 1000 / messages if watch else None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=[workload.name for workload in WORKLOADS], required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--watch", type=int, help="pid of the proxy whose CPU time is counted, with its descendants")
    options = parser.parse_args()
    workload = next(workload for workload in WORKLOADS if workload.name == options.workload)
    watch = cpu.tree(options.watch) if options.watch else []
    with asyncio.Runner(loop_factory=fastest()) as runner:
        sample = runner.run(measure(workload, options.port, options.seconds, watch))
    print(json.dumps(sample._asdict()))


if __name__ == "__main__":
    main()
