"""pusher_error, subscription_error and heartbeat, and a reset that waits, as real clients and servers see them."""

import json
from time import monotonic
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from chaosproxy.events import Closed
from tests.live import LOOPS, comes_true, run, stage
from tests.sockets.between import between, echo
from tests.virtual import CLIENT, SERVER

pytestmark = pytest.mark.parametrize("loop", LOOPS)
COMPRESSIONS = pytest.mark.parametrize("compression", [None, "deflate"])


def rules(*given: dict[str, Any]) -> dict[str, Any]:
    return {"protocol": "pusher", "rules": list(given)}


@COMPRESSIONS
def test_pusher_error_in_the_handshake_is_a_whole_websocket_to_the_client_and_nothing_to_the_server(
    loop: str, compression: str | None
) -> None:
    async def story() -> None:
        rule = {"pusher_error": {"code": 4001, "hits": "new"}}
        async with between(rules(rule), handler=echo, compression=compression) as stage:
            async with stage.connect(compression=compression) as client:
                error = json.loads(await client.recv())
                assert (error["event"], error["data"]["code"]) == ("pusher:error", 4001)
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert end.value.rcvd and (end.value.rcvd.code, end.value.rcvd.reason) == (4001, "")
                assert end.value.rcvd_then_sent
            assert stage.servers == []

    run(loop, story())


@COMPRESSIONS
def test_pusher_error_on_an_open_connection_comes_before_its_close_and_the_server_is_told_1001(
    loop: str, compression: str | None
) -> None:
    async def story() -> None:
        rule = {"pusher_error": 4200, "when": {"from": "client", "event": "go"}}
        async with (
            between(rules(rule), compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            await client.send('{"event":"go"}')
            assert json.loads(await client.recv())["data"]["code"] == 4200
            with pytest.raises(ConnectionClosed) as end:
                await client.recv()
            assert end.value.rcvd and end.value.rcvd.code == 4200
            await comes_true(lambda: bool(stage.server_saw and stage.server_saw[0].end))
            assert stage.server_saw[0].close_code == 1001

    run(loop, story())


def test_pusher_error_over_quota_leaves_the_others_alone(loop: str) -> None:
    async def story() -> None:
        async with between(rules({"pusher_error": {"code": 4100, "quota": 1}}), handler=echo) as stage:
            async with stage.connect() as first:
                async with stage.connect() as second:
                    assert json.loads(await second.recv())["data"]["code"] == 4100
                await first.send("still here")
                assert await first.recv() == "still here"
            await stage.told_of(Closed, 2)
            async with stage.connect() as third:
                await third.send("room again")
                assert await third.recv() == "room again"

    run(loop, story())


@COMPRESSIONS
def test_subscription_error_answers_in_the_servers_place(loop: str, compression: str | None) -> None:
    async def story() -> None:
        rule = {"subscription_error": {"status": 4100, "type": "LimitReached"}, "when": {"channel": "presence-*"}}
        async with (
            between(rules(rule), handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            wishes = [
                json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}})
                for channel in ("open", "presence-a", "other")
            ]
            for wish in wishes:
                await client.send(wish)
            got = [await client.recv() for _ in wishes]
            refused = [json.loads(each) for each in got if "subscription_error" in str(each)]
            assert [(each["channel"], each["data"]["status"]) for each in refused] == [("presence-a", 4100)]
            assert [each for each in got if "subscription_error" not in str(each)] == [wishes[0], wishes[2]]

    run(loop, story())


@COMPRESSIONS
def test_heartbeat_changes_what_is_announced_and_nothing_else(loop: str, compression: str | None) -> None:
    async def story() -> None:
        async with (
            between(rules({"heartbeat": "2s"}), handler=echo, compression=compression) as stage,
            stage.connect(compression=compression) as client,
        ):
            data = json.dumps({"socket_id": "1.2", "activity_timeout": 30})
            established = {"event": "pusher:connection_established", "data": data}
            await client.send(json.dumps(established))
            assert json.loads(json.loads(await client.recv())["data"]) == {"socket_id": "1.2", "activity_timeout": 2}
            await client.send('{"event":"other","data":{"activity_timeout":30}}')
            assert await client.recv() == '{"event":"other","data":{"activity_timeout":30}}'

    run(loop, story())


@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
def test_slow_close_lets_a_reset_wait_and_then_it_is_one(loop: str, side: Any) -> None:
    async def story() -> None:
        async with stage({"rules": [{"slow_close": {"delay": "300ms", "resets": True}}]}) as on:
            client, server = await on.tunnel()
            lost, other = (client, server) if side is CLIENT else (server, client)
            began = monotonic()
            lost.reset()
            assert await other.is_reset()
            assert 0.28 <= monotonic() - began <= 3

    run(loop, story())
