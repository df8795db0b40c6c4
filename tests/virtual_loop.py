"""An event loop in virtual time, with real sockets: where nothing is ready, time jumps to the next timer.

All peers of a story run in the one loop, so what it takes to run them is no time at all, however busy the machine is.
"""

import asyncio
import selectors
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from chaosproxy.alarms import LoopTimer

_SETTLING_S = 0.002  # of real time: the kernel may still be carrying what was sent over loopback


class Clock:
    """Virtual time, in nanoseconds."""

    def __init__(self) -> None:
        self.now = time.monotonic_ns()

    def __call__(self) -> int:
        return self.now


class _Selector(selectors.BaseSelector):
    """Waits for no time to pass."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return self._selector.select()
        ready = self._selector.select(_SETTLING_S)
        if not ready:
            self._clock.now += max(1, int(timeout * 1e9))
        return ready

    def close(self) -> None:
        self._selector.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now / 1e9


@contextmanager
def _told_to_all(clock: Clock) -> Iterator[None]:
    """Let every module of ours that looks at the clock look at this one."""
    names = [name for name, module in sys.modules.items() if name.startswith(("chaosproxy.", "tests."))]
    lookers = [name for name in names if getattr(sys.modules[name], "monotonic_ns", None) is time.monotonic_ns]
    patches = [patch(f"{name}.monotonic_ns", clock) for name in lookers]
    patches.append(patch("chaosproxy.alarms.open_timer", LoopTimer))  # the kernel's knows real time only
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def run_in_no_time(story: Coroutine[Any, Any, None]) -> None:
    """Run a story to its end."""
    clock = Clock()
    with _told_to_all(clock), asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        runner.run(story)
