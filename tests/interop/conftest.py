"""What the tests with real clients share; they fail, and say what to do, where Node's packages are not installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.processes import NODE_FOLDER, PLAYWRIGHT_FOLDER, REACT_FOLDER
from tests.interop.soketi import Soketi


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Fail the collection of this folder's modules; a skip would let the real clients go missing unnoticed."""
    folders = (NODE_FOLDER, REACT_FOLDER, PLAYWRIGHT_FOLDER)
    if not all((folder / "node_modules" / "ready").exists() for folder in folders):
        raise pytest.Collector.CollectError(
            f"{module_path.name} needs Node's packages (pusher-js, soketi, React, Playwright): run `make interop`"
        )


@pytest.fixture(scope="session")
def soketi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soketi]:
    """Give one soketi to all tests, which therefore must neither stop it nor rely on a channel name others use."""
    with Soketi(tmp_path_factory.mktemp("soketi")) as server:
        yield server
