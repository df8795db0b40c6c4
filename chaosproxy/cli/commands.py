"""The command line: verbs, options, environment variables. Data goes to stdout, messages to stderr.

Every option is an environment variable too, CHAOSPROXY_ and its name; options win. Exit codes: see run.ExitCode.
"""

import asyncio
import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, TextIO

import click

from .. import library
from ..control.guard import HOSTS_VARIABLE, TOKEN_VARIABLE, read_client_token
from ..demo.play import DEFAULT_SECONDS, SECONDS_MIN
from ..demo.show import demo as play_demo
from ..faults import FAULTS
from ..problems import escape, nearest, show
from ..profile import Profile
from ..profile_yaml import schema as make_schema
from ..proxy import Address
from ..units import SECOND, parse_duration
from ..world import DIALS_PER_SECOND_MAX, Options
from . import reference
from .addresses import parse_address, parse_host, parse_upstream, reachable
from .profile_choice import NoProfile, by_name_or_file, from_options, from_text
from .run import ExitCode, Settings, Trouble, run
from .secure import host_header, tls_options

HEALTH_TIME_S = 3.0
CONTROL = "127.0.0.1:7002"
_FIRST_COLUMN = re.compile(r" *\S+ {2,}| +")
_OF_KUBERNETES = re.compile(r"CHAOSPROXY(_\w+)?_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")  # for a service of our name


class _Reader(click.ParamType[Any]):
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


class _Lines(click.ParamType[str]):
    """Text of which an environment variable holds one per line."""

    name = "text"
    envvar_list_splitter = "\n"


URL = _Reader("url", parse_upstream)
ADDRESS = _Reader("host:port", parse_address)
CONTROL_ADDRESS = _Reader("host:port", lambda text: None if text == "none" else parse_address(text))
HOST = _Reader("keep|upstream|name", parse_host)
CLIENT_TOKEN = _Reader("text", read_client_token)
DURATION = _Reader("duration", lambda text: parse_duration(text) / SECOND)


def option(name: str, *names: str, variable: str = "", **settings: Any) -> Callable[[Any], Any]:
    """An option that is an environment variable too, of the same name unless another is given."""
    variable = variable or "CHAOSPROXY_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, **settings)


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
ENVIRONMENT = "Each option is an environment variable too: --check-upstream is CHAOSPROXY_CHECK_UPSTREAM."


