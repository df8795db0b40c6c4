"""The pytest plugin: a fixture `chaosproxy`, which puts a proxy between a test and its server, and a marker `chaos`.

Every pytest of an environment with chaosproxy imports this module, so it imports nothing but pytest: the rest comes
with the first test that takes the fixture.
"""

import os
import re
from collections.abc import Generator, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .fault import Fault
    from .handle import ChaosProxy
    from .thread import LoopThread
    from .waits import NotSeen

__all__ = ["ChaosProxy", "Fault", "NotSeen"]

VARIABLE = "CHAOSPROXY_UPSTREAM"
MARKER = (
    "chaos(profile, seed=, expect=[...], upstream=, judge=True, frames=False, owns_server=False): "
    "what chaosproxy does to this test's connections, and what it expects of them"
)
_NAME_CHARACTERS_MAX = 80


class _Kept:
    """What is kept of a run of a test until its last report is made."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.handle: ChaosProxy | None = None
        self.has_failed = False


_KEPT = pytest.StashKey[_Kept]()


def __getattr__(name: str) -> Any:
    """Find what tests import for their annotations."""
    if name in __all__:
        from . import fault, handle, waits

        return getattr({"ChaosProxy": handle, "Fault": fault, "NotSeen": waits}[name], name)
    raise AttributeError(name)


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "The server that chaosproxy stands before: ws://HOST:PORT, wss://HOST[:PORT] or tcp://HOST:PORT."
    parser.getgroup("chaosproxy").addoption("--chaosproxy-upstream", metavar="URL", help=help)
    parser.addini("chaosproxy_upstream", help, default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def chaosproxy_upstream(pytestconfig: pytest.Config) -> str | None:
    """The URL of the server that chaosproxy stands before. Override it where tests have a server of their own."""
    given = pytestconfig.getoption("--chaosproxy-upstream") or os.environ.get(VARIABLE)
    return given or pytestconfig.getini("chaosproxy_upstream") or None


@pytest.fixture(scope="session")
def _chaosproxy_thread() -> "Iterator[LoopThread]":
    from .thread import LoopThread

    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def chaosproxy(
    request: pytest.FixtureRequest,
    chaosproxy_upstream: str | None,
    _chaosproxy_thread: "LoopThread",
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[ChaosProxy]":
    """A proxy before this test's server: steer it, wait for what it sees, and have it judged at the end."""
    from .handle import ChaosProxy
    from .setting import marked, read_setting
    from .thread import Complaint

    item = request.node
    kept = item.stash[_KEPT] = _Kept(_folder(request.config, tmp_path_factory) / _file_name(item.nodeid))
    problem: Complaint | None = None
    try:
        given = marked(item)
        handle = ChaosProxy(_chaosproxy_thread, read_setting(given, item), kept.journal)
        upstream = given.get("upstream", chaosproxy_upstream)
        if upstream is not None:
            handle.begin(upstream)
    except Complaint as complaint:
        problem = complaint
    if problem is not None:  # here, so that nothing is said of the exception
        pytest.fail(str(problem), pytrace=False)
    kept.handle = handle
    yield handle
    handle.stop()


def _folder(config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where journals are kept of tests that failed."""
    if cache := getattr(config, "cache", None):
        folder: Path = cache.mkdir("chaosproxy")
        return folder
    return tmp_path_factory.mktemp("chaosproxy")


def _file_name(nodeid: str) -> str:
    words = re.sub(r"\W+", "-", nodeid.rpartition("/")[2], flags=re.ASCII).strip("-")
    return f"{words[:_NAME_CHARACTERS_MAX]}-{blake2b(nodeid.encode(), digest_size=4).hexdigest()}.jsonl"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test's own marker does nothing without the fixture, and that must not pass for a test under fire."""
    is_marked = any(marker.name == "chaos" for marker in item.own_markers)
    if is_marked and "chaosproxy" not in getattr(item, "fixturenames", ()):
        pytest.fail("@pytest.mark.chaos needs a test that takes the fixture chaosproxy", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Judge what the profile expects once the test has passed, so that it can fail by that as by an assertion."""
    result = yield
    kept = item.stash.get(_KEPT, None)
    if kept and kept.handle and (problem := kept.handle.conclude()):
        pytest.fail(problem, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell what the proxy saw of a test that failed, and throw the journals of all others away."""
    report = yield
    kept = item.stash.get(_KEPT, None)
    if kept is None:
        return report
    if report.failed:
        kept.has_failed = True
        if kept.handle and (story := kept.handle.story()):
            report.sections.append(("chaosproxy", "\n".join(story)))
    if report.when == "teardown" and not kept.has_failed:
        kept.journal.unlink(missing_ok=True)
    return report
