"""A baseline: the relay one writes first, on asyncio streams, which knows nothing of frames.

`python -m bench.naive LOOP LISTEN_PORT UPSTREAM_PORT`, where LOOP is asyncio or uvloop.
"""

import asyncio
import contextlib
import sys

from bench.loops import loop_factory

CHUNK_BYTES = 65_536


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction to its end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def serve(listen_port: int, upstream_port: int) -> None:
    """Relay until cancelled."""
    # Streams hold their handler only weakly once the client is gone (CPython 3.11 streams.py, connection_lost).
    alive: set[asyncio.Task[None] | None] = set()

    async def relay(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        alive.add(task)
        try:
            with contextlib.closing(to_client):
                server, to_server = await asyncio.open_connection("127.0.0.1", upstream_port)
                with contextlib.closing(to_server):
                    await asyncio.gather(pump(client, to_server), pump(server, to_client))
        finally:
            alive.discard(task)

    server = await asyncio.start_server(relay, "127.0.0.1", listen_port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory(sys.argv[1])) as runner:
        runner.run(serve(int(sys.argv[2]), int(sys.argv[3])))
