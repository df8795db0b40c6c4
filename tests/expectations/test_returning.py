"""Whether a client notices its loss, and comes back: in virtual time."""

from typing import Any

import pytest

from chaosproxy.units import MICROSECOND
from tests.expectations.trial import CLIENT, MS, SERVER, Outcome, S, Trial
from tests.virtual import close_frame

SILENCE: dict[str, Any] = {
    "name": "silence",
    "lasts": "10s",
    "rules": [{"half_open": {"mode": "blackhole", "heal": "reset", "hits": "live"}}, "hang"],
}
CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
WELL: dict[str, Any] = {"name": "well", "lasts": "10s"}
CUT: dict[str, Any] = {"name": "cut", "lasts": "2s", "rules": ["reset", {"reject": "503"}]}
KIND_CUT: dict[str, Any] = {"name": "cut", "lasts": "2s", "rules": ["reset"]}


DETECTED: dict[str, Any] = {"detected_within": "5s", "phase": "silence"}
SLOW: dict[str, Any] = {"name": "slow", "lasts": "3s", "rules": [{"latency": {"delay": "1s"}}]}


class TestDetection:
    def trial(self, **about: Any) -> Trial:
        trial = Trial(CALM, SILENCE, WELL, expect={**DETECTED, **about})
        self.connection = trial.connect("news")
        trial.wait(1 * S)
        return trial

    def test_a_client_that_tries_anew_in_time_has_noticed(self) -> None:
        trial = self.trial()
        trial.wait(4 * S)
        assert trial.outcome is Outcome.OPEN
        trial.fail()
        assert trial.row.seen == "after 4.0 s from the fault: it tried anew"
        assert trial.outcome is Outcome.PASSED

    def test_one_that_ends_the_dead_connection_has_noticed(self) -> None:
        trial = self.trial()
        trial.wait(3 * S)
        self.connection.fin(CLIENT)
        assert trial.row.seen == "after 3.0 s from the fault: it left (fin)"
        assert trial.events_of(trial.row) == ["Struck", "Ended"]

    def test_one_that_reports_another_state_has_noticed(self) -> None:
        trial = self.trial()
        trial.wait(2 * S)
        trial.report("unavailable")
        assert trial.row.seen == "after 2.0 s from the fault: it reported unavailable"

    def test_one_that_is_late_has_failed(self) -> None:
        trial = self.trial()
        trial.wait(5 * S)
        assert trial.outcome is Outcome.OPEN
        trial.wait(1 * MS)
        assert trial.outcome is Outcome.FAILED
        trial.wait(1 * S)
        self.connection.fin(CLIENT)
        assert trial.row.seen == "after 6.0 s from the fault: it left (fin)"
        assert trial.outcome is Outcome.FAILED

    @pytest.mark.parametrize("heal", ["flush", "discard", "reset"])
    def test_that_the_server_has_gone_meanwhile_takes_nothing_from_it(self, heal: str) -> None:
        silence = {**SILENCE, "rules": [{"half_open": {"heal": heal, "hits": "live"}}]}
        trial = Trial(CALM, silence, WELL, expect=DETECTED)
        connection = trial.connect("news")
        trial.wait(2 * S)
        connection.send(SERVER, close_frame(4201))
        connection.fin(SERVER)
        trial.wait(2 * S)
        assert trial.row.seen == "not noticed yet"
        connection.fin(CLIENT)
        assert trial.row.seen == "after 3.0 s from the fault: it left (fin)"
        trial.wait(20 * S)
        assert trial.end().outcome is Outcome.PASSED

    def test_where_only_its_own_words_are_lost_the_server_tells_it(self) -> None:
        silence = {**SILENCE, "rules": [{"half_open": {"from": "client", "hits": "live"}}]}
        trial = Trial(CALM, silence, WELL, expect=DETECTED)
        connection = trial.connect("news")
        trial.wait(2 * S)
        connection.send(SERVER, close_frame(4201))
        trial.wait(1 * S)
        trial.connect("news")
        assert trial.row.seen == "only because the connection was ended (close)"

    def test_what_only_the_heal_told_is_not_noticed(self) -> None:
        trial = Trial(CALM, SILENCE, WELL, expect={"detected_within": "10s", "phase": "silence"})
        trial.connect("news")
        trial.wait(11 * S)
        trial.connect("news")
        assert trial.outcome is Outcome.FAILED
        assert trial.row.seen == "not by itself: only because the proxy healed"

    def test_who_is_passed_over_has_nothing_to_notice(self) -> None:
        silence = {**SILENCE, "rules": [{"half_open": {"hits": "live"}, "when": {"path": "/app/key"}}]}
        trial = Trial(CALM, silence, WELL, expect=DETECTED, identify={"query": "client"})
        connection = trial.connect("news", client="1")
        trial.establish(trial.network.open("/app/other?client=2"))
        trial.wait(4 * S)
        connection.fin(CLIENT)
        trial.wait(20 * S)
        assert (trial.end().outcome, trial.end().seen) == (Outcome.PASSED, "after 3.0 s from the fault: it left (fin)")

    def test_of_two_connections_it_is_the_one_that_was_struck(self) -> None:
        silence = {**SILENCE, "rules": [{"half_open": {"hits": "live"}, "when": {"connection": 2}}]}
        trial = Trial(CALM, silence, WELL, expect=DETECTED)
        trial.connect("news")
        connection = trial.connect("news")
        trial.wait(4 * S)
        connection.fin(CLIENT)
        assert trial.row.seen == "after 3.0 s from the fault: it left (fin)"

    def test_a_fault_that_only_slows_takes_no_connection(self) -> None:
        rules = [{"latency": {"delay": "100ms"}}, {"half_open": {"hits": "live"}}]
        trial = Trial(CALM, {**SILENCE, "rules": rules}, WELL, expect=DETECTED)
        trial.fail()
        trial.wait(2 * S)
        trial.connect("news")
        trial.wait(20 * S)
        assert trial.end().seen == "no client had a connection that could be hurt"

    def test_without_a_connection_there_is_nothing_to_notice(self) -> None:
        trial = Trial(CALM, SILENCE, WELL, expect=DETECTED)
        trial.fail()
        trial.wait(20 * S)
        assert trial.end().seen == "no client had a connection that could be hurt"
        assert trial.end().outcome is Outcome.FAILED

    def test_a_run_that_ends_early_fails_it_by_name(self) -> None:
        trial = self.trial()
        trial.wait(1 * S)
        assert trial.end().seen == "not noticed before the run ended, 1.0 s behind the fault"


