"""The server behind every contender: `python -m bench.echo PORT`. It parses, unmasks and echoes, and nothing else.

What it holds is bounded by what the load keeps in flight, so it needs no backpressure of its own.
"""

import asyncio
import sys
from typing import cast

from bench import frames
from bench.loops import fastest


class Echo(asyncio.Protocol):
    """One connection: a handshake, then every message back as a message of its own."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.is_open = False
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        if not self.is_open:
            head, end, data = data.partition(frames.HEAD_END)
            if not end:
                self.rest = head
                if len(head) > frames.HEAD_BYTES_MAX:
                    self.transport.abort()
                return
            self.is_open = True
            self.transport.write(frames.response(head))
        answers, self.rest = frames.echo(data)
        if answers:
            self.transport.write(answers)


async def serve(port: int) -> None:
    """Echo until cancelled."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=fastest()) as runner:
        runner.run(serve(int(sys.argv[1])))
