"""The faults every outage is made of, as a real client sees them: event, code, errno, time."""

import asyncio
import errno
from time import monotonic

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from chaosproxy.events import PhaseEntered
from tests.live import LOOPS, Peer, run
from tests.sockets.between import Seen, between, echo

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def phases(*rules: object, lasts: str | None = None) -> dict[str, object]:
    """A phase that ends by hand, one with the rules, and one without any."""
    struck: dict[str, object] = {"name": "struck", "rules": list(rules)}
    struck |= {"lasts": lasts} if lasts else {"until": "step"}
    return {"phases": [{"name": "healthy", "until": "step"}, struck, {"name": "healed"}]}


def test_refuse_is_econnrefused_and_live_connections_live(loop: str) -> None:
    async def story() -> None:
        async with between(phases("refuse"), handler=echo) as stage, stage.connect() as live:
            stage.proxy.steer(lambda world, now: world.step(now))
            with pytest.raises(OSError) as refusal:
                async with stage.connect():
                    pass
            assert refusal.value.errno == errno.ECONNREFUSED
            await live.send("still here")
            assert await live.recv() == "still here"
            stage.proxy.steer(lambda world, now: world.step(now))
            async with stage.connect() as client:
                await client.send("open again")
                assert await client.recv() == "open again"

    run(loop, story())


def test_reject_is_the_status_and_the_headers(loop: str) -> None:
    async def story() -> None:
        rule = {"reject": {"status": 503, "headers": {"Retry-After": "7"}, "body": "later"}}
        async with between({"rules": [rule]}) as stage:
            with pytest.raises(InvalidStatus) as rejection:
                async with stage.connect():
                    pass
            response = rejection.value.response
            assert (response.status_code, response.headers["Retry-After"], response.body) == (503, "7", b"later")
            assert stage.servers == []

    run(loop, story())


def test_hang_is_no_answer_until_the_client_gives_up(loop: str) -> None:
    async def story() -> None:
        async with between({"rules": ["hang"]}) as stage:
            began = monotonic()
            with pytest.raises(TimeoutError):
                async with stage.connect(open_timeout=0.3):
                    pass
            assert monotonic() - began >= 0.3
            assert stage.servers == []

    run(loop, story())


def test_latency_is_at_least_its_delay_each_way(loop: str) -> None:
    async def story() -> None:
        async with between({"rules": [{"latency": "80ms"}]}, handler=echo) as stage, stage.connect() as client:
            began = monotonic()
            for number in range(10):
                await client.send(str(number))
            assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]
            assert monotonic() - began >= 0.16

    run(loop, story())


def test_drop_loses_the_named_messages_whole(loop: str) -> None:
    async def story() -> None:
        rule = {"drop": {}, "when": {"from": "client", "nth": [2, 4]}}
        async with between({"rules": [rule]}, handler=echo) as stage, stage.connect() as client:
            for number in range(1, 6):
                await client.send(["never fragmented", "in ", "parts"] if number == 4 else str(number))
            assert [await client.recv() for _ in range(3)] == ["1", "3", "5"]

    run(loop, story())


@pytest.mark.parametrize("heal", ["flush", "discard", "reset"])
def test_half_open_is_silence_and_heals_as_it_says(loop: str, heal: str) -> None:
    async def story() -> None:
        async with between(phases({"half_open": {"heal": heal}}), handler=echo) as stage, stage.connect() as client:
            await client.send("before")
            assert await client.recv() == "before"
            stage.proxy.steer(lambda world, now: world.step(now))
            await client.send("meanwhile")
            pong = await client.ping()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.2)
            assert not pong.done()
            stage.proxy.steer(lambda world, now: world.step(now))
            if heal == "reset":
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert end.value.rcvd is None
                assert isinstance(end.value.__cause__, ConnectionResetError)
                return
            await client.send("after")
            wanted = ["meanwhile", "after"] if heal == "flush" else ["after"]
            assert [await client.recv() for _ in wanted] == wanted
            assert pong.done() == (heal == "flush")

    run(loop, story())


@pytest.mark.parametrize("code", [1001, 1012, 4001, 4200, 4999])
def test_close_reaches_the_client_with_its_code_and_the_server_with_1001(loop: str, code: int) -> None:
    async def story() -> None:
        async with between(phases({"close": {"code": code, "reason": "why"}})) as stage, stage.connect() as client:
            seen = Seen()
            watching = asyncio.ensure_future(seen.watch(client))
            stage.proxy.steer(lambda world, now: world.step(now))
            await watching
            assert seen.end is not None and seen.end.rcvd is not None
            assert (seen.end.rcvd.code, seen.end.rcvd.reason) == (code, "why")
            await stage.servers[0].wait_closed()
            assert stage.servers[0].close_code == 1001

    run(loop, story())


@pytest.mark.parametrize(("fault", "is_reset"), [("fin", False), ("reset", True)])
def test_fin_and_reset_are_abnormal_closures_that_differ_in_the_errno(loop: str, fault: str, is_reset: bool) -> None:
    async def story() -> None:
        async with between(phases(fault)) as stage, stage.connect() as client:
            stage.proxy.steer(lambda world, now: world.step(now))
            with pytest.raises(ConnectionClosed) as end:
                await client.recv()
            assert end.value.rcvd is None  # 1006 in a browser
            assert isinstance(end.value.__cause__, ConnectionResetError) == is_reset
            await stage.servers[0].wait_closed()

    run(loop, story())


def test_reset_at_accept_is_econnreset_for_new_connections_only(loop: str) -> None:
    async def story() -> None:
        profile = phases({"reset": {"at": "accept"}}, lasts="60s")
        async with between(profile, handler=echo) as stage, stage.connect() as live:
            stage.proxy.steer(lambda world, now: world.step(now))
            await stage.told_of(PhaseEntered, 2)
            assert await (await Peer.connect(stage.proxy.port)).is_reset()
            with pytest.raises((InvalidMessage, ConnectionResetError)):
                async with stage.connect():
                    pass
            await live.send("unharmed")
            assert await live.recv() == "unharmed"

    run(loop, story())
