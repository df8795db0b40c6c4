"""Run the claims of claims.py, many at once since they wait most of their time, and write docs/pusher.md from a run.

python -m tests.interop.handbook                      run all, in each runtime, before both servers
python -m tests.interop.handbook 4200 --runtime node  run one
python -m tests.interop.handbook --write              run all, and write docs/pusher.md
"""

import argparse
import contextlib
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.interop.claims import CLAIMS, Claim, MakeClient, Scene
from tests.interop.demo_server import Demo
from tests.interop.pusher_client import CHROMIUM, NODE, UNDICI, PusherClient
from tests.interop.soketi import Soketi

RUNTIMES: Mapping[str, MakeClient] = {
    runtime.name: partial(PusherClient, runtime=runtime) for runtime in (NODE, UNDICI, CHROMIUM)
}
SERVERS = ("soketi", "demo")
DOCUMENT = Path(__file__).parents[2] / "docs" / "pusher.md"
JOBS = 8
LATE_MS = 2000  # for so many at once on two cores

_TITLES = {"node": "Node (faye-websocket)", "undici": "Node (its own WebSocket)", "chromium": "Chromium"}
_HEAD = """\
# What pusher-js really does

The life of a connection as handbooks of Pusher servers tell it, claim by claim, and what a real client does. Written by
a program from real runs: pusher-js 8.6 through chaosproxy, before soketi 1.6 (its transport is a stand-in for
uWebSockets.js) and before chaosproxy's demo server. Each claim held before both; what was seen is that before soketi.

Clients have short timers unless the row says otherwise: activityTimeout 3000, pongTimeout 2000, unavailableTimeout
4000. pusher-js's own are 120 s (or what the server announces: soketi 30 s), 30 s and 10 s. Times stand behind the
state that they led to. Each row has the command that runs it again, from a clone behind `make setup`; by hand it is
`chaosproxy run ws://127.0.0.1:6001 --profile PROFILE`, with a client at port 7001.
"""


class Result(NamedTuple):
    """What a run has shown; `error` is empty where the claim held."""

    claim: Claim
    runtime: str
    server: str
    seen: str
    error: str


@contextlib.contextmanager
def servers(names: Sequence[str], directory: Path) -> Iterator[Mapping[str, int]]:
    """Their ports."""
    with contextlib.ExitStack() as stack:
        ports: dict[str, int] = {}
        if "soketi" in names:
            ports["soketi"] = stack.enter_context(Soketi(directory)).port
        if "demo" in names:
            ports["demo"] = stack.enter_context(Demo()).port
        yield ports


def run_one(claim: Claim, runtime: str, server: str, port: int, directory: Path, late_ms: int) -> Result:
    directory.mkdir(parents=True)
    scene = Scene(directory, runtime, RUNTIMES[runtime], port, late_ms)
    try:
        claim.story(scene)
    except Exception:
        return Result(claim, runtime, server, scene.seen, traceback.format_exc())
    return Result(claim, runtime, server, scene.seen, "")


def run_all(
    claims: Sequence[Claim],
    runtimes: Sequence[str],
    server_ports: Mapping[str, int],
    directory: Path,
    *,
    jobs: int = JOBS,
    late_ms: int = LATE_MS,
) -> list[Result]:
    """Run each claim in each of its runtimes before each server, many at once."""
    wanted = [
        (claim, runtime, server, port)
        for claim in claims
        for runtime in runtimes
        if runtime in claim.runtimes
        for server, port in server_ports.items()
    ]
    with ThreadPoolExecutor(jobs) as threads:
        runs = {}
        for each in sorted(
            wanted, key=lambda each: not each[0].is_long
        ):  # the long ones first: less waiting at the end
            claim, runtime, server, port = each
            folder = directory / f"{claim.name}-{runtime}-{server}"
            runs[each] = threads.submit(run_one, claim, runtime, server, port, folder, late_ms)
        return [runs[each].result() for each in wanted]


def document(results: Sequence[Result]) -> str:
    """docs/pusher.md."""
    parts = [_HEAD]
    for claim in dict.fromkeys(result.claim for result in results):
        of_claim = [result for result in results if result.claim is claim]
        lines = [f"## {claim.name}", "", f"- **It is said:** {claim.says}", f"- **True is:** {claim.truth}"]
        lines.append(f"- Profile: `{claim.profile}`")
        lines.append(f"- Again: `.venv/bin/python -m tests.interop.handbook {claim.name}`")
        for runtime in dict.fromkeys(result.runtime for result in of_claim):
            seen = {result.server: result.seen for result in of_claim if result.runtime == runtime}
            shown = seen.get("soketi") or next(iter(seen.values()))
            lines.append(f"- {_TITLES[runtime]}: {shown}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="claims; all of them where none is named")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may be given several times")
    parser.add_argument("--server", action="append", choices=SERVERS)
    parser.add_argument("--fast", action="store_true", help="leave out those that take most of a minute")
    parser.add_argument("--write", action="store_true", help="write docs/pusher.md")
    parser.add_argument("--jobs", type=int, default=JOBS)
    options = parser.parse_args()
    claims = [claim for claim in CLAIMS if claim.name in options.names or not options.names]
    if unknown := set(options.names) - {claim.name for claim in claims}:
        parser.error(f"no claim {', '.join(unknown)}; there are: {', '.join(claim.name for claim in CLAIMS)}")
    if options.fast:
        claims = [claim for claim in claims if not claim.is_long]
    with tempfile.TemporaryDirectory() as directory:
        names = options.server or SERVERS
        with servers(names, Path(directory)) as ports:
            results = run_all(claims, options.runtime or list(RUNTIMES), ports, Path(directory), jobs=options.jobs)
    for result in results:
        outcome = "FAIL" if result.error else "ok  "
        print(f"{outcome} {result.claim.name} / {result.runtime} / {result.server}: {result.seen}")
        if result.error:
            print(result.error)
    failed = [result for result in results if result.error]
    if options.write and not failed:
        DOCUMENT.write_text(document(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
