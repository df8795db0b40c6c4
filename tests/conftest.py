"""What all tests share: how long an example takes says nothing on a busy machine, and garbage is what tests make."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywhere")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.workers import Sharing  # here, as pytest-xdist may be switched off

    return Sharing(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Show the collector nothing of what was there before the first test, or after one that unfroze it.

    Thousands of tests that wait for their turn are never garbage, and cost each `gc.collect()` a quarter of a second.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _last_look() -> Iterator[None]:
    """Find what was left open while there is still a test to fail: what a worker says when it ends is not heard."""
    yield
    gc.unfreeze()
    gc.collect()
