"""`chaosproxy simulate`: see what a profile does before running it."""

import json

import click

from ..expectations import Outcome
from ..opaque import profile_misfits, words_of
from ..problems import escape
from ..profile import Profile
from ..simulate import AT_MOST, Story, simulate
from ..units import MILLISECOND, SECOND
from ..world import Options
from .options import DURATION, ENVIRONMENT, option
from .profile_choice import NoProfile, by_name_or_file
from .terminal import echo
from .trouble import ExitCode, Trouble

CLIENTS_MAX = 1000


@click.command("simulate", epilog=ENVIRONMENT)
@click.argument("profile", metavar="PROFILE|FILE")
@option(
    "--clients", type=click.IntRange(1, CLIENTS_MAX), default=1, show_default=True, help="How many clients there are."
)
@option("--seed", type=int, help="What chance depends on; the profile's own by default.")
@option("--tcp", is_flag=True, help="As with a tcp:// upstream: bytes, and no WebSocket.")
@option("--at-most", type=DURATION, default="24h", show_default=True, help="How much time to play.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate_command(profile: str, clients: int, seed: int | None, tcp: bool, at_most: float, as_json: bool) -> int:
    """Play a profile in virtual time, in no time, and print what happens.

    The faults are the real ones; server and clients are models. Where the profile names protocol: pusher, a client does
    as pusher-js 8 does with its defaults, and the server as soketi; else the client pings as Python's websockets does,
    and the server sends its messages back.
    """
    try:
        played = by_name_or_file(profile)
    except NoProfile as problem:
        raise Trouble(str(problem), ExitCode.USAGE) from None
    if tcp and (misfits := words_of(profile_misfits(played))):
        raise Trouble("\n  ".join(["this profile can't be used with a tcp:// upstream:", *misfits]), ExitCode.USAGE)
    story = simulate(played, Options(seed, is_opaque=tcp), clients, min(round(at_most * SECOND), AT_MOST))
    if as_json:
        click.echo(json.dumps(_as_json(played, seed, story), indent=2))
        return ExitCode.OK
    for line in story.lines:
        echo(f"{line.at / SECOND:9.3f}  {line.who:<8}  {escape(line.text)}")
    echo(f"{story.ended_at / SECOND:9.3f}  the end")
    click.echo()
    for end in story.clients:
        channels = f", subscribed to {len(end.subscribed)} channels" if end.subscribed else ""
        echo(
            f"{end.name}: {end.state}{channels}; {end.attempts} attempts, {end.losses} connections lost, "
            f"{end.heard} messages heard"
        )
    for row in story.rows:
        has_passed = row.outcome in (Outcome.PASSED, Outcome.HOLDS)
        echo(f"{'expected' if has_passed else 'not met'}: {escape(f'{row.title}: {row.seen}')}")
    for note in story.notes:
        echo(f"note: {escape(note)}")
    return ExitCode.OK


def _as_json(profile: Profile, seed: int | None, story: Story) -> dict[str, object]:
    return {
        "profile": profile.name,
        "digest": profile.digest,
        "seed": profile.seed if seed is None else seed,
        "seconds": _seconds(story.ended_at),
        "events": [{"at": _seconds(line.at), "who": line.who, "what": line.text} for line in story.lines],
        "clients": [end._asdict() for end in story.clients],
        "expected": [
            {"name": row.name, "about": row.about, "outcome": row.outcome.value, "seen": row.seen} for row in story.rows
        ],
        "notes": story.notes,
    }


def _seconds(time: int) -> float:
    return time // MILLISECOND / 1000
