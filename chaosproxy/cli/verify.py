"""The verb `verify`: play a profile on a client, judge what the client does about it, and end with an exit code."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from ..control.guard import TOKEN_VARIABLE
from ..expect_options import with_expectations
from ..problems import BadProfile, render
from ..profile import Profile
from ..world import Options
from .judging import Plan, play_all
from .options import (
    ADDRESS,
    CONTROL_ADDRESS,
    DURATION,
    ENVIRONMENT,
    URL,
    expect_option,
    is_quiet,
    loop_factory,
    option,
    server_options,
)
from .place import env_option
from .premises import Settings
from .process import unless_interrupted
from .profile_choice import NoProfile, by_name_or_file
from .reports import Reports
from .secure import host_header, tls_options
from .terminal import say, silent
from .trouble import ExitCode, Trouble

STDERR = 2  # the descriptor; the command's stdout goes there where the report takes ours


class _Verify(click.Command):
    """Takes what stands behind -- for the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        cut = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = tuple(args[cut + 1 :])
        return super().parse_args(ctx, args[:cut])


@click.command("verify", cls=_Verify, epilog=ENVIRONMENT)
@click.argument("profiles", metavar="PROFILE|NAME... [-- COMMAND...]", nargs=-1)
@option("--upstream", type=URL, metavar="URL", required=True, help="The server: ws://, wss:// or tcp://HOST:PORT.")
@option("--listen", type=ADDRESS, default="127.0.0.1:0", show_default=True, help="Where clients connect.")
@server_options
@env_option(has_control=True)
@expect_option
@option("--seed", type=int, help="What chance depends on; the profile's own by default.")
@option(
    "--repeat",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="runs; all must go alike.",
)
@option("--timeout", type=DURATION, default="10m", show_default=True, help="How long a run may take.")
@option(
    "--stop-when",
    type=click.Choice(["command", "timeline"]),
    default="command",
    show_default=True,
    help="What ends a run: that the command exits, or that the timeline is over and all is decided.",
)
@option("--upstream-wait", type=DURATION, default="30s", show_default=True, help="How long to wait for the server.")
@option("--control", type=CONTROL_ADDRESS, default="127.0.0.1:0", show_default=True, help="API and metrics, or none.")
@option("--token", variable=TOKEN_VARIABLE, help=f"What the control API asks for ({TOKEN_VARIABLE}).")
@option("--journal", metavar="FILE", help="Write what happens as JSON lines; of several runs, the last one's.")
@option("--journal-frames", is_flag=True, help="Every frame too.")
@option("--junit", metavar="FILE", help="Write a report that CI servers read: a test case for each row.")
@option("--markdown", metavar="FILE", help="Write the tables as Markdown.")
@option("--html", metavar="FILE", help="Write all runs with their lanes as one HTML file that opens without a network.")
@option("--json", "json_file", metavar="FILE|-", help="Write all of it as JSON; - leaves stdout to it alone.")
@option("--quiet", "-q", is_flag=True, help="Say nothing but the verdict, and errors.")
@option("--verbose", "-v", is_flag=True, help="Say what happens, as `run` does; draw the lanes of each run.")
@click.pass_context
def verify(context: click.Context, /, **given: Any) -> int:
    """Play a profile on a client, and judge what it does.

    COMMAND is a client of yours. It finds the proxy by CHAOSPROXY_URL, CHAOSPROXY_HOST and CHAOSPROXY_PORT (and the
    control API by CHAOSPROXY_CONTROL), and is run once for each profile; what is left of it behind its end is ended.
    Without one, a run waits for clients that you start yourself, and ends with the timeline.

    Exit codes: 0 all rows passed, 1 one did not, 2 usage or profile, 3 server unreachable, 124 a run took too long.
    """
    command: tuple[str, ...] = context.meta["command"]
    if not given["profiles"]:
        raise click.UsageError(
            "which profile? For example: chaosproxy verify brief-interruption --upstream "
            f"{given['upstream']} -- node client.js"
        )
    quiet = is_quiet(context, given)
    plan = _plan(given, command)._replace(say=silent if quiet else say)
    reports = Reports(given)
    with asyncio.Runner(loop_factory=loop_factory(given["loop"])) as runner:
        return runner.run(unless_interrupted(play_all(plan, reports)))


def _plan(given: dict[str, Any], command: tuple[str, ...]) -> Plan:
    if given["journal"] == "-":
        raise click.UsageError("--journal - is for `run`: here stdout is the command's, and the table's")
    upstream = given["upstream"]
    settings = [
        Settings(
            upstream=upstream,
            listen=given["listen"],
            profile=profile,
            options=Options(
                given["seed"],
                given["dials_per_second"],
                given["journal_frames"],
                host=host_header(given["host"], upstream),
            ),
            tls=tls_options(given, upstream),
            control=given["control"],
            control_hosts=(),
            token=given["token"],
            client_token=None,
            journal=given["journal"],
            grace_s=0.0,
            checks_upstream=False,
            owns_server=given["i_own_this_server"],
            is_verbose=given["verbose"],
        )
        for profile in _profiles(given["profiles"], given["expectations"])
    ]
    return Plan(
        settings=tuple(settings),
        command=command,
        variables=given["variables"],
        command_stdout=STDERR if given["json_file"] == "-" else None,
        repeat=given["repeat"],
        timeout_s=given["timeout"],
        stops_with_command=bool(command) and given["stop_when"] == "command",
        upstream_wait_s=given["upstream_wait"],
    )


def _profiles(names: Sequence[str], expectations: Sequence[str]) -> list[Profile]:
    """Read them all; raise Trouble with the problems of all."""
    profiles: list[Profile] = []
    problems: list[str] = []
    for name in names:
        try:
            profiles.append(with_expectations(by_name_or_file(name), expectations))
        except NoProfile as problem:
            problems.append(str(problem))
        except BadProfile as bad:
            problems += [render(problem, "\n".join(expectations)) for problem in bad.problems]
    if problems:
        raise Trouble("\n".join(dict.fromkeys(problems)), ExitCode.USAGE)
    return profiles
