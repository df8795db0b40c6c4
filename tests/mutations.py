"""Mutated requests and mutated answers, by the thousand: in virtual time, and through real sockets.

Whatever they are: no exception; the upstream sees only what the client sent, in order; a tunnel opens upon a real 101
only; and behind an upgrade that was refused not one more byte of the client's reaches the upstream.
"""

import asyncio
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import cast

from chaosproxy.events import Asked, Dial, Requested
from chaosproxy.legs import State
from chaosproxy.profile import EMPTY
from chaosproxy.wire.http import accept_for

from . import live
from .churn import Trouble, _descriptors
from .live import Stage, comes_true, stage
from .virtual import CLIENT, SERVER, Network, request, switching, text

HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: 1\r\n\r\n"
REQUESTS = [
    request(),
    request("/app/key", ["Sec-WebSocket-Protocol: a", "Origin: http://a", "Sec-WebSocket-Extensions: x"]),
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n" + CHUNKS,
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"HEAD / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = [
    switching(),
    switching("permessage-deflate"),
    OK,
    b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + CHUNKS,
    b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Nothing\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
    b"HTTP/1.0 302 There\r\nLocation: /\r\n\r\n",
]
PIECES = [b"\n", b"\r", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b"0", b"\xff", b"h2c", b"chunked", b"101"]
PIECES += [b"Content-Length: 3\r\n", CHUNKED, b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"HTTP/1.1 ", HOST]
PIECES += [
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Length: 0\r\n",
    b"A: " + b"b" * 9000 + b"\r\n",
]
SMUGGLED = b"GET /admin HTTP/1.1\r\n" + HOST + b"\r\n"
EARLY = text("early", b"mask")

_KEY = re.compile(rb"\r\nsec-websocket-key:[ \t]*([^\r]*?)[ \t]*\r\n", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def mutated(random: Random, data: bytes) -> bytes:
    """Put pieces in, or over others; leave some out, repeat some, exchange lines, or cut it short."""
    for _ in range(random.choice([1, 1, 1, 2, 3, 4])):
        at, size = random.randint(0, len(data)), random.randint(1, 12)
        piece = random.choice(PIECES) if random.random() < 0.7 else random.randbytes(random.randint(1, 3))
        match random.randint(0, 7):
            case 0 | 1:
                data = data[:at] + piece + data[at:]
            case 2 | 3:
                data = data[:at] + piece + data[at + len(piece) :]
            case 4:
                data = data[:at] + data[at + size :]
            case 5:
                data = data[:at] + data[at : at + size] * 2 + data[at + size :]
            case 6:
                lines = data.split(b"\r\n")
                one, other = random.randrange(len(lines)), random.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                data = b"\r\n".join(lines)
            case _ if random.random() < 0.2:
                data = data[:at]
            case _:
                pass
    return data


def chopped(random: Random, data: bytes) -> Iterator[bytes]:
    while data:
        size = random.choice([1, 7, 40, len(data), len(data)])
        yield data[:size]
        data = data[size:]


def accepts(question: bytes, answer: bytes) -> bool:
    """Whether an answer may be taken for an acceptance of a request, by the least that RFC 6455 wants (4.2.2)."""
    keys = _KEY.findall(question)
    is_101 = re.search(rb"(^|\r\n\r\n)HTTP/1\.1 101", answer) is not None
    return is_101 and len(keys) == 1 and accept_for(keys[0]) in answer


def in_virtual_time(random: Random, asked: bytes, answered: bytes) -> str:
    """One connection; how it came out."""
    sent = asked + random.choice([b"", EARLY, SMUGGLED])
    net = Network(EMPTY)
    one = net.connect()
    one.send(CLIENT, *chopped(random, sent))
    assert bytes(sent).startswith(one.server.data)
    before = one.server.data
    if one.is_connected:
        one.send(SERVER, *chopped(random, answered))
    is_tunnel = one.session.state is State.TUNNEL
    assert not is_tunnel or accepts(before, answered), (asked, answered)
    is_upgrade = bool(net.events(Asked))
    assert is_upgrade or net.events(Requested) or not one.actions(Dial), asked
    if is_upgrade and not is_tunnel:
        one.send(CLIENT, SMUGGLED, EARLY)
        assert one.server.data == before, (asked, answered)
        assert one.server.data.endswith(b"\r\n\r\n")
    net.end_all()
    assert (sent + SMUGGLED + EARLY).startswith(one.server.data) or one.past_servers
    return "tunnel" if is_tunnel else "upgrade" if is_upgrade else "plain" if one.is_dialled else "refused"


def own_kib() -> int:
    """This process's memory that is no file's: its share of files changes with every process that has them mapped."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


class _Server(asyncio.Protocol):
    """An upstream's connection: answers each head that comes, and remembers what came behind it."""

    def __init__(self, many: "Many") -> None:
        self.many = many
        self.got = b""
        self.seen = 0  # so much of it has been answered
        self.question = self.answer = b""  # the last
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.many.servers.add(self)
        self.many.dials += 1

    def data_received(self, data: bytes) -> None:
        self.got += data
        while (end := self.got.find(b"\r\n\r\n", self.seen)) >= 0 and self.is_open:
            if _UPGRADE.search(self.question) and not accepts(self.question, self.answer):
                break  # refused: there is nothing to answer any more
            self.question, self.seen = self.got[self.seen : end + 4], end + 4
            self.answer, is_good = self.many.next_answer()
            self.transport.write(self.answer)
            if not is_good:
                asyncio.get_running_loop().call_later(0.02, self.transport.close)
                self.is_open = False

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.many.servers.discard(self)
        if _UPGRADE.search(self.question) and not accepts(self.question, self.answer):
            self.many.refused += 1
            if self.seen != len(self.got):
                self.many.leaked.append((self.got, self.answer))


class Many:
    """Clients through one proxy to one upstream, all in this process."""

    def __init__(self, on: Stage, seed: int, *, mutates_answers: bool) -> None:
        self.on = on
        self.random = Random(seed)
        self.mutates_answers = mutates_answers
        self.servers: set[_Server] = set()
        self.leaked: list[tuple[bytes, bytes]] = []
        self.dials = self.refused = self.answered = 0

    def next_answer(self) -> tuple[bytes, bool]:
        """An answer, and whether the upstream goes on behind it."""
        answer = self.random.choice(ANSWERS)
        if self.mutates_answers:
            return mutated(self.random, answer), False
        return answer, answer is OK

    async def client(self) -> None:
        asked = self.random.choice(REQUESTS)
        if not self.mutates_answers:
            asked = mutated(self.random, asked)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.on.proxy.port)
        try:
            writer.write(asked + self.random.choice([b"", EARLY, SMUGGLED]))
            writer.write_eof()
            async with asyncio.timeout(live.PATIENCE_S):  # whoever has ended is let go of
                self.answered += bool(await reader.read())
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def run(self, count: int, at_once: int = 32) -> None:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await self.client()
                self.on.told.clear()  # it knows the sessions, and would keep them all

        await asyncio.gather(*(work() for _ in range(at_once)))


