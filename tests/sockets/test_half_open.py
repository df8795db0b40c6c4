"""Half-open connections as real peers see them: ghosts, one leg or one way alone, and heartbeats that are lost."""

import asyncio
import socket
import struct
from time import monotonic

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from chaosproxy.events import Ended
from tests.live import LOOPS, comes_true, run, stage
from tests.sockets.between import Between, Seen, between, echo

pytestmark = pytest.mark.parametrize("loop", LOOPS)

QUIET_S = 0.3  # how long nothing is to be seen where nothing shall come


def silenced(*rules: object) -> dict[str, object]:
    """Rules between a step and the next."""
    return {
        "phases": [
            {"name": "healthy", "until": "step"},
            {"name": "silence", "until": "step", "rules": list(rules)},
            {"name": "healed"},
        ]
    }


def step(on: Between) -> None:
    on.proxy.steer(lambda world, now: world.step(now))


def reset(client: ClientConnection) -> None:
    """Let the library's connection end by RST."""
    sock: socket.socket = client.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


def test_a_client_that_is_gone_stays_a_ghost_for_the_server_until_the_heal(loop: str) -> None:
    async def story() -> None:
        async with between(silenced({"half_open": {"leg": "client"}})) as on, on.connect() as client:
            server, seen = on.servers[0], on.server_saw[0]
            step(on)
            reset(client)
            await on.told_of(Ended)
            pong = await server.ping()
            await server.send("anyone?")
            await asyncio.sleep(QUIET_S)
            assert seen.end is None and not pong.done()
            step(on)
            await server.wait_closed()
            assert seen.end is not None and seen.end.rcvd is None
            assert isinstance(seen.end.__cause__, ConnectionResetError)

    run(loop, story())


def test_a_server_that_gives_the_ghost_up_is_answered_and_the_client_learns_of_it_at_the_heal(loop: str) -> None:
    async def story() -> None:
        async with between(silenced({"half_open": {"leg": "client"}})) as on, on.connect() as client:
            client_saw = Seen()
            watching = asyncio.ensure_future(client_saw.watch(client))
            step(on)
            began = monotonic()
            await on.servers[0].close(1011, "no pong")  # waits 1 s for a close frame that can't come, then ends
            assert 1 <= monotonic() - began < 5
            await asyncio.sleep(QUIET_S)
            assert client_saw.end is None
            step(on)
            await watching
            assert client_saw.close_code == 1011

    run(loop, story())


def test_a_silent_server_leg_answers_nothing_and_a_live_client_is_let_go(loop: str) -> None:
    async def story() -> None:
        async with stage(silenced({"half_open": {"leg": "server"}})) as on:
            client, server = await on.tunnel()
            on.proxy.steer(lambda world, now: world.step(now))
            client.end()
            assert await client.rest() == b""  # its FIN is answered by ours
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(server.sock, 1), QUIET_S)
            on.proxy.steer(lambda world, now: world.step(now))
            assert await server.rest() == b""
            server.end()
            await on.is_empty()

    run(loop, story())


@pytest.mark.parametrize("sender", ["client", "server"])
def test_one_way_is_lost_and_the_other_stays_open(loop: str, sender: str) -> None:
    async def story() -> None:
        async with between(silenced({"half_open": {"from": sender}})) as on, on.connect() as client:
            server, server_saw, client_saw = on.servers[0], on.server_saw[0], Seen()
            watching = asyncio.ensure_future(client_saw.watch(client))
            step(on)
            await client.send("from the client")
            await server.send("from the server")
            open_one, lost_one = (client_saw, server_saw) if sender == "client" else (server_saw, client_saw)
            await comes_true(lambda: len(open_one.messages) == 1)
            await asyncio.sleep(QUIET_S)
            assert lost_one.messages == []
            step(on)
            await comes_true(lambda: len(lost_one.messages) == 1)
            await client.close(4000)
            await watching
            await server.wait_closed()
            assert server.close_code == 4000

    run(loop, story())


def test_a_frozen_client_comes_to_a_halt_beside_a_server_that_may_talk_into_a_black_hole(loop: str) -> None:
    rules = (
        {"half_open": {"leg": "client", "mode": "freeze"}},
        {"half_open": {"leg": "server", "mode": "blackhole", "heal": "discard"}},
    )

    async def story() -> None:
        async with between({"held_bytes_max": "1KiB", **silenced(*rules)}) as on, on.connect() as client:
            server = on.servers[0]
            step(on)
            assert on.proxy.paused_legs == 1
            flood = asyncio.ensure_future(client.send(b"x" * 50_000_000))
            for _ in range(50):
                await asyncio.wait_for(server.send(b"y" * 1_000_000), 5)
            await asyncio.sleep(QUIET_S)
            assert not flood.done()
            flood.cancel()
            await asyncio.gather(flood, return_exceptions=True)
            reset(client)

    run(loop, story())


@pytest.mark.parametrize(("fault", "which"), [("swallow_pong", "client"), ("swallow_ping", "server")])
def test_without_its_heartbeat_a_client_ends_though_messages_pass(loop: str, fault: str, which: str) -> None:
    async def story() -> None:
        async with between(silenced(fault), handler=echo) as on:
            options = {"ping_interval": 0.2, "ping_timeout": 0.4}
            async with on.connect(**options) as client:
                await asyncio.sleep(0.7)  # as long as it would take to notice
                step(on)
                began = monotonic()
                await client.send("still carried")
                assert await client.recv() == "still carried"
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert end.value.rcvd_then_sent is False or end.value.rcvd is None
                assert end.value.sent is not None and end.value.sent.code == 1011
                assert 0.2 < monotonic() - began < 5

    run(loop, story())


def test_a_lost_pong_is_not_noticed_by_who_only_answers(loop: str) -> None:
    async def story() -> None:
        rule = {"swallow_pong": {}, "when": {"from": "server"}}
        async with between({"rules": [rule]}, handler=echo) as on, on.connect() as client:
            answered = await on.servers[0].ping()  # the client's pong passes
            await asyncio.wait_for(answered, 5)
            lost = await client.ping()
            await client.send("a message behind it")
            assert await client.recv() == "a message behind it"
            assert not lost.done()

    run(loop, story())
