"""A command that is run behind the proxy: how it ended, and that nothing of it is left.

It runs in a session of its own, so also in a process group of its own, which our terminal's Ctrl-C does not reach. We
end the group, with the command's children, unless they have left it on purpose as daemons do.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ..problems import show
from .trouble import ExitCode, Trouble

GRACE_S = 3.0  # between SIGTERM and SIGKILL
_POLL_S = 0.02  # a process group tells nobody that it has become empty
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command:
    """A command that runs while the `async with` block does; behind it, nothing of its process group is left.

    With `output`, stdout and stderr go there, and stdin is empty; without it, it has ours. `stdout` is a descriptor for
    its stdout alone, where ours is needed for something else.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        output: IO[bytes] | None = None,
        grace_s: float = GRACE_S,
        *,
        stdout: int | None = None,
    ) -> None:
        self._words = words
        self._environment = environment
        self._output = output
        self._stdout: IO[bytes] | int | None = output if stdout is None else stdout
        self._grace_s = grace_s
        self._ended = asyncio.Event()
        self.exit_code: int | None = None
        """None while it runs; 128 and its number where a signal ended it, as in a shell."""

    async def wait(self) -> int:
        """Return the exit code of the command, once it has one; its children may live on."""
        await self._ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    async def end(self) -> None:
        """End what is left of its group: by SIGTERM, and by SIGKILL what still lives after the grace time."""
        # Unreaped, the command keeps its number, so that the group is its own to the end.
        if self._process.returncode is not None:
            return
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(self._grace_s):
                while self.exit_code is None or _has_members(self._process.pid):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
            code = self._process.wait()
            if self.exit_code is None:
                self._note_exit(_shell_code(code))

    async def __aenter__(self) -> Self:
        """Start it. Raise Trouble where it can't be run."""
        self._start()
        asyncio.get_running_loop().add_reader(self._descriptor, self._has_ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.end()

    def _start(self) -> None:
        """Block until it runs: were that left to a thread, a cancellation meanwhile would lose the command."""
        try:
            self._process = subprocess.Popen(
                self._words,
                env=self._environment,
                stdin=None if self._output is None else subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=self._output,
                start_new_session=True,
            )
        except OSError as error:
            raise _cannot_run(self._words[0], error) from None
        try:
            self._descriptor = os.pidfd_open(self._process.pid)
        except OSError:  # no descriptor is left
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise

    def _has_ended(self) -> None:
        status = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert status is not None
        is_own = status.si_code == os.CLD_EXITED
        self._note_exit(_shell_code(status.si_status if is_own else -status.si_status))

    def _note_exit(self, code: int) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.exit_code = code
        self._ended.set()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has gone, or become another user's
            os.killpg(self._process.pid, number)


async def unless_interrupted(work: Coroutine[Any, Any, int]) -> int:
    """Do the work of a verb, and return its exit code; a signal cancels it (again, if it is still clearing up).

    Then it is the signal's number and 128, as in a shell.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[int] = []

    def interrupt(number: int) -> None:
        received.append(number)
        task.cancel()

    # What is ignored stays so: nohup, and shells that put us in the background, mean it.
    heeded = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, interrupt, number)
    try:
        code = await task
        return 128 + received[0] if received else code
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for so long; for a moment at least, so that others get their turn."""
    try:
        async with asyncio.timeout(max(seconds, 0.001)):
            await event.wait()
    except TimeoutError:
        pass


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _has_members(group: int) -> bool:
    """Whether anything of a process group lives; the dead that nobody has reaped don't."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, its_group = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has just gone
        if int(its_group) == group and state not in (b"Z", b"X"):
            return True
    return False


def _cannot_run(word: str, error: OSError) -> Trouble:
    """Say why a command does not start, and what was probably meant."""
    reason = os.strerror(error.errno or 0).lower()
    remedy = ""
    if isinstance(error, FileNotFoundError):
        if shutil.which(word):
            remedy = "; the program that its first line (#!) names is missing"
        elif " " in word:
            remedy = "; behind --, write the command's words without quotes around them all"
        else:
            remedy = "; is it installed, and on the PATH?"
    elif isinstance(error, PermissionError):
        remedy = "; is it executable (chmod +x)?"
    return Trouble(f"the command {show(word)} can't be run: {reason}{remedy}", ExitCode.USAGE)
