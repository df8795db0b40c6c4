"""Completion in shells: verbs, options, and the names that options and arguments take.

click does the work; here is what it can't know of itself: which words stand for profiles, faults, expectations, files.
Parameters are found by their names and metavars, so that another verb's are completed as soon as they are named alike.
"""

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from .. import library
from ..expectations import EXPECTATIONS
from ..faults import FAULTS
from ..problems import escape

VARIABLE = "_CHAOSPROXY_COMPLETE"
_SUFFIXES = (".yaml", ".yml")

_Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_HOW = {
    "bash": 'Add this line to ~/.bashrc:  eval "$(chaosproxy completion bash)"',
    "zsh": 'Add this line to ~/.zshrc, behind compinit:  eval "$(chaosproxy completion zsh)"',
    "fish": "Write it where fish looks:  chaosproxy completion fish > ~/.config/fish/completions/chaosproxy.fish",
}


class _Shell(ShellComplete):
    """What is alike in all shells."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        if "--" in args:  # what stands behind is another command's
            return [_files(incomplete)]
        return super().get_completions(args, incomplete)


class _Bash(_Shell, BashComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        """Bash makes three words of --profile=NAME."""
        args, incomplete = super().get_completion_args()
        return [word for word in args if word != "="], "" if incomplete == "=" else incomplete


class _Zsh(_Shell, ZshComplete):
    pass


class _Fish(_Shell, FishComplete):
    pass


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> int:
    """Print what makes a shell complete chaosproxy's words.

    \b
    bash: add to ~/.bashrc:   eval "$(chaosproxy completion bash)"
    zsh:  add to ~/.zshrc:    eval "$(chaosproxy completion zsh)"
    fish: chaosproxy completion fish > ~/.config/fish/completions/chaosproxy.fish
    """
    made = SHELLS[shell](context.find_root().command, {}, "chaosproxy", VARIABLE)
    # Not the class's own source(), which starts a bash to ask for its version.
    click.echo(f"# {_HOW[shell]}\n{ShellComplete.source(made)}", nl=False)
    return 0


def attach(group: click.Group) -> None:
    """Let the parameters of all verbs be completed."""
    for name, of_shell in SHELLS.items():
        click.shell_completion.add_completion_class(of_shell, name)
    for command in group.commands.values():
        for parameter in command.params:
            completer = _completer_of(command, parameter)
            if completer and not isinstance(parameter.type, click.Choice):
                # click takes it at creation only; here all verbs are there, whoever wrote them.
                parameter._custom_shell_complete = completer


def _completer_of(command: click.Command, parameter: click.Parameter) -> _Completer | None:
    metavar = getattr(parameter, "metavar", None) or ""
    match command.name, parameter.name:
        case ("faults" | "expectations" | "profiles") as verb, "name":
            return _BY_NAME[verb]
        case _, ("faults" | "expectations") as several:
            return _BY_NAME[several]
        case _, "profile" | "profiles":
            return _profiles
    if "FILE" in metavar or "JOURNAL" in metavar or parameter.name == "journal":
        return lambda context, parameter, incomplete: [_files(incomplete)]
    return None


def _profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Those that are shipped, and YAML files; else whatever files there are."""
    items = _shipped(context, parameter, incomplete)
    if "/" not in incomplete:
        files = sorted(path.name for path in Path().iterdir() if path.suffix in _SUFFIXES and path.name.isprintable())
        items += [CompletionItem(name, help="file") for name in files if name.startswith(incomplete)]
    return items or [_files(incomplete)]


def _shipped(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names alone: what they are about stands in files that take most of a second to read."""
    return [CompletionItem(name) for name in library.names() if name.startswith(incomplete)]


def _names_of(words: Callable[[], dict[str, str]]) -> _Completer:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [item for item in _of(words()) if item.value.startswith(incomplete)]

    return complete


def _of(words: dict[str, str]) -> list[CompletionItem]:
    """Names, with what they are about in one line, which zsh and fish show."""
    return [CompletionItem(name, help=escape(" ".join(about.split()))) for name, about in words.items()]


def _files(incomplete: str) -> CompletionItem:
    return CompletionItem(incomplete, type="file")


_BY_NAME: dict[str, _Completer] = {
    "faults": _names_of(lambda: {name: fault.help() for name, fault in FAULTS.items()}),
    "expectations": _names_of(lambda: {name: each.help() for name, each in EXPECTATIONS.items()}),
    "profiles": _shipped,
}
