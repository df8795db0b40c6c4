"""Frames that are meant to hurt the proxy itself: they cost it no memory to speak of, and others their turn not.

Raw peers on both loops. Beside every attack a healthy connection goes on.
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from chaosproxy.events import Limited, Suppressed, Unjudged
from chaosproxy.wire.frames import Side
from tests.hurts import OF_KEEPING, Rule, rules
from tests.live import LOOPS, REQUEST, RESPONSE, Peer, Stage, Upstream, comes_true, run, stage
from tests.virtual import frame, live_rule, read_frames, text

MASK = b"\x11\x22\x33\x44"
HELLO = text("hello", MASK)
ANSWER = text("answer")
MIB = 1024 * 1024
READS_CONTENT: Rule = {"drop": {}, "when": {"size": "> 1B", "nth": 1_000_000}}
DEFLATE = RESPONSE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
TAIL = b"\x00\x00\xff\xff"

on_both_loops = pytest.mark.parametrize("loop", LOOPS)


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def echo_once(pair: tuple[Peer, Peer]) -> None:
    client, server = pair
    await client.send(HELLO)
    assert await server.exactly(len(HELLO)) == HELLO
    await server.send(ANSWER)
    assert await client.exactly(len(ANSWER)) == ANSWER


def swallow(peer: Peer) -> "asyncio.Task[int]":
    """Read all that comes and forget it; how much it was."""

    async def read() -> int:
        size = 0
        with contextlib.suppress(OSError):
            while part := await asyncio.get_running_loop().sock_recv(peer.sock, 1 << 18):
                size += len(part)
        return size

    return asyncio.ensure_future(read())


# --- Lengths that are lies -----------------------------------------------------------------------------------------

LIES = {"2^31": 2**31, "2^40": 2**40, "2^63-1": 2**63 - 1, "2^63": 2**63, "2^64-1": 2**64 - 1}
RULES: dict[str, list[Rule]] = {
    "none": [],
    "judged": [READS_CONTENT],
    "latency": [{"latency": "10ms"}],
    "both": [{"latency": "10ms"}, READS_CONTENT],
}


@on_both_loops
@pytest.mark.parametrize("hurt", RULES)
@pytest.mark.parametrize("lie", LIES)
def test_a_length_that_is_a_lie_costs_nothing_and_hinders_nobody(loop: str, lie: str, hurt: str) -> None:
    claim = b"\x82\xff" + LIES[lie].to_bytes(8, "big") + MASK

    async def story() -> None:
        async with stage({"rules": RULES[hurt]}) as on:
            pairs = [await on.tunnel() for _ in range(64)]
            healthy = await on.tunnel()
            await asyncio.gather(*map(echo_once, (*pairs, healthy)))  # so that the loop has its buffers
            before = resident_bytes()
            for client, _ in pairs:
                await client.send(claim)
            for _ in range(4):
                for client, _ in pairs:
                    await client.send(bytes(1000))
                await echo_once(healthy)
            assert resident_bytes() - before < 4 * MIB
            for client, _ in pairs:
                client.end()
            for _, server in pairs:
                assert await server.rest() == claim + bytes(4000)  # as it came, whatever it claimed
                server.close()
            await echo_once(healthy)

    run(loop, story())


# --- A bomb --------------------------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    """About `size` bytes that inflate to a thousand times as much."""
    deflater = zlib.compressobj(9, wbits=-15)
    part = deflater.compress(bytes(10_000_000)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return (part * (size // len(part))).removesuffix(TAIL)


@contextlib.contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "chaosproxy", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


@on_both_loops
@pytest.mark.parametrize("fragments", [1, 10])
def test_a_deflate_bomb_passes_unchanged_in_bounded_memory_with_one_warning(
    loop: str, fragments: int, tmp_path: Path
) -> None:
    """In a process of its own, where its peak of memory can be seen; ten gigabytes would be far beyond it."""
    wire = bomb(10 * 1000 * 1000)
    step = len(wire) // fragments + 1
    parts = [wire[at : at + step] for at in range(0, len(wire), step)]
    stream = b"".join(
        frame(part, 0 if at else 2, fin=at == len(parts) - 1, rsv1=not at) for at, part in enumerate(parts)
    )
    profile = json.dumps({"version": 1, "rules": [READS_CONTENT]})
    journal = tmp_path / "journal"

    async def story(port: int, upstream: Upstream, pid: int) -> None:
        client = await Peer.connect(port)
        await client.send(REQUEST)
        server = await upstream.accept()
        await server.exactly(len(REQUEST))
        await server.send(DEFLATE)
        await client.exactly(len(DEFLATE))
        await server.send(text("before"))
        await client.exactly(len(text("before")))
        before = peak_bytes(pid)
        sending = asyncio.ensure_future(server.send(stream))
        received = bytearray()
        while len(received) < len(stream):
            received += await client.receive(1 << 18)
        await sending
        assert received == stream
        # The wire's bytes in the few copies that putting a message together takes, and what is inflated of it.
        assert peak_bytes(pid) - before < 6 * len(stream) + 16 * MIB
        await server.send(text("behind"))
        assert await client.exactly(len(text("behind"))) == text("behind")
        client.close()
        server.close()

    async def whole() -> None:
        upstream = Upstream()
        command = ["run", f"ws://127.0.0.1:{upstream.port}", "--control", "none"]
        command += ["--listen", "127.0.0.1:0", "--loop", loop, "--journal", str(journal), "--profile-yaml", profile]
        with started(*command) as process:
            assert process.stderr
            line = await asyncio.to_thread(process.stderr.readline)
            await story(int(line.split(":")[2].split()[0]), upstream, process.pid)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 20) == 0
        upstream.close()

    run(loop, whole())
    told = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(line["side"], line["messages"]) for line in told if line.get("event") == "unjudged"] == [("server", 1)]


# --- Fragments without end -----------------------------------------------------------------------------------------

EMPTY = frame(b"", 0, fin=False, mask=MASK)
ONE = frame(b"x", 0, fin=False, mask=MASK)
PACE_S = 0.05


async def echoes(pair: tuple[Peer, Peer], while_: Callable[[], bool]) -> float:
    """A connection that talks at its own pace; how long its echoes take on average, in seconds.

    All here is one process, and seconds are those in which it had a processor: the machine may have more to do.
    """
    took: list[float] = []
    while while_():
        began = time.process_time()
        await echo_once(pair)
        took.append(time.process_time() - began)
        await asyncio.sleep(PACE_S)
    return mean(took)


def check_fragments(loop: str, fragment: bytes, count: int) -> None:
    async def story() -> None:
        async with stage({"rules": [READS_CONTENT]}) as on:
            attacker, victim = await on.tunnel()
            healthy = await on.tunnel()
            await echo_once(healthy)
            reading = swallow(victim)
            await attacker.send(frame(b"x", fin=False, mask=MASK))
            before = resident_bytes()

            async def attack() -> None:
                for _ in range(count // 1000):
                    await asyncio.get_running_loop().sock_sendall(attacker.sock, fragment * 1000)

            attacking = asyncio.ensure_future(attack())
            beside = await echoes(healthy, lambda: not attacking.done())
            await attacking
            assert resident_bytes() - before < 16 * MIB
            assert beside < PACE_S  # it says at least half as much as it would alone
            attacker.end()
            sent = len(frame(b"x", fin=False, mask=MASK)) + count // 1000 * 1000 * len(fragment)
            assert await reading == sent
            assert [told.event for told in on.told if isinstance(told.event, Unjudged)] == [Unjudged(Side.CLIENT, 1)]

    run(loop, story())


@on_both_loops
@pytest.mark.parametrize(("fragment", "count"), [(EMPTY, 100_000), (ONE, 100_000)], ids=["empty", "one byte"])
def test_fragments_without_end_take_no_memory_and_leave_others_their_turn(
    loop: str, fragment: bytes, count: int
) -> None:
    check_fragments(loop, fragment, count)


@pytest.mark.slow
@on_both_loops
def test_a_million_fragments_take_no_memory_and_leave_others_their_turn(loop: str) -> None:
    check_fragments(loop, ONE, 1_000_000)


# --- Stalled readers -----------------------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("hurt", [{"latency": "5s"}, *rules(OF_KEEPING)], ids=str)
def test_what_is_held_for_a_stalled_reader_is_capped_and_then_its_sender_waits(loop: str, hurt: Rule) -> None:
    cap = 256 * 1024
    turn = 512 * 1024  # what is read in one turn of the loop is held beyond the cap

    async def story() -> None:
        phases = [{"name": "healthy", "until": "step"}, {"name": "hurt", "until": "step", "rules": [hurt]}]
        profile: dict[str, Any] = {"held_bytes_max": "256KiB", "phases": [*phases, {"name": "healed"}]}
        async with stage(profile) as on:
            pairs = [await on.tunnel() for _ in range(10)]
            on.proxy.steer(lambda world, now: world.step(now))
            flood = b"".join(frame(number.to_bytes(4, "big") * 5000, 2) for number in range(500))
            floods = [asyncio.ensure_future(server.send(flood)) for _, server in pairs]
            await comes_true(lambda: on.proxy.paused_legs == len(pairs))
            before = resident_bytes()
            await asyncio.sleep(0.3)
            assert resident_bytes() - before < 2 * MIB
            for session in on.proxy.world.sessions.values():
                assert cap <= session.directions[1].held < cap + turn
            assert len([told for told in on.told if isinstance(told.event, Limited)]) == len(pairs)
            assert not any(each.done() for each in floods)
            on.proxy.steer(lambda world, now: world.step(now))
            received = await asyncio.gather(*(_all_of(client, len(flood)) for client, _ in pairs))
            assert all(data == flood for data in received)
            await asyncio.gather(*floods)

    run(loop, story())


async def _all_of(peer: Peer, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = await peer.receive(1 << 18)
        assert part
        data += part
    return bytes(data)


# --- Compressed streams that fall silent ---------------------------------------------------------------------------

WORDS = [f"{number}: " + "alpha beta gamma " * (number % 4) for number in range(30)]


def deflated() -> list[bytes]:
    deflater = zlib.compressobj(wbits=-15)
    payloads = [deflater.compress(word.encode()) + deflater.flush(zlib.Z_SYNC_FLUSH) for word in WORDS]
    return [frame(payload.removesuffix(TAIL), rsv1=True) for payload in payloads]


def inflated(stream: bytes) -> list[str]:
    inflater = zlib.decompressobj(-15)
    frames, rest = read_frames(stream)
    assert rest == b""
    return [
        (inflater.decompress(seen.payload + TAIL) if seen.first & 0x40 else seen.payload).decode() for seen in frames
    ]


SILENT = [
    *({"half_open": {"mode": mode, "heal": heal}} for mode in ("freeze", "blackhole") for heal in ("flush", "discard")),
    *rules(OF_KEEPING),
]


@on_both_loops
@pytest.mark.parametrize("is_followed", [True, False])
@pytest.mark.parametrize("silence", SILENT, ids=str)
@pytest.mark.parametrize("cut", [0, 3])
def test_a_compressed_stream_that_fell_silent_decodes_when_it_is_healed(
    loop: str, silence: Rule, is_followed: bool, cut: int
) -> None:
    """Silent from inside a message to inside a message. One that is not followed loses nothing, since it could not."""
    frames = deflated()
    stream = b"".join(frames)
    places = [len(b"".join(frames[:10])) + cut, len(b"".join(frames[:20])) + cut]
    (name,) = silence

    async def story() -> None:
        async with stage({"rules": [READS_CONTENT] if is_followed else []}) as on:
            client, server = await on.tunnel(response=DEFLATE)
            await server.send(stream[: places[0]])
            await comes_true(lambda: _taken(on) == places[0])
            rule = live_rule(name, silence[name])
            on.proxy.steer(lambda world, now: world.add_rule(rule, None, now))
            await server.send(stream[places[0] : places[1]])
            if silence.get("half_open", {}).get("mode") != "freeze":
                await comes_true(lambda: _taken(on) == places[1])
            on.proxy.steer(lambda world, now: world.heal(None, now))
            await server.send(stream[places[1] :])
            server.end()
            received = await client.rest()
            heard = inflated(received)
            is_lossy = is_followed and silence == {"half_open": {"mode": "blackhole", "heal": "discard"}}
            if is_lossy:
                lost = WORDS[10:21] if cut else WORDS[10:20]
                assert heard == [word for word in WORDS if word not in lost]
            elif silence.get("half_open", {}).get("heal") != "discard":
                assert received == stream
            else:
                rest = iter(WORDS)
                assert all(word in rest for word in heard)
                assert is_followed or heard == WORDS
            assert not any(isinstance(told.event, Suppressed) for told in on.told)

    run(loop, story())


def _taken(on: Stage) -> int:
    return sum(session.directions[1].splitter.bytes for session in on.proxy.world.sessions.values())