class TestReconnection:
    def trial(self, *phases: dict[str, Any], **about: Any) -> Trial:
        trial = Trial(CALM, *phases, expect={"reconnected_within": "5s", **about})
        self.connection = trial.connect("news")
        trial.wait(1 * S)
        return trial

    @pytest.mark.parametrize("phase", ["silence", "well"])
    def test_the_time_runs_from_the_heal_whether_the_outage_or_the_phase_behind_it_is_named(self, phase: str) -> None:
        trial = self.trial(SILENCE, WELL, phase=phase)
        trial.wait(10 * S)
        assert trial.outcome is Outcome.OPEN
        trial.wait(4 * S)
        trial.connect()
        assert (trial.outcome, trial.row.seen) == (Outcome.PASSED, "after 4.0 s from the heal")

    def test_an_open_connection_that_is_not_established_is_none(self) -> None:
        trial = self.trial(SILENCE, WELL)
        trial.wait(10 * S)
        trial.network.open("/app/key?client=1")
        trial.wait(5 * S + MICROSECOND)
        assert trial.outcome is Outcome.FAILED
        assert trial.row.seen == "not within 5.0 s of the heal; 1 attempt"

    def test_where_no_protocol_is_spoken_open_is_enough(self) -> None:
        trial = Trial(CALM, SILENCE, WELL, expect={"reconnected_within": "5s"}, protocol=None)
        trial.network.open()
        trial.wait(11 * S)
        trial.network.open()
        assert trial.outcome is Outcome.PASSED

    def test_consecutive_phases_that_keep_clients_out_are_one_outage(self) -> None:
        trial = self.trial(SILENCE, {"name": "refused", "lasts": "5s", "rules": ["refuse"]}, WELL, phase="silence")
        trial.wait(15 * S)
        assert trial.outcome is Outcome.OPEN
        trial.wait(2 * S)
        trial.connect()
        assert trial.row.seen == "after 2.0 s from the heal"

    def test_who_kept_the_connection_needs_no_other(self) -> None:
        half_open = {"name": "silence", "lasts": "2s", "rules": [{"half_open": {"heal": "flush"}}]}
        trial = self.trial(half_open, WELL)
        trial.wait(2 * S)
        assert trial.outcome is Outcome.OPEN
        trial.wait(1 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.PASSED, "it kept its connection")

    def test_a_connection_that_is_ended_as_soon_as_it_hears_again_was_not_kept(self) -> None:
        half_open = {"name": "silence", "lasts": "2s", "rules": [{"half_open": {"heal": "flush"}}]}
        trial = self.trial(half_open, WELL)
        trial.wait(2 * S + 100 * MS)
        self.connection.fin(CLIENT)
        trial.wait(1 * S)
        assert trial.outcome is Outcome.OPEN
        trial.connect()
        assert trial.row.seen == "after 1.1 s from the heal"

    def test_who_was_back_before_the_heal_is_not_to_blame_for_the_next_outage(self) -> None:
        short: dict[str, Any] = {"lasts": "500ms", "rules": ["reset"]}
        phases = ({"name": "one", **short}, {"name": "pause", "lasts": "500ms"}, {"name": "two", **short})
        trial = Trial(CALM, *phases, WELL, expect={"reconnected_within": "100ms", "phase": "one"})
        trial.connect("news")
        trial.wait(1400 * MS)
        trial.connect("news")
        trial.wait(5 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.PASSED, "it was back before the heal")

    def test_from_the_fault_where_one_asks_for_it(self) -> None:
        trial = self.trial(KIND_CUT, WELL, after="fault")
        trial.wait(1500 * MS)
        trial.connect()
        assert trial.row.seen == "after 1.5 s from the fault"

    def test_from_the_moment_in_which_it_was_noticed(self) -> None:
        trial = self.trial(SILENCE, WELL, after="detected")
        trial.wait(9 * S)
        self.connection.fin(CLIENT)
        trial.wait(3 * S)
        trial.connect()
        assert trial.row.seen == "after 3.0 s from the detection"

    def test_every_outage_counts_and_every_client(self) -> None:
        trial = Trial(
            CALM, {**KIND_CUT, "name": "one"}, WELL, {**KIND_CUT, "name": "two"}, {"name": "rest"},
            expect={"reconnected_within": "1s"},
            identify={"query": "client"},
        )  # fmt: skip
        for name in ("a", "b"):
            trial.connect(client=name)
        trial.wait(3 * S)
        for name in ("a", "b"):
            trial.connect(client=name)
        trial.wait(12 * S)
        trial.connect(client="a")
        trial.wait(2 * S)
        assert trial.outcome is Outcome.FAILED
        assert trial.row.seen == "1 of 4: client b, two: not within 2.0 s of the heal; no attempt"


