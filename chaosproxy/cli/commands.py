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
from collections.abc import Iterator
from difflib import get_close_matches
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from typing import Any

import click

from .. import library
from ..addresses import reachable
from ..control.guard import HOSTS_VARIABLE, TOKEN_VARIABLE
from ..control.routes import document
from ..demo.play import DEFAULT_SECONDS, SECONDS_MIN
from ..demo.show import demo as play_demo
from ..expectations import EXPECTATIONS
from ..faults import FAULTS
from ..problems import escape, nearest, show
from ..profile import Profile
from ..profile_yaml import schema as make_schema
from ..proxy import Address
from ..wire.fast import PURE_VARIABLE
from ..world import Options
from . import reference
from .completion import attach, completion
from .options import (
    ADDRESS,
    CLIENT_TOKEN,
    CONTEXT,
    CONTROL_ADDRESS,
    DURATION,
    ENVIRONMENT,
    URL,
    Lines,
    as_given,
    is_quiet,
    is_typed,
    loop_factory,
    option,
    server_options,
)
from .premises import Settings
from .profile_choice import NoProfile, by_name_or_file, from_options, from_text
from .replay import replay_command
from .report import report_command
from .run import run
from .secure import host_header, tls_options
from .simulate import simulate_command
from .sweep import sweep
from .terminal import echo, wants_colour
from .trouble import ExitCode, Trouble
from .verify import verify
from .voice import voice_of

HEALTH_TIME_S = 3.0
CONTROL = "127.0.0.1:7002"
# What `verify` and `sweep` tell a command that may be one of ours; and what is read before there are options.
_NO_OPTIONS = {"URL", "PORT", PURE_VARIABLE.removeprefix("CHAOSPROXY_")}
_OF_KUBERNETES = re.compile(r"CHAOSPROXY(_\w+)?_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")  # for a service of our name


@click.group(context_settings=CONTEXT, epilog="Start here: chaosproxy demo")
@click.version_option(version("chaosproxy"), message="chaosproxy %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Hurt WebSocket connections on purpose; invisible until a profile says so."""
    context.color = wants_colour()


@cli.command("run", epilog=ENVIRONMENT)
@click.argument("url", type=URL, required=False)
@option("--upstream", type=URL, metavar="URL", help="The server: ws://, wss:// or tcp://HOST:PORT; also the argument.")
@option("--listen", type=ADDRESS, default="127.0.0.1:7001", show_default=True, help="Where clients connect.")
@server_options
@option("--profile", metavar="NAME|FILE", help="What shall happen; see `chaosproxy profiles`.")
@option("--profile-yaml", metavar="YAML", help="A whole profile as text, for containers.")
@option("--fault", "faults", multiple=True, type=Lines(), metavar="FAULT", help='Without a profile: "close=4200@5s".')
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
@option(
    "--journal-bytes",
    is_flag=True,
    help="Every byte too, so that `chaosproxy replay` can repeat the run. It holds all that clients and server said, "
    "secrets as well, and without TLS: mind who gets it.",
)
@option("--grace", type=DURATION, default="10s", show_default=True, help="How long to drain after SIGTERM or Ctrl-C.")
@option("--check-upstream", is_flag=True, help="Exit 3 if the server can't be reached now.")
@option(
    "--log",
    type=click.Choice(["plain", "json"]),
    default="plain",
    show_default=True,
    help="How to say what happens, on stderr: in lines for people, or as JSON lines for a log collector.",
)
@option("--no-live", is_flag=True, help="On a terminal: no live line for each connection, just the lines that stay.")
@option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@option("--verbose", "-v", is_flag=True, help="Say more.")
@click.pass_context
def run_command(context: click.Context, /, **given: Any) -> int:
    """Put the proxy before a server.

    Ends on SIGTERM or Ctrl-C: connections get 1001 (over tcp:// FIN) and the grace time, exit 0; a second signal
    ends at once, exit 130 or 143. Other exit codes: 2 usage or profile, 3 server unreachable, 4 port busy, 70 internal
    error.
    """
    voice = voice_of(given["log"], is_quiet=is_quiet(context, given))
    try:
        for warning in _unknown_variables():
            voice(warning)
        settings = _settings(context, given)
        with asyncio.Runner(loop_factory=loop_factory(given["loop"])) as runner:
            return runner.run(run(settings, voice, is_live=not (given["no_live"] or given["quiet"])))
    except Trouble as trouble:
        voice.fail(str(trouble))
        return trouble.code


def _settings(context: click.Context, given: dict[str, Any]) -> Settings:
    upstream = given["url"] or given["upstream"]
    if given["url"] and given["upstream"] and is_typed(context, "upstream"):
        raise click.UsageError("the server is named twice, as the argument and by --upstream")
    if upstream is None:
        raise click.UsageError("which server? For example: chaosproxy run ws://localhost:6001")
    if given["journal_bytes"] and given["journal"] is None:
        raise click.UsageError("--journal-bytes needs a journal to write to: add --journal FILE")
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
        records_bytes=given["journal_bytes"],
        grace_s=given["grace"],
        checks_upstream=given["check_upstream"],
        owns_server=given["i_own_this_server"],
        is_verbose=given["verbose"],
    )


