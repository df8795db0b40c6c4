"""Duplicate, reorder and fragment, as a real client and a real server see them."""

import pytest

from tests.live import LOOPS, run, stage
from tests.sockets.between import between, echo
from tests.virtual import read_frames, text

pytestmark = pytest.mark.parametrize("loop", LOOPS)
COMPRESSION = pytest.mark.parametrize("compression", [None, "deflate"])
MESSAGES = [f"message {number} " * (number + 1) for number in range(6)]


@COMPRESSION
def test_duplicate_is_the_same_message_again(loop: str, compression: str | None) -> None:
    async def story() -> None:
        rule = {"duplicate": 1, "when": {"from": "client", "nth": 2}}
        async with (
            between({"rules": [rule]}, handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            for message in MESSAGES:
                await client.send(message)
            wanted = [*MESSAGES[:2], *MESSAGES[1:]]
            assert [await client.recv() for _ in wanted] == wanted

    run(loop, story())


@COMPRESSION
def test_reorder_swaps_messages_and_each_is_whole(loop: str, compression: str | None) -> None:
    async def story() -> None:
        rule = {"reorder": {"window": 1, "within": "20s"}, "when": {"from": "client", "nth": [1, 4]}}
        async with (
            between({"rules": [rule]}, handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            for message in MESSAGES:
                await client.send(message)
            wanted = [MESSAGES[place] for place in (1, 0, 2, 4, 3, 5)]
            assert [await client.recv() for _ in wanted] == wanted

    run(loop, story())


@COMPRESSION
def test_fragment_is_the_same_message_to_who_reads_messages(loop: str, compression: str | None) -> None:
    async def story() -> None:
        async with (
            between({"rules": [{"fragment": "3B"}]}, handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            for message in [*MESSAGES, "äöü€" * 5, b"binary"]:
                await client.send(message)
                assert await client.recv() == message

    run(loop, story())


def test_fragment_is_many_frames_on_the_wire(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"fragment": "3B"}]}) as on:
            client, server = await on.tunnel()
            await server.send(text("a message"))
            frames, rest = read_frames(await client.exactly(3 * 5))
            assert rest == b""
            assert [(seen.first, seen.payload) for seen in frames] == [(1, b"a m"), (0, b"ess"), (0x80, b"age")]

    run(loop, story())
