"""The real pusher-js with each WebSocket it meets: its own in Node, Node's own, Chromium's. What differs is data here.

Where pusher-js's code decides, all are alike: a second after a close, activityTimeout and pongTimeout after the last
message, 15 s from dial to dial. The rest is up to the WebSocket: which close codes it takes, whether it waits for the
FIN behind a close frame, and whether it has a localStorage, in which pusher-js remembers how it got through last time.
Then it first tries just that, for a second and twice the time it took, before its usual round of attempts.

All stories run side by side, as most of them wait most of their time. Another worker would run them all again, so that
these tests stay together (tests/workers.py).
"""

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.demo_server import Demo
from tests.interop.proxy import Proxy
from tests.interop.pusher_client import CHROMIUM, NODE, RUNTIMES, SHORT_TIMERS, UNDICI, Event, PusherClient, Runtime
from tests.interop.soketi import App, Soketi
from tests.interop.test_outages import (
    BUSY_LATE_MS,
    HEALTHY,
    all_subscribed,
    assert_within,
    behind,
    brief_interruption,
    extended_outage,
)

DATA = "data.code"
ERROR_DATA = "error.data.code"
Errors = list[tuple[str | None, int | None]]  # where the code was found, and the code


class End(NamedTuple):
    """What a client makes of an end: the errors it emits, and how long it then still counts as connected."""

    errors: Errors
    lag_ms: int = 1000


def both(code: int) -> Errors:
    """Where pusher-js acts on a code, an application hears of it twice, at different depths."""
    return [(DATA, code), (ERROR_DATA, code)]


# By what the client's connection meets; a runtime that is not named is like the others.
ENDS: list[tuple[str, dict[Runtime | None, End]]] = [
    ("reset", {NODE: End([(None, None), (DATA, 1006)]), None: End([(DATA, 1006)])}),
    ("fin", {None: End([(DATA, 1006)])}),
    ("close: 1000", {None: End([])}),
    ("close: 1001", {None: End([])}),
    ("close: none", {NODE: End([]), None: End([(DATA, 1005)])}),
    ("close: 1011", {None: End([(DATA, 1011)])}),
    ("close: 1012", {NODE: End(both(1002)), None: End([(DATA, 1012)])}),  # its registry is older than 1012
    ("close: 4100", {None: End(both(4100))}),
    ("close: 4200", {None: End(both(4200), lag_ms=0)}),
    # Chromium waits 2 s for the FIN. Undici waits for ever, and pusher-js then goes by its own timers.
    (
        "close: {code: 1001, then: nothing}",
        {NODE: End([]), CHROMIUM: End([], lag_ms=2000 + 1000), UNDICI: End([], lag_ms=3000 + 2000)},
    ),
]
HANGING = f"""\
{HEALTHY}\
  - name: silence
    lasts: 12s
    rules:
      - half_open: {{leg: both, mode: blackhole, heal: reset, hits: live}}
      - hang
"""
# For the default timers, of which the server shortens activityTimeout to 30 s: longer than the first two dials take.
HANGING_LONGER = HANGING.replace("lasts: 12s", "lasts: 95s")
# Before the first of the dials that are 15, then 30 s apart.
FIRST_TRY_MS: dict[Runtime, list[int]] = {NODE: [], UNDICI: [], CHROMIUM: [1000]}


def each_end(server_port: int, loop: str, directory: Path, late_ms: int, runtime: Runtime) -> None:
    """One end after the other to the same client: connected → connecting → connected each time."""
    phases = [
        f"  - name: {number}\n    until: step\n    rules:\n      - {end}\n" for number, (end, _) in enumerate(ENDS)
    ]
    profile = "version: 1\nphases:\n  - name: healthy\n    until: step\n" + "".join(phases)
    with behind(profile, server_port, loop, directory, runtime) as (proxy, client):
        before = all_subscribed(client)
        for end, makes_of_it in ENDS:
            expected = makes_of_it.get(runtime) or makes_of_it[None]
            proxy.control("POST", "/api/phase/next", {})
            lost = client.wait_for("state", previous="connected", current="connecting", after=before)
            back = client.wait_for("state", previous="connecting", current="connected", after=lost)
            assert _errors(client, before, back) == expected.errors, end
            assert_within(lost["at"] - before["at"], expected.lag_ms, late_ms, f"{end}: connected → connecting")
            before = all_subscribed(client, after=back)


def hanging_dials(server_port: int, loop: str, directory: Path, late_ms: int, runtime: Runtime) -> None:
    """Half-open, and dials that nobody answers: the same states, though not the same dials."""
    with behind(HANGING, server_port, loop, directory, runtime) as (proxy, client):
        _goes_unavailable_and_comes_back(client, (3000 + 2000, 4000), late_ms)
        _dials(proxy, [*FIRST_TRY_MS[runtime], 15_000], late_ms)


def default_timers(server_port: int, loop: str, directory: Path, late_ms: int, runtime: Runtime) -> None:
    """The same as people meet it: a minute until the outage is noticed, and two until it is over."""
    with behind(HANGING_LONGER, server_port, loop, directory, runtime, timers={}) as (proxy, client):
        _goes_unavailable_and_comes_back(client, (30_000 + 30_000, 10_000), late_ms)
        _dials(proxy, [*FIRST_TRY_MS[runtime], 15_000, 30_000], late_ms)


