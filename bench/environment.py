"""What the figures were measured on."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+[\w.]*")


def describe(programs: Iterable[str]) -> str:
    """Name the CPU, kernel, Python, uvloop and these programs (paths or names that can be run)."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    parts = [
        f"{found[1] if found else platform.machine()} x{os.cpu_count()}",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
    ]
    try:
        parts.append(f"uvloop {version('uvloop')}")
    except PackageNotFoundError:
        parts.append("no uvloop")
    parts += [f"{Path(program).name} {_version(program)}" for program in programs]
    return ", ".join(parts)


def _version(program: str) -> str:
    answer = subprocess.run([program, "-v"], capture_output=True, text=True, check=False, timeout=10)
    found = VERSION.search(answer.stdout + answer.stderr)
    return found[0] if found else "of unknown version"
