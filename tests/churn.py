"""Many connections through one proxy on real sockets, ended in every way at once; then nothing may be left.

`python -m tests.churn LOOP SEED COUNT ROUNDS` runs it alone, so that a crash of the interpreter is seen as such.
"""

import asyncio
import contextlib
import gc
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from chaosproxy.events import Struck
from chaosproxy.wire.frames import build_close, build_frame
from chaosproxy.world import Options

from .live import REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage
from .virtual import live_rule

MASK = b"\x11\x22\x33\x44"
WORKERS = 24
FLOOD = build_frame(2, bytes(range(256)) * 400)
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\n" + b"no" * 10
PROFILE = {
    "starts": "launch",
    "phases": [
        {"name": "calm", "until": "step"},
        {"name": "slow", "until": "step", "rules": [{"latency": {"delay": "5ms", "jitter": "5ms"}}]},
        {"name": "silent", "until": "step", "rules": [{"half_open": {}}]},
        {"name": "shut", "until": "step", "rules": ["refuse", {"reset": {"hits": "live"}}]},
        {"name": "closing", "until": "step", "rules": [{"close": {"code": 4200}}]},
    ],
    "repeat": "forever",
}
RULES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("latency", {"delay": "20ms"}, {"from": "server"}),
    ("latency", {"delay": "3ms", "jitter": "3ms"}, {}),
    ("drop", {}, {"chance": "30%"}),
    ("reset", {}, {}),
    ("reset", {"leg": "client"}, {}),
    ("reset", {}, {"from": "server", "nth": 2}),
    ("fin", {}, {}),
    ("fin", {"leg": "server", "other": "reset"}, {}),
    ("fin", {"leg": "client", "other": "keep"}, {"from": "client", "nth": 3}),
    ("close", {"code": 1012}, {}),
    ("close", {"code": 4200, "to": "client", "after_held": True}, {"from": "server", "nth": 2}),
    ("close", {"code": 1012, "to": "both", "then": "reset"}, {}),
    ("close", {"code": 1012, "then": "fin"}, {}),
    ("reset", {"leg": "client", "other": "keep", "keep_for": "50ms"}, {}),
    ("reset", {"over": "30ms"}, {}),
    ("half_close", {"leg": "client"}, {"from": "server", "nth": 2}),
    ("half_close", {"leg": "server"}, {}),
    ("slow_close", {"delay": "30ms"}, {}),
    ("cut_after", {"bytes": "3000B"}, {}),
    ("cut_after", {"bytes": "70kB", "by": "fin"}, {"from": "client"}),
    ("cut_after", {"messages": 2, "leg": "server"}, {}),
    ("cut_after", {"age": "20ms", "by": "fin"}, {}),
    ("swallow_ping", {}, {}),
    ("pusher_error", {"code": 4200}, {}),
    ("pusher_error", {"code": 4100, "quota": 3}, {}),
    ("pusher_error", {"code": 4301, "close": False}, {"from": "server", "nth": 2}),
    ("slow_close", {"delay": "20ms", "resets": True}, {"from": "client"}),
    ("half_open", {"from": "client", "mode": "freeze"}, {}),
    ("half_open", {"from": "server", "heal": "discard"}, {}),
    ("refuse", {}, {}),
    ("hang", {}, {}),
    ("reject", {"status": 503}, {}),
    ("bad_accept", {"kind": "no_upgrade"}, {}),
    ("silent", {"mode": "freeze", "heal": "flush"}, {}),
    ("silent", {"heal": "discard"}, {}),
    ("silent", {"heal": "reset"}, {}),
    ("close", {"code": 4200, "hits": "new"}, {}),
    ("reset", {"hits": "new"}, {}),
    *(
        ("latency", {"delay": "20ms", "jitter": "5ms", "at": at}, {})
        for at in ("accept", "request", "response", "first_frame")
    ),
    *(
        ("half_open", {"mode": mode, "heal": heal, "leg": leg}, {})
        for mode in ("freeze", "blackhole")
        for heal in ("flush", "discard", "reset")
        for leg in ("client", "server", "both")
    ),
]


