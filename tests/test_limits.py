"""What a proxy bears: no descriptors, slow heads, huge claims, stalled readers, and being told to stop."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import chaosproxy.opening
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.wire.frames import build_close, build_frame

from .interop.processes import free_ports
from .live import LOOPS, REQUEST, RESPONSE, Peer, Upstream, comes_true, run, stage

MASK = b"\x11\x22\x33\x44"
HELLO = build_frame(1, b"hello", MASK)
ANSWER = build_frame(1, b"answer")
AWAY = build_close(1001)
ROOT = Path(__file__).parent.parent
MIB = 1024 * 1024

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def echo_once(client: Peer, server: Peer) -> None:
    await client.send(HELLO)
    assert await server.exactly(len(HELLO)) == HELLO
    await server.send(ANSWER)
    assert await client.exactly(len(ANSWER)) == ANSWER


async def tunnel(port: int, upstream: Upstream) -> tuple[Peer, Peer]:
    client = await Peer.connect(port)
    await client.send(REQUEST)
    server = await upstream.accept()
    await server.exactly(len(REQUEST))
    await server.send(RESPONSE)
    await client.exactly(len(RESPONSE))
    return client, server


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


class TestDescriptors:
    @pytest.mark.parametrize("limit", [64, 256])
    def test_a_process_out_of_descriptors_stays_calm_and_accepts_again_by_itself(self, loop: str, limit: int) -> None:
        async def tale(upstream: Upstream) -> None:
            with process("-m", "tests.starved", loop, str(limit), str(upstream.port)) as proxy:
                assert proxy.stdout and proxy.stderr
                port = int(proxy.stdout.readline())
                pair = await tunnel(port, upstream)
                proxy.send_signal(signal.SIGUSR1)
                assert proxy.stdout.readline() == "starved\n"
                for _ in range(30):
                    with contextlib.suppress(ConnectionError):
                        await Peer.connect(port)
                await asyncio.sleep(0.2)
                cpu = cpu_s(proxy.pid)
                for _ in range(10):
                    await echo_once(*pair)
                    await asyncio.sleep(0.1)
                assert cpu_s(proxy.pid) - cpu < 0.2
                proxy.send_signal(signal.SIGUSR2)
                assert proxy.stdout.readline() == "fed\n"
                fed_at = time.monotonic()
                again = None
                while again is None:
                    assert time.monotonic() - fed_at < 2
                    with contextlib.suppress(ConnectionRefusedError):
                        again = await tunnel(port, upstream)
                    await asyncio.sleep(0.02)
                await echo_once(*again)
                await echo_once(*pair)
                proxy.terminate()
                _, log = await asyncio.to_thread(proxy.communicate)
                assert proxy.returncode == 0
                assert "the descriptor limit is near" in log
                assert len(log) < 5000
                assert "Traceback" not in log

        async def whole() -> None:
            upstream = Upstream()
            try:
                await tale(upstream)
            finally:
                upstream.close()
                while Peer.opened:
                    Peer.opened.pop().close()

        run(loop, whole())


class TestSlowAndHuge:
    def check_slow_heads(self, loop: str, head_s: float, drip_s: float) -> None:
        async def drip(port: int) -> float:
            client = await Peer.connect(port)
            started = time.monotonic()
            reading = asyncio.create_task(client.rest())
            for byte in REQUEST:
                with contextlib.suppress(ConnectionError):
                    await client.send(bytes((byte,)))
                done, _ = await asyncio.wait({reading}, timeout=drip_s)
                if done:
                    break
            assert (await reading).startswith(b"HTTP/1.1 408 ")
            took = time.monotonic() - started
            client.close()
            return took

        async def tale() -> None:
            async with stage() as on:
                pair = await on.tunnel()
                drips = [asyncio.create_task(drip(on.proxy.port)) for _ in range(30)]
                while not all(each.done() for each in drips):
                    started = time.monotonic()
                    await echo_once(*pair)
                    assert time.monotonic() - started < 0.5
                    await asyncio.sleep(0.1)
                took = [await each for each in drips]
                assert head_s - 0.01 <= min(took) <= max(took) < head_s + 1
                for peer in pair:
                    peer.close()
                await on.is_empty()

        run(loop, tale())

    def test_heads_that_drip_are_cut_at_their_deadline(self, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chaosproxy.opening, "HEAD_TIME", 800 * MILLISECOND)
        self.check_slow_heads(loop, head_s=0.8, drip_s=0.1)

    @pytest.mark.slow
    def test_heads_that_drip_are_cut_after_ten_seconds(self, loop: str) -> None:
        self.check_slow_heads(loop, head_s=chaosproxy.opening.HEAD_TIME / SECOND, drip_s=1)

    @pytest.mark.parametrize("rules", [[], [{"drop": {}, "when": {"nth": 1000}}]])
    def test_frames_that_claim_a_terabyte_cost_no_memory(self, loop: str, rules: list[object]) -> None:
        claim = b"\x82\xff" + (2**40).to_bytes(8, "big") + MASK

        async def tale() -> None:
            async with stage({"rules": rules}) as on:
                pairs = [await on.tunnel() for _ in range(64)]
                await asyncio.gather(*(echo_once(*pair) for pair in pairs))  # so that the loop has its buffers
                before = resident_bytes()
                for client, _ in pairs:
                    await client.send(claim)
                for _ in range(10):
                    for client, _ in pairs:
                        await client.send(bytes(1000))
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                assert resident_bytes() - before < 8 * MIB
                for client, server in pairs:
                    if not rules:
                        assert await server.exactly(len(claim) + 10_000) == claim + bytes(10_000)
                    client.close()
                    server.close()
                await on.is_empty()

        run(loop, tale())


STALLED: list[list[object]] = [
    [],
    [{"latency": "5s"}],
    [{"half_open": {"hits": "all"}}],
    [{"drop": {}, "when": {"chance": "1%"}}],
    [{"latency": "20ms"}, {"drop": {}, "when": {"chance": "1%"}}],
]


class TestStalledReaders:
    @pytest.mark.parametrize("rules", STALLED)
    @pytest.mark.parametrize("size", [64_000, 4_000_000])
    def test_memory_is_bounded_while_twenty_connections_flood(self, loop: str, rules: list[object], size: int) -> None:
        """Each may hold its limit in either direction, and what one turn reads beyond it; and a message in progress."""
        phases = [{"name": "open", "until": "step"}, {"name": "hurt", "until": "step", "rules": rules}]
        flood = build_frame(2, bytes(size))
        is_judged = any("drop" in rule for rule in rules if isinstance(rule, dict))
        per_connection = 2 * MIB + 256 * 1024 + (3 * size if is_judged else 0)

        async def pour(server: Peer) -> None:
            with contextlib.suppress(OSError, TimeoutError):
                for _ in range(60_000_000 // size):
                    await server.send(flood)

        async def tale() -> None:
            async with stage({"starts": "launch", "phases": phases}) as on:
                pairs = [await on.tunnel() for _ in range(20)]
                healthy = await on.tunnel()
                on.proxy.steer(lambda world, now: world.step(now))
                before = resident_bytes()
                floods = [asyncio.create_task(pour(server)) for _, server in pairs]
                most = 0
                for _ in range(20):
                    await asyncio.sleep(0.05)
                    most = max(most, resident_bytes() - before)
                assert not any(each.done() for each in floods)
                assert most < 20 * per_connection
                if not rules:
                    await echo_once(*healthy)
                for client, _ in pairs:
                    client.reset()
                on.proxy.steer(lambda world, now: world.step(now))
                for each in floods:
                    each.cancel()
                await asyncio.gather(*floods, return_exceptions=True)
                for peer in (*healthy, *(server for _, server in pairs)):
                    peer.close()
                await on.is_empty()

        run(loop, tale())

    @pytest.mark.parametrize("rules", [[], [{"latency": "10ms"}]])
    @pytest.mark.parametrize("flooder", [0, 1])
    def test_when_a_stalled_reader_resets_the_other_side_ends_within_a_second(
        self, loop: str, flooder: int, rules: list[object]
    ) -> None:
        async def tale() -> None:
            async with stage({"rules": rules}) as on:
                pairs = [await on.tunnel() for _ in range(20)]
                flood = build_frame(2, bytes(64_000), b"" if flooder else MASK) * 300

                async def pour(peer: Peer) -> None:
                    with contextlib.suppress(OSError):
                        await peer.send(flood)

                floods = [asyncio.create_task(pour(pair[flooder])) for pair in pairs]
                await comes_true(lambda: on.proxy.paused_legs >= 20)
                assert not any(each.done() for each in floods)
                for pair in pairs:
                    pair[1 - flooder].reset()
                started = time.monotonic()
                await asyncio.gather(*floods)
                assert time.monotonic() - started < 1
                for pair in pairs:
                    pair[flooder].close()
                await on.is_empty()

        run(loop, tale())


class TestHalfClose:
    @pytest.mark.parametrize("end", [b"", HELLO[:5]])
    def test_a_half_close_is_passed_on_within_a_tenth_of_a_second(self, loop: str, end: bytes) -> None:
        async def tale() -> None:
            async with stage() as on:
                for _ in range(10):
                    for first in (0, 1):
                        pair = await on.tunnel()
                        await pair[first].send(end)
                        started = time.monotonic()
                        pair[first].end()
                        assert await pair[1 - first].rest() == end
                        assert time.monotonic() - started < 0.1
                        await pair[1 - first].send(ANSWER)
                        assert await pair[first].exactly(len(ANSWER)) == ANSWER
                        for peer in pair:
                            peer.close()
                await on.is_empty()

        run(loop, tale())


class Echo:
    """A peer that ends as RFC 6455 says: a close is answered, then FIN. What it has received is kept."""

    def __init__(self, peer: Peer, mask: bytes) -> None:
        self.peer = peer
        self.mask = mask
        self.received = b""

    async def until_end(self) -> None:
        while data := await self.peer.receive():
            self.received += data
            if AWAY[2:] in data or b"\x88" in data:
                await self.peer.send(build_close(1001, b"", self.mask))
        self.peer.close()


class TestDrain:
    def test_two_hundred_connections_get_1001_and_no_rst_within_the_grace(self, loop: str) -> None:
        async def tale() -> None:
            async with stage() as on:
                pairs = [await on.tunnel() for _ in range(200)]
                ends = [Echo(peer, mask) for client, server in pairs for peer, mask in ((client, MASK), (server, b""))]
                for _, server in pairs[:50]:
                    await server.send(ANSWER)  # has left the server, and not reached the client
                tasks = [asyncio.create_task(end.until_end()) for end in ends]
                await asyncio.sleep(0)
                started = time.monotonic()
                stopping = asyncio.create_task(on.proxy.stop(grace_s=10))
                await asyncio.sleep(0)
                with pytest.raises(ConnectionRefusedError):
                    await Peer.connect(on.proxy.port)
                await asyncio.gather(*tasks)  # raises ConnectionResetError at an RST
                await stopping
                assert time.monotonic() - started < 3
                for number in range(200):
                    assert ends[2 * number].received == (ANSWER if number < 50 else b"") + AWAY
                    assert ends[2 * number + 1].received[:2] == b"\x88\x82"

        run(loop, tale())

    @pytest.mark.parametrize("signals", [1, 2])
    def test_sigterm_drains_the_command_and_a_second_one_ends_it_at_once(self, loop: str, signals: int) -> None:
        async def tale() -> None:
            upstream = Upstream()
            (port,) = free_ports(1)
            command = ["-m", "chaosproxy", "run", f"ws://127.0.0.1:{upstream.port}"]
            command += ["--listen", f"127.0.0.1:{port}", "--control", "none", "--loop", loop, "--grace", "10s"]
            with process(*command) as proxy:
                pair = None
                async with asyncio.timeout(15):
                    while pair is None:
                        with contextlib.suppress(ConnectionRefusedError):
                            pair = await tunnel(port, upstream)
                        await asyncio.sleep(0.05)
                started = time.monotonic()
                proxy.terminate()
                assert await pair[0].exactly(len(AWAY)) == AWAY
                if signals == 2:
                    proxy.terminate()
                else:
                    await pair[0].send(build_close(1001, b"", MASK))
                    assert (await pair[1].exactly(8))[:2] == b"\x88\x82"
                    await pair[1].send(AWAY)
                    for peer in pair:
                        assert await peer.rest() == b""
                        peer.close()
                await asyncio.to_thread(proxy.wait, 5)
                assert time.monotonic() - started < 1
                assert proxy.returncode == (0 if signals == 1 else 128 + signal.SIGTERM)
                for peer in pair:
                    peer.close()
            upstream.close()

        run(loop, tale())
