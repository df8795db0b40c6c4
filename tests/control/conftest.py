import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]
PATIENCE_S = 20  # for what should come at once; passing means a failure


@pytest.fixture
def run() -> Run:
    return lambda story: asyncio.run(_bounded(story))


@pytest.fixture
def run_on_uvloop() -> Run:
    def run_story(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_bounded(story))

    return run_story


async def _bounded(story: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await story
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert left == set()
