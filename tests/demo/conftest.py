import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]
PATIENCE_S = 20  # for what should come at once; passing means a failure


@pytest.fixture(params=["asyncio", "uvloop"])
def run_on(request: pytest.FixtureRequest) -> Run:
    """Run a test's story on each of the two loops; fail if it leaves a task behind."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_story(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_bounded(story))

    return run_story


@pytest.fixture
def run() -> Run:
    return lambda story: asyncio.run(_bounded(story))


async def _bounded(story: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await story
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert left == set()