class Trouble(logging.Handler):
    """What no run may bring: exceptions that reached the loop, and what asyncio complains of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith("Executing "):  # debug mode tells of slow callbacks
            self.found.append(record.getMessage())

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.found.append(f"{context.get('message')}: {context.get('exception')!r} {context}")

    @contextlib.contextmanager
    def watching(self) -> Any:
        logger = logging.getLogger("asyncio")
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.hear)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


class Side:
    """One end of a churned connection: what it has sent and received."""

    def __init__(self, peer: Peer, mask: bytes) -> None:
        self.peer = peer
        self.mask = mask
        self.sent = b""
        self.received = b""
        self.has_ended = False
        self.is_gone = False
        self.how = "not read to its end"

    def send(self, data: bytes) -> None:
        """Send what the kernel takes; the rest never was."""
        if not self.has_ended:
            with contextlib.suppress(OSError):
                self.sent += data[: self.peer.sock.send(data)]

    def read(self, size: int = 65536) -> bool:
        """Read what is there; whether there was anything."""
        try:
            data = b"" if self.is_gone else self.peer.sock.recv(size)
        except OSError:
            data = b""
        self.received += data
        return bool(data)

    def end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            with contextlib.suppress(OSError):
                self.peer.end()

    def reset(self) -> None:
        self.has_ended = True
        if not self.is_gone:
            self.is_gone = True
            with contextlib.suppress(OSError):
                self.peer.reset()

    def close(self) -> None:
        self.has_ended = self.is_gone = True
        self.peer.close()


class Churn:
    """A seeded mix of connections on one stage."""

    def __init__(self, on: Stage, seed: int, *, steers: bool) -> None:
        self.on = on
        self.chance = random.Random(seed)
        self.steers = steers
        self.servers: dict[int, asyncio.Future[Peer]] = {}
        self._steers_at = 0
        self.opened = 0
        self.clean = 0
        self.pairs: dict[int, tuple[Side, Side, bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, count: int) -> None:
        numbers = iter(range(count))
        accepting = asyncio.create_task(self._accept())
        await asyncio.gather(*(self._work(numbers) for _ in range(WORKERS)))
        self.on.proxy.steer(lambda world, now: world.step(now, "calm"))
        self.heal()  # some are dialled only now, though their clients have gone
        try:
            await self.on.is_empty()
        except TimeoutError:
            left = [
                (session.state, session.legs[0].fate, session.legs[1].fate, session.deadline)
                for session in self.on.proxy.world.sessions.values()
            ]
            raise AssertionError(f"connections are left: {left}") from None
        accepting.cancel()
        await asyncio.gather(accepting, *self._tasks, return_exceptions=True)
        while Peer.opened:
            Peer.opened.pop().close()
        if not accepting.cancelled() and (error := accepting.exception()):
            raise error

    def forget_told(self) -> None:
        self.on.told.clear()

    async def _work(self, numbers: Any) -> None:
        for number in numbers:
            if self.steers and number >= self._steers_at:
                # By connections and not by time: a busy machine meets the same share of each rule.
                self._steers_at = number + self.chance.randrange(1, 10)
                self.steer_once()
            client = None
            with contextlib.suppress(ConnectionRefusedError):
                client = Side(await Peer.connect(self.on.proxy.port), MASK)
            if client is None:
                await asyncio.sleep(0.005)
                continue
            self.servers[number] = asyncio.get_running_loop().create_future()
            try:
                await self._connection(number, client)
            finally:
                client.close()
                server = self.servers.pop(number)
                if server.done():
                    server.result().close()  # perhaps it came too late to be used

    # -- the upstream -----------------------------------------------------------------------------------------------

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self.on.upstream.sock)
            peer = Peer(connection)
            if self.chance.random() < 0.04:
                self.chance.choice((peer.reset, peer.close))()
                continue
            task = asyncio.create_task(self._serve(peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: Peer) -> None:
        head = b""
        try:
            while not head.endswith(b"\r\n\r\n"):
                data = await asyncio.wait_for(peer._loop.sock_recv(peer.sock, len(REQUEST) + 20 - len(head)), 2)
                if not data:
                    break
                head += data
                if len(head) >= len(REQUEST):
                    break
            server = self.servers.get(int(head.split(b"=")[1][:6]))
        except (OSError, TimeoutError, IndexError):
            server = None
        if server is None or server.done():
            peer.close()
        else:
            server.set_result(peer)

    # -- the steering -----------------------------------------------------------------------------------------------

    def steer_once(self) -> None:
        proxy, chance = self.on.proxy, self.chance
        act = chance.random()
        if act < 0.25:
            proxy.steer(lambda world, now: world.step(now))
        elif act < 0.45:
            proxy.steer(lambda world, now: world.step(now, "calm"))
        elif act < 0.6:
            self.heal()
        else:
            fault, options, when = chance.choice(RULES)
            rule = live_rule(fault, options, id=f"live-{chance.randrange(3)}", when=when)
            lasts = chance.choice((None, 5_000_000, 30_000_000))
            proxy.steer(lambda world, now: world.add_rule(rule, lasts, now))

    def heal(self) -> None:
        self.on.proxy.steer(lambda world, now: world.heal(None, now))

    # -- one connection ---------------------------------------------------------------------------------------------

    async def _connection(self, number: int, client: Side) -> None:
        chance = self.chance
        request = REQUEST.replace(b"token=1", b"token=%06d" % number)
        if chance.random() < 0.12:
            at = chance.randrange(len(request))
            client.send(request[:at])
            await self._pause()
            chance.choice((client.end, client.reset, client.close))()
            return
        early = build_frame(1, b"early", MASK) if chance.random() < 0.2 else b""
        client.send(request + early)
        if chance.random() < 0.08:
            await self._pause()
            chance.choice((client.end, client.reset, client.close))()  # while it is dialled or asked
        try:
            peer = await asyncio.wait_for(asyncio.shield(self.servers[number]), 0.25)
        except TimeoutError:
            chance.choice((client.end, client.reset, client.close))()
            return
        server = Side(peer, b"")
        try:
            await self._answered(number, client, server, early)
        finally:
            server.close()

    async def _answered(self, number: int, client: Side, server: Side, early: bytes) -> None:
        chance = self.chance
        kind = chance.random()
        if kind < 0.12:
            answer = chance.choice((RESPONSE, REFUSAL, b"garbage\r\n\r\n", RESPONSE.replace(b"Accept: ", b"Accept: x")))
            server.send(answer[: chance.randrange(len(answer) + 1)])
            await self._pause()
            chance.choice((server.end, server.reset, server.close, client.reset))()
            await self._pause()
            return
        server.send(RESPONSE)
        client.received = b""
        if not await self._read_head(client):
            return
        self.opened += 1
        client.sent = early
        server.sent = b""
        sides = (client, server)
        moves: list[Callable[[Side], Awaitable[None] | None]] = [
            self._send, self._send, self._send, self._flood, self._read, self._half_frame,
        ]  # fmt: skip
        for _ in range(chance.randrange(6)):
            chance.choice(moves)(chance.choice(sides))
            if chance.random() < 0.6:
                await self._pause()
        is_clean = chance.random() < 0.35
        self.pairs[number] = (client, server, is_clean)
        if is_clean:
            await self._end_cleanly(*(sides if chance.random() < 0.5 else sides[::-1]))
            return
        first, second = sides if chance.random() < 0.5 else sides[::-1]
        for side in (first, second):
            chance.choice((side.end, side.reset, side.close, lambda: None))()
            if self.steers and chance.random() < 0.3:
                self.heal() if chance.random() < 0.5 else self.steer_once()  # at this very instant
            if chance.random() < 0.5:
                await self._pause()
            side.read()

    async def _read_head(self, client: Side) -> bool:
        head = b""
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            while len(head) < len(RESPONSE):
                data = await asyncio.wait_for(
                    client.peer._loop.sock_recv(client.peer.sock, len(RESPONSE) - len(head)), 0.3
                )
                if not data:
                    break
                head += data
        return head == RESPONSE

    async def _end_cleanly(self, first: Side, second: Side) -> None:
        """A close handshake, or just FIN both ways; everything is read to its end."""
        with_frames = self.chance.random() < 0.5
        for side in (first, second):
            if with_frames:
                side.send(build_close(1000, b"", side.mask))
            side.end()
            if self.chance.random() < 0.5:
                await self._pause()
        await asyncio.gather(self._rest(first), self._rest(second))

    async def _rest(self, side: Side) -> None:
        side.how = "eof"
        try:
            while data := await asyncio.wait_for(side.peer._loop.sock_recv(side.peer.sock, 1 << 18), 5):
                side.received += data
        except (OSError, ValueError) as error:
            side.how = repr(error)

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.choice((0, 0, 0.001, 0.004)))

    def _send(self, side: Side) -> None:
        side.send(build_frame(1, self.chance.randbytes(self.chance.choice((0, 5, 130, 5000))), side.mask))

    def _half_frame(self, side: Side) -> None:
        frame = build_frame(2, bytes(3000), side.mask)
        side.send(frame[: self.chance.randrange(len(frame))])

    def _flood(self, side: Side) -> None:
        for _ in range(40):
            side.send(FLOOD)

    def _read(self, side: Side) -> None:
        side.read()


def check_bytes(churn: Churn) -> None:
    """Where no rule struck, what was delivered is a prefix of what was sent; all of it, where both ended cleanly."""
    struck = set()
    for told in churn.on.told:
        if isinstance(told.event, Struck) and told.session and told.session.request:
            struck.add(told.session.request.query)
    for number, (client, server, is_clean) in churn.pairs.items():
        if f"token={number:06}" in struck:
            continue
        for sender, receiver in ((client, server), (server, client)):
            if not sender.sent.startswith(receiver.received):
                # While rules judge messages, control frames between fragments go before them; no byte is made up.
                made_up = Counter(receiver.received) - Counter(sender.sent)
                assert churn.steers and not made_up, f"connection {number}: other bytes than were sent"
            if is_clean and not churn.steers:
                assert len(receiver.received) == len(sender.sent), (
                    f"connection {number}: {len(receiver.received)} of {len(sender.sent)} bytes, {receiver.how}"
                )
                churn.clean += 1


def _descriptors() -> list[str]:
    """What the open descriptors are; sockets are told apart by nothing."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{name}").partition(":[")[0])
    return sorted(found)


