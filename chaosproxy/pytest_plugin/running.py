"""The proxy of one test while it runs: its stage, where it is, and what its verdict looks like."""

import os
import shlex
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple

from ..cli.place import Place
from ..cli.premises import Fence, Settings, prepare
from ..cli.secure import TlsOptions, host_header
from ..cli.trouble import Trouble
from ..report import lines, record_line
from ..sockets import LOOPBACK, Upstream
from ..stage import Stage
from ..verdict import Verdict
from ..world import Options, World
from .setting import Setting
from .thread import Complaint

RECORDS_SHOWN = 20
OWNED = "in pytest: @pytest.mark.chaos(owns_server=True)"


class Running(NamedTuple):
    """A stage that has been started. All of it belongs to the proxy's thread."""

    stage: Stage
    fence: Fence
    upstream: Upstream
    file: FileIO
    path: Path
    began: int

    @classmethod
    async def start(cls, setting: Setting, upstream: Upstream, path: Path, on_note: Callable[[str], None]) -> "Running":
        """Start a proxy on a port of its own. Raise Complaint where it can't be."""
        options = Options(
            setting.seed,
            frames_journalled=setting.journals_frames,
            host=host_header(None, upstream),
            reads_messages=True,
        )
        settings = Settings(
            upstream=upstream,
            listen=LOOPBACK,
            profile=setting.profile,
            options=options,
            tls=TlsOptions(),
            control=None,
            control_hosts=(),
            token=None,
            client_token=None,
            journal=None,
            grace_s=0.0,
            checks_upstream=False,
            owns_server=setting.owns_server,
            is_verbose=False,
        )
        try:
            fence, security = await prepare(settings, on_note)
        except Trouble as trouble:
            raise Complaint(_for_pytest(str(trouble))) from None
        file = FileIO(path, "w", opener=_open_private)
        stage = Stage(
            upstream, LOOPBACK, setting.profile, options, security, is_judged=True, file=file, on_trouble=on_note
        )
        running = cls(stage, fence, upstream, file, path, monotonic_ns())
        try:
            await stage.start()
        except OSError as error:
            await running.stop()
            raise Complaint(f"no port to listen on: {error}") from None
        return running

    async def stop(self) -> None:
        await self.stage.stop()
        self.file.close()

    @property
    def world(self) -> World:
        return self.stage.proxy.world

    @property
    def place(self) -> Place:
        return Place.of(self.stage.proxy.address, "tcp" if self.upstream.is_opaque else "ws")

    def table(self, verdict: Verdict) -> str:
        """A verdict as people read it, with evidence below what failed."""
        return "\n".join(lines(self.stage.judged(verdict.rows, monotonic_ns() - self.began)))

    def last_records(self, most: int = RECORDS_SHOWN) -> Iterator[str]:
        """The newest records of the journal, a line each."""
        journal = self.stage.journal
        for line in journal.after(max(0, journal.last - most)):
            yield record_line(line.seq, line.text)

    def every_record(self) -> list[str]:
        """The journal as far back as it is kept, as JSON."""
        journal = self.stage.journal
        return [line.text for line in journal.after(0, journal.last)]

    @property
    def shown_path(self) -> str:
        """Where the journal is, from here if it is below."""
        path = os.path.relpath(self.path)
        return str(self.path) if path.startswith(os.pardir) else path

    @property
    def command(self) -> str:
        """What lets the faults strike anew as in this run."""
        return f"chaosproxy replay {shlex.quote(self.shown_path)} --upstream {self.upstream}"

    @property
    def drawing_command(self) -> str:
        """What draws this run."""
        return f"chaosproxy report {shlex.quote(self.shown_path)} -o report.html"


def refuses(running: Running) -> Callable[..., str | None]:
    """Say why a rule must not act here, if so, and what a test can do about it."""
    return lambda rule: (refusal := running.fence.refuses(rule)) and _for_pytest(refusal)


def _for_pytest(message: str) -> str:
    return f"{message} ({OWNED})" if "--i-own-this-server" in message else message


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
