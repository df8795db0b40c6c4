"""What a build makes of the part in C, with a compiler and without one."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from hatch_build import SpeedupsHook

ROOT = Path(__file__).parent.parent
MODULE = "chaosproxy/wire/speedups.abi3.so"
TELL = "from chaosproxy.wire import fast; print(fast.__file__, fast.LANE_IN)"
needs_compiler = pytest.mark.skipif(
    not (shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()), reason="there is no compiler"
)


def build(target: str, folder: Path, compiler: str | None = None, root: Path = ROOT) -> Path:
    """Build in a tree as `pip` would; CC names the compiler."""
    env = {name: value for name, value in os.environ.items() if name != "CC"} | ({"CC": compiler} if compiler else {})
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


def lane_of(wheel: Path, folder: Path) -> str:
    """Import what is in a wheel, and nothing else of ours; what its lane is written in."""
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    env = {name: value for name, value in os.environ.items() if name != "CHAOSPROXY_PURE"} | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", TELL], cwd=folder, env=env, capture_output=True, text=True, check=True)
    file, lane = done.stdout.split()
    assert Path(file).is_relative_to(folder)
    return lane


@needs_compiler
def test_where_there_is_a_compiler_a_wheel_has_the_module_and_is_for_this_platform(tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "dist")
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-cp311-abi3-{platform}.whl")
    assert MODULE in ZipFile(wheel).namelist()
    assert lane_of(wheel, tmp_path / "installed") == "C"


@pytest.mark.parametrize("compiler", ["/bin/false", "/bin/true", "/no/such/compiler"])
def test_where_there_is_none_a_wheel_is_for_every_platform(compiler: str, tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "dist", compiler)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in ZipFile(wheel).namelist() if name.endswith(".so")]
    assert lane_of(wheel, tmp_path / "installed") == "Python"


@needs_compiler
def test_the_source_distribution_builds_the_same(tmp_path: Path) -> None:
    source = build("sdist", tmp_path / "sdist", "/bin/false")
    with tarfile.open(source) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
        archive.extractall(tmp_path / "tree", filter="data")
    assert "hatch_build.py" in names and "chaosproxy/wire/speedups.c" in names
    assert not [name for name in names if name.endswith(".so")]
    (tree,) = (tmp_path / "tree").iterdir()
    assert MODULE in ZipFile(build("wheel", tmp_path / "with", root=tree)).namelist()
    assert build("wheel", tmp_path / "without", "/bin/false", tree).name.endswith("-py3-none-any.whl")


@needs_compiler
def test_an_editable_installation_that_can_not_be_compiled_has_no_old_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MODULE).parent.mkdir(parents=True)
    shutil.copy(ROOT / "chaosproxy/wire/speedups.c", tmp_path / "chaosproxy/wire")
    hook = SpeedupsHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    for compiler, is_there in (("cc", True), ("/bin/false", False)):
        monkeypatch.setenv("CC", compiler)
        built: dict[str, Any] = {"force_include": {}}
        hook.initialize("editable", built)
        assert (tmp_path / MODULE).exists() is is_there
        assert ("tag" in built) is is_there
        assert built["force_include"] == {}
