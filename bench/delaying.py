"""The proxy whose delays are measured: `python -m bench.delaying LOOP UPSTREAM_PORT`.

It says its port, runs until its input ends, and then says the error of each delay as JSON: in nanoseconds, in order.
A connection is delayed by as many milliseconds as its path says.
"""

import asyncio
import json
import sys

from bench.delays import DELAYS_MS
from bench.loops import loop_factory
from chaosproxy.profile import Profile
from chaosproxy.proxy import Address, Proxy
from chaosproxy.tally import ERROR_BOUNDS, Buckets
from chaosproxy.world import Options

RULES = [
    {"latency": f"{delay}ms", "id": f"by-{delay}", "when": {"from": "server", "path": f"/{delay}"}}
    for delay in DELAYS_MS
]


class Values(Buckets):
    """The histogram, and each value in it."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        super().__init__(ERROR_BOUNDS)
        self.values: list[int] = []

    def add(self, time: int) -> None:
        super().add(time)
        self.values.append(time)


async def serve(upstream_port: int) -> list[int]:
    """Run until the input ends."""
    profile = Profile.model_validate({"version": 1, "rules": RULES})
    proxy = Proxy(Address("127.0.0.1", upstream_port), profile=profile, options=Options(dials_per_second_max=0))
    errors = proxy.world.tally.delay_errors = Values()
    await proxy.start()
    print(proxy.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await proxy.abort()
    return errors.values


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory(sys.argv[1])) as runner:
        print(json.dumps(runner.run(serve(int(sys.argv[2])))))
