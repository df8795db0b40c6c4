"""With no rule, a real client and a real server notice nothing of the proxy."""

import pytest

from tests.live import LOOPS, run
from tests.sockets.between import between, echo


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_and_the_close_pass_as_they_are(loop: str, compression: str | None) -> None:
    async def story() -> None:
        async with between(handler=echo, compression=compression) as stage:
            async with stage.connect(compression=compression) as client:
                for message in ("text", b"binary", "ä" * 70_000):
                    await client.send(message)
                    assert await client.recv() == message
                await client.close(4321, "enough")
            await stage.servers[0].wait_closed()
            assert (stage.servers[0].close_code, stage.servers[0].close_reason) == (4321, "enough")

    run(loop, story())
