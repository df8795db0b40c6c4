"""chaosproxy.js with the real pusher-js: what a client says of itself stands beside what the wire did.

In Node; and its classic form in a context that has what a page's has (node/script_page.mjs).
"""

import http.client
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from prometheus_client import parser

from tests.interop.demo_server import Demo
from tests.interop.processes import NODE_FOLDER
from tests.interop.proxy import CLIENT_TOKEN, Proxy
from tests.interop.pusher_client import CHROMIUM, SCRIPT, Event, PusherClient

SHORT_TIMERS = {"activityTimeout": 3000, "pongTimeout": 2000, "unavailableTimeout": 3000}
OUTAGE = """\
version: 1
protocol: pusher
phases:
  - name: healthy
    until: step
  - name: outage
    lasts: 8s
    rules:
      - reset
      - refuse
"""
PATIENCE_S = 30

Record = dict[str, Any]


def records_until(proxy: Proxy, client: PusherClient, is_last: Callable[[Record], bool]) -> list[Record]:
    """The journal up to a record that comes by another way than the client's own story; it may be on its way."""
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.control_port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/api/journal")
        stream = connection.getresponse()
        records = []
        while line := stream.readline():
            if line.startswith(b"data: {") and b'"seq"' in line:
                records.append(json.loads(line.removeprefix(b"data: ")))
                if is_last(records[-1]):
                    return records
    raise AssertionError(f"the journal has ended\n{client.story()}")


def samples(proxy: Proxy, name: str) -> dict[tuple[str, ...], float]:
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.control_port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    families = parser.text_string_to_metric_families(page)
    found = [sample for family in families for sample in family.samples if sample.name == name]
    order = ("from", "to", "state")
    return {
        tuple(sample.labels[label] for label in order if label in sample.labels): sample.value
        for sample in found
        if sample.labels["source"] == "reported"
    }


def _told_by_script(record: Record) -> tuple[object, ...]:
    if record["event"] == "client_state":
        return "state", record["previous"], record["state"]
    if record["what"] == "error":
        return "error", record["code"], record["path"]
    return record["what"], record["detail"]


def _told_by_driver(event: Event) -> tuple[object, ...]:
    match event["kind"]:
        case "state":
            return "state", event["previous"] or "", event["current"]
        case "error":
            return "error", event["code"], event["path"] or ""
        case kind:
            return kind, str(event["seconds"])


def test_a_page_of_another_origin_loads_the_module_and_tells_its_states_and_that_it_is_left(tmp_path: Path) -> None:
    with (
        Demo() as demo,
        Proxy(tmp_path, f"ws://127.0.0.1:{demo.port}", profile=Path("brief-interruption")) as proxy,
        PusherClient(
            proxy.port,
            channels=["news"],
            options=SHORT_TIMERS,
            report={"url": proxy.report_url, "client": "page"},
            runtime=CHROMIUM,
        ) as client,
    ):
        lost = client.wait_for("state", previous="connected", current="connecting", timeout_s=PATIENCE_S)
        client.wait_for("state", current="connected", after=lost)
        client.mark("back")
        client.leave()
        records = records_until(proxy, client, lambda record: record.get("what") == "gone")
    said = [_told_by_script(record) for record in records if record.get("instance")]
    assert [each[1:] for each in said if each[0] == "state"] == [
        ("", "connecting"),
        ("connecting", "connected"),
        ("connected", "connecting"),
        ("connecting", "connected"),
    ]
    assert said[-2:] == [("mark", "back"), ("gone", "")]
    assert ("error", 1006, "data.code") in said


