"""The example in examples/react, built, and opened in a real Chromium through the proxy before the demo server.

Colours and texts are read from the page; who connected and subscribed how often, from the proxy's journal.
"""

import contextlib
import functools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.interop.browser import BrowserPage
from tests.interop.demo_server import Demo
from tests.interop.processes import REACT_FOLDER
from tests.interop.proxy import Proxy

CHANNEL = "private-order-1001"
GREEN, ORANGE, RED = ([f"rgb({rgb})"] for rgb in ("0, 128, 0", "255, 165, 0", "255, 0, 0"))
BUILD_TIMEOUT_S = 60
SHORT_TIMERS = {"ACTIVITY_TIMEOUT": "1000", "PONG_TIMEOUT": "1000", "UNAVAILABLE_TIMEOUT": "3000"}
HEALTHY = "version: 1\nprotocol: pusher\n"
OUTAGE = """\
version: 1
protocol: pusher
phases:
  - name: healthy
    until: step
  - name: silence
    lasts: 1s
    rules:
      - half_open: {leg: both, mode: blackhole, heal: reset, hits: live}
        id: the-dead-link
  - name: refused
    lasts: 9s
    rules:
      - half_open: {leg: both, mode: blackhole, heal: reset, hits: live}
        id: the-dead-link
      - refuse
"""
PATIENCE_S = 20
POLL_S = 0.05


def build(directory: Path, mode: str, proxy: Proxy) -> None:
    """Build the page, to connect through the proxy; in development, StrictMode mounts every component twice."""
    settings = {"HOST": "127.0.0.1", "PORT": str(proxy.port), "AUTH": f"http://127.0.0.1:{proxy.port}/pusher/auth"}
    variables = {f"VITE_PUSHER_{name}": value for name, value in (settings | SHORT_TIMERS).items()}
    subprocess.run(
        [
            "node_modules/.bin/vite",
            "build",
            "--mode",
            mode,
            "--outDir",
            directory,
            "--emptyOutDir",
            "--logLevel",
            "warn",
        ],
        cwd=REACT_FOLDER,
        env=dict(os.environ) | variables | {"NODE_ENV": mode},
        timeout=BUILD_TIMEOUT_S,
        check=True,
    )


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
    with Demo() as demo, Proxy(directory, f"ws://127.0.0.1:{demo.port}", profile=file, journal_frames=True) as proxy:
        build(directory / "page", mode, proxy)
        watched = {"dot": ".dot", "orders": ".order"}
        with served(directory / "page") as url, BrowserPage(url, watched) as page:
            yield page, proxy, demo


def told(proxy: Proxy, event: str, **fields: object) -> list[dict[str, Any]]:
    """Return the journal's records of this kind with exactly these fields."""
    return [each for each in proxy.journal() if each.get("event") == event and each.items() >= fields.items()]


def wait_told(proxy: Proxy, event: str, count: int = 1, **fields: object) -> list[dict[str, Any]]:
    """Return the journal's records of this kind with exactly these fields, when there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while len(records := told(proxy, event, **fields)) < count:
        assert time.monotonic() < deadline, (event, fields, proxy.journal())
        time.sleep(POLL_S)
    return records


def frames(proxy: Proxy, event: str) -> int:
    """Return how many messages of this Pusher event the page has sent."""
    return len(told(proxy, "framed", side="client", protocol_event=event))


def assert_news_arrives(demo: Demo, page: BrowserPage, status: str, trackers: int) -> None:
    demo.publish(CHANNEL, "status-update", {"status": status})
    page.wait_seen("orders", texts=[status] * trackers)


def test_its_types_are_right() -> None:
    subprocess.run(["node_modules/.bin/tsc", "--noEmit"], cwd=REACT_FOLDER, timeout=BUILD_TIMEOUT_S, check=True)


def test_the_dot_turns_orange_and_red_in_an_outage_and_green_after_it(tmp_path: Path) -> None:
    with opened(tmp_path, OUTAGE, "production") as (page, proxy, demo):
        green = page.wait_seen("dot", colours=GREEN)
        wait_told(proxy, "subscribed", channel=CHANNEL)
        assert_news_arrives(demo, page, "packed", trackers=2)
        page.screenshot(tmp_path / "green.png")
        proxy.control("POST", "/api/phase/next", {})
        orange = page.wait_seen("dot", colours=ORANGE, after=green, timeout_s=20)
        page.screenshot(tmp_path / "orange.png")
        red = page.wait_seen("dot", colours=RED, after=orange, timeout_s=20)
        page.screenshot(tmp_path / "red.png")
        page.wait_seen("dot", colours=GREEN, after=red, timeout_s=40)
        wait_told(proxy, "subscribed", 2, channel=CHANNEL)
        assert_news_arrives(demo, page, "sent", trackers=2)
        page.screenshot(tmp_path / "green-again.png")

        seen = [event["colours"] for event in page.events if event.get("name") == "dot"]
        assert seen == [ORANGE, GREEN, ORANGE, RED, GREEN]
        before, after = told(proxy, "established")
        assert before["socket_id"] != after["socket_id"]
        assert frames(proxy, "pusher:subscribe") == 2  # one in each life of the connection, for both components
        assert not [event for event in page.events if event["kind"] == "uncaught"]


@pytest.mark.parametrize(("mode", "departure"), [("production", BrowserPage.leave), ("development", BrowserPage.close)])
def test_components_share_one_connection_and_one_subscription_until_the_page_is_left(
    mode: str, departure: Callable[[BrowserPage], None], tmp_path: Path
) -> None:
    with opened(tmp_path, HEALTHY, mode) as (page, proxy, demo):
        wait_told(proxy, "subscribed", channel=CHANNEL)
        assert_news_arrives(demo, page, "packed", trackers=2)
        page.click("text=One less")
        page.wait_seen("orders", texts=["packed"])
        assert_news_arrives(demo, page, "sent", trackers=1)
        assert frames(proxy, "pusher:unsubscribe") == 0
        page.click("text=One less")
        wait_told(proxy, "framed", side="client", protocol_event="pusher:unsubscribe")
        page.click("text=One more")
        page.wait_seen("orders", texts=["no news yet"])
        wait_told(proxy, "subscribed", 2, channel=CHANNEL)
        assert_news_arrives(demo, page, "delivered", trackers=1)
        assert frames(proxy, "pusher:subscribe") == 2

        departure(page)
        assert [(end["by"], end["code"]) for end in wait_told(proxy, "closed")] == [("client", 1001)]
        assert len(told(proxy, "opened")) == 1
        assert not [event for event in page.events if event["kind"] == "uncaught"]
