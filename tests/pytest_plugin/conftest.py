"""The plugin is tested by itself: these tests take its fixture, before a server that runs in another thread."""

from collections.abc import Iterator

import pytest

from chaosproxy.demo.server import DemoServer
from chaosproxy.pytest_plugin.thread import LoopThread


@pytest.fixture(scope="session")
def demo_url() -> Iterator[str]:
    """A server of the Pusher protocol."""
    thread = LoopThread()
    server = DemoServer()
    thread.run(server.start())
    yield f"ws://127.0.0.1:{server.port}"
    thread.run(server.stop())
    thread.close()


@pytest.fixture(scope="session")
def chaosproxy_upstream(demo_url: str) -> str:
    return demo_url
