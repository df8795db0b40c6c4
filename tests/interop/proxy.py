"""The proxy under test, as its users run it: a process of its own, told what to do over its control address."""

import http.client
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.interop.processes import ServerProcess, free_ports

CLIENT_TOKEN = "token-of-the-tests"


class Proxy(ServerProcess):
    """Chaosproxy before `upstream` (a ws:// address), listening on `port`, journalling to `journal_path`."""

    name = "chaosproxy"

    def __init__(
        self,
        directory: Path,
        upstream: str,
        *,
        loop: str = "asyncio",
        profile: Path | None = None,
        seed: int | None = None,
        journal_frames: bool = False,
    ) -> None:
        super().__init__(directory)
        self.port, self.control_port = free_ports(2)
        self.url = f"ws://127.0.0.1:{self.port}"
        self.ready_url = f"http://127.0.0.1:{self.control_port}/readyz"
        self.report_url = f"http://127.0.0.1:{self.control_port}/client/{CLIENT_TOKEN}"
        self.journal_path = directory / "journal.jsonl"
        self._upstream = upstream
        self._loop = loop
        self._profile = profile
        self._seed = seed
        self._journal_frames = journal_frames

    def command(self) -> Sequence[str | Path]:
        return [
            *(sys.executable, "-m", "chaosproxy", "run"),
            *("--upstream", self._upstream),
            *("--listen", f"127.0.0.1:{self.port}"),
            *("--control", f"127.0.0.1:{self.control_port}"),
            *("--client-script-token", CLIENT_TOKEN),
            *("--loop", self._loop),
            *("--journal", self.journal_path),
            *(() if self._profile is None else ("--profile", self._profile)),
            *(("--journal-frames",) if self._journal_frames else ()),
            *(() if self._seed is None else ("--seed", str(self._seed))),
        ]

    def control(self, method: str, path: str, body: object = None, *, expect: int = 200) -> Any:
        """Ask the control address, with `body` as JSON unless it is None; return the JSON answer, or None."""
        payload = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=10)) as connection:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        assert answer.status == expect, f"{method} {path} answered {answer.status}, not {expect}: {text}"
        return json.loads(text) if text else None

    def journal(self) -> list[dict[str, Any]]:
        """Return the journal's lines so far, oldest first; a line still being written is left out."""
        lines = self.journal_path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
