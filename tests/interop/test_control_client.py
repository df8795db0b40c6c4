"""The control API's client in JavaScript: its two forms, its types, and what it does to a running proxy."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from chaosproxy.control.process import CLIENTS, client_text
from tests.interop.processes import NODE_FOLDER, REACT_FOLDER
from tests.interop.proxy import Proxy

NOBODY = "ws://127.0.0.1:1"  # sessions name servers of their own
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a project has copies of the files that the proxy serves."""
    folder = tmp_path_factory.mktemp("copies")
    for name in CLIENTS:
        (folder / name).write_text(client_text(name))
    return folder


def test_its_types_are_right(copies: Path) -> None:
    for source in (NODE_FOLDER / "types").iterdir():
        shutil.copy(source, copies)
    ran = subprocess.run(
        [REACT_FOLDER / "node_modules/.bin/tsc", "--project", copies], timeout=TIMEOUT_S, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "")


def test_it_steers_a_running_proxy(tmp_path: Path, copies: Path) -> None:
    with Proxy(tmp_path, NOBODY) as proxy:
        control = f"http://127.0.0.1:{proxy.control_port}"
        ran = subprocess.run(
            ["node", "--test", "--test-reporter=tap", NODE_FOLDER / "control_client.test.mjs"],
            env=os.environ | {"CHAOSPROXY_CONTROL": control, "COPIES": str(copies)},
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert re.search(r"^# fail 0$", ran.stdout, re.MULTILINE)
        assert re.search(r"^# pass 11$", ran.stdout, re.MULTILINE), ran.stdout
        assert proxy.control("GET", "/api/sessions")["sessions"] == []
