"""Damaged messages as a real client and a real server see them: what was said, and how the connection ended."""

import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from chaosproxy import library
from chaosproxy.events import Struck
from tests.live import LOOPS, comes_true, run
from tests.sockets.between import Handler, Seen, between, echo

pytestmark = [
    pytest.mark.parametrize("loop", LOOPS),
    pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"]),
]
ESTABLISHED = json.dumps(
    {"event": "pusher:connection_established", "data": json.dumps({"socket_id": "1.2", "activity_timeout": 30})}
)


def from_server(fault: Any, **when: Any) -> dict[str, Any]:
    return {"rules": [{**fault, "when": {"from": "server", **when}}]}


def saying(*messages: str | bytes) -> Handler:
    """A server that says so and then waits for the end."""

    async def handle(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message)
        await connection.wait_closed()

    return handle


async def seen_by_client(
    profile: Any, compression: str | None, *messages: str | bytes, ends: bool = False
) -> tuple[Seen, list[Struck]]:
    """What a client sees of a server that says these messages; the end too where it comes by itself."""
    async with between(profile, handler=saying(*messages), compression=compression) as stage:
        async with stage.connect(compression=compression) as client:
            seen = Seen()
            if ends:
                await seen.watch(client)
            else:
                seen.messages = [await client.recv() for _ in messages]
        return seen, stage.events(Struck)


def test_broken_json_arrives_and_the_connection_lives(loop: str, compression: str | None) -> None:
    async def story() -> None:
        messages = [json.dumps({"number": number, "text": "é" * number}) for number in range(10)]
        profile = from_server({"corrupt": "json"}, json={"/number": 3})
        seen, strikes = await seen_by_client(profile, compression, *messages)
        assert seen.messages[:3] + seen.messages[4:] == messages[:3] + messages[4:]
        assert isinstance(seen.messages[3], str)
        with pytest.raises(ValueError):
            json.loads(seen.messages[3])
        assert [strike.message for strike in strikes] == [4]

    run(loop, story())


def test_text_that_is_no_utf8_ends_the_connection_with_1007(loop: str, compression: str | None) -> None:
    async def story() -> None:
        profile = from_server({"corrupt": "utf8"}, nth=2)
        seen, strikes = await seen_by_client(profile, compression, "first", "second", "third", ends=True)
        assert seen.messages == ["first"]
        assert seen.end is not None and seen.end.sent is not None
        assert seen.end.sent.code == 1007
        assert [strike.message for strike in strikes] == [2]

    run(loop, story())


def test_the_server_gets_the_clients_1007(loop: str, compression: str | None) -> None:
    async def story() -> None:
        ends: list[ConnectionClosed] = []

        async def handle(connection: ServerConnection) -> None:
            await connection.send("hello")
            with pytest.raises(ConnectionClosed) as end:
                await connection.recv()
            ends.append(end.value)

        profile = from_server({"corrupt": "utf8"})
        async with between(profile, handler=handle, compression=compression) as stage:
            async with stage.connect(compression=compression) as client:
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            await comes_true(lambda: bool(ends))
            assert ends[0].rcvd is not None and ends[0].rcvd.code == 1007

    run(loop, story())


def test_a_bit_of_a_binary_message_is_flipped_and_its_length_kept(loop: str, compression: str | None) -> None:
    async def story() -> None:
        messages = [bytes(size) for size in (1, 125, 126, 70_000)]
        seen, _ = await seen_by_client(from_server({"corrupt": {"kind": "bits", "count": 3}}), compression, *messages)
        assert [(type(message), len(message)) for message in seen.messages] == [
            (bytes, len(message)) for message in messages
        ]
        assert [int.from_bytes(message).bit_count() for message in seen.messages if isinstance(message, bytes)] == [
            3
        ] * 4

    run(loop, story())


