"""The example in examples/playwright, run by Playwright itself: two tests in two workers, by sessions of one proxy."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.interop.browser import find_chromium
from tests.interop.demo_server import Demo
from tests.interop.processes import PLAYWRIGHT_FOLDER, free_ports
from tests.interop.proxy import Proxy

TIMEOUT_S = 90


def played(proxy: Proxy, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the example's tests: Playwright's exit code, and a result for each test."""
    (port,) = free_ports(1)
    settings = {
        "CHAOSPROXY_CONTROL": f"http://127.0.0.1:{proxy.control_port}",
        "CHROMIUM": find_chromium(),
        "PORT": str(port),
    }
    ran = subprocess.run(
        ["node_modules/.bin/playwright", "test", "--reporter=json", "--output", proxy.directory / "results", *options],
        cwd=PLAYWRIGHT_FOLDER,
        env=os.environ | settings,
        timeout=TIMEOUT_S,
        capture_output=True,
        text=True,
    )
    assert ran.stdout, ran.stderr
    suites = json.loads(ran.stdout)["suites"]
    found: list[dict[str, Any]] = []
    while suites:
        suite = suites.pop()
        suites += suite.get("suites", [])
        found += [result for spec in suite["specs"] for test in spec["tests"] for result in test["results"]]
    return ran.returncode, found


def test_two_workers_hurt_two_pages_by_sessions_of_one_proxy(tmp_path: Path) -> None:
    with Demo() as demo, Proxy(tmp_path, f"ws://127.0.0.1:{demo.port}") as proxy:
        code, results = played(proxy)
        told = [(result["status"], result["parallelIndex"], result["errors"]) for result in results]
        assert (code, sorted(told, key=str)) == (0, [("passed", 0, []), ("passed", 1, [])])
        assert proxy.control("GET", "/api/sessions")["sessions"] == []
        assert proxy.control("GET", "/api/state")["counters"]["attempts"] == 0
