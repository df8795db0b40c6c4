"""The comparison with other proxies: its arithmetic, its tables, and one short run of the real thing."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import bench.__main__
from bench import cpu, frames
from bench.__main__ import main
from bench.contenders import CONTENDERS, Contender
from bench.figures import Figures, Sample, compare, cpu_ratios, percentile
from bench.load import DIFFERENT_MESSAGES, Connection, Tapes
from bench.processes import NotStarted, server
from bench.tables import legend, markdown, number, text
from bench.workloads import Workload
from tests.interop.processes import free_ports


def sample(cpu_us: float | None, p50_us: float = 50.0) -> Sample:
    return Sample(messages=1000, payload_bytes=64_000, seconds=0.5, p50_us=p50_us, p99_us=90.0, cpu_us=cpu_us)


def row(contender: str, cpu_us: float | None, cpu_ratio: float | None) -> Figures:
    return Figures("single", contender, 21_500.4, 45.04, 101.6, cpu_us, cpu_ratio, cpu_ratio, cpu_ratio)


class TestPercentile:
    def test_a_percentile_is_a_value_that_occurred(self) -> None:
        assert percentile([(30, 1), (10, 1), (20, 1)], 0.5) == 20

    def test_a_value_counts_as_often_as_it_occurred(self) -> None:
        assert percentile([(10, 98), (20, 1), (30, 1)], 0.99) == 20
        assert percentile([(10, 1), (20, 99)], 0.5) == 20

    def test_nothing_has_no_percentile(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            percentile([], 0.5)


class TestRatios:
    def test_costs_are_divided_round_by_round(self) -> None:
        assert cpu_ratios({1: sample(30.0), 2: sample(80.0)}, {1: sample(10.0), 2: sample(20.0)}) == [3.0, 4.0]

    def test_a_round_that_one_of_both_lacks_is_left_out(self) -> None:
        assert cpu_ratios({1: sample(30.0), 3: sample(None)}, {2: sample(10.0), 3: sample(10.0)}) == []

    def test_the_reference_is_the_one_that_is_cheaper_for_this_workload(self) -> None:
        samples = {
            ("single", "ours"): {1: sample(30.0), 2: sample(60.0), 3: sample(45.0)},
            ("single", "cheap"): {1: sample(10.0), 2: sample(15.0), 3: sample(15.0)},
            ("single", "dear"): {1: sample(20.0), 2: sample(30.0), 3: sample(30.0)},
            ("many", "ours"): {1: sample(9.0)},
            ("many", "dear"): {1: sample(2.0)},
        }
        ours, cheap, dear, ours_of_many, _ = compare(samples, ["cheap", "dear"])
        assert (ours.cpu_us, ours.cpu_ratio, ours.cpu_ratio_least, ours.cpu_ratio_most) == (45.0, 3.0, 3.0, 4.0)
        assert (cheap.cpu_ratio, dear.cpu_ratio, ours_of_many.cpu_ratio) == (1.0, 2.0, 4.5)

    def test_without_a_proxy_there_is_no_cost_and_no_ratio(self) -> None:
        samples = {("single", "direct"): {1: sample(None, p50_us=20.0), 2: sample(None, p50_us=10.0)}}
        assert compare(samples, ["haproxy-http"]) == [
            Figures("single", "direct", 2000.0, 15.0, 90.0, None, None, None, None)
        ]


class TestTables:
    def test_numbers_keep_about_three_digits(self) -> None:
        assert [number(value) for value in (None, 0.204, 9.99, 45.04, 21_500.4)] == [
            "-", "0.204", "9.99", "45.0", "21,500",
        ]  # fmt: skip

    def test_text_has_a_block_per_workload_and_a_line_per_contender(self) -> None:
        assert text([row("direct", None, None), row("nginx", 12.31, 1.0)]).splitlines() == [
            "single: 1 connection, ping-pong of 64 B",
            "                       messages/s    p50 us    p99 us  CPU us/message  CPU ratio    (least to most)",
            "direct                     21,500      45.0       102               -          -",
            "nginx                      21,500      45.0       102            12.3      1.00x       1.00 to 1.00",
        ]

    def test_text_fits_120_columns(self) -> None:
        longest = max((contender.name for contender in CONTENDERS), key=len)
        huge = Figures("pipelined", longest, 9_999_999.0, 99_999.0, 999_999.0, 99_999.0, 999.0, 999.0, 999.0)
        assert max(map(len, text([huge]).splitlines())) <= 120

    def test_markdown_has_a_column_per_workload_and_a_dash_for_what_was_not_measured(self) -> None:
        many = Figures("many", "nginx", 1.0, 900.0, 1300.0, 4.84, 1.5, 1.4, 1.6)
        assert markdown([row("direct", None, None), many]).splitlines() == [
            "|  | 1 connection, ping-pong of 64 B | 64 connections, ping-pong of 64 B |",
            "| --- | --- | --- |",
            "| direct | -; 45.0 / 102 | - |",
            "| nginx | - | 4.84 (1.50×); 900 / 1,300 |",
        ]

    def test_the_legend_names_the_references(self) -> None:
        assert legend(["a", "b"]) == "CPU ratio: against the cheaper of a and b, round by round."
        assert legend(["a"]) == "CPU ratio: against a, round by round."


class TestFrames:
    @pytest.mark.parametrize("payload_bytes", [0, 1, 125, 126, 65_535, 65_536])
    def test_each_message_is_echoed_as_a_message_of_its_own_however_it_is_chopped(self, payload_bytes: int) -> None:
        sent, echoed = frames.tapes(payload_bytes, 3)
        stream = b"".join(sent)
        for cut in (0, 1, 2, 5, 6, 9, 13, 14, len(sent[0]) - 1, len(sent[0]), len(sent[0]) + 3, len(stream)):
            first, rest = frames.echo(stream[:cut])
            second, rest = frames.echo(rest + stream[cut:])
            assert (first + second, rest) == (b"".join(echoed), b"")

    def test_the_handshake_gets_the_answer_of_rfc_6455_section_1_3(self) -> None:
        answer = frames.response(b"GET /chat HTTP/1.1\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: a")
        assert answer.startswith(frames.SWITCHING)
        assert answer.endswith(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class Wire(asyncio.Transport):
    """Remembers what was written, and whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_cut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_cut = True