class TestResubscription:
    def trial(self, *channels: str, **options: Any) -> Trial:
        trial = Trial(CALM, CUT, WELL, expect={"resubscribed": {"within": "5s", **options}})
        self.connection = trial.connect(*channels)
        return trial

    def test_all_channels_are_those_that_it_had(self) -> None:
        trial = self.trial("news", "sport")
        trial.wait(3 * S)
        again = trial.connect("news")
        assert (trial.outcome, trial.row.seen) == (Outcome.OPEN, "not to sport yet")
        trial.wait(1 * S)
        trial.subscribe(again, "sport")
        assert (trial.outcome, trial.row.seen) == (Outcome.PASSED, "to news, sport after 1.0 s from the heal")

    def test_a_channel_that_is_not_asked_for_again_fails_with_the_records_that_show_it(self) -> None:
        trial = self.trial("news")
        trial.wait(3 * S)
        trial.connect()
        trial.wait(5 * S + MICROSECOND)
        row = trial.row
        assert (row.outcome, row.seen) == (Outcome.FAILED, "not to news within 5.0 s of the heal")
        assert trial.events_of(row) == ["Subscribed", "PhaseEntered", "Established"]

    def test_a_subscription_that_the_server_does_not_confirm_is_none(self) -> None:
        trial = self.trial("news")
        trial.wait(3 * S)
        trial.subscribe(trial.connect(), "news", is_confirmed=False)
        trial.wait(5 * S + MICROSECOND)
        assert trial.outcome is Outcome.FAILED

    def test_a_channel_that_was_left_before_is_not_missed(self) -> None:
        trial = self.trial("news", "sport")
        trial.ask(self.connection, {"event": "pusher:unsubscribe", "data": {"channel": "sport"}})
        trial.wait(3 * S)
        trial.connect("news")
        assert trial.outcome is Outcome.PASSED

    @pytest.mark.parametrize(
        ("channels", "outcome", "seen"),
        [
            (["news"], Outcome.PASSED, "to news after 5.0 s from the fault"),
            ([], Outcome.FAILED, "not to news within 8.0 s of the fault"),
        ],
    )
    def test_a_silent_connection_keeps_no_subscription(self, channels: list[str], outcome: Outcome, seen: str) -> None:
        """Its client holds on to it for a while, since it has not noticed yet."""
        silence = {**SILENCE, "rules": SILENCE["rules"][:1]}
        trial = Trial(CALM, silence, WELL, expect={"resubscribed": "7s", "after": "fault"})
        connection = trial.connect("news")
        trial.wait(6 * S)
        connection.rst(CLIENT)
        trial.connect(*channels)
        trial.wait(3 * S)
        assert (trial.outcome, trial.row.seen) == (outcome, seen)

    def test_only_those_that_are_named(self) -> None:
        trial = self.trial("news", "sport", channels=["sport"])
        trial.wait(3 * S)
        trial.connect("sport")
        assert trial.outcome is Outcome.PASSED

    def test_without_a_channel_before_there_is_nothing_to_judge_and_that_fails(self) -> None:
        trial = self.trial()
        trial.wait(3 * S)
        trial.connect("news")
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "it was subscribed to no channel before")


