"""Plain HTTP through real sockets, between peers that know nothing of the code under test: aiohttp and http.client."""

import asyncio
import contextlib
import errno
import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chaosproxy.events import Asked, Opened, PhaseEntered, Requested, Responded
from chaosproxy.opening import EARLY_BYTES_MAX
from chaosproxy.profile import EMPTY, Profile
from chaosproxy.proxy import Address, Proxy
from chaosproxy.world import Told
from tests.live import LOOPS, PATIENCE_S, REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage

pytestmark = pytest.mark.parametrize("loop", LOOPS)

MIB = 1024 * 1024
READ_BYTES_MAX = 256 * 1024  # what either loop reads at once


class Server:
    """An aiohttp application, and what it has seen."""

    def __init__(self) -> None:
        self.peers: set[Any] = set()  # one for each connection on which a request came
        self.requests: list[tuple[str, str, str]] = []
        self.events: asyncio.Queue[bytes] = asyncio.Queue()  # to be sent to who listens to /stream
        self.go = asyncio.Event()  # for /poll, /upload and /silent
        self.gone: list[str] = []  # paths whose client went away before its answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.requests.append((request.method, request.path, (request.version[1] and "1.1") or "1.0"))
        handler = getattr(self, request.path.strip("/").partition("/")[0] or "root")
        try:
            response: web.StreamResponse = await handler(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone.append(request.path)
            raise
        return response

    async def root(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="all is well", headers={"X-Method": request.method})

    async def apps(self, request: web.Request) -> web.StreamResponse:
        trigger = await request.json()
        return web.json_response({"channel": trigger["channel"], "size": request.content_length})

    async def echo(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for data in request.content.iter_any():
            await response.write(data.upper())
        await response.write_eof()
        return response

    async def poll(self, request: web.Request) -> web.StreamResponse:
        await self.go.wait()
        return web.Response(text="news")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while event := await self.events.get():
            await response.write(b"data: " + event + b"\n\n")
        return response

    async def upload(self, request: web.Request) -> web.StreamResponse:
        await self.go.wait()
        digest = sha256()
        async for data in request.content.iter_any():
            digest.update(data)
        return web.Response(text=digest.hexdigest())

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket


class Between:
    """The proxy before the server."""

    def __init__(self, proxy: Proxy, server: Server, told: list[Told]) -> None:
        self.proxy = proxy
        self.server = server
        self.told = told

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def events(self, kind: type[Any]) -> list[Any]:
        return [told.event for told in self.told if isinstance(told.event, kind)]

    @contextlib.asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
        """aiohttp's client, with its own pool of connections."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S * 2)
        async with aiohttp.ClientSession(self.url, timeout=timeout, **options) as session:
            yield session

    async def blocking(self, ask: Callable[[http.client.HTTPConnection], Any]) -> Any:
        """Let the standard library's client ask, in a thread of its own."""

        def work() -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=PATIENCE_S)
            try:
                return ask(connection)
            finally:
                connection.close()

        return await asyncio.to_thread(work)


@contextlib.asynccontextmanager
async def between(profile: Profile | dict[str, Any] = EMPTY) -> AsyncIterator[Between]:
    server = Server()
    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    if isinstance(profile, dict):
        profile = Profile.model_validate({"version": 1, **profile})
    told: list[Told] = []
    proxy = Proxy(Address("127.0.0.1", runner.addresses[0][1]), profile=profile, on_told=told.append)
    await proxy.start()
    try:
        yield Between(proxy, server, told)
    finally:
        await proxy.abort()
        await runner.cleanup()


def story_of(loop: str, profile: Profile | dict[str, Any], tell: Callable[[Between], Any]) -> None:
    async def story() -> None:
        async with between(profile) as on:
            await tell(on)

    run(loop, story())


class TestTransparency:
    def test_a_rest_trigger(self, loop: str) -> None:
        def ask(connection: http.client.HTTPConnection) -> tuple[int, Any]:
            body = json.dumps({"name": "e", "channel": "news", "data": "x" * 100_000})
            connection.request("POST", "/apps/1/events?auth_key=k", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        async def tell(on: Between) -> None:
            status, answer = await on.blocking(ask)
            assert (status, answer["channel"]) == (200, "news")
            assert answer["size"] > 100_000
            assert on.events(Requested)[0].path == "/apps/1/events"
            assert on.events(Asked) == []

        story_of(loop, EMPTY, tell)

    def test_a_hundred_requests_on_one_connection_are_one_connection_upstream(self, loop: str) -> None:
        def ask(connection: http.client.HTTPConnection) -> set[tuple[int, bytes]]:
            answers = set()
            for _ in range(100):
                connection.request("GET", "/")
                response = connection.getresponse()
                answers.add((response.status, response.read()))
            return answers

        async def tell(on: Between) -> None:
            assert await on.blocking(ask) == {(200, b"all is well")}
            assert len(on.server.requests) == 100
            assert len(on.server.peers) == 1
            assert on.proxy.world.totals.attempts == 1

        story_of(loop, EMPTY, tell)

    def test_many_at_once_get_each_its_own(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session:

                async def one(number: int) -> bool:
                    body = f"{number} ".encode() * number
                    async with session.post("/echo", data=body) as response:
                        return await response.read() == body.upper()

                assert all(await asyncio.gather(*(one(number) for number in range(200))))
            assert len(on.server.peers) <= 100  # as many as the client's pool has

        story_of(loop, EMPTY, tell)

    def test_chunked_both_ways_at_once(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            turn = asyncio.Queue[bytes]()

            async def body() -> AsyncIterator[bytes]:
                while part := await turn.get():
                    yield part

            async with on.session() as session:
                turn.put_nowait(b"first")
                async with session.post("/echo", data=body()) as response:
                    assert await response.content.readexactly(5) == b"FIRST"
                    turn.put_nowait(b"second")
                    assert await response.content.readexactly(6) == b"SECOND"
                    turn.put_nowait(b"")
                    assert await response.read() == b""

        story_of(loop, EMPTY, tell)

    def test_a_long_poll(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session:
                poll = asyncio.ensure_future(session.get("/poll"))
                await comes_true(lambda: bool(on.server.requests))
                async with session.get("/") as other:
                    assert other.status == 200
                assert not poll.done()
                on.server.go.set()
                async with await poll as response:
                    assert await response.text() == "news"

        story_of(loop, EMPTY, tell)

    def test_server_sent_events_come_one_by_one_and_a_client_that_leaves_is_noticed(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session, session.get("/stream") as response:
                for number in range(5):
                    on.server.events.put_nowait(b"%d" % number)
                    line = await response.content.readuntil(b"\n\n")
                    assert line == b"data: %d\n\n" % number
                response.close()
                await comes_true(lambda: on.server.gone == ["/stream"])

        story_of(loop, EMPTY, tell)

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_large_upload_to_a_slow_reader_is_not_collected(self, loop: str, is_chunked: bool) -> None:
        part = bytes(range(256)) * 256

        def parts() -> Iterator[bytes]:
            for _ in range(64 * MIB // len(part)):
                yield part

        def ask(connection: http.client.HTTPConnection) -> bytes:
            headers = {} if is_chunked else {"Content-Length": str(64 * MIB)}
            connection.request("PUT", "/upload", parts(), headers, encode_chunked=is_chunked)
            return connection.getresponse().read()

        async def tell(on: Between) -> None:
            held: list[int] = []

            def look() -> bool:
                for relay in (each for each in on.proxy._relays if each.has_begun):
                    waiting = [leg.transport.get_write_buffer_size() for leg in relay.legs if leg and leg.transport]
                    held.append(sum(waiting) + len(relay.session._upload) + len(relay.session._early))
                return False

            upload = asyncio.ensure_future(on.blocking(ask))
            await comes_true(lambda: look() or on.proxy.paused_legs == 1)  # the sender has come to a halt
            on.server.go.set()
            await comes_true(lambda: look() or upload.done())
            expected = sha256(part * (64 * MIB // len(part))).hexdigest().encode()
            assert await upload == expected
            # Until the dial is answered so much is held, and one read more; it is then written at once.
            assert max(held) < EARLY_BYTES_MAX + 2 * READ_BYTES_MAX

        story_of(loop, EMPTY, tell)

    def test_a_large_download_to_a_slow_reader_is_not_collected(self, loop: str) -> None:
        async def tell() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                await client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
                server = await on.upstream.accept()
                await server.until(b"\r\n\r\n")
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * MIB)
                sending = asyncio.ensure_future(server.send(head + bytes(32 * MIB)))
                await comes_true(lambda: on.proxy.paused_legs == 1)
                (relay,) = on.proxy._relays
                leg = relay.legs[0]
                assert leg and leg.transport and leg.transport.get_write_buffer_size() < MIB
                assert len(await client.exactly(len(head) + 32 * MIB)) == len(head) + 32 * MIB
                await sending

        run(loop, tell())

    def test_head_and_no_content_and_the_next_request_behind_them(self, loop: str) -> None:
        def ask(connection: http.client.HTTPConnection) -> list[tuple[int, bytes]]:
            answers = []
            for method, path in (("HEAD", "/"), ("GET", "/nothing"), ("GET", "/")):
                connection.request(method, path)
                response = connection.getresponse()
                answers.append((response.status, response.read()))
            return answers

        async def tell(on: Between) -> None:
            assert await on.blocking(ask) == [(200, b""), (204, b""), (200, b"all is well")]
            assert len(on.server.peers) == 1

        story_of(loop, EMPTY, tell)

    def test_100_continue(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            client = await Peer.connect(on.proxy.port)
            head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            await client.send(head)
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"abc")
            assert (await client.until(b"0\r\n\r\n")).endswith(b"3\r\nABC\r\n0\r\n\r\n")
            client.close()

        story_of(loop, EMPTY, tell)

    def test_http_1_0_ends_with_its_answer(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            client = await Peer.connect(on.proxy.port)
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.0 200 ")
            assert answer.endswith(b"all is well")
            client.close()

        story_of(loop, EMPTY, tell)

    def test_an_upgrade_follows_a_plain_request_on_the_same_connection(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            connector = aiohttp.TCPConnector(limit=1)
            async with on.session(connector=connector) as session:
                async with session.get("/") as response:
                    await response.read()
                async with session.ws_connect("/ws") as socket:
                    await socket.send_str("hello")
                    assert await socket.receive_str() == "hello"
                    await socket.close()
            assert on.proxy.world.totals.attempts == 1
            assert len(on.server.peers) == 1
            assert [event.connection for event in on.events(Asked)] == [1]
            assert len(on.events(Opened)) == 1

        story_of(loop, EMPTY, tell)

    def test_the_upstream_is_dialled_anew_where_it_has_ended_in_between(self, loop: str) -> None:
        async def tell() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                for number in range(20):
                    await client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
                    server = await on.upstream.accept()
                    assert (await server.until(b"\r\n\r\n")).startswith(b"GET /%d " % number)
                    await server.send(answer)
                    (server.reset if number % 2 else server.end)()
                    assert await client.exactly(len(answer)) == answer
                    if number % 2 == 0:
                        assert await server.rest() == b""
                    (relay,) = on.proxy._relays
                    await comes_true(lambda relay=relay: relay.legs[1] is None)  # type: ignore[misc]
                client.close()
                await on.is_empty()

        run(loop, tell())

    @pytest.mark.parametrize("rules", [[], [{"latency": "50ms", "when": {"request": "http"}}]])
    def test_each_leg_that_the_upstream_ends_is_ended_before_the_next_is_dialled(self, loop: str, rules: Any) -> None:
        asked, answer = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

        async def story() -> None:
            async with stage({"rules": rules}) as on:
                client = await Peer.connect(on.proxy.port)
                for _ in range(5):
                    await client.send(asked)
                    server = await on.upstream.accept()
                    await server.exactly(len(asked))
                    await server.send(answer)
                    server.end()
                    assert await client.exactly(len(answer)) == answer
                    assert await server.rest() == b""
                client.close()
                await on.is_empty()

        run(loop, story())

    def test_a_response_without_a_length_ends_by_fin_and_by_rst_as_it_was_ended(self, loop: str) -> None:
        async def tell() -> None:
            async with stage() as on:
                for is_reset in (False, True):
                    client = await Peer.connect(on.proxy.port)
                    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    server = await on.upstream.accept()
                    await server.until(b"\r\n\r\n")
                    await server.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
                    assert (await client.until(b"abc")).endswith(b"\r\n\r\nabc")
                    (server.reset if is_reset else server.end)()
                    assert await client.is_reset() == is_reset
                    client.close()
                await on.is_empty()

        run(loop, tell())

    def test_stopping_lets_an_answer_come_to_its_end(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session:
                poll = asyncio.ensure_future(session.get("/poll"))
                await comes_true(lambda: bool(on.server.requests))
                stopping = asyncio.ensure_future(on.proxy.stop())
                await comes_true(lambda: on.proxy.world.is_draining)
                on.server.go.set()
                async with await poll as response:
                    assert await response.text() == "news"
                began = monotonic()
                await stopping
                assert monotonic() - began < 4  # not the whole time of grace

        story_of(loop, EMPTY, tell)


class TestFaults:
    def test_reject_is_the_status_for_plain_requests_and_websockets_are_fine(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session:
                async with session.post("/apps/1/events", json={"channel": "c"}) as response:
                    assert (response.status, response.headers["Retry-After"]) == (503, "5")
                async with session.get("/") as response:
                    assert response.status == 200
                async with session.ws_connect("/ws") as socket:
                    await socket.send_str("fine")
                    assert await socket.receive_str() == "fine"
            assert [event.by for event in on.events(Responded)] == ["rule", "server"]
            assert ("POST", "/apps/1/events", "1.1") not in on.server.requests

        rule = {
            "reject": {"status": 503, "headers": {"Retry-After": "5"}},
            "when": {"request": "http", "path": "/apps/*"},
        }
        story_of(loop, {"rules": [rule]}, tell)

    def test_latency_delays_the_answer_and_not_the_request(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session:
                began = monotonic()
                asking = asyncio.ensure_future(session.get("/"))
                await comes_true(lambda: bool(on.server.requests))
                assert monotonic() - began < 0.3
                async with await asking as response:
                    assert monotonic() - began >= 0.3
                    assert await response.text() == "all is well"

        story_of(loop, {"rules": [{"latency": "300ms", "when": {"request": "http"}}]}, tell)

    def test_hang_never_answers(self, loop: str) -> None:
        async def tell(on: Between) -> None:
            async with on.session() as session:
                with pytest.raises(TimeoutError):
                    await session.get("/", timeout=aiohttp.ClientTimeout(total=0.3))
            assert on.server.requests == []
            await comes_true(lambda: not on.proxy.open_relays)

        story_of(loop, {"rules": [{"hang": {}, "when": {"request": "http"}}]}, tell)

    def test_reset_is_econnreset(self, loop: str) -> None:
        def ask(connection: http.client.HTTPConnection) -> int | None:
            connection.request("GET", "/")
            try:
                connection.getresponse()
            except ConnectionResetError as error:
                return error.errno
            return None

        async def tell(on: Between) -> None:
            assert await on.blocking(ask) == errno.ECONNRESET
            assert on.server.requests == []

        story_of(loop, {"rules": [{"reset": {}, "when": {"request": "http"}}]}, tell)

    def test_half_open_freezes_what_is_live_and_holds_what_comes_until_it_heals(self, loop: str) -> None:
        profile = {
            "phases": [
                {"name": "healthy", "until": "step"},
                {"name": "silent", "until": "step", "rules": ["half_open"]},
                {"name": "healed"},
            ],
            "starts": "launch",
        }

        async def tell(on: Between) -> None:
            async with on.session() as session, session.get("/stream") as response:
                on.server.events.put_nowait(b"before")
                assert await response.content.readuntil(b"\n\n") == b"data: before\n\n"
                on.proxy.steer(lambda world, now: world.step(now))
                on.server.events.put_nowait(b"meanwhile")
                new = asyncio.ensure_future(session.get("/"))
                reading = asyncio.ensure_future(response.content.readuntil(b"\n\n"))
                done, _ = await asyncio.wait([new, reading], timeout=0.3)
                assert not done
                assert len(on.server.requests) == 1
                on.proxy.steer(lambda world, now: world.step(now))
                assert await reading == b"data: meanwhile\n\n"
                async with await new as answer:
                    assert answer.status == 200
                response.close()
            assert len(on.events(PhaseEntered)) == 3

        story_of(loop, profile, tell)

    def test_refuse_lets_live_connections_live(self, loop: str) -> None:
        profile = {
            "phases": [{"name": "healthy", "until": "step"}, {"name": "down", "rules": ["refuse"]}],
            "starts": "launch",
        }

        async def tell(on: Between) -> None:
            live = socket.create_connection(("127.0.0.1", on.proxy.port))
            peer = Peer(live)
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await peer.until(b"well")).startswith(b"HTTP/1.1 200 ")
            on.proxy.steer(lambda world, now: world.step(now))
            with pytest.raises(ConnectionRefusedError):
                await Peer.connect(on.proxy.port)
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await peer.until(b"well")).startswith(b"HTTP/1.1 200 ")
            peer.close()

        story_of(loop, profile, tell)


class TestSmuggling:
    @pytest.mark.parametrize("is_glued", [True, False])
    def test_behind_a_refused_upgrade_not_one_byte_reaches_the_upstream(self, loop: str, is_glued: bool) -> None:
        async def tell() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                smuggled = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
                await client.send(REQUEST + (smuggled if is_glued else b""))
                server = await on.upstream.accept()
                assert await server.exactly(len(REQUEST)) == REQUEST
                refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
                await server.send(refusal)
                assert await client.exactly(len(refusal)) == refusal
                if not is_glued:
                    with contextlib.suppress(ConnectionError):
                        await client.send(smuggled)
                assert await client.rest() == b""
                assert await server.rest() == b""
                client.close()
                server.close()
                await on.is_empty()

        run(loop, tell())

    def test_a_101_to_a_plain_request_is_no_tunnel(self, loop: str) -> None:
        async def tell() -> None:
            async with stage() as on:
                client = await Peer.connect(on.proxy.port)
                asked = b"GET /chat HTTP/1.1\r\nHost: a\r\n\r\n"
                await client.send(asked)
                server = await on.upstream.accept()
                await server.exactly(len(asked))
                await server.send(RESPONSE)
                assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
                with contextlib.suppress(ConnectionError):
                    await client.send(b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n")
                assert await server.is_reset()
                client.close()
                await on.is_empty()

        run(loop, tell())


def test_two_hundred_slow_heads_are_cut_at_the_deadline_and_nobody_else_suffers(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline_s = 1.0
    monkeypatch.setattr("chaosproxy.opening.HEAD_TIME", int(deadline_s * 1e9))
    monkeypatch.setattr("chaosproxy.endings.HEAD_TIME", int(deadline_s * 1e9))

    async def slow(on: Stage, number: int) -> float:
        client = await Peer.connect(on.proxy.port)
        began = monotonic()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nX: " if number % 2 else REQUEST[:-4]
        await client.send(head)

        async def drip() -> None:
            with contextlib.suppress(OSError):
                while True:
                    await client.send(b"x")
                    await asyncio.sleep(0.1)

        dripping = asyncio.ensure_future(drip())
        with contextlib.suppress(ConnectionResetError):
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 408 ")
        took = monotonic() - began
        dripping.cancel()
        client.close()
        return took

    async def story() -> None:
        async with stage() as on:
            client, server = await on.tunnel()
            slowness = asyncio.ensure_future(asyncio.wait_for(_all(on, slow), PATIENCE_S))
            trips: list[float] = []
            while not slowness.done():
                began = monotonic()
                await client.send(b"\x81\x02hi")
                await server.exactly(4)
                trips.append(monotonic() - began)
                await asyncio.sleep(0.01)
            times = await slowness
            assert min(times) >= deadline_s * 0.95
            assert max(times) < deadline_s + 1
            assert sorted(trips)[len(trips) // 2] < 0.05
            with pytest.raises(BlockingIOError):
                on.upstream.sock.accept()
            client.close()
            server.close()

    async def _all(on: Stage, one: Callable[[Stage, int], Any]) -> list[float]:
        return list(await asyncio.gather(*(one(on, number) for number in range(200))))

    run(loop, story())
