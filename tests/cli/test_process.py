"""A command behind the proxy, with real small processes, on both loops: its exit code and its end."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest

from chaosproxy.cli.place import Place, environment
from chaosproxy.cli.process import Command, unless_interrupted
from chaosproxy.cli.trouble import ExitCode, Trouble
from chaosproxy.sockets import Address
from tests.live import LOOPS, PATIENCE_S, comes_true, run

PLACE = Place.of(Address("127.0.0.1", 4711))
FOREVER = "import time; time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
# Each process says its number, once it heeds (or ignores) what it is to.
SAY = "import os; print(os.getpid(), flush=True)\n"
CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"

both_loops = pytest.mark.parametrize("loop", LOOPS)


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class TestExit:
    @both_loops
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            ("pass", 0),
            ("raise SystemExit(7)", 7),
            ("import os; os.kill(os.getpid(), 15)", 143),
            ("import os; os.kill(os.getpid(), 9)", 137),
        ],
    )
    def test_the_exit_code_is_that_of_a_shell(self, loop: str, script: str, code: int) -> None:
        async def story() -> None:
            async with Command(python(script), os.environ) as command:
                assert await asyncio.wait_for(command.wait(), PATIENCE_S) == code
            assert command.exit_code == code

        run(loop, story())

    @both_loops
    def test_its_words_its_environment_and_its_output_are_its_own(self, loop: str) -> None:
        async def story() -> None:
            script = (
                "import os, sys; print(sys.argv[1:], os.environ['CHAOSPROXY_URL']); "
                "print('oh', file=sys.stderr); sys.stdin.read() and print('unheard of')"
            )
            with TemporaryFile() as output:
                async with Command(python(script, "a b", "$HOME"), environment(PLACE), output) as command:
                    assert await asyncio.wait_for(command.wait(), PATIENCE_S) == 0
                output.seek(0)
                assert sorted(output.read().splitlines()) == [b"['a b', '$HOME'] ws://127.0.0.1:4711", b"oh"]

        run(loop, story())

    def test_without_output_it_writes_where_we_do(self, capfd: pytest.CaptureFixture[str]) -> None:
        async def story() -> None:
            async with Command(python("print('hello')"), os.environ) as command:
                await asyncio.wait_for(command.wait(), PATIENCE_S)

        run("asyncio", story())
        assert capfd.readouterr().out == "hello\n"

    def test_its_stdout_alone_can_go_elsewhere(self, capfd: pytest.CaptureFixture[str]) -> None:
        async def story() -> None:
            script = "import sys; print(sys.stdin is None or sys.stdin.fileno()); print('oh', file=sys.stderr)"
            async with Command(python(script), os.environ, stdout=2) as command:
                await asyncio.wait_for(command.wait(), PATIENCE_S)

        run("asyncio", story())
        captured = capfd.readouterr()
        assert (captured.out, sorted(captured.err.splitlines())) == ("", ["0", "oh"])

    def test_a_command_that_cannot_be_run_is_told_with_the_remedy(self, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        plain.write_text("echo")
        orphan = tmp_path / "orphan"
        orphan.write_text("#!/nowhere/at/all\n")
        orphan.chmod(0o755)

        async def trouble_of(*words: str) -> str:
            with pytest.raises(Trouble) as trouble:
                async with Command(words, os.environ):
                    pass
            assert trouble.value.code == ExitCode.USAGE
            return str(trouble.value)

        async def story() -> None:
            missing = await trouble_of("chaosproxy-no-such-command")
            assert missing.endswith("can't be run: no such file or directory; is it installed, and on the PATH?")
            assert (await trouble_of("node client.js")).endswith("words without quotes around them all")
            assert (await trouble_of(str(plain))).endswith("permission denied; is it executable (chmod +x)?")
            assert (await trouble_of(str(orphan))).endswith("that its first line (#!) names is missing")

        run("asyncio", story())


class TestEnd:
    """Each story learns the numbers of a command and of its child, and sees that both are gone."""

    async def numbers(self, output: IO[bytes], count: int) -> list[int]:
        def lines() -> list[bytes]:
            return os.pread(output.fileno(), 1000, 0).splitlines(keepends=True)

        await comes_true(lambda: sum(line.endswith(b"\n") for line in lines()) == count)
        return [int(line) for line in lines()]

    @both_loops
    @pytest.mark.parametrize(("habit", "grace_s"), [("", 60.0), (STUBBORN, 0.2)], ids=["heeds SIGTERM", "ignores it"])
    def test_nothing_is_left_of_its_group(self, loop: str, habit: str, grace_s: float) -> None:
        async def story() -> None:
            script = habit + SAY + FOREVER
            with TemporaryFile() as output:
                async with Command(python(CHILD + script, script), os.environ, output, grace_s) as command:
                    pids = await self.numbers(output, 2)
                    assert all(map(is_alive, pids)) and command.exit_code is None
                assert command.exit_code == (137 if habit else 143)
                assert await asyncio.wait_for(command.wait(), PATIENCE_S) == command.exit_code
                await comes_true(lambda: not any(map(is_alive, pids)))

        run(loop, story())

    @both_loops
    def test_a_child_that_outlives_the_command_is_ended_too(self, loop: str) -> None:
        async def story() -> None:
            with TemporaryFile() as output:
                async with Command(python(CHILD, SAY + FOREVER), os.environ, output) as command:
                    assert await asyncio.wait_for(command.wait(), PATIENCE_S) == 0
                    [child] = await self.numbers(output, 1)
                    assert is_alive(child)
                await comes_true(lambda: not is_alive(child))
                assert command.exit_code == 0

        run(loop, story())

    @both_loops
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_to_us_ends_it_too(self, loop: str, number: signal.Signals) -> None:
        pids: list[int] = []

        async def work(output: IO[bytes]) -> int:
            async with Command(python(SAY + FOREVER), os.environ, output) as command:
                pids.extend(await self.numbers(output, 1))
                os.kill(os.getpid(), number)
                return await command.wait()

        async def story() -> None:
            with TemporaryFile() as output:
                assert await unless_interrupted(work(output)) == 128 + number
            assert not is_alive(pids[0])

        run(loop, story())

    @both_loops
    def test_a_second_signal_cuts_the_grace_time_short(self, loop: str) -> None:
        async def work(output: IO[bytes]) -> int:
            async with Command(python(STUBBORN + SAY + FOREVER), os.environ, output, 600.0) as command:
                await self.numbers(output, 1)
                asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGINT)
                return await command.wait()

        async def story() -> None:
            with TemporaryFile() as output:
                began = time.monotonic()
                assert await unless_interrupted(work(output)) == 128 + signal.SIGINT
                assert time.monotonic() - began < PATIENCE_S

        run(loop, story())

    def test_work_that_ends_by_itself_says_how(self) -> None:
        async def story() -> None:
            async def work() -> int:
                return 3

            assert await unless_interrupted(work()) == 3
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

        run("asyncio", story())

    def test_a_signal_that_is_ignored_stays_ignored(self) -> None:
        async def story() -> None:
            async def work() -> int:
                os.kill(os.getpid(), signal.SIGHUP)
                return 3

            assert await unless_interrupted(work()) == 3

        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            run("asyncio", story())
        finally:
            signal.signal(signal.SIGHUP, before)