@click.group(context_settings=CONTEXT, epilog="Start here: chaosproxy demo")
@click.version_option(version("chaosproxy"), message="chaosproxy %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Hurt WebSocket connections on purpose; invisible until a profile says so."""
    if os.environ.get("NO_COLOR"):
        context.color = False


@cli.command("run", epilog=ENVIRONMENT)
@click.argument("url", type=URL, required=False)
@option("--upstream", type=URL, metavar="URL", help="The server: ws://, wss:// or tcp://HOST:PORT; also the argument.")
@option("--listen", type=ADDRESS, default="127.0.0.1:7001", show_default=True, help="Where clients connect.")
@option("--tls", type=click.Choice(["dev"]), help="Speak TLS with clients, by a development CA of your own.")
@option("--tls-cert", metavar="FILE", help="Speak TLS with clients: our certificate and its chain, as PEM.")
@option("--tls-key", metavar="FILE", help="The certificate's key, as PEM.")
@option("--upstream-ca", metavar="FILE", help="Trust only these CAs (PEM) for a wss:// server.")
@option("--upstream-insecure", is_flag=True, help="Do not verify the certificate of a wss:// server.")
@option(
    "--host",
    type=HOST,
    metavar="keep|upstream|NAME",
    help="Host toward the server; by default upstream, and keep if it is on this machine.",
)
@option("--profile", metavar="NAME|FILE", help="What shall happen; see `chaosproxy profiles`.")
@option("--profile-yaml", metavar="YAML", help="A whole profile as text, for containers.")
@option("--fault", "faults", multiple=True, type=_Lines(), metavar="FAULT", help='Without a profile: "close=4200@5s".')
@option("--seed", type=int, help="What chance depends on; the profile's own by default.")
@option("--control", type=CONTROL_ADDRESS, default=CONTROL, show_default=True, help="API and metrics, or none.")
@option(
    "--control-host",
    "control_hosts",
    variable=HOSTS_VARIABLE,
    multiple=True,
    metavar="NAME",
    help=f"Another name of the control address ({HOSTS_VARIABLE}).",
)
@option("--token", variable=TOKEN_VARIABLE, help=f"What the control API asks for ({TOKEN_VARIABLE}).")
@option(
    "--client-script-token", type=CLIENT_TOKEN, help="What stands in the address of chaosproxy.js; random by default."
)
@option("--journal", metavar="FILE|-", help="Write what happens as JSON lines.")
@option("--journal-frames", is_flag=True, help="Every frame too.")
@option("--loop", type=click.Choice(["asyncio", "uvloop"]), help="Default: uvloop where it is installed.")
@option(
    "--dials-per-second",
    type=click.IntRange(min=0),
    default=DIALS_PER_SECOND_MAX,
    show_default=True,
    help="Cap on connections to the server; 0 for none, with a server of your own.",
)
@option("--grace", type=DURATION, default="10s", show_default=True, help="How long to drain after SIGTERM or Ctrl-C.")
@option("--check-upstream", is_flag=True, help="Exit 3 if the server can't be reached now.")
@option("--i-own-this-server", is_flag=True, help="Let rules harm a server that is not on a private address.")
@option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@option("--verbose", "-v", is_flag=True, help="Say more.")
@click.pass_context
def run_command(context: click.Context, /, **given: Any) -> int:
    """Put the proxy before a server.

    Ends on SIGTERM or Ctrl-C: connections get 1001 (over tcp:// FIN) and the grace time, exit 0; a second signal
    ends at once, exit 130 or 143. Other exit codes: 2 usage or profile, 3 server unreachable, 4 port busy, 70 internal
    error.
    """
    say = (lambda line: None) if given["quiet"] else _say
    for warning in _unknown_variables():
        say(warning)
    settings = _settings(context, given)
    with asyncio.Runner(loop_factory=_loop_factory(given["loop"])) as runner:
        return runner.run(run(settings, say))


def _settings(context: click.Context, given: dict[str, Any]) -> Settings:
    upstream = given["url"] or given["upstream"]
    if given["url"] and given["upstream"] and _is_typed(context, "upstream"):
        raise click.UsageError("the server is named twice, as the argument and by --upstream")
    if upstream is None:
        raise click.UsageError("which server? For example: chaosproxy run ws://localhost:6001")
    host = host_header(given["host"], upstream)
    options = Options(given["seed"], given["dials_per_second"], given["journal_frames"], host=host)
    return Settings(
        upstream=upstream,
        listen=given["listen"],
        profile=_profile(context, given),
        options=options,
        tls=tls_options(given, upstream),
        control=given["control"],
        control_hosts=given["control_hosts"],
        token=given["token"],
        client_token=given["client_script_token"],
        journal=given["journal"],
        grace_s=given["grace"],
        checks_upstream=given["check_upstream"],
        owns_server=given["i_own_this_server"],
        is_verbose=given["verbose"],
    )


def _profile(context: click.Context, given: dict[str, Any]) -> Profile:
    named = [name for name in ("profile", "profile_yaml", "faults") if given[name] not in (None, ())]
    typed = [name for name in named if _is_typed(context, name)] or named
    if len(typed) > 1:
        got = " and ".join(_as_given(context, name) for name in typed)
        raise click.UsageError(f"expected one of --profile, --profile-yaml and --fault, got {got}")
    try:
        match typed:
            case ["profile"]:
                return by_name_or_file(given["profile"])
            case ["profile_yaml"]:
                return from_text(given["profile_yaml"], "CHAOSPROXY_PROFILE_YAML")
            case _:
                return from_options(given["faults"])
    except NoProfile as problem:
        raise Trouble(str(problem), ExitCode.USAGE) from None


def _as_given(context: click.Context, name: str) -> str:
    """An option in the words in which it was given: its own, or its variable's."""
    parameter = next(each for each in context.command.params if each.name == name)
    return parameter.opts[0] if _is_typed(context, name) else str(parameter.envvar)


def _unknown_variables() -> Iterator[str]:
    """Variables that look like ours and are not: a misspelt one would leave a fault out without a word."""
    every = (str(each.envvar) for command in cli.commands.values() for each in command.params if each.envvar)
    known = {variable.removeprefix("CHAOSPROXY_") for variable in every}
    for name in sorted(os.environ):
        rest = name.removeprefix("CHAOSPROXY_")
        if rest != name and rest not in known and not _OF_KUBERNETES.match(name):
            near = get_close_matches(rest, known, n=1, cutoff=0.5)
            meant = f"; did you mean CHAOSPROXY_{near[0]}?" if near else ""
            yield f"warning: {escape(name)} is not a variable of chaosproxy{meant}"


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _loop_factory(name: str | None) -> Callable[[], asyncio.AbstractEventLoop]:
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


@cli.command()
@click.argument("profiles", metavar="FILE|NAME...", nargs=-1, required=True)
def validate(profiles: tuple[str, ...]) -> int:
    """Check profiles: every problem at once, exit 2."""
    code = ExitCode.OK
    for name in profiles:
        try:
            click.echo(f"ok {show(name)} {by_name_or_file(name).digest}")
        except NoProfile as problem:
            click.echo(str(problem), err=True)
            code = ExitCode.USAGE
    return code


@cli.command()
@click.argument("name", required=False)
def profiles(name: str | None) -> int:
    """List the profiles that come with chaosproxy, or print one."""
    if name is None:
        abouts = library.abouts()
        width = max(map(len, abouts))
        for known, about in abouts.items():
            _echo(f"{known:<{width}}  {' '.join(about.split())}")
        click.echo("\nmore: chaosproxy profiles NAME", err=True)
        return ExitCode.OK
    try:
        click.echo(library.text(name), nl=False)
    except library.UnknownProfile as unknown:
        raise Trouble(str(unknown), ExitCode.USAGE) from None
    return ExitCode.OK


@cli.command()
@click.argument("name", required=False)
def faults(name: str | None) -> int:
    """List the faults, or describe one."""
    if name is None:
        for line in reference.overview().splitlines():
            _echo(line)
        click.echo("\nmore: chaosproxy faults NAME", err=True)
    elif name in FAULTS:
        click.echo(reference.describe(FAULTS[name]))
    else:
        meant = "".join(f"; did you mean {near}?" for near in nearest(name, FAULTS)[:1])
        raise Trouble(f"unknown fault {show(name)}{meant or '; chaosproxy faults lists them'}", ExitCode.USAGE)
    return ExitCode.OK


@cli.command()
@option(
    "--seconds",
    type=click.FloatRange(min=SECONDS_MIN, max=600),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="About how long it takes.",
)
def demo(seconds: float) -> int:
    """Watch a good and a naive client meet an outage. Needs nothing else."""
    play_demo(seconds)
    return ExitCode.OK


@cli.command()
def schema() -> int:
    """Print the JSON Schema of profiles, for editors."""
    click.echo(json.dumps(make_schema(), indent=2))
    return ExitCode.OK


@cli.command(epilog=ENVIRONMENT)
@option("--control", type=CONTROL_ADDRESS, default=CONTROL, show_default=True, help="The control address of `run`.")
def health(control: Address | None) -> int:
    """Ask a running proxy whether it is ready: exit 0 or 1. For HEALTHCHECK."""
    if control is None:
        raise Trouble("there is no control address to ask (CHAOSPROXY_CONTROL is none)", ExitCode.USAGE)
    address = reachable(control)
    connection = HTTPConnection(address.host, address.port, timeout=HEALTH_TIME_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        words = answer.read(200).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise Trouble(f"nobody answers at {address}: {reason}; is --control that of `run`?", ExitCode.FAILED) from None
    finally:
        connection.close()
    click.echo(escape(words) or answer.status)
    return ExitCode.OK if answer.status == 200 else ExitCode.FAILED


def _say(line: str) -> None:
    style: dict[str, Any] = {"fg": "yellow"} if "warning: " in line else {}
    with suppress(OSError):  # whoever listened to us has gone; clients have not
        click.secho(_fit(line, sys.stderr), err=True, **style)


def _echo(line: str) -> None:
    click.echo(_fit(line, sys.stdout))


def _fit(line: str, stream: TextIO | None) -> str:
    """Break a line between words where a terminal would break it anywhere; indent the rest by its first column."""
    if stream is None or not stream.isatty():
        return line
    columns = get_terminal_size().columns
    column = _FIRST_COLUMN.match(line)
    indent = " " * (column.end() if column and column.end() < columns // 2 else 2)
    return fill(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = cli.main(standalone_mode=False)
    except Trouble as trouble:
        click.secho(f"chaosproxy: {trouble}", err=True)
        return trouble.code
    except click.ClickException as problem:
        problem.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            return _internal_error()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            click.echo(f"chaosproxy: can't write the output: {os.strerror(error.errno).lower()}", err=True)
        return ExitCode.FAILED
    except Exception:
        return _internal_error()
    return int(code or 0)


def _internal_error() -> int:
    click.echo("chaosproxy: internal error; please report it with these lines:", err=True)
    traceback.print_exc()
    return ExitCode.INTERNAL
