"""The example in examples/react, built, and opened in a real Chromium through the proxy before the demo server.

Colours and texts are read from the page; who connected and subscribed how often, from the proxy's journal.
"""

import contextlib
import functools
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.interop.browser import BrowserPage
from tests.interop.demo_server import Demo
from tests.interop.processes import REACT_FOLDER
from tests.interop.proxy import Proxy
from tests.interop.test_outages import EXTENDED

CHANNEL = "private-order-1001"
GREEN, ORANGE, RED = ([f"rgb({rgb})"] for rgb in ("0, 128, 0", "255, 165, 0", "255, 0, 0"))
BUILDS = ("production", "development")  # in development, StrictMode mounts everything twice
BUILD_TIMEOUT_S = 60
SHORT_TIMERS = {"ACTIVITY_TIMEOUT": "3000", "PONG_TIMEOUT": "2000", "UNAVAILABLE_TIMEOUT": "4000"}
HEALTHY = "version: 1\nprotocol: pusher\njournal: {frames: true}\n"


def build(directory: Path, mode: str, proxy: Proxy) -> None:
    """Build the example as a page that connects through the proxy."""
    settings = {"HOST": "127.0.0.1", "PORT": str(proxy.port), "AUTH": f"http://127.0.0.1:{proxy.port}/pusher/auth"}
    subprocess.run(
        ["node_modules/.bin/vite", "build", "--mode", mode, "--outDir", directory, "--logLevel", "warn"],
        cwd=REACT_FOLDER,
        env=os.environ | _variables(settings | SHORT_TIMERS) | {"NODE_ENV": mode},
        timeout=BUILD_TIMEOUT_S,
        check=True,
    )


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"VITE_PUSHER_{name}": value for name, value in settings.items()}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve the files of a directory; give their address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=directory)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def opened(directory: Path, profile: str, mode: str) -> Iterator[tuple[BrowserPage, Proxy, Demo]]:
    """Open the page, with this profile between it and the demo server."""
    file = directory / "profile.yaml"
    file.write_text(profile)
    with Demo() as demo, Proxy(directory, f"ws://127.0.0.1:{demo.port}", profile=file) as proxy:
        build(directory / "page", mode, proxy)
        watched = {"dot": ".dot", "orders": ".order"}
        with served(directory / "page") as url, BrowserPage(url, watched) as page:
            yield page, proxy, demo


def told(proxy: Proxy, event: str, **fields: object) -> list[dict[str, Any]]:
    """Return the journal's records of this kind with exactly these fields."""
    return [each for each in proxy.journal() if each.get("event") == event and each.items() >= fields.items()]