def _profile(context: click.Context, given: dict[str, Any]) -> Profile:
    named = [name for name in ("profile", "profile_yaml", "faults") if given[name] not in (None, ())]
    typed = [name for name in named if is_typed(context, name)] or named
    if len(typed) > 1:
        got = " and ".join(as_given(context, name) for name in typed)
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


def _unknown_variables() -> Iterator[str]:
    """Variables that look like ours and are not: a misspelt one would leave a fault out without a word."""
    every = (str(each.envvar) for command in cli.commands.values() for each in command.params if each.envvar)
    known = {variable.removeprefix("CHAOSPROXY_") for variable in every} | _NO_OPTIONS
    for name in sorted(os.environ):
        rest = name.removeprefix("CHAOSPROXY_")
        if rest != name and rest not in known and not _OF_KUBERNETES.match(name):
            alike = sorted(each for each in known if rest in each.split("_"))
            near = get_close_matches(rest, alike or sorted(known), n=1, cutoff=0.0 if alike else 0.5)
            meant = f"; did you mean CHAOSPROXY_{near[0]}?" if near else ""
            yield f"warning: {escape(name)} is not a variable of chaosproxy{meant}"


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
            echo(f"{known:<{width}}  {' '.join(about.split())}")
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
            echo(line)
        click.echo("\nmore: chaosproxy faults NAME", err=True)
    elif name in FAULTS:
        click.echo(reference.describe(FAULTS[name]))
    else:
        meant = "".join(f"; did you mean {near}?" for near in nearest(name, FAULTS)[:1])
        raise Trouble(f"unknown fault {show(name)}{meant or '; chaosproxy faults lists them'}", ExitCode.USAGE)
    return ExitCode.OK


@cli.command()
@click.argument("name", required=False)
def expectations(name: str | None) -> int:
    """List what a profile may expect of clients, or describe one expectation."""
    if name is None:
        for line in reference.expectations_overview().splitlines():
            echo(line)
        click.echo("\nmore: chaosproxy expectations NAME", err=True)
    elif name in EXPECTATIONS:
        click.echo(reference.describe_expectation(EXPECTATIONS[name]))
    else:
        meant = "".join(f"; did you mean {near}?" for near in nearest(name, EXPECTATIONS)[:1])
        remedy = meant or "; chaosproxy expectations lists them"
        raise Trouble(f"unknown expectation {show(name)}{remedy}", ExitCode.USAGE)
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


@cli.command()
def openapi() -> int:
    """Print the OpenAPI document of the control API."""
    click.echo(json.dumps(json.loads(document(False)), indent=2))
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


cli.add_command(sweep)
cli.add_command(verify)
cli.add_command(simulate_command)
cli.add_command(replay_command)
cli.add_command(report_command)
cli.add_command(completion)
attach(cli)


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
