"""A client of Python's websockets as its documentation has it: `connect` as an iterator, which reconnects for ever."""

import asyncio
import os
import random

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main() -> None:
    async for link in connect(os.environ["CHAOSPROXY_URL"], proxy=None):
        try:
            async for _ in link:
                pass
        except ConnectionClosed as closed:
            print(closed, flush=True)


random.seed(1)  # its delays are drawn by chance
asyncio.run(main())