class TestStaying:
    def trial(self, **about: Any) -> Trial:
        trial = Trial(CALM, SLOW, WELL, expect={"stays_connected": "true", **about})
        self.connection = trial.connect("news")
        trial.wait(1500 * MS)
        return trial

    def test_it_holds_while_the_connection_does(self) -> None:
        trial = self.trial()
        assert trial.outcome is Outcome.HOLDS
        trial.wait(20 * S)
        assert trial.end().outcome is Outcome.PASSED

    def test_a_client_that_ends_it_fails(self) -> None:
        trial = self.trial()
        self.connection.rst(CLIENT)
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "it was ended by the client (reset)")

    def test_in_a_phase_only_what_happens_there_counts(self) -> None:
        trial = self.trial(phase="slow")
        trial.wait(5 * S)
        self.connection.rst(CLIENT)
        assert trial.outcome is Outcome.PASSED

    def test_a_client_that_goes_because_the_run_ends_has_stayed(self) -> None:
        trial = self.trial()
        self.connection.rst(CLIENT)
        trial.wait(500 * MS)
        assert trial.end().outcome is Outcome.PASSED

    @pytest.mark.parametrize(("closes", "outcome"), [("false", Outcome.PASSED), ("true", Outcome.FAILED)])
    def test_an_error_without_a_close_frame_ends_nothing(self, closes: str, outcome: Outcome) -> None:
        told = {"name": "told", "lasts": "2s", "rules": [{"pusher_error": {"code": "4301", "close": closes}}]}
        trial = Trial(CALM, told, WELL, expect={"stays_connected": "true"})
        trial.connect("news")
        trial.wait(9 * S)
        assert trial.end().outcome is outcome

    @pytest.mark.parametrize(
        ("closes", "seen"),
        [("false", "no fault of the profile keeps clients from the server"), ("true", "not back yet")],
    )
    def test_and_it_makes_no_outage(self, closes: str, seen: str) -> None:
        told = {"name": "told", "lasts": "2s", "rules": [{"pusher_error": {"code": "4301", "close": closes}}]}
        trial = Trial(CALM, told, WELL, expect={"reconnected_within": "5s"})
        trial.connect("news")
        trial.wait(4 * S)
        assert trial.row.seen == seen
