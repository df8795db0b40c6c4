"""Inject and violate, as a real client and a real server see them: what comes, and with which code they end it."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from tests.live import LOOPS, run, stage
from tests.sockets.between import between, echo
from tests.virtual import frame, text

pytestmark = pytest.mark.parametrize("loop", LOOPS)
PROTOCOL_ERROR, TOO_LARGE = 1002, 1009


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_inject_comes_between_others_on_either_side(loop: str, compression: str | None) -> None:
    async def story() -> None:
        rules = [
            {"inject": {"text": "from nowhere"}, "when": {"from": "server", "nth": 2}},
            {"inject": {"binary": "00 ff", "to": "server"}, "when": {"from": "client", "nth": 2}},
        ]
        async with (
            between({"rules": rules}, handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            for message in ("one", "two", "three"):
                await client.send(message)
            wanted = ["one", "two", "from nowhere", b"\x00\xff", "three"]
            assert [await client.recv() for _ in wanted] == wanted

    run(loop, story())


def test_inject_of_a_ping_is_answered_by_the_client_and_reaches_the_server_as_a_pong(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"inject": {"ping": "who", "hits": "new"}}]}) as on:
            client, server = await on.tunnel()
            assert await client.exactly(5) == frame(b"who", 9)
            await client.send(frame(b"who", 10, mask=b"mask"))
            assert await server.exactly(9) == frame(b"who", 10, mask=b"mask")

    run(loop, story())


def test_inject_every_so_often_keeps_its_pace(loop: str) -> None:
    async def story() -> None:
        rule = {"inject": {"text": "tick", "interval": "50ms"}}
        async with between({"rules": [rule]}) as stage, stage.connect() as client:
            began = asyncio.get_running_loop().time()
            assert [await client.recv() for _ in range(5)] == ["tick"] * 5
            assert asyncio.get_running_loop().time() - began >= 0.19

    run(loop, story())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("mask", PROTOCOL_ERROR),
        ("reserved_bit", PROTOCOL_ERROR),
        ("opcode", PROTOCOL_ERROR),
        ("control_opcode", PROTOCOL_ERROR),
        ("control_size", PROTOCOL_ERROR),
        ("control_fragment", PROTOCOL_ERROR),
        ("continuation", PROTOCOL_ERROR),
        ("interleaved", PROTOCOL_ERROR),
        ("length", TOO_LARGE),
    ],
)
@pytest.mark.parametrize("to", ["client", "server"])
def test_violate_makes_the_peer_end_the_connection_with_its_code(loop: str, to: str, kind: str, code: int) -> None:
    async def story() -> None:
        rule = {"violate": {"kind": kind, "to": to, "hits": "new"}}
        limit = {"max_size": 2**20}
        async with between({"rules": [rule]}, **limit) as stage:
            async with stage.connect(**limit) as client:
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
            # Who meets the violation says so in a close frame, which the other one receives.
            victim = end.value if to == "client" else None
            if victim is not None:
                assert victim.sent is not None
                assert victim.sent.code == code
            await stage.servers[0].wait_closed()
            told = stage.servers[0].close_code if to == "client" else (end.value.rcvd and end.value.rcvd.code)
            assert told == code

    run(loop, story())


def test_inject_of_raw_bytes_is_those_bytes(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"inject": {"raw": "ff 00 12"}, "when": {"from": "server", "nth": 1}}]}) as on:
            client, server = await on.tunnel()
            await server.send(text("a"))
            assert await client.exactly(6) == text("a") + b"\xff\x00\x12"

    run(loop, story())
