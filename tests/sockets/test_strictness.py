"""What must not get through, on the wire: heads that two servers might read in two ways, and answers that lie.

Of a request that is refused the upstream sees nothing, not even a connection. Case by case: smuggling (RFC 9112,
section 11.2; RFC 9931), targets chosen by the client, oversized heads, and answers that are no acceptance (RFC 6455,
section 4.1).
"""

import contextlib

import pytest

from tests.live import LOOPS, REQUEST, RESPONSE, Peer, run, stage
from tests.wire.test_http import ALL_REFUSED, PASSED, PLAIN

pytestmark = pytest.mark.parametrize("loop", LOOPS)

SENT_MAX = 100_000  # of heads that have no end
ACCEPT = b"\r\n".join(line for line in RESPONSE.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Accept"))
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer_of(client: Peer) -> bytes:
    """All that comes, be the end a FIN or, with bytes of ours not read, an RST."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := await client.receive():
            data += part
    return data


async def send(client: Peer, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it need not wait for the end to refuse
        await client.send(data)


@pytest.mark.parametrize(("status", "raw"), ALL_REFUSED.values(), ids=ALL_REFUSED)
def test_a_refused_head_is_answered_and_the_upstream_is_not_dialled(loop: str, status: int, raw: bytes) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            await send(client, raw[:SENT_MAX] + SMUGGLED)
            assert (await answer_of(client)).startswith(b"HTTP/1.1 %d " % status)
            client.close()
            await on.is_empty()
            with pytest.raises(BlockingIOError):
                on.upstream.sock.accept()

    run(loop, story())


LEGAL = {**PASSED, **{f"plain: {name}": raw for name, raw in PLAIN.items()}}


@pytest.mark.parametrize("raw", LEGAL.values(), ids=LEGAL)
def test_what_is_legal_reaches_the_upstream_byte_for_byte(loop: str, raw: bytes) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            await client.send(raw)
            server = await on.upstream.accept()
            assert await server.exactly(len(raw)) == raw

    run(loop, story())


ANSWERS_THAT_LIE: dict[str, bytes] = {
    "no upgrade": RESPONSE.replace(b"Upgrade: websocket\r\n", b""),
    "no connection": RESPONSE.replace(b"Connection: Upgrade\r\n", b""),
    "another protocol": RESPONSE.replace(b"websocket", b"h2c"),
    "no accept": RESPONSE.replace(ACCEPT + b"\r\n", b""),
    "a wrong accept": RESPONSE.replace(ACCEPT, b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "two accepts": RESPONSE.replace(ACCEPT, ACCEPT + b"\r\n" + ACCEPT),
    "HTTP/1.0": RESPONSE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "garbage": b"\x00\x01\x02 what?\r\n\r\n",
    "a frame": b"\x81\x05hello",
    "bare LF": RESPONSE.replace(b"\r\n", b"\n"),
    "obs-fold": RESPONSE[:-2] + b"A: b\r\n c\r\n\r\n",
    "NUL": RESPONSE[:-2] + b"A: b\0\r\n\r\n",
    "a huge header": RESPONSE[:-2] + b"A: " + b"a" * 70_000 + b"\r\n\r\n",
    "too many headers": RESPONSE[:-2] + b"A: b\r\n" * 200 + b"\r\n",
    "endless headers": RESPONSE[:-2] + b"A: b\r\n" * 12_000,
    "HTTP/2": b"HTTP/2 101\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS_THAT_LIE.values(), ids=ANSWERS_THAT_LIE)
@pytest.mark.parametrize("asked", [REQUEST, GET], ids=["upgrade", "plain"])
def test_an_answer_that_lies_is_502_and_no_tunnel(loop: str, asked: bytes, answer: bytes) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            await client.send(asked + SMUGGLED)
            server = await on.upstream.accept()
            assert await server.exactly(len(asked)) == asked
            await send(server, answer)
            assert (await answer_of(client)).startswith(b"HTTP/1.1 502 ")
            assert await answer_of(server) == b""
            client.close()
            await on.is_empty()

    run(loop, story())


@pytest.mark.parametrize("half", [b"HTTP/1.1 101 Swi", RESPONSE[:-2], b""], ids=["a start", "no end", "nothing"])
@pytest.mark.parametrize("asked", [REQUEST, GET], ids=["upgrade", "plain"])
def test_half_an_answer_is_502(loop: str, asked: bytes, half: bytes) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            await client.send(asked)
            server = await on.upstream.accept()
            await server.exactly(len(asked))
            await server.send(half)
            server.end()
            assert (await answer_of(client)).startswith(b"HTTP/1.1 502 ")
            client.close()
            server.close()
            await on.is_empty()

    run(loop, story())


def test_an_upgrade_that_is_never_answered_or_drips_is_504(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaosproxy.opening.ANSWER_TIME", 500_000_000)
    monkeypatch.setattr("chaosproxy.endings.ANSWER_TIME", 500_000_000)

    async def story() -> None:
        async with stage() as on:
            for start in (b"", b"HTTP/1.1 101 Swi"):
                client = await Peer.connect(on.proxy.port)
                await client.send(REQUEST)
                server = await on.upstream.accept()
                await server.exactly(len(REQUEST))
                await server.send(start)
                assert (await answer_of(client)).startswith(b"HTTP/1.1 504 ")
                client.close()
                server.close()
            await on.is_empty()

    run(loop, story())


BAD_CHUNKS = {
    "no number": b"x\r\n",
    "negative": b"-1\r\n",
    "hexadecimal with 0x": b"0x1\r\n",
    "over 2^60": b"F" * 16 + b"\r\n",
    "bare LF": b"1\na\n0\n\n",
    "an extension over two lines": b"1;a\n\r\na\r\n",
    "data longer than its size": b"1\r\nab\r\n",
    "an endless line": b"1;" + b"a" * 9000,
    "a request for a trailer": b"0\r\nGET /admin HTTP/1.1\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("bad", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_bad_chunk_is_400_and_what_is_behind_it_reaches_nobody(loop: str, bad: bytes) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            await client.send(POST + b"2\r\nok\r\n")
            server = await on.upstream.accept()
            await server.exactly(len(POST) + 7)
            await send(client, bad + SMUGGLED)
            assert (await answer_of(client)).startswith(b"HTTP/1.1 400 ")
            seen = await answer_of(server)
            assert b"admin" not in seen
            assert bad.startswith(seen)
            client.close()
            await on.is_empty()

    run(loop, story())


@pytest.mark.parametrize("bad", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_bad_first_chunk_is_never_dialled(loop: str, bad: bytes) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            await send(client, POST + bad + SMUGGLED)
            assert (await answer_of(client)).startswith(b"HTTP/1.1 400 ")
            client.close()
            await on.is_empty()
            with pytest.raises(BlockingIOError):
                on.upstream.sock.accept()

    run(loop, story())


REFUSALS = {
    "with a length": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    "chunked": b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "empty": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "of no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "upgrade required": b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    "a 200 that looks like a page": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("is_glued", [True, False], ids=["glued", "behind"])
@pytest.mark.parametrize("is_kept", [True, False], ids=["behind a plain request", "first"])
def test_refused_then_piped_not_one_byte_more_reaches_the_upstream(
    loop: str, refusal: bytes, is_glued: bool, is_kept: bool
) -> None:
    async def story() -> None:
        async with stage() as on:
            client = await Peer.connect(on.proxy.port)
            server = None
            if is_kept:
                await client.send(GET)
                server = await on.upstream.accept()
                await server.exactly(len(GET))
                ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                await server.send(ok)
                await client.exactly(len(ok))
            await client.send(REQUEST + (SMUGGLED if is_glued else b""))
            server = server or await on.upstream.accept()
            assert await server.exactly(len(REQUEST)) == REQUEST
            await server.send(refusal)
            assert await client.exactly(len(refusal)) == refusal
            if not is_glued:
                await send(client, SMUGGLED)
            assert await answer_of(client) == b""
            assert await answer_of(server) == b""
            client.close()
            server.close()
            await on.is_empty()
            with pytest.raises(BlockingIOError):
                on.upstream.sock.accept()

    run(loop, story())
