"""The whole way of somebody who is new to it: start `run`, open the page that it names, connect pusher-js from another
tab, take its network away, watch, give it back, take a report home, and open that where there is no network.
"""

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaosproxy.demo.auth import DEFAULT_APP
from tests.interop.demo_server import Demo
from tests.interop.live_page import LivePage
from tests.interop.processes import POLL_S, ServerProcess, free_ports
from tests.interop.pusher_client import CHROMIUM, PusherClient

TIMERS = {"activityTimeout": 2000, "pongTimeout": 2000, "unavailableTimeout": 3000}
LANE = "[data-lane='1']"
SAID_WITHIN_S = 10
GREEN, ORANGE, RED = "good", "wait", "down"


class Run(ServerProcess):
    """`chaosproxy run ws://…`, with nothing said but the ports, since others may have the usual ones."""

    name = "run"

    def __init__(self, directory: Path, upstream: str) -> None:
        super().__init__(directory)
        self.port, self._control_port = free_ports(2)
        self.ready_url = f"http://127.0.0.1:{self._control_port}/readyz"
        self._upstream = upstream

    def command(self) -> Sequence[str | Path]:
        ports = ["--listen", f"127.0.0.1:{self.port}", "--control", f"127.0.0.1:{self._control_port}"]
        return [Path(sys.executable).with_name("chaosproxy"), "run", self._upstream, *ports]

    def says(self, what: str) -> str:
        """What it has said behind this word when it started."""
        deadline = time.monotonic() + SAID_WITHIN_S  # it listens before it says so
        while not (found := re.search(rf"^{what} +(\S+)$", self.log_path.read_text(), re.MULTILINE)):
            assert time.monotonic() < deadline, self.log_tail()
            time.sleep(POLL_S)
        return found[1]


def dot(colour: str) -> str:
    """The dot beside the client's name, and its shape, have the class of this colour."""
    return f'document.querySelector("{LANE} .dot.{colour}.reported")'


def test_a_silence_is_seen_as_it_comes_and_goes_and_taken_home_as_a_report(tmp_path: Path) -> None:
    with Demo() as demo, Run(tmp_path / "run", f"ws://127.0.0.1:{demo.port}") as run, LivePage() as page:
        page.open(run.says("page"))
        page.see("document.querySelector('#link').textContent === 'live'")
        script = run.says("script")
        report = {"url": script.removesuffix("/chaosproxy.js"), "client": "anna"}
        with PusherClient(
            run.port, app=DEFAULT_APP, channels=["news"], options=TIMERS, runtime=CHROMIUM, report=report
        ) as client:
            client.wait_for("subscribed", channel="news")
            page.see(dot(GREEN))
            page.see(f'document.querySelector("{LANE} .wire.open")')
            page.see_text(f"{LANE} .names strong", "anna")

            page.click("#all-freeze")
            page.see(f'document.querySelector("{LANE} .wire.silent")')
            page.see(dot(ORANGE), timeout_s=20)
            page.see(dot(RED), timeout_s=20)
            assert client.wait_for("state", current="unavailable")

            page.click("#all-heal")
            page.see(dot(GREEN), timeout_s=20)
            page.see(f'document.querySelector("{LANE} .sign.healed")')
            client.wait_for("subscribed", channel="news", after=client.wait_for("state", current="unavailable"))

            taken = tmp_path / "report.html"
            assert page.download("#report", taken) == "chaosproxy-none.html"
            assert page.complaints() == []

    page_text = taken.read_text()
    assert "anna" in page_text
    with LivePage() as page:
        page.open(taken.as_uri(), offline=True)
        for kind in ("open", "silent"):
            page.see(f'document.querySelector("{LANE} .wire.{kind}")')
        page.see_text(f"{LANE} .names strong", "anna")
        page.see(f'document.querySelector("{LANE} .state.down")')
        assert page.requests() == [taken.as_uri()]
        assert page.complaints() == []
