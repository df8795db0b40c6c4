"""The verb verify on real clients, each before a real server of its kind: their verdicts, row by row.

All runs of the module are played at the same time, as soon as the first test asks for one.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import pytest
from websockets.sync.server import ServerConnection, serve

from chaosproxy import library
from tests.interop.demo_server import Demo
from tests.interop.processes import NODE_FOLDER, node_script
from tests.interop.soketi import APP, Soketi
from tests.interop.test_outages import busy_cores
from tests.live import LOOPS

pytestmark = pytest.mark.timeout(400)  # all runs at once, on a machine that others may use too

EXAMPLE = ("node", "examples/verify/client.js")
PLAIN = ("node", str(NODE_FOLDER / "plain_client.mjs"))
ECHO = ("node", str(NODE_FOLDER / "returning_echo.mjs"))
SOCKET_IO = ("node", str(NODE_FOLDER / "returning_socketio.mjs"))
WEBSOCKETS = (sys.executable, str(Path(__file__).parent / "websockets_client.py"))
BACKOFF = {"INITIAL_DELAY": "0.5", "MIN_DELAY": "0.3", "FACTOR": "2"}  # seconds; shorter than what websockets has
SHORT_TIMERS = {"PUSHER_OPTIONS": '{"activityTimeout": 3000, "pongTimeout": 2000, "unavailableTimeout": 4000}'}
KEYS = {"PUSHER_KEY": APP.key, "PUSHER_SECRET": APP.secret}

BRIEF = """\
version: 1
name: brief
phases:
  - name: healthy
    until: {opened: 1, within: 60s}
  - name: settled
    lasts: 500ms
  - name: cut
    lasts: 2s
    rules:
      - reset
expect:
  - {reconnected_within: 10s, after: fault}
  - attempts_at_most: 2
  - one_connection
"""
ECHO_BRIEF = """\
version: 1
name: echo-brief
protocol: pusher
phases:
  - name: healthy
    until: {subscribed: [news, private-orders], within: 60s}
  - name: cut
    lasts: 5s
    rules:
      - reset
expect:
  - {resubscribed: {within: 10s}, after: fault}
  - subscribes_once
"""
OVERLOADED = """\
version: 1
name: overloaded
phases:
  - name: healthy
    until: {opened: 1, within: 60s}
  - name: settled
    lasts: 500ms
  - name: overloaded
    lasts: 4s
    rules:
      - reset
      - reject: 503
expect:
  - one_connection
  - {attempts_at_most: 20, phase: overloaded}
"""
CROWDED = """\
version: 1
name: crowded
protocol: pusher
phases:
  - name: healthy
    until: {subscribed: 1, within: 60s}
  - name: crowded
    lasts: 4s
    rules:
      - pusher_error: {code: 4100, hits: all}
expect:
  - {reconnected_within: 10s, phase: crowded}
  - {resubscribed: {within: 11s}, phase: crowded}
  - {attempts_at_least: 2, phase: crowded}
  - {attempts_at_most: 5, phase: crowded}
  - backoff: {at_least: 950ms, at_most: 8s}
  - never_gives_up: {within: 10s}
