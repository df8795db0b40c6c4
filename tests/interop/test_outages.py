"""The real pusher-js through the proxy, before our demo server and before real soketi: short and long outages.

Each run waits for events. It asserts the order of the states and one window for each edge. The times come from
pusher-js 8.6 itself: a plain close is followed by a retry after 1000 ms; a silent link is noticed activityTimeout and
pongTimeout after the last message; `unavailable` comes unavailableTimeout later; attempts are 15 s apart.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.demo_server import Demo
from tests.interop.proxy import Proxy
from tests.interop.pusher_client import NODE, SHORT_TIMERS, Event, PusherClient, Runtime
from tests.interop.soketi import Soketi

CHANNELS = ("news", "private-orders", "presence-room")
HEALTHY = """\
version: 1
protocol: pusher
phases:
  - name: healthy
    until: {subscribed: [news, private-orders, presence-room], within: 60s}
"""
BRIEF = f"""\
{HEALTHY}\
  - name: interruption
    rules:
      - reset
"""
EXTENDED = f"""\
{HEALTHY}\
  - name: silence
    lasts: 2s
    rules:
      - half_open: {{leg: both, mode: blackhole, heal: reset, hits: live}}
        id: the-dead-link
  - name: refused
    lasts: 10s
    rules:
      - half_open: {{leg: both, mode: blackhole, heal: reset, hits: live}}
        id: the-dead-link
      - refuse
"""
LATE_MS = 400  # how much later than by its timers a client may act on a machine of two cores
BUSY_LATE_MS = 3000  # the same while others take both

Story = Callable[[int, str, Path, int], None]


def brief_interruption(server_port: int, loop: str, directory: Path, late_ms: int, runtime: Runtime = NODE) -> None:
    """Reset: connected → connecting after 1 s → connected, with a new socket_id and all channels."""
    with behind(BRIEF, server_port, loop, directory, runtime) as (proxy, client):
        before = all_subscribed(client)
        lost = client.wait_for("state", previous="connected", current="connecting", after=before)
        back = client.wait_for("state", previous="connecting", current="connected", after=lost)
        all_subscribed(client, after=back)
        assert client.states() == ["connecting", "connected", "connecting", "connected"]
        assert_within(lost["at"] - before["at"], 1000, late_ms, "connected → connecting")
        assert_within(back["at"] - lost["at"], 0, late_ms, "connecting → connected")
        _assert_a_new_life(before, back, client)
        faults = [record["fault"] for record in proxy.journal() if record.get("event") == "struck"]
        assert faults == ["reset"]


def extended_outage(server_port: int, loop: str, directory: Path, late_ms: int, runtime: Runtime = NODE) -> None:
    """Half-open, then refused: connected → connecting → unavailable → connected, on the client's own clock."""
    with behind(EXTENDED, server_port, loop, directory, runtime) as (_, client):
        before = all_subscribed(client)
        noticed = client.wait_for("state", previous="connected", current="connecting", after=before, timeout_s=20)
        unavailable = client.wait_for("state", current="unavailable", after=noticed, timeout_s=20)
        back = client.wait_for("state", previous="unavailable", current="connected", after=unavailable, timeout_s=30)
        all_subscribed(client, after=back)
        assert client.states() == ["connecting", "connected", "connecting", "unavailable", "connected"]
        assert_within(noticed["at"] - before["at"], 3000 + 2000, late_ms, "connected → connecting")
        assert_within(unavailable["at"] - noticed["at"], 4000, late_ms, "connecting → unavailable")
        assert_within(back["at"] - noticed["at"], 15_000, late_ms, "unavailable → connected")
        _assert_a_new_life(before, back, client)


@contextlib.contextmanager
def behind(
    profile: str,
    server_port: int,
    loop: str,
    directory: Path,
    runtime: Runtime = NODE,
    timers: Mapping[str, int] = SHORT_TIMERS,
) -> Iterator[tuple[Proxy, PusherClient]]:
    """Give a client, and a proxy with this profile between it and the server."""
    directory.mkdir(parents=True)
    file = directory / "profile.yaml"
    file.write_text(profile)
    with (
        Proxy(directory, f"ws://127.0.0.1:{server_port}", loop=loop, profile=file) as proxy,
        PusherClient(proxy.port, channels=CHANNELS, options=timers, runtime=runtime) as client,
    ):
        yield proxy, client


def all_subscribed(client: PusherClient, after: Event | None = None) -> Event:
    """Wait for every channel's confirmation; return the last one."""
    confirmed = [client.wait_for("subscribed", channel=channel, after=after, timeout_s=20) for channel in CHANNELS]
    return max(confirmed, key=lambda event: float(event["at"]))


def _assert_a_new_life(before: Event, back: Event, client: PusherClient) -> None:
    assert back["socket_id"] != before["socket_id"]
    again = [event for event in client.events if event["kind"] == "subscribed" and event["at"] >= back["at"]]
    assert {event["channel"] for event in again} == set(CHANNELS)
    assert {event["socket_id"] for event in again} == {back["socket_id"]}


def assert_within(took_ms: float, at_least_ms: float, late_ms: float, edge: str) -> None:
    """Fail unless this took as long as it must, and at most `late_ms` longer."""
    # Two clocks of whole milliseconds make the difference of 5 ms.
    assert at_least_ms - 5 <= took_ms <= at_least_ms + late_ms, f"{edge} took {took_ms:.0f} ms"


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep so many processes computing."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


def run_in_a_row(story: Story, soketi: Soketi, directory: Path, times: int, late_ms: int) -> None:
    """Run a story against both servers on both loops, so many times in a row each, side by side."""

    def row(server: str, port: int, loop: str) -> None:
        for number in range(times):
            story(port, loop, directory / f"{server}-{loop}-{number}", late_ms)

    with Demo() as demo, ThreadPoolExecutor() as threads:
        rows = [
            threads.submit(row, server, port, loop)
            for server, port in (("demo", demo.port), ("soketi", soketi.port))
            for loop in ("asyncio", "uvloop")
        ]
        for each in rows:
            each.result()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", [brief_interruption, extended_outage])
def test_a_real_client_goes_down_and_comes_back(story: Story, soketi: Soketi, tmp_path: Path) -> None:
    run_in_a_row(story, soketi, tmp_path, 1, LATE_MS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("story", [brief_interruption, extended_outage])
def test_a_real_client_goes_down_and_comes_back_twenty_times_in_a_row(
    story: Story, soketi: Soketi, tmp_path: Path
) -> None:
    run_in_a_row(story, soketi, tmp_path, 20, LATE_MS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("story", [brief_interruption, extended_outage])
def test_a_real_client_goes_down_and_comes_back_twenty_times_in_a_row_while_both_cores_are_busy(
    story: Story, soketi: Soketi, tmp_path: Path
) -> None:
    with busy_cores(os.cpu_count() or 2):
        run_in_a_row(story, soketi, tmp_path, 20, BUSY_LATE_MS)
