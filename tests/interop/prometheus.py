"""A Prometheus server that scrapes the proxy under test, and promtool; prometheus.sh sees that they are here."""

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.interop.processes import ServerProcess, free_ports

UNPACKED = Path(__file__).parents[2] / ".venv/prometheus/usr/bin"
TIMEOUT_S = 60


def find(program: str) -> str:
    """Where `prometheus` or `promtool` is: by the variable PROMETHEUS or PROMTOOL, unpacked below .venv, or in PATH."""
    path = os.environ.get(program.upper()) or shutil.which(program, path=UNPACKED) or shutil.which(program)
    assert path, f"there is no {program} here: run `make interop`, or name one by {program.upper()}=/path/to/it"
    return path


def promtool(*arguments: str | Path, given: bytes = b"", folder: Path | None = None) -> tuple[int, str]:
    """Run promtool; return its exit code and all that it says."""
    ran = subprocess.run(
        [find("promtool"), *arguments], input=given, capture_output=True, check=False, timeout=TIMEOUT_S, cwd=folder
    )
    return ran.returncode, (ran.stdout + ran.stderr).decode()


class Prometheus(ServerProcess):
    """A server with data of its own, that scrapes by a configuration file."""

    name = "prometheus"

    def __init__(self, directory: Path, config: Path) -> None:
        super().__init__(directory)
        (self.port,) = free_ports(1)
        self.ready_url = f"http://127.0.0.1:{self.port}/-/ready"
        self._directory = directory
        self._config = config

    def command(self) -> Sequence[str | Path]:
        return [
            find("prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def ask(self, path: str, **query: str) -> Any:
        """What its HTTP API answers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", f"/api/v1/{path}?{urlencode(query)}")
            answer = json.loads(connection.getresponse().read())
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, query: str) -> float | None:
        """The value of an expression that gives one series; None while there is none."""
        series = self.ask("query", query=query)["result"]
        assert len(series) <= 1, series
        return float(series[0]["value"][1]) if series else None
