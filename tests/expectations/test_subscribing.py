"""What a client asks for once it is back: in virtual time."""

from typing import Any

import pytest

from tests.expectations.trial import CLIENT, MS, Outcome, S, Trial

CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
CUT: dict[str, Any] = {"name": "cut", "lasts": "2s", "rules": ["reset"]}
SILENCE: dict[str, Any] = {"name": "silence", "lasts": "10s", "rules": [{"half_open": {"hits": "live"}}]}
WELL: dict[str, Any] = {"name": "well"}


class TestOnce:
    def trial(self) -> Trial:
        return Trial(CALM, CUT, WELL, expect={"subscribes_once": "true"})

    def test_once_on_each_connection(self) -> None:
        trial = self.trial()
        trial.connect("news", "sport")
        trial.wait(2 * S)
        trial.connect("news", "sport")
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "4 subscriptions, each asked for once")

    def test_twice_on_one_is_too_often_whether_confirmed_or_not(self) -> None:
        trial = self.trial()
        connection = trial.connect()
        trial.subscribe(connection, "news", is_confirmed=False)
        trial.subscribe(connection, "news")
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "it asked twice for news on connection 1")
        assert trial.events_of(trial.row) == ["SubscriptionAsked", "SubscriptionAsked"]

    def test_again_behind_an_unsubscribe_or_a_refusal_is_once(self) -> None:
        trial = self.trial()
        connection = trial.connect("news")
        trial.ask(connection, {"event": "pusher:unsubscribe", "data": {"channel": "news"}})
        trial.subscribe(connection, "news")
        trial.subscribe(connection, "private-a", is_confirmed=False)
        trial.say(connection, {"event": "pusher:subscription_error", "channel": "private-a", "data": {"status": 401}})
        trial.subscribe(connection, "private-a")
        assert trial.outcome is Outcome.HOLDS

    def test_no_subscription_at_all_is_a_failure(self) -> None:
        trial = self.trial()
        trial.connect()
        assert trial.end().seen == "no subscription was asked for"
        assert trial.end().outcome is Outcome.FAILED


class TestAuth:
    def trial(self) -> Trial:
        trial = Trial(CALM, CUT, WELL, expect={"fresh_auth": "true"})
        trial.connect("private-a", auth="key:one")
        trial.wait(2 * S)
        return trial

    def test_a_new_signature_for_the_new_connection(self) -> None:
        trial = self.trial()
        trial.connect("private-a", auth="key:two")
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "a new signature once")

    def test_the_old_one_is_stale(self) -> None:
        trial = self.trial()
        trial.connect("private-a", auth="key:one")
        assert (trial.outcome, trial.row.seen) == (
            Outcome.FAILED,
            "it asked for private-a with the signature of its old connection",
        )

    def test_one_connection_shows_nothing(self) -> None:
        assert self.trial().end().seen == "no channel that needs a signature was asked for on two connections"

    def test_public_channels_need_none(self) -> None:
        trial = self.trial()
        trial.connect("news")
        assert trial.end().outcome is Outcome.FAILED

    def test_no_signature_reaches_the_journal(self) -> None:
        trial = self.trial()
        trial.verdict()
        assert not any("key:one" in str(told.event) for told in trial.records.values())


class TestOne:
    def trial(self, *phases: dict[str, Any]) -> Trial:
        trial = Trial(*phases, expect={"one_connection": "true"})
        self.connection = trial.connect()
        trial.wait(1500 * MS)
        return trial

    def test_one_after_the_other(self) -> None:
        trial = self.trial(CALM, CUT, WELL)
        trial.connect()
        trial.wait(5 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.HOLDS, "2 connections, one at a time")

    def test_two_together_are_one_too_many(self) -> None:
        trial = self.trial(CALM, WELL)
        trial.connect()
        trial.wait(200 * MS)
        assert trial.outcome is Outcome.HOLDS  # the end of the first may be under way
        trial.wait(1 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "connections 1 and 2 were open together for 1.2 s")

    def test_a_connection_that_a_fault_has_silenced_is_none_to_its_client(self) -> None:
        trial = self.trial(CALM, SILENCE, WELL)
        trial.connect()
        trial.wait(5 * S)
        assert trial.outcome is Outcome.HOLDS

    def test_one_that_carries_again_is_one(self) -> None:
        trial = self.trial(CALM, {"name": "silence", "lasts": "2s", "rules": ["half_open"]}, WELL)
        trial.wait(2 * S)
        trial.connect()
        trial.wait(1 * S)
        assert (trial.outcome, trial.row.seen) == (Outcome.FAILED, "connections 1 and 2 were open together for 1.0 s")

    def test_one_that_the_client_leaves_in_time_is_none(self) -> None:
        trial = self.trial(CALM, WELL)
        trial.connect()
        trial.wait(200 * MS)
        self.connection.fin(CLIENT)
        trial.wait(5 * S)
        assert trial.outcome is Outcome.HOLDS


CUT_CALMLY: dict[str, Any] = {"name": "cut", "lasts": "1s", "rules": ["reset"]}


@pytest.mark.parametrize(
    ("expect", "in_well"),
    [
        ("subscribes_once", "it asked twice for private-a on connection 2"),
        ("fresh_auth", "it asked for private-a with the signature of its old connection"),
        ("one_connection", "connections 2 and 3 were open together for 1.0 s"),
    ],
)
def test_with_a_phase_only_what_is_done_there_counts(expect: str, in_well: str) -> None:
    for phase, outcome in (("cut", Outcome.PASSED), ("well", Outcome.FAILED)):
        trial = Trial(CALM, CUT_CALMLY, {"name": "well", "lasts": "5s"}, expect={expect: True, "phase": phase})
        trial.connect("private-a", auth="key:1")
        trial.wait(1500 * MS)
        second = trial.connect("private-a", auth="key:2")
        trial.wait(1 * S)
        trial.subscribe(second, "private-a", "key:1")
        trial.connect()
        trial.wait(1 * S)
        row = trial.end()
        assert row.outcome is outcome
        assert row.seen == in_well or outcome is Outcome.PASSED


@pytest.mark.parametrize("expect", ["subscribes_once", "fresh_auth", "one_connection"])
def test_a_phase_that_was_not_entered_shows_nothing(expect: str) -> None:
    trial = Trial(CALM, {"name": "well", "lasts": "5s"}, expect={expect: True, "phase": "well"})
    trial.connect("private-a", auth="key:1")
    assert (trial.end().outcome, trial.end().seen) == (Outcome.FAILED, "phase well was not entered")