async def story(seed: int, count: int, rounds: int, *, steers: bool) -> None:
    """Churn, then see that nothing is left."""
    trouble = Trouble()
    with trouble.watching():
        before = asyncio.all_tasks()
        async with stage(PROFILE, Options(dials_per_second_max=0)) as on:
            for peer in await on.tunnel():
                peer.close()
            await on.is_empty()  # whatever the loop opens once, such as libuv's /dev/null, is open now
            gc.collect()  # what earlier tests have left to it
            descriptors = _descriptors()
            opened = 0
            for turn in range(rounds):
                churn = Churn(on, seed + turn, steers=steers)
                await churn.run(count)
                check_bytes(churn)
                opened += churn.opened
                churn.forget_told()
            # Seen: 57 to 110 of 300.
            assert opened > count * rounds // 10, f"only {opened} of {count * rounds} connections opened"
            proxy = on.proxy
            assert proxy.world.sessions == {}
            assert proxy._by_number == {}
            await comes_true(lambda: not proxy._watched and proxy._sweep_timer is None)
            await comes_true(lambda: not proxy._dialling and not proxy._connecting)
            assert proxy._world_timer is None
            assert proxy.world.standing[2:4] == (0, 0)
            left = asyncio.all_tasks() - before
            assert not left, f"tasks are left: {left}"
            gc.collect()
            assert _descriptors() == descriptors, (_descriptors(), descriptors)
            client, server = await on.tunnel()  # and it works as before
            client.close()
            server.close()
            await on.is_empty()
        gc.collect()
        await asyncio.sleep(0)
    assert trouble.found == [], trouble.found


if __name__ == "__main__":
    loop, seed, count, rounds = sys.argv[1:]
    run(loop, story(int(seed), int(count), int(rounds), steers=True))
    print("nothing is left")
