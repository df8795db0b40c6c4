"""An outside judge: schemathesis asks a running proxy whatever its OpenAPI document allows, and what it does not."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chaosproxy.control.routes import document
from tests.interop.proxy import Proxy

HERE = Path(__file__).parent
TOKEN = "token-of-the-judge"
PROFILE = """
version: 1
name: judged
protocol: pusher
phases:
  - {name: a, until: step}
  - {name: b, until: step}
expect:
  - stays_connected
"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)
# Of 5xx, these two are told of, and are no fault of ours: too many wait, and what was waited for has not come.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "503", "504"]
"""


class Judged(Proxy):
    """A proxy before nobody, with a token if one is wanted."""

    def __init__(self, directory: Path, token: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        profile = directory / "judged.yaml"
        profile.write_text(PROFILE)
        super().__init__(directory, "ws://127.0.0.1:9", profile=profile)
        self._token = token

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), *(("--token", self._token) if self._token else ())]


@pytest.fixture
def judged(tmp_path: Path) -> Iterator[Judged]:
    with Judged(tmp_path) as proxy:
        yield proxy


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Judged]:
    with Judged(tmp_path, TOKEN) as proxy:
        yield proxy


def judge(proxy: Judged, *options: str, token: str = "", checks: Sequence[str] = CHECKS, seed: int = 1) -> int:
    """Let it ask, and return how many cases it made. What it found makes the test fail."""
    told = proxy.directory / "openapi.json"
    told.write_text(document(bool(proxy._token)))
    (proxy.directory / "schemathesis.toml").write_text(SETTINGS)
    ran = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", told),
            *("--url", f"http://127.0.0.1:{proxy.control_port}", "--seed", str(seed)),
            *("--checks", ",".join(checks), "--request-timeout", "10", "--continue-on-failure", "--no-color"),
            *(("--header", f"Authorization: Bearer {token}") if token else ()),
            *("--suppress-health-check", "all", "--generation-database", "none", *options),
        ],
        cwd=proxy.directory,
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": "tests.control.schemathesis_hooks", "PYTHONPATH": str(HERE.parents[1])}
        | ({} if token or not proxy._token else {"SCHEMATHESIS_HAS_NO_TOKEN": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = re.search(r"(\d+) generated", ran.stdout)
    assert made, ran.stdout
    print(ran.stdout)
    assert proxy.control("GET", "/readyz")["status"] == "ready"
    assert "internal error" not in proxy.log_path.read_text()
    return int(made[1])


BRIEF = ("--phases", "fuzzing,stateful", "--max-examples", "3")


def test_whatever_is_asked_is_answered_as_it_is_told(judged: Judged) -> None:
    assert judge(judged, *BRIEF) > 80


def test_whoever_has_the_token_is_answered_so_as_well(guarded: Judged) -> None:
    assert judge(guarded, *BRIEF, token=TOKEN) > 80


def test_nobody_without_the_token_gets_in(guarded: Judged) -> None:
    checks = ("not_a_server_error", "status_code_conformance", "nobody_without_the_token_gets_in")
    assert judge(guarded, "--phases", "fuzzing", "--max-examples", "2", checks=checks) > 50


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_ten_thousand_questions_are_answered_as_it_is_told(tmp_path: Path, token: str, seed: int) -> None:
    with Judged(tmp_path, token) as proxy:
        options = ("--phases", "fuzzing,stateful", "--max-examples", "300")
        assert judge(proxy, *options, token=token, seed=seed) >= 10_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_the_document_names_is_tried(judged: Judged) -> None:
    """Each value and constraint of each schema, which is the same for any seed."""
    assert judge(judged, "--phases", "coverage") >= 10_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_questions_without_the_token_get_nothing(guarded: Judged) -> None:
    checks = ("not_a_server_error", "status_code_conformance", "nobody_without_the_token_gets_in")
    assert judge(guarded, "--phases", "fuzzing", "--max-examples", "300", checks=checks) >= 10_000
