"""A thread with an event loop of its own, in which proxies run, and calls into it from tests of any kind.

Nothing in it ever waits for a test: so a test that is a coroutine may steer from its own loop, and only what waits has
to be awaited there.
"""

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Complaint(Exception):
    """A test asked for what can't be. The message is all there is to know, so it comes without our own frames."""


class LoopThread:
    """One for all tests of a process."""

    def __init__(self) -> None:
        self.name = f"chaosproxy-{id(self):x}"
        self.troubles: list[str] = []  # what has failed with nobody to hear it
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._hear_of_trouble)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(_end_all())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _hear_of_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.troubles.append("".join([context["message"], "\n", *traceback.format_exception(error)]).rstrip())

    def close(self) -> None:
        """End it. What ran in it has been stopped before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def call(self, function: Callable[[], Result]) -> Result:
        """Do something in the thread that does not wait, and return once it is done."""
        __tracebackhide__ = True

        async def do() -> Result:
            return function()

        return self.run(do())

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the thread to its end, and block meanwhile."""
        __tracebackhide__ = True
        future = self._submit(coroutine)
        try:
            return future.result()
        except (Complaint, AssertionError) as error:
            raise error.with_traceback(None) from None
        finally:
            future.cancel()  # where pytest was interrupted meanwhile

    def blocking(self, method: Callable[Parameters, Coroutine[Any, Any, Result]]) -> Callable[Parameters, Result]:
        """Make a method that blocks until the coroutine is at its end."""

        @wraps(method)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            __tracebackhide__ = True
            if _is_in_task():
                name = method.__name__.lstrip("_")
                raise Complaint(f"{name} would keep this event loop from running: await chaosproxy.aio.{name}(…)")
            return self.run(method(*args, **kwargs))

        return call

    def awaited(
        self, method: Callable[Parameters, Coroutine[Any, Any, Result]]
    ) -> Callable[Parameters, Coroutine[Any, Any, Result]]:
        """Make a method to be awaited in another loop, which goes on meanwhile."""

        @wraps(method)
        async def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            __tracebackhide__ = True
            try:
                return await asyncio.wrap_future(self._submit(method(*args, **kwargs)))
            except (Complaint, AssertionError) as error:
                raise error.with_traceback(None) from None

        return call

    def _submit(self, coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


async def _end_all() -> None:
    """End what still waits, for a test that does not."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_in_task() -> bool:
    """Whether a coroutine runs here. A loop alone is no obstacle: Playwright's sync API keeps one around tests."""
    with contextlib.suppress(RuntimeError):
        return asyncio.current_task() is not None
    return False
