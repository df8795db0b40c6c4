import platform

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from chaosproxy import __version__
from chaosproxy.expectations import Outcome
from chaosproxy.faults import FAULTS
from chaosproxy.journal import Journal
from chaosproxy.metrics import Metrics
from chaosproxy.metrics.clients import STATES_KNOWN, Standing
from chaosproxy.observe import DROPS, Clients, Statement
from chaosproxy.profile import EMPTY, Profile
from chaosproxy.proxy import Address, Proxy
from chaosproxy.session import Session
from chaosproxy.tally import Buckets
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.verdict import Judge, Verdict
from chaosproxy.wire.frames import Side, Splitter, build_close, build_frame
from chaosproxy.wire.http import accept_for
from chaosproxy.world import Options
from tests.interop.prometheus import promtool

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\1\2\3\4"


class Stage:
    """A proxy that was never started: its world is driven by hand, in virtual time."""

    def __init__(self, profile: Profile = EMPTY) -> None:
        self.journal = Journal(profile, 0)
        self.now = SECOND
        self.metrics = Metrics(self.journal, clock=lambda: self.now)
        self.clients = Clients()
        self.proxy = Proxy(Address("127.0.0.1", 9), profile=profile, options=Options(dials_per_second_max=0))
        self.metrics.watch(self.proxy, self.clients)
        self.world = self.proxy.world
        self.world.launch(self.now)

    def settle(self, session: Session) -> None:
        self.world.settle(session, self.now)
        told, self.world.told = self.world.told, []
        for item in told:
            self.metrics.tell(item)
            self.clients.tell(item)

    def ask(self, path: str = "/", extra: str = "") -> Session:
        session = self.world.accept("127.0.0.1:5", self.now)
        head = (
            f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n{extra}\r\n"
        )
        session.receive(Side.CLIENT, head.encode("latin-1"), self.now)
        self.settle(session)
        return session

    def answer(self, session: Session) -> None:
        session.dialled(self.now)
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += b"Sec-WebSocket-Accept: " + accept_for(KEY) + b"\r\n\r\n"
        session.receive(Side.SERVER, head, self.now)
        self.settle(session)

    def open(self, path: str = "/", extra: str = "") -> Session:
        session = self.ask(path, extra)
        self.answer(session)
        return session

    def close(self, session: Session, code: int | None, reason: bytes = b"", by: Side = Side.CLIENT) -> None:
        for side in (by, by.other):
            session.receive(side, build_close(code, reason, b"" if side else MASK), self.now)
        session.ended(Side.SERVER, self.now)
        session.ended(Side.CLIENT, self.now)
        self.settle(session)
        assert session.is_over

    def report(self, ordinal: int, state: str, previous: str = "") -> None:
        self.clients.hear(Statement("anna", "i", ordinal, 1.0, "", "state", state, previous), self.now)

    def page(self) -> str:
        return self.metrics.expose()[0].decode()

    def value(self, name: str, **labels: str) -> float:
        for family in parser.text_string_to_metric_families(self.page()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise AssertionError(f"no {name} with {labels} in\n{self.page()}")


def busy_stage() -> Stage:
    """One of everything."""
    phases = [{"name": "healthy", "until": {"opened": 1}}, {"name": "outage"}]
    stage = Stage(Profile.model_validate({"version": 1, "name": "outage", "phases": phases}))
    stage.close(stage.open(), 1000)
    stage.open()
    stage.ask()
    stage.report(1, "connecting")
    stage.report(2, "connected", "connecting")
    return stage


class TestValues:
    def test_attempts_and_outcomes(self) -> None:
        stage = Stage()
        stage.close(stage.open(), 1000)
        stage.open()
        failed = stage.ask()
        failed.dial_failed("connection refused", stage.now)
        failed.ended(Side.CLIENT, stage.now)
        stage.settle(failed)
        stage.ask()
        assert stage.value("chaosproxy_attempts_total") == 4
        assert stage.value("chaosproxy_connections_total", outcome="opened") == 2
        assert stage.value("chaosproxy_connections_total", outcome="failed") == 1
        assert stage.value("chaosproxy_open_connections") == 2

    def test_frames_and_bytes_of_a_live_connection_move_and_stay_when_it_is_over(self) -> None:
        stage = Stage()
        session = stage.open()
        frame = build_frame(1, b"hello", MASK)
        session.receive(Side.CLIENT, frame, stage.now)
        session.receive(Side.CLIENT, build_frame(9, b"", MASK), stage.now)
        assert stage.value("chaosproxy_frames_total", direction="client", opcode="text") == 1
        assert stage.value("chaosproxy_frames_total", direction="client", opcode="ping") == 1
        assert stage.value("chaosproxy_received_bytes_total", direction="client") == len(frame) + 6
        assert stage.value("chaosproxy_received_bytes_total", direction="server") == 0
        stage.close(session, 1000)
        assert stage.value("chaosproxy_frames_total", direction="client", opcode="text") == 1
        assert stage.value("chaosproxy_received_bytes_total", direction="client") == len(frame) + 6 + 8

    def test_plain_requests_are_by_the_class_of_their_status_and_no_connections(self) -> None:
        stage = Stage()
        session = stage.world.accept("127.0.0.1:5", stage.now)
        for status in (201, 404, 404, 0):
            session.receive(Side.CLIENT, b"GET /secret?x HTTP/1.1\r\nHost: h\r\n\r\n", stage.now)
            stage.settle(session)
            session.dialled(stage.now)
            if status:
                answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
                session.receive(Side.SERVER, answer, stage.now)
                stage.settle(session)
        session.lost(Side.CLIENT, stage.now, "reset")
        stage.settle(session)
        counts = {"2xx": 1, "3xx": 0, "4xx": 2, "5xx": 0, "failed": 1}
        assert {name: stage.value("chaosproxy_http_requests_total", outcome=name) for name in counts} == counts
        assert stage.value("chaosproxy_connections_total", outcome="failed") == 0
        assert "secret" not in stage.page()

    def test_reserved_opcodes_share_a_label(self) -> None:
        stage = Stage()
        session = stage.open()
        for opcode in (3, 7, 15):
            session.receive(Side.SERVER, build_frame(opcode, b""), stage.now)
        assert stage.value("chaosproxy_frames_total", direction="server", opcode="reserved") == 3

    def test_the_handshake_is_the_time_from_request_to_answer(self) -> None:
        stage = Stage()
        session = stage.ask()
        stage.now += 20 * MILLISECOND
        stage.answer(session)
        assert stage.value("chaosproxy_handshake_seconds_bucket", le="0.01") == 0
        assert stage.value("chaosproxy_handshake_seconds_bucket", le="0.025") == 1
        assert stage.value("chaosproxy_handshake_seconds_count") == 1
        assert stage.value("chaosproxy_handshake_seconds_sum") == 0.02

    def test_closes_are_by_who_and_code(self) -> None:
        stage = Stage()
        stage.close(stage.open(), 1001)
        stage.close(stage.open(), None)
        stage.close(stage.open(), 4200)
        stage.open().lost(Side.SERVER, stage.now, "reset")
        assert stage.value("chaosproxy_closes_total", by="client", code="1001") == 1
        assert stage.value("chaosproxy_closes_total", by="client", code="none") == 1
        assert stage.value("chaosproxy_closes_total", by="client", code="4xxx") == 1

    def test_every_fault_has_a_series_before_it_strikes(self) -> None:
        stage = Stage(Profile.model_validate({"version": 1, "rules": [{"reject": {"status": 503}}]}))
        assert {fault: stage.value("chaosproxy_faults_total", fault=fault) for fault in FAULTS} == dict.fromkeys(
            FAULTS, 0
        )
        stage.ask()
        assert stage.value("chaosproxy_faults_total", fault="reject") == 1

    def test_the_phase_in_force_is_1_and_the_others_are_0(self) -> None:
        stage = busy_stage()
        assert stage.value("chaosproxy_phase", phase="healthy") == 0
        assert stage.value("chaosproxy_phase", phase="outage") == 1

    def test_held_bytes_are_those_that_have_not_left(self) -> None:
        stage = Stage(Profile.model_validate({"version": 1, "rules": [{"latency": "1s"}]}))
        session = stage.open()
        session.receive(Side.CLIENT, build_frame(2, bytes(10), MASK), stage.now)
        assert stage.value("chaosproxy_held_bytes") == 16

    def test_lost_journal_lines_are_counted(self) -> None:
        with open("/dev/full", "wb", buffering=0) as full:
            metrics = Metrics(Journal(EMPTY, 0, full))
        assert "chaosproxy_journal_lost_total 1.0\n" in metrics.expose()[0].decode()

    def test_the_states_of_clients_are_by_how_they_are_known(self) -> None:
        stage = Stage(Profile.model_validate({"version": 1, "identify": {"path": True}}))
        session = stage.open("/bert")
        stage.report(1, "connecting")
        stage.now += 2 * SECOND
        stage.report(2, "unavailable", "connecting")
        stage.close(session, 1000)
        stage.now += 3 * SECOND
        seconds, transitions = "chaosproxy_client_state_seconds_total", "chaosproxy_client_state_transitions_total"
        assert stage.value(seconds, state="connecting", source="reported") == 2
        assert stage.value(seconds, state="unavailable", source="reported") == 3
        assert stage.value(seconds, state="connected", source="inferred") == 2
        assert stage.value(seconds, state="lost", source="inferred") == 3
        labels = {"from": "connecting", "to": "unavailable", "source": "reported"}
        assert stage.value(transitions, **labels) == 1
        assert stage.value(transitions, **{"from": "connected", "to": "lost", "source": "inferred"}) == 1

    def test_every_reason_to_drop_a_report_has_a_series(self) -> None:
        stage = Stage()
        stage.clients.drop("rate", 7)
        counts = {reason: stage.value("chaosproxy_client_reports_dropped_total", reason=reason) for reason in DROPS}
        assert counts == dict.fromkeys(DROPS, 0) | {"rate": 7}

    def test_every_state_that_a_client_can_have_has_a_series_before_one_has_it(self) -> None:
        stage = Stage()
        for state, source in STATES_KNOWN:
            assert stage.value("chaosproxy_client_state_seconds_total", state=state, source=source) == 0

    def test_how_clients_get_over_a_loss_is_measured(self) -> None:
        stage = Stage()
        stage.close(stage.open(), 4200, by=Side.SERVER)
        stage.now += 300 * MILLISECOND
        session = stage.ask()
        stage.now += 200 * MILLISECOND
        stage.answer(session)
        assert stage.value("chaosproxy_reconnect_delay_seconds_bucket", le="0.25") == 0
        assert stage.value("chaosproxy_reconnect_delay_seconds_bucket", le="0.5") == 1
        assert stage.value("chaosproxy_reconnect_delay_seconds_sum") == 0.3
        assert stage.value("chaosproxy_recovery_seconds_sum") == 0.5
        assert stage.value("chaosproxy_recovery_seconds_count") == 1
        assert stage.value("chaosproxy_detection_seconds_count") == 0

    def test_the_profile_and_seed_are_said(self) -> None:
        stage = busy_stage()
        digest = stage.world.profile.digest
        assert stage.value("chaosproxy_profile_info", profile="outage", digest=digest, seed="0") == 1

    def test_what_is_running_is_said_and_in_what_its_lane_is_written(self) -> None:
        lane = "C" if hasattr(Splitter.scan, "__objclass__") else "Python"
        facts = {"version": __version__, "python": platform.python_version(), "loop": "none", "lane": lane}
        assert Stage().value("chaosproxy_build_info", **facts) == 1

    def test_two_proxies_are_summed(self) -> None:
        one, other = Stage(), Stage()
        one.metrics.watch(other.proxy)
        one.open()
        other.open()
        assert one.value("chaosproxy_attempts_total") == 2
        assert one.page().count("chaosproxy_profile_info{") == 1

    def test_a_duration_on_a_bound_belongs_below_it(self) -> None:
        buckets = Buckets((SECOND, 2 * SECOND))
        for duration in (SECOND, SECOND + 1, 3 * SECOND):
            buckets.add(duration)
        assert (buckets.counts, buckets.sum) == ([1, 1, 1], 5 * SECOND + 1)

    def test_added_delays_and_their_errors_are_measured(self) -> None:
        stage = Stage(Profile.model_validate({"version": 1, "rules": [{"latency": "300ms"}]}))
        session = stage.open()
        for _ in range(3):
            session.receive(Side.SERVER, build_frame(1, b"late"), stage.now)
        session.tick(stage.now + 300 * MILLISECOND + 2 * MILLISECOND)
        assert stage.value("chaosproxy_injected_delay_seconds_sum") == pytest.approx(0.9)
        assert stage.value("chaosproxy_injected_delay_seconds_count") == 3
        assert stage.value("chaosproxy_injected_delay_seconds_bucket", le="0.25") == 0
        assert stage.value("chaosproxy_delay_error_seconds_sum") == pytest.approx(0.006)
        assert stage.value("chaosproxy_faults_total", fault="latency") == 3


class Judging:
    """A judge whose every verdict takes so long, of a stopwatch that stands still meanwhile."""

    def __init__(self, profile: Profile) -> None:
        self.judge = Judge(profile, 0)
        self.verdicts = 0
        self.took = 0
        self.elapsed = 0
        self._verdict, self.judge.verdict = self.judge.verdict, self.count

    def count(self, now: int, *, is_over: bool = False) -> Verdict:
        self.verdicts += 1
        self.elapsed += self.took
        return self._verdict(now, is_over=is_over)


class TestExpectations:
    PROFILE = Profile.model_validate(
        {"version": 1, "rules": [{"drop": {}}], "expect": [{"stays_connected": True}, {"attempts_at_most": 3}]}
    )

    def test_where_nobody_judges_there_are_none(self) -> None:
        assert "chaosproxy_expectations" not in Stage(self.PROFILE).page()

    def test_the_rows_are_counted_by_how_they_stand(self) -> None:
        stage = Stage(self.PROFILE)
        judge = Judge(self.PROFILE, 0)
        stage.metrics.watch(Proxy(Address("127.0.0.1", 9)), None, lambda: judge)
        rows = judge.verdict(stage.now).rows
        assert len(rows) == 4
        for outcome in Outcome:
            count = sum(row.outcome is outcome for row in rows)
            assert stage.value("chaosproxy_expectations", result=outcome.value) == count

    def test_a_scrape_judges_anew_only_once_that_is_cheap(self) -> None:
        judging = Judging(self.PROFILE)
        standing = Standing(lambda: judging.judge, lambda: judging.elapsed)
        standing.counts(0)
        standing.counts(SECOND - 1)
        assert judging.verdicts == 1
        judging.took = 2 * SECOND
        standing.counts(SECOND)
        assert judging.verdicts == 2
        standing.counts(100 * SECOND)
        assert judging.verdicts == 2
        standing.counts(101 * SECOND)
        assert judging.verdicts == 3

    def test_another_judge_is_asked_at_once(self) -> None:
        several = [Judging(self.PROFILE), Judging(EMPTY)]
        standing = Standing(lambda: several[0].judge)
        before = standing.counts(0)
        del several[0]
        after = standing.counts(1)
        assert before is not None and after is not None
        assert (sum(before.values()), sum(after.values())) == (4, 1)


class TestExposition:
    def test_a_scraper_may_ask_for_openmetrics(self) -> None:
        page, content_type = busy_stage().metrics.expose("application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        # The parser refuses clashing and badly named families.
        families = list(openmetrics_parser.text_string_to_metric_families(page.decode()))
        assert len(families) > 10

    def test_what_clients_report_is_on_the_page_that_is_checked(self) -> None:
        page = busy_stage().page()
        for source in ("reported", "inferred"):
            assert f'transitions_total{{from="connecting",source="{source}",to="connected"}}' in page
            assert f'client_state_seconds_total{{source="{source}",state="connected"}}' in page

    def test_names_and_units_follow_the_conventions(self) -> None:
        for family in parser.text_string_to_metric_families(busy_stage().page()):
            assert family.name.startswith("chaosproxy_")
            assert family.documentation.endswith(".")
            assert not any(word in family.name for word in ("milliseconds", "kilobytes", "gauge", "counter"))
            for sample in family.samples:
                assert (family.type == "counter") == sample.name.endswith("_total")

    def test_promtool_has_nothing_to_say(self) -> None:
        assert promtool("check", "metrics", given=busy_stage().metrics.expose()[0]) == (0, "")


def test_ten_thousand_hostile_connections_add_no_series() -> None:
    stage = Stage(Profile.model_validate({"version": 1, "identify": {"path": True}, "rules": [{"drop": {}}]}))

    def visit(number: int) -> None:
        session = stage.open(f"/{number}", f"Origin: http://o{number}\r\nUser-Agent: {number}\r\n")
        session.receive(Side.SERVER, build_frame(number % 16 & 7, b"%d" % number), stage.now)
        hostile = Statement(f"c{number}", "i", 1, 1.0, f"{number}", "state", f"s{number}", f"p{number}")
        stage.clients.hear(hostile, stage.now)
        if number % 3:
            stage.close(session, number * 7 % 65536, b"reason %d" % number)
        else:
            session.lost(Side(number % 2), stage.now, f"error {number}")
            session.lost(Side(1 - number % 2), stage.now, "reset")
            stage.settle(session)

    for number in range(500):
        visit(number)
    series = stage.page().count("\n")
    for number in range(500, 10_000):
        visit(number)
    assert stage.page().count("\n") <= series + 4
    assert len(stage.page()) < 20_000
