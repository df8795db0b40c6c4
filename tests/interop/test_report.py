"""Reports of finished runs, as the commands write them, opened from disk in a real Chromium that has no network."""

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from websockets.sync.server import ServerConnection, serve

from chaosproxy.page import report_html
from tests.cli.test_commands import chaosproxy
from tests.interop.live_page import LivePage
from tests.test_picture import Run

# It comes twice under a name that is markup; the first connection is reset.
CLIENT = """\
import os
from urllib.parse import quote
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed

name = quote("</script><script>window.hacked=1</script>")
for patience_s in (30, 0.5):
    with connect(f"{os.environ['CHAOSPROXY_URL']}/{name}?user={name}", proxy=None) as link:
        try:
            while True:
                link.recv(timeout=patience_s)
        except (ConnectionClosed, TimeoutError):
            pass
"""
PROFILE = """\
version: 1
name: cut
identify: {query: user}
phases:
  - {name: healthy, until: {opened: 1, within: 10s}}
  - {name: cut, lasts: 100ms, rules: [reset]}
expect:
  - {reconnected_within: 5s, after: fault}
"""
NAME = "</script><script>window.hacked=1</script>"


def _listen(link: ServerConnection) -> None:
    for _ in link:
        pass


@pytest.fixture(scope="module")
def browser() -> Iterator[LivePage]:
    with LivePage() as page:
        yield page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run has been judged, with its journal and a report of it."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "client.py").write_text(CLIENT)
    (folder / "cut.yaml").write_text(PROFILE)
    with serve(_listen, "127.0.0.1", 0) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        reports = ["--html", "verify.html", "--journal", "run.jsonl"]
        upstream = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        command = ["--", sys.executable, "client.py"]
        ran = chaosproxy("verify", "cut.yaml", "--upstream", upstream, *reports, *command, cwd=folder)
        server.shutdown()
        serving.join()
    assert ran.code == 0, ran.out + ran.err
    ran = chaosproxy("report", "run.jsonl", "-o", "report.html", cwd=folder)
    assert ran.code == 0, ran.err
    return folder


@pytest.mark.parametrize("name", ["verify.html", "report.html"])
def test_a_run_is_seen_with_its_verdict_and_asks_nobody(name: str, place: Path, browser: LivePage) -> None:
    path = place / name
    browser.open(path.as_uri(), offline=True)
    browser.see_text("h1", "cut")
    browser.see("document.querySelector('.row.lane .sign')")

    page = browser.evaluate("document.body.innerText")
    assert NAME in page
    assert "reconnected_within: 5s" in page
    assert ("the command exits with 0" in page) is (name == "verify.html"), "it is no event of the proxy"
    assert browser.evaluate("window.hacked === undefined")
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]


def test_a_picture_of_two_thousand_lanes_opens(tmp_path: Path, browser: LivePage) -> None:
    run = Run()
    for attempt in range(1, 2001):
        run.open(attempt, f"client {attempt}")
        run.at = attempt / 1000
        run.strike(attempt, "latency", "slow", "server", 1)
    path = tmp_path / "many.html"
    path.write_text(report_html([{"picture": run.told, "verdict": None, "records": {}}]), encoding="utf-8")
    browser.open(path.as_uri(), offline=True)
    browser.see_text("h1", "outage")
    browser.see("document.querySelector('#lanes').textContent.includes('2000')")
    assert browser.complaints() == []