def test_a_truncated_message_is_a_whole_one_of_less(loop: str, compression: str | None) -> None:
    async def story() -> None:
        profile = from_server({"truncate": {"keep": "50%"}}, size="> 5B")
        seen, _ = await seen_by_client(profile, compression, "0123456789", "short", b"\x00" * 70_000)
        assert seen.messages == ["01234", "short", b"\x00" * 35_000]

    run(loop, story())


def test_a_cut_inside_a_character_is_1007(loop: str, compression: str | None) -> None:
    async def story() -> None:
        seen, _ = await seen_by_client(from_server({"truncate": "3B"}), compression, "ééé", ends=True)
        assert seen.messages == []
        assert seen.end is not None and seen.end.sent is not None and seen.end.sent.code == 1007

    run(loop, story())


def test_a_text_may_come_in_place_of_bytes_and_bytes_of_a_text(loop: str, compression: str | None) -> None:
    async def story() -> None:
        profile = {
            "rules": [
                {"replace": {"binary": "00 ff"}, "when": {"from": "server", "text": "^swap"}},
                {"replace": {"json": {"now": "text"}}, "when": {"from": "server", "opcode": "binary"}},
            ]
        }
        seen, _ = await seen_by_client(profile, compression, "swap me", b"bytes", "neither")
        assert seen.messages == [b"\x00\xff", '{"now":"text"}', "neither"]

    run(loop, story())


def test_toward_the_server_damage_is_masked_as_the_rest(loop: str, compression: str | None) -> None:
    async def story() -> None:
        rule = {"rewrite": {"set": {"/id": "2"}, "remove": "/old"}, "when": {"from": "client", "json": {"/id": 1}}}
        async with (
            between({"rules": [rule]}, handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            for message in ('{"id": 1, "old": true}', ['{"id"', ': 1, "in": ', '"fragments"}'], '{"id": 3}'):
                await client.send(message)
            assert [await client.recv() for _ in range(3)] == ['{"id":2}', '{"id":2,"in":"fragments"}', '{"id": 3}']

    run(loop, story())


def test_a_server_meets_1007_too(loop: str, compression: str | None) -> None:
    async def story() -> None:
        profile = {"rules": [{"corrupt": "utf8", "when": {"from": "client"}}]}
        async with (
            between(profile, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            await client.send("hello")
            seen = Seen()
            await seen.watch(client)
            assert seen.close_code == 1007

    run(loop, story())


def test_what_pusher_announces_is_rewritten_inside_its_string(loop: str, compression: str | None) -> None:
    async def story() -> None:
        seen, _ = await seen_by_client(library.load("short-heartbeat"), compression, ESTABLISHED)
        message = json.loads(seen.messages[0])
        assert message["event"] == "pusher:connection_established"
        assert json.loads(message["data"]) == {"socket_id": "1.2", "activity_timeout": 2}

    run(loop, story())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken-json", '{"event": "tick", "data": [1, 2, 3]}'),
        ("truncated-messages", "x" * 65),
        ("html-instead-of-json", '{"event": "tick"}'),
        ("corrupted-messages", bytes(40)),
    ],
)
def test_the_shipped_profiles_hurt_about_a_tenth(
    loop: str, compression: str | None, name: str, message: str | bytes
) -> None:
    async def story() -> None:
        seen, strikes = await seen_by_client(library.load(name), compression, *[message] * 200)
        hurt = [each for each in seen.messages if each != message]
        assert len(hurt) == len(strikes)
        assert 8 <= len(hurt) <= 36  # 20 on average, with a deviation of 4; the seed is the profile's

    run(loop, story())


def test_the_shipped_profile_for_1007_lets_nine_texts_through(loop: str, compression: str | None) -> None:
    async def story() -> None:
        texts = [str(number) for number in range(1, 12)]
        seen, _ = await seen_by_client(library.load("invalid-utf8-1007"), compression, *texts, ends=True)
        assert seen.messages == texts[:9]
        assert seen.end is not None and seen.end.sent is not None and seen.end.sent.code == 1007

    run(loop, story())