class TestLoad:
    """Four messages of 5 bytes, at most two in flight, between a client and whatever a test makes of an echo."""

    @pytest.fixture
    def connection(self) -> Iterator[Connection]:
        loop = asyncio.new_event_loop()
        workload = Workload("", "", connections=1, in_flight=2, payload_bytes=5)
        connection = Connection(workload, Tapes(workload), 80, loop.create_future())
        wire = Wire()
        connection.connection_made(wire)
        connection.data_received(frames.response(b"Sec-WebSocket-Key: x"))
        wire.written = b""
        connection.start(4, loop.create_future())
        yield connection
        loop.close()

    sent, echoed = frames.tapes(5, DIFFERENT_MESSAGES)

    def test_a_new_message_leaves_for_each_that_is_back(self, connection: Connection) -> None:
        wire = cast(Wire, connection.transport)
        assert wire.written == b"".join(self.sent[:2])
        connection.data_received(self.echoed[0] + self.echoed[1][:3])
        assert wire.written == b"".join(self.sent[:3])
        connection.data_received(self.echoed[1][3:] + self.echoed[2])
        assert wire.written == b"".join(self.sent[:4])
        assert not connection.phase_end.done()
        connection.data_received(self.echoed[3])
        assert connection.phase_end.result() is None
        assert sum(messages for _, messages in connection.round_trips) == 4

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(echoed[1], id="one is lost"),
            pytest.param(echoed[0] + echoed[0], id="one comes twice"),
            pytest.param(frames.frame(echoed[0][2:] + echoed[1][2:]), id="two are one"),
            pytest.param(echoed[0][:-1] + b"?", id="one is altered"),
            pytest.param(b"".join(echoed[:3]), id="one comes before it was sent"),
        ],
    )
    def test_whatever_is_not_an_exact_echo_fails_the_run(self, connection: Connection, answer: bytes) -> None:
        connection.data_received(answer)
        assert cast(Wire, connection.transport).is_cut
        assert isinstance(connection.phase_end.exception(), ConnectionError)

    def test_a_connection_that_ends_early_fails_the_run(self, connection: Connection) -> None:
        connection.connection_lost(None)
        assert isinstance(connection.phase_end.exception(), ConnectionError)


class TestProcesses:
    def test_a_program_that_is_missing_is_named_with_what_to_install(self) -> None:
        missing = Contender("other", lambda place: [], program="no-such-proxy").missing()
        assert missing == "no-such-proxy is not installed (Debian, Ubuntu: apt-get install no-such-proxy)"

    def test_a_server_that_ends_at_once_is_reported_with_its_last_words(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", "raise SystemExit('no luck today')"]
        with (
            pytest.raises(NotStarted, match="ended with status 1: no luck today"),
            server(command, free_ports(1)[0], tmp_path / "log"),
        ):
            pass

    def test_a_server_is_gone_after_its_block_and_used_cpu_time_in_it(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        with server([sys.executable, "-m", "bench.echo", str(port)], port, tmp_path / "log") as pid:
            assert cpu.tree(pid) == [pid]
            assert cpu.spent_ns([pid]) > 0
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_short_run_measures_both_ends_and_a_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.__main__, "free_ports", free_ports)  # its own may be others' before it listens
    file = tmp_path / "figures.json"
    names = ["direct", "naive-asyncio"]
    options = ["--seconds=0.1", "--rounds=1", "--workloads", "pipelined", "--contenders", *names, f"--json={file}"]
    cores = os.sched_getaffinity(0)

    assert main(options) == 0

    assert os.sched_getaffinity(0) == cores
    assert capsys.readouterr().out.startswith("pipelined: 8 connections, 256 of 64 B in flight")
    report = json.loads(file.read_text())
    assert [figure["contender"] for figure in report["figures"]] == names
    direct, naive = report["samples"]
    assert direct["payload_bytes"] == 64 * direct["messages"] > 0
    assert 0 < naive["p50_us"] <= naive["p99_us"]
    assert direct["cpu_us"] is None
    assert naive["cpu_us"] > 0
