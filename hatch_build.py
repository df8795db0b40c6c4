"""Build chaosproxy/wire/speedups.c into the wheel where there is a compiler; elsewhere leave it out, without a word.

chaosproxy does the same without it, in Python (chaosproxy/wire/fast.py), so this never fails an installation.
"""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "chaosproxy/wire/speedups.c"
MODULE = "chaosproxy/wire/speedups.abi3.so"
COMPILE_SECONDS_MAX = 120


class SpeedupsHook(BuildHookInterface):
    """Called by hatchling for each wheel, also for that of an editable installation."""

    PLUGIN_NAME = "custom"
    _folder: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the module; a wheel that has it says for which platform it is."""
        if version == "editable":  # what is imported is the source tree
            compiled = Path(self.root, MODULE)
            compiled.unlink(missing_ok=True)
        else:
            self._folder = TemporaryDirectory()
            compiled = Path(self._folder.name, "speedups.abi3.so")
        if compile_speedups(Path(self.root, SOURCE), compiled):
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            if version != "editable":
                build_data["force_include"][str(compiled)] = MODULE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Tidy up; the wheel is written."""
        if self._folder:
            self._folder.cleanup()


def compile_speedups(source: Path, compiled: Path) -> bool:
    """Run the platform's compiler, or the one that CC names; whether there is a module now."""
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False  # neither has the stable ABI
    if sys.platform == "win32":
        return False
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    linking = shlex.split(sysconfig.get_config_var("LDSHARED") or "cc -shared")[1:]
    including = {f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")}
    command = [*compiler, *linking, "-O2", "-fPIC", *sorted(including), str(source), "-o", str(compiled)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and compiled.exists()
