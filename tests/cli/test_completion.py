"""Completion, in a real bash on a pseudo-terminal, and in zsh and fish where they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chaosproxy import library
from chaosproxy.expectations import EXPECTATIONS
from chaosproxy.faults import FAULTS
from tests.cli.screen import PATIENCE_S, Screen

PROGRAM = Path(sys.executable).parent / "chaosproxy"
PATH = f"{PROGRAM.parent}:{os.environ['PATH']}"
SHELLS = ["bash", "zsh", "fish"]


def complete(*words: str, folder: Path | None = None) -> list[str]:
    """What bash is told for these words; the last is being typed."""
    env = {"COMP_WORDS": "\n".join(["chaosproxy", *words]), "COMP_CWORD": str(len(words)), "PATH": PATH}
    env |= {"_CHAOSPROXY_COMPLETE": "bash_complete"}
    ran = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True, cwd=folder)
    assert ran.stderr == ""
    return [line.partition(",")[2] if line.startswith("plain,") else line for line in ran.stdout.splitlines()]


class TestWords:
    def test_verbs(self) -> None:
        assert complete("va") == ["validate"]
        assert {"run", "verify", "completion"} <= set(complete(""))

    def test_options(self) -> None:
        assert complete("run", "--journal-") == ["--journal-frames", "--journal-bytes"]

    def test_choices(self) -> None:
        assert complete("run", "--loop", "") == ["asyncio", "uvloop"]
        assert complete("completion", "") == SHELLS

    @pytest.mark.parametrize(
        "words", [["run", "--profile"], ["simulate"], ["validate"], ["verify"], ["verify", "hang"]]
    )
    def test_profiles_and_files_of_yaml(self, words: list[str], tmp_path: Path) -> None:
        for name in ("half-done.yaml", "half.yml", "half.txt"):
            (tmp_path / name).touch()
        shipped = [name for name in library.names() if name.startswith("half")]
        assert len(shipped) > 1
        assert complete(*words, "half", folder=tmp_path) == [*shipped, "half-done.yaml", "half.yml"]
        assert complete(*words, "sub/half", folder=tmp_path) == ["file,sub/half"]

    def test_profiles_that_are_shipped(self) -> None:
        assert complete("profiles", "") == list(library.names())

    @pytest.mark.parametrize("words", [["faults"], ["run", "--fault"]])
    def test_faults(self, words: list[str]) -> None:
        assert complete(*words, "") == list(FAULTS)
        assert complete(*words, "half_o") == ["half_open"]

    @pytest.mark.parametrize("words", [["expectations"], ["verify", "--expect"]])
    def test_expectations(self, words: list[str]) -> None:
        assert complete(*words, "") == list(EXPECTATIONS)

    @pytest.mark.parametrize(
        "words", [["replay"], ["run", "--journal"], ["verify", "--junit"], ["run", "--tls-cert"], ["sweep", "--json"]]
    )
    def test_files(self, words: list[str]) -> None:
        assert complete(*words, "some/th") == ["file,some/th"]

    def test_an_option_with_its_value_behind_an_equals_sign(self) -> None:
        assert complete("run", "--loop", "=", "uv") == ["uvloop"]
        assert complete("run", "--loop", "=") == ["asyncio", "uvloop"]

    def test_what_stands_behind_two_dashes_is_another_commands(self) -> None:
        assert complete("verify", "hang", "--", "no") == ["file,no"]


class TestScript:
    @pytest.mark.parametrize("shell", SHELLS)
    def test_it_says_how_to_install_it_and_the_shell_can_read_it(self, shell: str) -> None:
        ran = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, timeout=PATIENCE_S)
        assert (ran.returncode, ran.stderr) == (0, "")
        first, rest = ran.stdout.split("\n", 1)
        assert first.startswith("# ") and f"chaosproxy completion {shell}" in first
        assert "_CHAOSPROXY_COMPLETE=" in rest
        if program := shutil.which(shell):
            read = subprocess.run([program, "-n"], input=ran.stdout, capture_output=True, text=True, timeout=PATIENCE_S)
            assert (read.returncode, read.stderr) == (0, "")

    def test_another_shell_is_refused(self) -> None:
        ran = subprocess.run([PROGRAM, "completion", "tcsh"], capture_output=True, text=True, timeout=PATIENCE_S)
        assert ran.returncode == 2
        assert "'bash', 'zsh', 'fish'" in ran.stderr


class TestBash:
    def test_a_person_types_and_presses_tab(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/journal.jsonl").touch()
        env = {"PATH": PATH, "PS1": "$ ", "INPUTRC": "/dev/null"}
        bash = ["bash", "--norc", "--noprofile", "-i"]
        with Screen(bash, 100, 24, env, tmp_path) as screen:
            screen.wait_for("$")
            screen.type('eval "$(chaosproxy completion bash)"; echo re"ady"\n')
            screen.wait_for("\nready")
            for typed, completed in (
                ("chaosproxy expl\x7f\x7fpec\t", "chaosproxy expectations"),
                ("chaosproxy faults half_o\t", "chaosproxy faults half_open"),
                ("chaosproxy run --profile=half-open-c\t", "chaosproxy run --profile=half-open-client-leg"),
                ("chaosproxy replay folder/jou\t", "chaosproxy replay folder/journal.jsonl"),
            ):
                screen.type(typed)
                screen.wait_for(completed)
                screen.type("\x15")


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
def test_zsh_completes(tmp_path: Path) -> None:
    with Screen(["zsh", "-f", "-i"], 100, 24, {"PATH": PATH, "PS1": "$ "}, tmp_path) as screen:
        screen.type('autoload -U compinit; compinit -u -D; eval "$(chaosproxy completion zsh)"; echo re"ady"\n')
        screen.wait_for("\nready")
        screen.type("chaosproxy faults half_o\t")
        screen.wait_for("chaosproxy faults half_open")


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
def test_fish_completes() -> None:
    script = 'chaosproxy completion fish | source; complete --do-complete "chaosproxy faults half_o"'
    ran = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.stdout.split("\t")[0] == "half_open"
