"""Compressed conversations between npm's `ws` and Python's `websockets`, with rules on the messages between them.

Each is the other's judge: two implementations of permessage-deflate that know nothing of ours. What they say is the
same on both sides (node/ws_peer.mjs), so each knows what it may hear.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from chaosproxy.events import Struck
from chaosproxy.wire.frames import Side
from chaosproxy.world import Told
from tests.hurts import MADE, OF_MESSAGES, Rule, on_messages, rules
from tests.interop.processes import NODE_FOLDER
from tests.live import LOOPS, run, stage
from tests.sockets.between import between

COUNT = 40
SEEDS = [1, 2, 3]
BITS = [9, 12, 15]
TAKEOVER = [(False, False), (True, False), (False, True), (True, True)]  # given up: by the server, by the client
TERMS = [(server, client, *takeover) for server, client, takeover in product(BITS, BITS, TAKEOVER)]
MIXES: list[list[Rule]] = [
    [{"drop": {}, "when": {"chance": "20%"}}],
    [on_messages(rule, {"chance": "15%"}) for rule in rules(OF_MESSAGES)]
    + [{"latency": {"delay": "2ms", "jitter": "2ms"}}],
    [{"drop": {}, "when": {"from": "server", "nth": 7}}],
]
WAIT_S = 20


def message(n: int) -> str:
    return f"{n}:{'alpha beta gamma ' * (n * 7 % 5)}{'x' * (n * n % 300)}"


MESSAGES = [message(n) for n in range(COUNT)]


@contextlib.asynccontextmanager
async def ws_peer(**settings: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Npm's `ws` in a process of its own."""
    arguments = ["node", "ws_peer.mjs", json.dumps({"count": COUNT, **settings})]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, cwd=NODE_FOLDER, stdin=pipe, stdout=pipe, limit=2**24)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def last_line(process: asyncio.subprocess.Process) -> list[dict[str, Any]]:
    assert process.stdin and process.stdout
    process.stdin.close()
    line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
    told: list[dict[str, Any]] = json.loads(line)
    return told


async def converse(connection: ClientConnection | ServerConnection, *, closes: bool) -> list[str | bytes]:
    """Say everything, then ping; hear everything, to the end."""
    heard: list[str | bytes] = []

    async def say() -> None:
        for number, text in enumerate(MESSAGES):
            half = len(text) // 2
            await connection.send([text[:half], text[half:]] if number % 4 == 3 else text)
        await asyncio.wait_for(await connection.ping(), WAIT_S)
        if closes:
            await connection.close()

    async def hear() -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(await connection.recv())

    await asyncio.gather(say(), hear())
    assert connection.close_code == 1000, connection.close_reason
    return heard


def check(heard: list[Any], side: Side, connection: int, told: list[Told], mix: list[Rule]) -> None:
    """What was heard of a side is what it said, but for what the rules did."""
    faults = {name for rule in mix for name in rule if name != "when"}
    assert set(heard) <= {*MESSAGES, MADE}
    struck = [
        each.event
        for each in told
        if each.session and each.session.connection == connection and isinstance(each.event, Struck)
    ]
    lost = {event.message for event in struck if event.side is side and event.fault == "drop"}
    if faults <= {"drop", "latency"}:
        assert heard == [text for number, text in enumerate(MESSAGES, 1) if number not in lost]
    if not faults & {"duplicate", "reorder"}:
        rest = iter(MESSAGES)
        assert all(text in rest for text in heard if text != MADE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mix", MIXES, ids=["drop", "all", "one"])
def test_what_a_ws_client_and_a_websockets_server_hear_of_each_other_is_exact(mix: list[Rule], seed: int) -> None:
    offers = [
        {
            "serverMaxWindowBits": server,
            "clientMaxWindowBits": client,
            "serverNoContextTakeover": server_gives_up,
            "clientNoContextTakeover": client_gives_up,
        }
        for server, client, server_gives_up, client_gives_up in TERMS[seed - 1 :: len(SEEDS)]
    ]
    heard_by_server: list[list[str | bytes]] = []

    async def handler(connection: ServerConnection) -> None:
        heard_by_server.append(await converse(connection, closes=False))

    async def story() -> None:
        deflate = ServerPerMessageDeflateFactory(server_max_window_bits=15, client_max_window_bits=15)
        async with (
            between({"rules": mix, "seed": seed}, handler, extensions=[deflate]) as on,
            ws_peer(url=on.url, offers=offers) as process,
        ):
            heard_by_client = await last_line(process)
        assert len(heard_by_client) == len(heard_by_server) == len(offers)
        assert any(isinstance(told.event, Struck) and told.event.fault == "drop" for told in on.told)
        for number, (client, server) in enumerate(zip(heard_by_client, heard_by_server, strict=True), 1):
            assert "permessage-deflate" in client["extensions"] and client["end"] == 1000, client["end"]
            check(client["messages"], Side.SERVER, number, on.told, mix)
            check(server, Side.CLIENT, number, on.told, mix)

    run(list(LOOPS)[seed % 2], story())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mix", MIXES, ids=["drop", "all", "one"])
def test_what_a_websockets_client_and_a_ws_server_hear_of_each_other_is_exact(mix: list[Rule], seed: int) -> None:
    terms = TERMS[seed - 1 :: len(SEEDS)]

    async def story() -> None:
        async with ws_peer(accepts={}) as process:
            assert process.stdout
            port = int(await asyncio.wait_for(process.stdout.readline(), WAIT_S))
            heard_by_client = []
            async with stage({"rules": mix, "seed": seed}, upstream_port=port) as on:
                for server, client, server_gives_up, client_gives_up in terms:
                    offer = ClientPerMessageDeflateFactory(
                        server_no_context_takeover=server_gives_up,
                        client_no_context_takeover=client_gives_up,
                        server_max_window_bits=server,
                        client_max_window_bits=client,
                    )
                    url = f"ws://127.0.0.1:{on.proxy.port}/"
                    options: dict[str, Any] = {"ping_interval": None, "proxy": None, "max_size": None}
                    async with connect(url, extensions=[offer], **options) as connection:
                        heard_by_client.append(await converse(connection, closes=True))
                        assert connection.response is not None
                        assert (
                            f"server_max_window_bits={server}"
                            in connection.response.headers["Sec-WebSocket-Extensions"]
                        )
                await on.is_empty()
            heard_by_server = await last_line(process)
        assert len(heard_by_client) == len(heard_by_server) == len(terms)
        assert any(isinstance(told.event, Struck) and told.event.fault == "drop" for told in on.told)
        for number, (client_heard, server_heard) in enumerate(zip(heard_by_client, heard_by_server, strict=True), 1):
            assert "permessage-deflate" in server_heard["extensions"] and server_heard["end"] == 1000
            check(client_heard, Side.SERVER, number, on.told, mix)
            check(server_heard["messages"], Side.CLIENT, number, on.told, mix)

    run(list(LOOPS)[seed % 2], story())
