"""The event loops a Python contender can run on, and the one both ends use."""

import asyncio
from collections.abc import Callable
from importlib.util import find_spec

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """Return what makes a loop of this name: `asyncio` or `uvloop`."""
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    factory: LoopFactory = uvloop.new_event_loop
    return factory


def fastest() -> LoopFactory:
    """Return uvloop's factory where it is installed: the ends should hide as little of a proxy as they can."""
    return loop_factory("uvloop" if find_spec("uvloop") else "asyncio")