def _goes_unavailable_and_comes_back(client: PusherClient, edges_ms: tuple[int, int], late_ms: int) -> None:
    before = all_subscribed(client)
    noticed = client.wait_for("state", current="connecting", after=before, timeout_s=90)
    unavailable = client.wait_for("state", current="unavailable", after=noticed, timeout_s=20)
    back = client.wait_for("state", current="connected", after=unavailable, timeout_s=60)
    all_subscribed(client, after=back)
    assert client.states() == ["connecting", "connected", "connecting", "unavailable", "connected"]
    assert_within(noticed["at"] - before["at"], edges_ms[0], late_ms, "connected → connecting")
    assert_within(unavailable["at"] - noticed["at"], edges_ms[1], late_ms, "connecting → unavailable")


def _dials(proxy: Proxy, gaps_ms: list[int], late_ms: int) -> None:
    """Assert how long after each dial of the outage the next one came, of which the last got through."""
    dials = [record["at"] * 1000 for record in proxy.journal() if record.get("event") == "asked"][1:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(dials)]
    assert len(gaps) == len(gaps_ms), dials
    for took_ms, expected_ms in zip(gaps, gaps_ms, strict=True):
        # Seen from the proxy, to which the earlier dial may have come late as well as the later one.
        assert abs(took_ms - expected_ms) <= late_ms, dials


def refused_application(server_port: int, loop: str, directory: Path, late_ms: int, runtime: Runtime) -> None:
    """A server that refuses during the handshake is heard once, where the handbook says, and never asked again."""
    with PusherClient(server_port, app=App("none", "no-such-key", ""), options=SHORT_TIMERS, runtime=runtime) as client:
        refused = client.wait_for("state", current="disconnected")
        assert client.states() == ["connecting", "disconnected"]
        assert _errors(client, client.events[0], refused) == [(ERROR_DATA, 4001)]


def _errors(client: PusherClient, after: Event, until: Event) -> Errors:
    begin, end = (next(index for index, each in enumerate(client.events) if each is event) for event in (after, until))
    return [(event["path"], event["code"]) for event in client.events[begin:end] if event["kind"] == "error"]


Story = Callable[[int, str, Path, int, Runtime], None]
Case = tuple[Story, str, Runtime]  # the server is "demo" or "soketi"
CASES: list[Case] = [  # the longest first: they run in this order
    *((extended_outage, server, runtime) for server in ("demo", "soketi") for runtime in RUNTIMES),
    *((hanging_dials, "demo", runtime) for runtime in RUNTIMES),
    *((each_end, "demo", runtime) for runtime in RUNTIMES),
    *((brief_interruption, server, runtime) for server in ("demo", "soketi") for runtime in RUNTIMES),
    *((refused_application, "soketi", runtime) for runtime in RUNTIMES),
]
AT_ONCE = 12
LOOPS = {"demo": "asyncio", "soketi": "uvloop"}


def name_of(case: Case) -> str:
    story, server, runtime = case
    return f"{story.__name__}-{server}-{runtime.name}"


@pytest.fixture(scope="module")
def runs(soketi: Soketi, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[None]]:
    """Run all stories, and give their ends.

    No test begins before the last has ended: pytest then sets a variable of the environment, and for a process that
    another thread is just about to start there is no worse moment.
    """
    return run_side_by_side(CASES, soketi, tmp_path_factory.mktemp("runtimes"))


def run_side_by_side(cases: list[Case], soketi: Soketi, directory: Path, times: int = 1) -> dict[str, Future[None]]:
    """Run each story so many times in a row, all of them at once if they are not too many."""

    def row(case: Case) -> None:
        story, server, runtime = case
        for number in range(times):
            folder = directory / f"{name_of(case)}-{number}"
            story(ports[server], LOOPS[server], folder, BUSY_LATE_MS, runtime)

    with Demo() as demo, ThreadPoolExecutor(AT_ONCE) as threads:
        ports = {"demo": demo.port, "soketi": soketi.port}
        return {name_of(case): threads.submit(row, case) for case in cases}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_each_runtime_tells_the_story_that_is_known_of_it(case: Case, runs: dict[str, Future[None]]) -> None:
    runs[name_of(case)].result()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("story", [extended_outage, hanging_dials, each_end, brief_interruption])
def test_each_runtime_tells_the_same_story_twenty_times_in_a_row(story: Story, soketi: Soketi, tmp_path: Path) -> None:
    for end in run_side_by_side([case for case in CASES if case[0] is story], soketi, tmp_path, 20).values():
        end.result()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_with_the_default_timers_each_runtime_notices_after_a_minute(soketi: Soketi, tmp_path: Path) -> None:
    cases: list[Case] = [(default_timers, server, runtime) for server in LOOPS for runtime in RUNTIMES]
    for end in run_side_by_side(cases, soketi, tmp_path).values():
        end.result()