"""


# Shipped profiles through which a good client keeps its connection, so that it never comes back.
STAYING = {
    "fragmented-messages",
    "lost-established",
    "normal-startup",
    "patchy-coverage",
    "pusher-4301-rejected-event",
    "short-heartbeat",
    "slow-link",
    "tiny-segments",
    "unexpected-pings",
}
LASTING = {"stalled-server", "tunnel"}  # the same, and what they do comes late
RETURNS = {"flapping": 3, "close-1001-rolling-deploy": 2, **dict.fromkeys(LASTING, 9)}


def expecting(*expectations: str) -> tuple[str, ...]:
    return tuple(word for each in expectations for word in ("--expect", each))


COMES_BACK = expecting(
    "{reconnected_within: 15s, phase: overloaded}",
    "{attempts_at_least: 2, phase: overloaded}",
    "never_gives_up: {within: 15s}",
)
SOCKET_IO_BACKOFF = expecting("backoff: {at_least: 200ms, at_most: 8s}")
WEBSOCKETS_BACKOFF = expecting("backoff: {grows: true, at_most: 8s}")
# What every run is judged by without being asked.
BASICS = {"a client came": "passed", "phases": "passed", "the command exits with 0": "passed"}
BRIEF_ROWS = {
    **BASICS,
    "reset struck": "passed",
    "reconnected_within: 10s": "passed",
    "attempts_at_most: 2": "passed",
    "one_connection: true": "passed",
}
OVERLOADED_ROWS = {
    **BASICS,
    "reset struck": "passed",
    "reject struck": "passed",
    "one_connection: true": "passed",
    "attempts_at_most: 20": "passed",
    "reconnected_within: 15s": "passed",
    "attempts_at_least: 2": "passed",
    "never_gives_up: {within: 15s}": "passed",
}
BACK = {"reconnected_within: 5s": "passed", "subscribes_once: true": "passed", "one_connection: true": "passed"}


class Ran(NamedTuple):
    """How a verify ended."""

    code: int
    report: dict[str, Any]

    @property
    def rows(self) -> dict[str, str]:
        """Outcomes by name, of the only run."""
        (run,) = self.report["runs"]
        return {row["name"].partition(" (")[0]: row["outcome"] for row in run["rows"]}

    def row(self, name: str) -> dict[str, Any]:
        (run,) = self.report["runs"]
        (found,) = (row for row in run["rows"] if row["name"] == name)
        assert isinstance(found, dict)
        return found


def verify(upstream: str, profile: str | Path, command: tuple[str, ...], *options: str, **variables: str) -> Ran:
    """Let verify judge a command."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "chaosproxy", "verify", str(profile), "--upstream", upstream),
            *("--timeout", "4m", "--json", "-", *options, "--", *command),
        ],
        env={**os.environ, "NODE_PATH": str(NODE_FOLDER / "node_modules"), **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    return Ran(ran.returncode, json.loads(ran.stdout))


def repeat(upstream: str, profile: str, times: int, *options: str, **variables: str) -> Ran:
    """Let verify judge the example client so many times in a row."""
    return verify(upstream, profile, EXAMPLE, "--repeat", str(times), *options, **variables)


def repeat_while_busy(upstream: str, profile: str, times: int) -> Ran:
    with busy_cores(os.cpu_count() or 2):
        return repeat(upstream, profile, times)


def alike(every: Sequence[Ran], times: int) -> None:
    """All rows of all runs have passed, among them that each run went as the first one did; and so they all did."""
    runs = [run for ran in every for run in ran.report["runs"]]
    assert [(row["name"], row["seen"]) for run in runs for row in run["rows"] if row["outcome"] == "failed"] == []
    assert len(runs) == times
    assert len({run["digest"] for run in runs}) == 1


def echo(link: ServerConnection) -> None:
    for message in link:
        link.send(message)


class Servers(NamedTuple):
    """Their addresses."""

    pusher: str
    socket_io: str
    websockets: str


@pytest.fixture(scope="module")
def servers(soketi: Soketi) -> Iterator[Servers]:
    with (
        node_script("socketio_pair.mjs", {"serve": True}) as told,
        serve(echo, "127.0.0.1", 0) as server,
    ):
        serving = Thread(target=server.serve_forever)
        serving.start()
        port = json.loads(next(told))["port"]
        yield Servers(soketi.url, f"ws://127.0.0.1:{port}", f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def junit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verdicts") / "junit.xml"


Runs = dict[str, Future[Ran]]


@pytest.fixture(scope="module")
def runs(servers: Servers, junit: Path) -> Iterator[Runs]:
    """All runs of the module, under way."""
    folder = junit.parent

    def profile(text: str, name: str) -> Path:
        path = folder / f"{name}.yaml"
        path.write_text(text)
        return path

    brief = profile(BRIEF, "brief")
    overloaded = profile(OVERLOADED, "overloaded")
    pusher_overloaded = profile(
        OVERLOADED.replace("opened:", "subscribed:") + "protocol: pusher\n", "pusher-overloaded"
    )
    echo_brief = profile(ECHO_BRIEF, "echo-brief")
    crowded = profile(CROWDED, "pusher-crowded")

    to_the_end = ("--stop-when", "timeline")
    backoff = {f"WEBSOCKETS_BACKOFF_{name}": value for name, value in BACKOFF.items()}
    with ThreadPoolExecutor(16) as threads:
        go = threads.submit
        pusher, socket_io, plain = servers
        yield {
            "pusher-js": go(verify, pusher, "brief-interruption", EXAMPLE, "--junit", str(junit)),
            "pusher-js, forgetful": go(verify, pusher, "brief-interruption", EXAMPLE, FORGETS="channels"),
            "pusher-js, overloaded": go(
                verify,
                pusher,
                pusher_overloaded,
                EXAMPLE,
                *to_the_end,
                *expecting("reconnected_within: 5s", "{attempts_at_least: 2, phase: overloaded}"),
            ),
            "pusher-js, crowded": go(verify, pusher, crowded, EXAMPLE),
            "pusher-js, refused": go(verify, pusher, "pusher-4001-unknown-key", PLAIN, *to_the_end),
            "laravel-echo": go(verify, pusher, echo_brief, ECHO, *expecting("fresh_auth"), **KEYS),
            "socket.io-client": go(verify, socket_io, brief, SOCKET_IO, *to_the_end),
            "socket.io-client, overloaded": go(
                verify, socket_io, overloaded, SOCKET_IO, *to_the_end, *COMES_BACK, *SOCKET_IO_BACKOFF
            ),
            "websockets": go(verify, plain, brief, WEBSOCKETS, *to_the_end),
            "websockets, overloaded": go(
                verify,
                plain,
                overloaded,
                WEBSOCKETS,
                *to_the_end,
                *COMES_BACK,
                *WEBSOCKETS_BACKOFF,
                **backoff,
            ),
            "repeated": go(repeat_while_busy, pusher, "brief-interruption", 3),
        }


class TestPusherJs:
    def test_it_passes_a_brief_interruption(self, runs: Runs) -> None:
        ran = runs["pusher-js"].result()
        assert ran.rows == {**BASICS, "reset struck": "passed", **BACK, "resubscribed: 6s": "passed"}
        assert ran.code == 0

    def test_junit_has_a_case_for_each_row(self, runs: Runs, junit: Path) -> None:
        ran = runs["pusher-js"].result()
        suites = ET.parse(junit).getroot()
        (suite,) = suites
        cases = suite.findall("testcase")
        assert (suites.tag, suite.tag, suite.get("name")) == ("testsuites", "testsuite", "brief-interruption")
        assert (suite.get("tests"), suite.get("failures")) == (str(len(ran.rows)), "0")
        assert [str(case.get("name")).partition(" (")[0] for case in cases] == [
            name.partition(" (")[0] for name in ran.rows
        ]
        assert {each.get("value") for each in suite.iter("property")} == {"0", ran.report["runs"][0]["digest"]}

    def test_one_that_forgets_its_channel_fails_by_that_alone_and_the_journal_shows_it(self, runs: Runs) -> None:
        ran = runs["pusher-js, forgetful"].result()
        assert ran.rows == {**BASICS, "reset struck": "passed", **BACK, "resubscribed: 6s": "failed"}
        assert ran.code == 1
        row = ran.row("resubscribed: 6s")
        assert [(each["event"], each["connection"]) for each in row["evidence"]] == [
            ("subscribed", 1),
            ("struck", 1),
            ("established", 2),
        ]
        assert row["seen"].startswith("not to news ")

    def test_an_http_error_costs_it_a_slot_of_15_s(self, runs: Runs) -> None:
        """It gets no answer that it understands, so it asks again 15 s after its attempt, however soon it heals."""
        ran = runs["pusher-js, overloaded"].result()
        assert ran.rows == {
            **BASICS,
            "reset struck": "passed",
            "reject struck": "passed",
            "one_connection: true": "passed",
            "attempts_at_most: 20": "passed",
            "reconnected_within: 5s": "failed",
            "attempts_at_least: 2": "failed",  # one, a second after the reset
        }
        assert ran.code == 1
        assert ran.row("attempts_at_least: 2")["seen"] == "1 attempt"

    def test_over_capacity_it_asks_again_each_second(self, runs: Runs) -> None:
        ran = runs["pusher-js, crowded"].result()
        assert ran.rows == {
            **BASICS,
            "pusher_error struck": "passed",
            "reconnected_within: 10s": "passed",
            "resubscribed: 11s": "passed",
            "attempts_at_least: 2": "passed",
            "attempts_at_most: 5": "passed",
            "backoff: {at_least: 950ms, at_most: 8s}": "passed",
            "never_gives_up: {within: 10s}": "passed",
        }

    def test_an_unknown_key_is_the_end(self, runs: Runs) -> None:
        ran = runs["pusher-js, refused"].result()
        assert ran.rows == {
            **{name: outcome for name, outcome in BASICS.items() if name != "phases"},
            "pusher_error struck": "passed",
            "gives_up_on: 4001": "passed",
        }

    def test_all_runs_go_alike(self, runs: Runs) -> None:
        alike([runs["repeated"].result()], 3)


class TestLaravelEcho:
    def test_it_passes_a_brief_interruption_and_signs_anew(self, runs: Runs) -> None:
        ran = runs["laravel-echo"].result()
        assert ran.rows == {
            **BASICS,
            "reset struck": "passed",
            "resubscribed: 10s": "passed",
            "subscribes_once: true": "passed",
            "fresh_auth: true": "passed",
        }
        assert ran.row("fresh_auth: true")["seen"] == "a new signature once"
        assert ran.row("resubscribed: 10s")["seen"].startswith("to news, private-orders after ")


class TestSocketIo:
    def test_it_comes_back_after_a_reset(self, runs: Runs) -> None:
        assert runs["socket.io-client"].result().rows == BRIEF_ROWS

    def test_its_own_back_off_gets_it_over_an_overload(self, runs: Runs) -> None:
        ran = runs["socket.io-client, overloaded"].result()
        assert ran.rows == {**OVERLOADED_ROWS, "backoff: {at_least: 200ms, at_most: 8s}": "passed"}


class TestWebsockets:
    def test_it_comes_back_after_a_reset(self, runs: Runs) -> None:
        assert runs["websockets"].result().rows == BRIEF_ROWS

    def test_its_own_back_off_gets_it_over_an_overload(self, runs: Runs) -> None:
        ran = runs["websockets, overloaded"].result()
        assert ran.rows == {**OVERLOADED_ROWS, "backoff: {grows: true, at_most: 8s}": "passed"}


@pytest.mark.slow
class TestAtLength:
    def test_an_http_error_ends_with_the_slot(self, servers: Servers, tmp_path: Path) -> None:
        profile = tmp_path / "overloaded.yaml"
        profile.write_text(OVERLOADED)
        expected = expecting(
            "{reconnected_within: 25s, phase: overloaded}", "backoff: {at_least: 14s, at_most: 25s}", "never_gives_up"
        )
        ran = verify(servers.pusher, profile, EXAMPLE, *expected)
        assert set(ran.rows.values()) == {"passed"}

    def test_pusher_js_gets_over_an_extended_outage_unless_it_forgets_its_channel(self, servers: Servers) -> None:
        def play(loop: str, **variables: str) -> Ran:
            return verify(servers.pusher, "extended-outage-fast", EXAMPLE, "--loop", loop, **SHORT_TIMERS, **variables)

        with ThreadPoolExecutor() as threads:
            good = [threads.submit(play, loop) for loop in LOOPS]
            forgetful = [threads.submit(play, loop, FORGETS="channels") for loop in LOOPS]
            alike([each.result() for each in good], 2)
            for each in forgetful:
                rows = each.result().rows
                assert [name for name, outcome in rows.items() if outcome == "failed"] == ["resubscribed: 31s"]
                assert len(rows) == 11

    @pytest.mark.timeout(900)
    def test_what_shipped_profiles_expect_holds_for_pusher_js(self) -> None:
        """On an idle channel: with messages coming in, pusher-js misses no pong. Where those are hit, on a busy one."""

        def play(name: str) -> list[str]:
            returns = 0 if name in STAYING else RETURNS.get(name, 1)
            options = ("--stop-when", "timeline") if name in LASTING else ()
            variables = SHORT_TIMERS if name == "extended-outage-fast" else {}
            port = (busy if name in LASTING else idle).port
            ran = verify(f"ws://127.0.0.1:{port}", name, EXAMPLE, *options, RETURNS=str(returns), **variables)
            (run,) = ran.report["runs"]
            return [f"{name}: {row['name']}: {row['seen']}" for row in run["rows"] if row["outcome"] == "failed"]

        def publish() -> None:
            while not is_over.wait(0.5):
                busy.publish("news", "told", {"text": "hello" * 20})

        is_over = Event()
        names = [name for name in library.names() if library.load(name).expect]
        assert {*STAYING, *LASTING, *RETURNS} <= set(names)
        with Demo() as idle, Demo() as busy, ThreadPoolExecutor(12) as threads:
            publishing = threads.submit(publish)
            found = [line for lines in threads.map(play, names) for line in lines]
            is_over.set()
            publishing.result()
        assert found == []

    @pytest.mark.timeout(1800)
    @pytest.mark.parametrize(
        ("profile", "returns", "times"),
        [
            ("brief-interruption", 1, 10),
            ("fin-1006", 1, 10),
            ("flapping", 3, 10),
            ("close-1012-restart", 1, 10),
            ("close-4200", 1, 10),
            ("pusher-4200-reconnect", 1, 10),
            ("pusher-4100-over-capacity", 1, 10),
            ("server-restart", 1, 10),
            ("extended-outage-fast", 1, 2),
        ],
    )
    def test_a_hundred_runs_go_alike_on_a_busy_machine(
        self, servers: Servers, profile: str, returns: int, times: int
    ) -> None:
        """Five at a time on each loop; the long one is run twenty times."""
        variables = {"RETURNS": str(returns), **(SHORT_TIMERS if profile == "extended-outage-fast" else {})}
        with busy_cores(os.cpu_count() or 2), ThreadPoolExecutor(10) as threads:
            every = [
                threads.submit(repeat, servers.pusher, profile, times, "--loop", loop, **variables)
                for loop in LOOPS
                for _ in range(5)
            ]
            alike([each.result() for each in every], times * 10)
