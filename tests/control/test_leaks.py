"""Judges S13, S14 and S16, of a whole process: what it says, writes and serves has no secret and no forged line in it.

Also the size of what Prometheus reads does not grow with what strangers say.
"""

import asyncio
import contextlib
import http.client
import json
import re
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from tests.control.conftest import PATIENCE_S
from tests.interop.proxy import Proxy
from tests.live import Peer

CANARY = "canary7d1f"
HOSTILE = '\r\n{"event":"forged"}\x1b[31m\x7f\x85\u2028\u202e<img src=x onerror=alert(1)>'
PROFILE = f"""
version: 1
name: leaks
protocol: pusher
rules:
  - drop: {{}}
    when: {{header: {{X-Api-Key: "{CANARY}"}}, nth: 99}}
  - reject: {{status: 401, headers: {{WWW-Authenticate: "{CANARY}", Set-Cookie: "a={CANARY}"}}}}
    when: {{path: /rejected}}
"""


class Watched(Proxy):
    """A proxy that says all it can, with a token that is a canary too."""

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--verbose", "--token", f"token-{CANARY}"]

    def ask(self, path: str) -> str:
        """What is served there to who has the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer token-{CANARY}"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()


async def answer(link: ServerConnection, request: Request, response: Response) -> Response:
    response.headers["Set-Cookie"] = f"session={CANARY}"
    return response


async def refuse(link: ServerConnection, request: Request) -> Response | None:
    if request.path.startswith("/refused"):
        headers = Headers([("Set-Cookie", CANARY), ("Content-Length", "0")])
        return Response(HTTPStatus.UNAUTHORIZED, CANARY, headers, b"")
    return None


async def echo(link: ServerConnection) -> None:
    async for message in link:
        await link.send(message)


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[Watched]:
    profile = directory / "leaks.yaml"
    profile.write_text(PROFILE)
    async with serve(
        echo, "127.0.0.1", 0, process_request=refuse, process_response=answer, subprotocols=None, close_timeout=1
    ) as server:
        port = server.sockets[0].getsockname()[1]
        proxy = Watched(directory, f"ws://127.0.0.1:{port}", profile=profile)
        await asyncio.to_thread(proxy.start)
        try:
            yield proxy
        finally:
            await asyncio.to_thread(proxy.stop)


async def say_everything(proxy: Watched) -> None:
    """Be a client that has secrets, and one that means harm."""
    options = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 1}
    names = ("Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Referer", "X-Forwarded-For")
    headers = dict.fromkeys(names, CANARY)
    query = f"?token={CANARY}&auth_signature={CANARY}&auth_key={CANARY}"
    protocols = [f"bearer.{CANARY}"]
    for path, is_refused in (("/app/key", False), ("/refused", True), ("/rejected", True)):
        expected = pytest.raises(InvalidStatus) if is_refused else contextlib.nullcontext()
        with expected:
            async with connect(
                f"{proxy.url}{path}{query}", additional_headers=headers, subprotocols=protocols, **options
            ) as link:
                data = {"channel": "private-a", "auth": f"key:{CANARY}"}
                await link.send(json.dumps({"event": "pusher:subscribe", "data": data}))
                await link.send(json.dumps({"event": "client-x", "channel": "a", "data": CANARY}))
                await link.send(CANARY.encode())
                await link.recv()
                await link.close(4000, f"bye{HOSTILE[:40]}")
    raw = urllib.parse.quote(HOSTILE)
    for head in (
        f"GET /{raw}?secret={CANARY} HTTP/1.1\r\nHost: x\r\nUser-Agent: {raw}\x1b[31m{CANARY}\r\nCookie: {CANARY}",
        f"GET /\x00{CANARY} HTTP/1.1\r\nHost: {CANARY}",
        f"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\nX-{CANARY}: {CANARY}",
    ):
        async with strange(proxy, f"{head}\r\n\r\n".encode()) as peer:
            await peer.rest()
    async with connect(f"{proxy.url}/app/key", user_agent_header=f"a{CANARY}", **options) as link:
        await link.send(HOSTILE)
        await link.send(json.dumps({"event": HOSTILE, "channel": HOSTILE}))
        await link.recv()


@asynccontextmanager
async def strange(proxy: Watched, said: bytes) -> AsyncIterator[Peer]:
    """Somebody who says just this."""
    peer = await Peer.connect(proxy.port)
    Peer.opened.remove(peer)
    with contextlib.closing(peer.sock):
        await peer.send(said)
        yield peer


def test_no_secret_and_no_forged_line_is_anywhere(tmp_path: Path) -> None:
    async def story() -> dict[str, str]:
        async with watched(tmp_path) as proxy:
            await say_everything(proxy)
            paths = ["/api/state", "/api/journal?format=jsonl", "/api/verdict", "/api/metrics", "/api/proxies"]
            paths += ["/metrics", "/readyz", "/x"]
            seen = {path: await asyncio.to_thread(proxy.ask, path) for path in paths}
        seen["the log"] = proxy.log_path.read_text()
        seen["the journal"] = proxy.journal_path.read_text()
        return seen

    seen = asyncio.run(story())
    for where, text in seen.items():
        assert CANARY not in text, where
        assert re.findall(r"[^\n\x20-\x7e]", text.replace("…", "")) == [], where
    records = [json.loads(line) for line in seen["the journal"].splitlines()]
    assert {"asked", "answered", "closed", "ended", "struck"} <= {record.get("event") for record in records}
    assert "forged" not in {record.get("event") for record in records}
    rules = json.loads(seen["/api/state"])["rules"]
    assert rules[0]["when"]["header"] == {"X-Api-Key": "(masked)"}
    assert rules[1]["reject"]["headers"] == {"WWW-Authenticate": "(masked)", "Set-Cookie": "(masked)"}
    assert records[0]["profile_in_full"]["rules"][1]["id"] == rules[1]["id"]


def test_metrics_do_not_grow_with_what_strangers_say(tmp_path: Path) -> None:
    async def story() -> None:
        async with watched(tmp_path) as proxy:
            sizes = []
            for begin, end in ((0, 100), (100, 400)):
                gate = asyncio.Semaphore(20)
                await asyncio.gather(*(stranger(proxy, number, gate) for number in range(begin, end)))
                await asyncio.to_thread(proxy.ask, f"/api/wait?for=closed&count={end * 3 // 4}&timeout=10s")
                sizes.append(len(await asyncio.to_thread(proxy.ask, "/metrics")))
            assert sizes[1] - sizes[0] < 1024, sizes

    asyncio.run(story())


async def stranger(proxy: Watched, number: int, gate: asyncio.Semaphore) -> None:
    """A connection unlike any other: method, path, Host, Origin, subprotocol, close code."""
    if number % 4 == 0:
        said = f"M{number} /{number} HTTP/1.1\r\nHost: h{number}\r\nContent-Length: 0\r\n\r\n".encode()
    else:
        head = (
            f"GET /{number} HTTP/1.1\r\nHost: h{number}\r\nOrigin: http://o{number}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: p{number}\r\nX-{number}: {number}\r\n\r\n"
        )
        code = (1000 + number * 7) % 65536
        said = head.encode() + bytes([0x88, 0x82, 0, 0, 0, 0]) + code.to_bytes(2, "big")
    async with gate, strange(proxy, said) as peer:
        peer.end()
        await peer.is_reset()
