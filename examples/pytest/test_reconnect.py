"""How a client of yours is put under fire: here a small one that subscribes again whenever it has lost its connection.

pip install chaosproxy pytest
pytest examples/pytest
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from chaosproxy.demo.server import DemoServer
from chaosproxy.pytest_plugin import ChaosProxy

CHANNEL = "orders"
PAUSE_S = 0.05


async def follow(url: str, on_state: Callable[[str], None] = lambda state: None) -> None:
    """The client under test. It says what it is doing, as yours may say it to its users."""
    while True:
        on_state("connecting")
        with contextlib.suppress(OSError, WebSocketException):
            async with connect(f"{url}/app/app-key", proxy=None) as connection:
                async for message in connection:
                    event = json.loads(message)["event"]
                    if event == "pusher:connection_established":
                        subscription = {"event": "pusher:subscribe", "data": {"channel": CHANNEL}}
                        await connection.send(json.dumps(subscription))
                    if event == "pusher_internal:subscription_succeeded":
                        on_state("connected")
        on_state("unavailable")
        await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def following(chaosproxy: ChaosProxy) -> AsyncIterator[None]:
    """The client before the proxy, and the proxy before a server: a Pusher server of the demo. Put yours here."""
    server = DemoServer()
    await server.start()
    await chaosproxy.aio.start(f"ws://127.0.0.1:{server.port}")
    client = asyncio.create_task(follow(chaosproxy.url, chaosproxy.report))
    try:
        yield
    finally:
        client.cancel()
        await asyncio.wait([client])
        await server.stop()


# A profile that comes with chaosproxy: the connection is reset once. What it expects is judged when the test is over.
@pytest.mark.chaos("brief-interruption", seed=7)
def test_the_client_is_back_after_a_reset(chaosproxy: ChaosProxy) -> None:
    async def story() -> None:
        async with following(chaosproxy):
            cut = await chaosproxy.aio.wait_for_phase("cut")
            await chaosproxy.aio.wait_for("subscribed", channel=CHANNEL, after=cut)

    asyncio.run(story())


# Faults by hand: nobody sleeps, each step waits for what it is about.
@pytest.mark.chaos({"protocol": "pusher"}, expect=["one_connection", "subscribes_once"])
def test_the_client_tells_its_user_while_it_is_cut_off(chaosproxy: ChaosProxy) -> None:
    async def story() -> None:
        async with following(chaosproxy):
            up = await chaosproxy.aio.wait_for_state("connected")
            with chaosproxy.fault("reject", status=503), chaosproxy.fault("close", code=4200):
                down = await chaosproxy.aio.wait_for_state("unavailable", after=up)
                await chaosproxy.aio.wait_for("answered", status=503, count=2)
            await chaosproxy.aio.wait_for_state("connected", after=down)

    asyncio.run(story())
