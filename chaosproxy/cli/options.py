"""What the verbs' options have in common: how they are read, and the variables that stand for them."""

import asyncio
from collections.abc import Callable
from typing import Any

import click

from ..addresses import parse_address, parse_host, parse_upstream
from ..control.guard import read_client_token
from ..units import SECOND, parse_duration
from ..world import DIALS_PER_SECOND_MAX
from .trouble import ExitCode, Trouble


class Reader(click.ParamType[Any]):
    """Reads an option with a function that raises ValueError (or a pydantic error) with words for the user."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Lines(click.ParamType[str]):
    """Text of which an environment variable holds one per line."""

    name = "text"
    envvar_list_splitter = "\n"


URL = Reader("url", parse_upstream)
ADDRESS = Reader("host:port", parse_address)
CONTROL_ADDRESS = Reader("host:port", lambda text: None if text == "none" else parse_address(text))
HOST = Reader("keep|upstream|name", parse_host)
CLIENT_TOKEN = Reader("text", read_client_token)
DURATION = Reader("duration", lambda text: parse_duration(text) / SECOND)


def option(name: str, *names: str, variable: str = "", **settings: Any) -> Callable[[Any], Any]:
    """An option that is an environment variable too, of the same name unless another is given."""
    variable = variable or "CHAOSPROXY_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, **settings)


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
ENVIRONMENT = "Each option is an environment variable too: --check-upstream is CHAOSPROXY_CHECK_UPSTREAM."


def is_typed(context: click.Context, name: str) -> bool:
    """Whether an option was given on the command line, and not by its variable."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def as_given(context: click.Context, name: str) -> str:
    """An option in the words in which it was given: its own, or its variable's."""
    parameter = next(each for each in context.command.params if each.name == name)
    return parameter.opts[0] if is_typed(context, name) else str(parameter.envvar)


def is_quiet(context: click.Context, given: dict[str, Any]) -> bool:
    """Whether to say less. Where one of --quiet and --verbose stands in a variable, the one that is typed counts."""
    if not (given["quiet"] and given["verbose"]):
        return bool(given["quiet"])
    typed = [name for name in ("quiet", "verbose") if is_typed(context, name)]
    if len(typed) != 1:
        names = " and ".join(as_given(context, name) for name in ("quiet", "verbose"))
        raise click.UsageError(f"expected one of --quiet and --verbose, got {names}")
    given["quiet"], given["verbose"] = typed == ["quiet"], typed == ["verbose"]
    return bool(given["quiet"])


def loop_factory(name: str | None) -> Callable[[], asyncio.AbstractEventLoop]:
    """The event loop of this name, or the best there is. Raise Trouble where it is not installed."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        if name is None:
            return asyncio.new_event_loop
        remedy = (
            "install it beside chaosproxy (pip install uvloop; pipx inject chaosproxy uvloop), or do without --loop"
        )
        raise Trouble(f"uvloop is not installed; {remedy}", ExitCode.USAGE) from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


expect_option = option(
    "--expect",
    "expectations",
    multiple=True,
    type=Lines(),
    metavar="EXPECTATION",
    help="One more: 'reconnected_within: 5s', '{attempts_at_most: 3, phase: outage}'.",
)

_OF_SERVERS = (
    option("--tls", type=click.Choice(["dev"]), help="Speak TLS with clients, by a development CA of your own."),
    option("--tls-cert", metavar="FILE", help="Speak TLS with clients: our certificate and its chain, as PEM."),
    option("--tls-key", metavar="FILE", help="The certificate's key, as PEM."),
    option("--upstream-ca", metavar="FILE", help="Trust only these CAs (PEM) for a wss:// server."),
    option("--upstream-insecure", is_flag=True, help="Do not verify the certificate of a wss:// server."),
    option(
        "--host",
        type=HOST,
        metavar="keep|upstream|NAME",
        help="Host toward the server; by default upstream, and keep if it is on this machine.",
    ),
    option("--loop", type=click.Choice(["asyncio", "uvloop"]), help="Default: uvloop where it is installed."),
    option(
        "--dials-per-second",
        type=click.IntRange(min=0),
        default=DIALS_PER_SECOND_MAX,
        show_default=True,
        help="Cap on connections to the server; 0 for none, with a server of your own.",
    ),
    option("--i-own-this-server", is_flag=True, help="Let rules harm a server that is not on a private address."),
)


def server_options(command: Any) -> Any:
    """Options of all verbs that put a proxy before a server: how it speaks with it and with clients."""
    for each in reversed(_OF_SERVERS):
        command = each(command)
    return command
