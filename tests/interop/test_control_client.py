"""The control API's client in JavaScript: its two forms, its types, and what it does to a running proxy."""

import os
import re
import subprocess
from pathlib import Path

from tests.interop.processes import NODE_FOLDER, REACT_FOLDER
from tests.interop.proxy import Proxy

CONTROL = Path(__file__).parents[2] / "chaosproxy/control"
NOBODY = "ws://127.0.0.1:1"  # sessions name servers of their own
TIMEOUT_S = 60


def test_its_forms_are_one_source() -> None:
    module = (CONTROL / "chaosproxy-control.mjs").read_text()
    *body, last = module.splitlines()
    assert last == "export { ChaosError, connect };"
    commonjs = "\n".join([*body, "module.exports = { ChaosError, connect };", ""])
    assert (CONTROL / "chaosproxy-control.cjs").read_text() == commonjs
    types = [(CONTROL / f"chaosproxy-control.d.{form}").read_text() for form in ("mts", "cts")]
    assert types[0] == types[1]


def test_its_types_are_right() -> None:
    command = [REACT_FOLDER / "node_modules/.bin/tsc", "--project", NODE_FOLDER / "types"]
    ran = subprocess.run(command, timeout=TIMEOUT_S, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_it_steers_a_running_proxy(tmp_path: Path) -> None:
    with Proxy(tmp_path, NOBODY) as proxy:
        control = f"http://127.0.0.1:{proxy.control_port}"
        ran = subprocess.run(
            ["node", "--test", "--test-reporter=tap", NODE_FOLDER / "control_client.test.mjs"],
            env=os.environ | {"CHAOSPROXY_CONTROL": control},
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert re.search(r"^# fail 0$", ran.stdout, re.MULTILINE)
        assert re.search(r"^# pass 9$", ran.stdout, re.MULTILINE), ran.stdout
        assert proxy.control("GET", "/api/sessions")["sessions"] == []
