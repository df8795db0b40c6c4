"""A proxy in a process with few descriptors: SIGUSR1 uses up the rest of them, SIGUSR2 gives them back."""

import asyncio
import resource
import signal
import sys
from typing import IO

from chaosproxy.proxy import Address, Proxy

from .live import LOOPS


async def serve(upstream_port: int) -> None:
    proxy = Proxy(Address("127.0.0.1", upstream_port), on_told=lambda told: print(told.event, file=sys.stderr))
    await proxy.start()
    hoard: list[IO[bytes]] = []
    loop = asyncio.get_running_loop()

    def starve() -> None:
        try:
            while True:
                hoard.append(open("/dev/null", "rb"))  # noqa: SIM115
        except OSError:
            print("starved", flush=True)

    def feed() -> None:
        while hoard:
            hoard.pop().close()
        print("fed", flush=True)

    loop.add_signal_handler(signal.SIGUSR1, starve)
    loop.add_signal_handler(signal.SIGUSR2, feed)
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    print(proxy.port, flush=True)
    await over.wait()
    await proxy.abort()


if __name__ == "__main__":
    kind, limit, upstream = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(serve(int(upstream)))