async def through_sockets(seed: int, count: int, *, mutates_answers: bool, growth_kib_max: int) -> str:
    """Many clients; what they came to. Nothing may be left of them."""
    trouble = Trouble()
    with trouble.watching():
        async with stage() as on:
            on.upstream.sock.close()
            many = Many(on, seed, mutates_answers=mutates_answers)
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: _Server(many), "127.0.0.1", on.upstream.port, backlog=512)
            await many.run(max(count // 10, 200))  # what any process keeps once it has begun
            await on.is_empty()
            descriptors, memory = _descriptors(), own_kib()
            await many.run(count)
            await on.is_empty()
            await comes_true(lambda: not many.servers)
            assert on.proxy.world.sessions == {}
            growth = own_kib() - memory
            assert len(_descriptors()) == len(descriptors), (_descriptors(), descriptors)
            assert growth <= growth_kib_max, f"{growth} KiB more than before"
            assert many.leaked == []
            server.close()
            await server.wait_closed()
    assert trouble.found == []
    opened = on.proxy.world.totals.opened
    return f"{count} cases, {many.dials} dials, {opened} tunnels, {many.refused} refused upgrades, {growth:+} KiB"


def in_numbers(seed: int, heads: int, answers: int) -> dict[str, int]:
    """So many mutated requests and answers in virtual time: how they came out."""
    random = Random(seed)
    found: dict[str, int] = {}
    for number in range(heads + answers):
        asked, answered = random.choice(REQUESTS), random.choice(ANSWERS)
        if number < heads:
            asked = mutated(random, asked)
        else:
            answered = mutated(random, answered)
        how = in_virtual_time(random, asked, answered)
        found[how] = found.get(how, 0) + 1
    return found
