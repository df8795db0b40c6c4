"""A real Prometheus scrapes the proxy, and its promtool reads the example: no mistakes, and the numbers are ours."""

import asyncio
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client import parser
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from tests.interop.prometheus import Prometheus, promtool
from tests.interop.proxy import Proxy

EXAMPLE = Path(__file__).parents[2] / "examples/prometheus"
PATIENCE_S = 30
POLL_S = 0.1
CLIENTS = 3
PROFILE = """\
version: 1
name: resets
identify: {path: true}
phases:
  - {name: healthy, until: step}
  - {name: outage, until: step, rules: [reset]}
  - {name: well}
expect:
  - reconnected_within: 20s
"""
CONFIG = """\
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: chaosproxy
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


async def _echo(link: ServerConnection) -> None:
    with suppress(ConnectionClosedError):  # it is reset too
        async for message in link:
            await link.send(message)


async def _outage(proxy: Proxy) -> None:
    """Clients talk, are reset, and come back; then they leave."""
    links = [await connect(f"{proxy.url}/{number}", proxy=None) for number in range(CLIENTS)]
    for link in links:
        await link.send("hello")
        assert await link.recv() == "hello"
    await asyncio.to_thread(proxy.control, "POST", "/api/phase", {"phase": "outage"})
    for link in links:
        with pytest.raises(ConnectionClosed):
            await link.recv()
    await asyncio.to_thread(proxy.control, "POST", "/api/phase", {"phase": "well"})
    for number in range(CLIENTS):
        links[number] = await connect(f"{proxy.url}/{number}", proxy=None)
    for link in links:
        await link.close(1000)


def _wait_for(prometheus: Prometheus, query: str, value: float) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (seen := prometheus.value(query)) != value:
        assert time.monotonic() < deadline, f"{query} is {seen}, not {value}"
        time.sleep(POLL_S)


async def _run(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(PROFILE)
    async with serve(_echo, "127.0.0.1", 0) as server:
        upstream = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with Proxy(tmp_path / "proxy", upstream, profile=tmp_path / "profile.yaml") as proxy:
            config = tmp_path / "prometheus.yml"
            config.write_text(CONFIG % (EXAMPLE / "rules.yml", proxy.control_port))
            with Prometheus(tmp_path / "prometheus", config) as prometheus:
                await asyncio.to_thread(_wait_for, prometheus, "up", 1)
                await _outage(proxy)
                await asyncio.to_thread(_compare, prometheus, proxy)


def _compare(prometheus: Prometheus, proxy: Proxy) -> None:
    attempts = 2 * CLIENTS
    _wait_for(prometheus, "chaosproxy_attempts_total", attempts)
    _wait_for(prometheus, "chaosproxy_open_connections", 0)
    _wait_for(prometheus, 'chaosproxy_connections_total{outcome="opened"}', attempts)
    _wait_for(prometheus, 'chaosproxy_faults_total{fault="reset"}', CLIENTS)
    _wait_for(prometheus, 'chaosproxy_phase{phase="well"}', 1)
    _wait_for(prometheus, 'chaosproxy_closes_total{by="rule",code="reset"}', CLIENTS)
    _wait_for(prometheus, 'chaosproxy_closes_total{by="client",code="1000"}', CLIENTS)
    _wait_for(prometheus, 'chaosproxy_frames_total{direction="client",opcode="text"}', CLIENTS)
    _wait_for(prometheus, 'chaosproxy_recovery_seconds_bucket{le="+Inf"}', CLIENTS)
    _wait_for(prometheus, "chaosproxy_reconnect_delay_seconds_count", CLIENTS)
    _wait_for(prometheus, 'chaosproxy_expectations{result="failed"}', 0)
    rows = len(proxy.control("GET", "/api/verdict")["rows"])
    _wait_for(prometheus, "sum(chaosproxy_expectations)", rows)
    _wait_for(prometheus, "up", 1)
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.value('scrape_samples_scraped{job="chaosproxy"}') == len(_samples(proxy))
    types = {name: told[0]["type"] for name, told in prometheus.ask("metadata").items()}
    for name, type_of_metric in TYPES.items():
        assert types[name] == type_of_metric, name
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: (rule["health"], rule.get("lastError")) for rule in rules} == {
        rule["name"]: ("ok", None) for rule in rules
    }


TYPES = {
    "chaosproxy_attempts": "counter",
    "chaosproxy_client_state_seconds": "counter",
    "chaosproxy_detection_seconds": "histogram",
    "chaosproxy_expectations": "gauge",
    "chaosproxy_held_bytes": "gauge",
    "chaosproxy_recovery_seconds": "histogram",
    "chaosproxy_reconnect_delay_seconds": "histogram",
}


def _samples(proxy: Proxy) -> list[object]:
    connection = HTTPConnection("127.0.0.1", proxy.control_port, timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return [sample for family in parser.text_string_to_metric_families(page) for sample in family.samples]


def test_a_server_scrapes_what_has_happened(tmp_path: Path) -> None:
    asyncio.run(_run(tmp_path))


class TestExample:
    def test_its_configuration_and_rules_are_right(self) -> None:
        code, words = promtool("check", "config", "prometheus.yml", folder=EXAMPLE)
        assert code == 0, words
        assert "rules.yml" in words and "8 rules found" in words

    def test_its_rules_have_no_lint(self) -> None:
        code, words = promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml", folder=EXAMPLE)
        assert code == 0, words

    def test_its_alerts_fire_when_they_should(self) -> None:
        code, words = promtool("test", "rules", "rules.test.yml", folder=EXAMPLE)
        assert code == 0, words

    def test_a_rule_with_a_mistake_is_found(self, tmp_path: Path) -> None:
        broken = tmp_path / "rules.yml"
        broken.write_text(
            (EXAMPLE / "rules.yml").read_text().replace("histogram_quantile(0.95, ", "histogram_quantile(")
        )
        code, _ = promtool("check", "rules", broken)
        assert code != 0
