"""`chaosproxy replay`: let a journal's run happen again, in virtual time or with new traffic."""

import asyncio
from typing import Any

import click

from .. import __version__
from ..journal import JournalError, Record, read_journal
from ..problems import escape
from ..profile import Profile
from ..replay import BadRecording, Difference, replay, setting_of
from ..script import Outcome, Script, ScriptedWorld
from ..sockets import Upstream
from ..world import Options, World
from .options import ADDRESS, DURATION, ENVIRONMENT, URL, is_quiet, loop_factory, option, server_options
from .premises import Settings
from .run import run
from .secure import host_header, tls_options
from .terminal import echo
from .trouble import ExitCode, Trouble
from .voice import Plain, Quiet

LINES_MAX = 20


@click.command("replay", epilog=ENVIRONMENT)
@click.argument("journal", metavar="JOURNAL")
@option("--upstream", type=URL, metavar="URL", help="Strike new traffic to this server: ws://, wss:// or tcp://.")
@option("--listen", type=ADDRESS, default="127.0.0.1:7001", show_default=True, help="Where clients connect then.")
@server_options
@option("--grace", type=DURATION, default="10s", show_default=True, help="How long to drain after SIGTERM or Ctrl-C.")
@option("--quiet", "-q", is_flag=True, help="Say nothing but the result, and errors.")
@option("--verbose", "-v", is_flag=True, help="Say more.")
@click.pass_context
def replay_command(context: click.Context, /, **given: Any) -> int:
    """Repeat the run of a journal.

    Without --upstream: feed what was received (run --journal --journal-bytes) into the proxy's core once more, in
    virtual time. It must decide the same; the first difference is shown, exit 1.

    With --upstream: put a proxy before a server, as `run` does, with the profile and seed of the journal (any will do).
    Faults strike at the same client, connection, side and message as recorded, in place of chance:, nth:, every: and
    first:. At the end it says which recorded strikes found no place, exit 1.

    A journal that can't be used, or is cut short: exit 2.
    """
    is_quiet(context, given)  # or both, which is a mistake
    header, records = _read(given["journal"])
    try:
        if given["upstream"] is None:
            return _in_virtual_time(header, records)
        return _with_new_traffic(header, records, given)
    except BadRecording as bad:
        raise Trouble(f"{escape(given['journal'])} can't be replayed: {bad}", ExitCode.USAGE) from None


def _read(path: str) -> tuple[Record, list[Record]]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return read_journal(file)
    except JournalError as bad:
        raise Trouble(f"{escape(path)} is no journal: {bad}", ExitCode.USAGE) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Trouble(f"{escape(path)} can't be read: {reason.lower()}", ExitCode.USAGE) from None


def _in_virtual_time(header: Record, records: list[Record]) -> int:
    replayed = replay(header, records)
    if replayed.difference:
        for line in _of_difference(replayed.difference):
            echo(line)
        echo(f"  recorded by chaosproxy {escape(str(header.get('version')))}, replayed by {__version__}")
        return ExitCode.FAILED
    said = f"same: {replayed.inputs} inputs, {replayed.actions} actions, digest {replayed.digest}"
    if not replayed.is_whole:
        message = f"the journal is cut short: its end is missing. Up to there it is the {said}"
        raise Trouble(message, ExitCode.USAGE)
    echo(said)
    return ExitCode.OK


def _of_difference(difference: Difference) -> list[str]:
    lines = [f"different at input {difference.number} (line {difference.line}): {escape(difference.what)}"]
    for name, did in (("then", difference.then), ("now ", difference.now)):
        lines.append(f"  {name}  {escape('; '.join(did)) or 'nothing'}")
    return lines


def _with_new_traffic(header: Record, records: list[Record], given: dict[str, Any]) -> int:
    profile, recorded = setting_of(header)
    script = Script(records)
    upstream: Upstream = given["upstream"]
    if recorded.is_opaque != upstream.is_opaque:
        wanted = "tcp://" if recorded.is_opaque else "ws:// or wss://"
        raise Trouble(f"the journal is of a {wanted} upstream, got --upstream {upstream}", ExitCode.USAGE)
    worlds: list[ScriptedWorld] = []

    def make_world(profile: Profile, options: Options, now: int) -> World:
        worlds.append(ScriptedWorld(profile, options, now, script))
        return worlds[-1]

    options = Options(recorded.seed, given["dials_per_second"], host=host_header(given["host"], upstream))
    settings = Settings(
        upstream=upstream,
        listen=given["listen"],
        profile=profile,
        options=options,
        tls=tls_options(given, upstream),
        control=None,
        control_hosts=(),
        token=None,
        client_token=None,
        journal=None,
        grace_s=given["grace"],
        checks_upstream=False,
        owns_server=given["i_own_this_server"],
        is_verbose=given["verbose"],
        make_world=make_world,
    )
    voice = Quiet() if given["quiet"] else Plain()
    with asyncio.Runner(loop_factory=loop_factory(given["loop"])) as runner:
        code = runner.run(run(settings, voice))
    outcome = worlds[-1].outcome
    for line in _of_outcome(outcome, script):
        echo(line)
    return ExitCode.FAILED if outcome.lost and not code else code


def _of_outcome(outcome: Outcome, script: Script) -> list[str]:
    struck = outcome.recorded - len(outcome.lost)
    lines = [f"{struck} of {outcome.recorded} recorded strikes struck again"]
    for strike in outcome.lost[:LINES_MAX]:
        remedy = "; the rule was added by hand, not by the profile" if strike.rule in script.by_hand else ""
        lines.append(f"  found no place: {escape(str(strike))}{remedy}")
    if len(outcome.lost) > LINES_MAX:
        lines.append(f"  … and {len(outcome.lost) - LINES_MAX} more")
    if outcome.added:
        lines.append(f"  {outcome.added} strikes more than recorded")
    return lines
