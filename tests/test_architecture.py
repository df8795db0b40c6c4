"""The shape of the package: who may import whom, and which modules know neither sockets nor clocks nor chance."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "chaosproxy"

# From the bottom up. A module imports only from layers below its own; inside a folder modules may import each other.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "recovery units wire words",
        "json_values pacing tally",
        "effects events problems",
        "protocols",
        "faults",
        "attempt match",
        "history",
        "rule",
        "expectations",
        "expected",
        "profile",
        "yaml_tree",
        "wording",
        "expect_options fault_options",
        "canonical link opaque profile_yaml timeline",
        "lanes",
        "exchange holding legs library reading recurring",
        "engine handshake",
        "opening stream",
        "plain_http",
        "plain_rules silence",
        "endings",
        "session",
        "blows stream_session",
        "in_force",
        "steered",
        "world",
        "sweep",
        "recording",
        "replay",
        "script",
        "carried observe verdict",
        "recoveries",
        "observations simulate",
        "alarms",
        "certificates relay sockets",
        "addresses secured security",
        "port_holder proxy",
        "live_rule meter",
        "journal page",
        "digest drawing metrics report swimlanes",
        "picture",
        "retold",
        "stage",
        "control demo",
        "cli",
        "__main__ pytest_plugin",
    )
)
PURE = frozenset().union(*LAYERS[: LAYERS.index(frozenset({"recoveries"})) + 1]) - {"library"} | {
    "picture",
    "retold",
    "swimlanes",
}
# An SSLObject over a MemoryBIO does no I/O: TLS is a pure layer between a transport and a session.
MAY_KNOW = {"wire/tls.py": {"ssl"}}
WORLDLY = frozenset(
    {"asyncio", "socket", "ssl", "select", "selectors", "threading", "time", "random", "secrets", "logging", "aiohttp"}
)

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _room(path: Path) -> str:
    """The layer's name of a module: its top-level module or folder."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Each import as (outside module, "") or ("", room inside the package)."""
    folder = path.relative_to(PACKAGE.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], ""
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield (node.module or "").partition(".")[0], ""
                continue
            base = folder[: len(folder) - node.level + 1]
            inside = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                parts = [*inside, alias.name][1:]
                if parts[0] != "__version__":
                    yield "", parts[0]


def test_every_module_has_a_layer() -> None:
    assert {_room(path) for path in MODULES} <= frozenset().union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_below(path: Path) -> None:
    height = {name: level for level, layer in enumerate(LAYERS) for name in layer}
    own = _room(path)
    wrong = {room for _, room in _imports(path) if room and room != own and height[room] >= height[own]}
    assert not wrong, f"{own} may not import {wrong}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if _room(path) in PURE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_pure_module_knows_no_world(path: Path) -> None:
    may_know = MAY_KNOW.get(str(path.relative_to(PACKAGE)), set())
    assert not {outside for outside, _ in _imports(path)} & WORLDLY - may_know


def test_c_has_one_place_and_a_reference_in_python() -> None:
    assert [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.c")] == ["wire/speedups.c"]
    who = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if any(
            isinstance(node, ast.ImportFrom) and node.module == "speedups"
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert who == {"wire/fast.py"}


def test_no_module_has_outgrown_its_room() -> None:
    modules = [*MODULES, *PACKAGE.rglob("*.c")]
    sizes = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in modules}
    # Three state machines; the rest stay small.
    large = {"session.py": 600, "engine.py": 550, "world.py": 550}
    assert {name: size for name, size in sizes.items() if size > large.get(name, 400)} == {}