def test_an_outage_as_the_client_tells_it_stands_beside_the_wire(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:  # both wait most of their time
        stories = [threads.submit(an_outage, loop, tmp_path / loop) for loop in ("asyncio", "uvloop")]
        for story in stories:
            story.result()


def an_outage(loop: str, tmp_path: Path) -> None:
    tmp_path.mkdir()
    profile = tmp_path / "profile.yaml"
    profile.write_text(OUTAGE)
    with (
        Demo() as demo,
        Proxy(tmp_path / "proxy", f"ws://127.0.0.1:{demo.port}", loop=loop, profile=profile) as proxy,
        PusherClient(
            proxy.port,
            channels=["news"],
            options=SHORT_TIMERS,
            report={"url": proxy.report_url, "client": "anna"},
        ) as client,
    ):
        client.wait_for("subscribed", channel="news")
        records_until(proxy, client, lambda record: record.get("state") == "connected" and bool(record["instance"]))
        proxy.control("POST", "/api/phase/next", {})
        unavailable = client.wait_for("state", current="unavailable", timeout_s=PATIENCE_S)
        client.wait_for("state", previous="unavailable", current="connected", timeout_s=PATIENCE_S, after=unavailable)
        client.mark("all is well")
        records = records_until(proxy, client, lambda record: record.get("what") == "mark")
        own = list(client.events)
        (seen,) = proxy.control("GET", "/api/state")["clients"]
        transitions = samples(proxy, "chaosproxy_client_state_transitions_total")
        seconds = samples(proxy, "chaosproxy_client_state_seconds_total")

    states = [record for record in records if record["event"] == "client_state" and record["source"] == "reported"]
    assert [(record["previous"], record["state"]) for record in states] == [
        ("", "connecting"),
        ("connecting", "connected"),
        ("connected", "connecting"),
        ("connecting", "unavailable"),
        ("unavailable", "connected"),
    ]
    first, again = (record["attempt"] for record in records if record["event"] == "established")
    assert [record["attempt"] for record in states] == [None, first, first, first, again]
    assert {record["client"] for record in states} == {"anna"}

    # As the client's own story has it.
    said = [record for record in records if record.get("instance")]
    assert [_told_by_script(record) for record in said] == [
        *(_told_by_driver(event) for event in own if event["kind"] in ("state", "error", "connecting_in")),
        ("mark", "all is well"),
    ]
    assert ("error", 1006, "data.code") in map(_told_by_script, said)

    # Beside the wire: what each is the cause of comes before it.
    at_wire = [record for record in records if record["event"] in ("established", "struck", "closed")]
    assert [(record["event"], record["attempt"]) for record in at_wire] == [
        ("established", first),
        ("struck", first),
        ("closed", first),
        ("established", again),
    ]
    error = next(record for record in said if record.get("what") == "error")
    story = [at_wire[0], states[1], at_wire[1], at_wire[2], error, states[2], states[3], at_wire[3], states[4]]
    assert [record["seq"] for record in story] == sorted(record["seq"] for record in story)

    # By the client's own count and clock, without a gap.
    assert [record["ordinal"] for record in said] == list(range(1, len(said) + 1))
    clock = [record["client_ms"] for record in said]
    assert clock == sorted(clock)
    times = [event["at"] for event in own if event["kind"] == "state"]
    for record, at in zip(states, times, strict=True):
        assert abs((record["client_ms"] - states[0]["client_ms"]) - (at - times[0])) < 50

    # From the first report that names a connection on, nothing is inferred.
    position = records.index(states[1])
    assert not [record for record in records[position:] if record.get("source") == "inferred"]

    assert (seen["client"], seen["state"], seen["source"], seen["attempt"]) == ("anna", "connected", "reported", again)
    assert transitions == {
        ("connecting", "connected"): 1,
        ("connected", "connecting"): 1,
        ("connecting", "unavailable"): 1,
        ("unavailable", "connected"): 1,
    }
    been_in = {state for state, spent in seconds.items() if spent}
    assert been_in == {("connecting",), ("connected",), ("unavailable",)}
    assert 2.9 < seconds["connecting",] < 6
    assert 8 < seconds["unavailable",] < 14


def test_a_client_without_the_script_has_states_that_are_marked_as_inferred(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(OUTAGE.replace("      - refuse\n", ""))
    with (
        Demo() as demo,
        Proxy(tmp_path / "proxy", f"ws://127.0.0.1:{demo.port}", profile=profile) as proxy,
        PusherClient(proxy.port, channels=["news"], options=SHORT_TIMERS) as client,
    ):
        client.wait_for("subscribed", channel="news")
        proxy.control("POST", "/api/phase/next", {})
        lost = client.wait_for("state", previous="connected", current="connecting")
        client.wait_for("state", previous="connecting", current="connected", after=lost)
        records = records_until(
            proxy, client, lambda record: record.get("state") == "connected" and record["attempt"] > 1
        )
    states = [(each["state"], each["source"]) for each in records if each["event"] == "client_state"]
    assert states == [(state, "inferred") for state in ("connecting", "connected", "lost", "connecting", "connected")]


def run_script(scenario: str, address: str, *more: str) -> Any:
    done = subprocess.run(
        ["node", NODE_FOLDER / "script_page.mjs", scenario, address, *more],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_page_loads_it_by_a_script_tag_and_tells_that_it_is_left(tmp_path: Path) -> None:
    with Demo() as demo, Proxy(tmp_path, f"ws://127.0.0.1:{demo.port}") as proxy:
        told = run_script("page", f"{proxy.report_url}/chaosproxy.js", str(proxy.port))
        assert proxy.control("GET", "/api/state")["clients"] == []
        records = proxy.journal()
    assert told["global"] == ["chaosproxy"]
    assert (told["statuses"], told["listening"]) == ([204] * len(told["beacons"]), 0)
    assert {beacon["url"] for beacon in told["beacons"]} == {f"{proxy.report_url}/reports"}
    assert told["beacons"][-1]["reports"][-2:] == ["mark", "gone"]
    said = [(each.get("state") or each["what"]) for each in records if each.get("instance") and not each["is_late"]]
    assert said == ["connecting", "connected", "mark", "gone"]
    assert CLIENT_TOKEN not in json.dumps(records)


def test_a_module_imports_it_by_name(tmp_path: Path) -> None:
    with Demo() as demo, Proxy(tmp_path, f"ws://127.0.0.1:{demo.port}") as proxy:
        told = run_script("module", f"{proxy.report_url}/chaosproxy.mjs")
    assert told == {"exports": ["mark", "watch"], "isFunction": True}


def test_while_the_control_address_is_away_the_newest_are_kept_and_come_in_order() -> None:
    told = run_script("away", SCRIPT.as_uri())
    reports = told["reports"]
    numbers = [report["n"] for report in reports]
    assert told["refusals"] == 2
    assert told["types"] == ["text/plain;charset=UTF-8"]
    assert told["instances"] == 1
    assert numbers == [1, *range(302 - 256, 302)]  # 256 are kept
    assert [report["state"] for report in reports[1:]] == [f"s{number - 2}" for number in numbers[1:]]
    assert [report["ms"] for report in reports] == sorted(report["ms"] for report in reports)


def test_nothing_that_happens_in_it_is_thrown_into_the_app() -> None:
    assert run_script("harmless", SCRIPT.as_uri()) == {"thrown": [], "bound": 0, "warnings": True}
