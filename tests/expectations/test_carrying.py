"""What reached a client: in virtual time."""

import json
from typing import Any

from chaosproxy.events import Tracked
from tests.expectations.trial import Outcome, S, Side, Trial
from tests.virtual import Connection

FROM_SERVER = {"from": "server", "event": "tick"}
CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
WELL: dict[str, Any] = {"name": "well"}


def lossy(rule: Any, expect: Any) -> tuple[Trial, Connection]:
    story = Trial({"name": "lossy", "lasts": "10s", "rules": [rule]}, WELL, expect=expect)
    return story, story.connect("news")


def send(story: Trial, connection: Connection, *numbers: int) -> None:
    """The server sends ticks with these numbers, in JSON inside JSON as Pusher does."""
    for number in numbers:
        story.say(connection, {"event": "tick", "channel": "news", "data": json.dumps({"id": number})})


class TestDuplicates:
    def test_each_once(self) -> None:
        story, connection = lossy(
            {"drop": {}, "when": {"nth": "9", **FROM_SERVER}}, {"no_duplicates_on_the_wire": "/data/id"}
        )
        send(story, connection, 1, 2, 3)
        assert (story.outcome, story.row.seen) == (Outcome.HOLDS, "3 messages, each once")

    def test_a_copy_is_one_too_many(self) -> None:
        rule = {"duplicate": {}, "when": {"nth": "2", **FROM_SERVER}}
        story, connection = lossy(rule, {"no_duplicates_on_the_wire": "/data/id"})
        send(story, connection, 1, 2, 3)
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "2 came twice")

    def test_also_over_two_connections(self) -> None:
        story, connection = lossy({"drop": {}, "when": FROM_SERVER}, {"no_duplicates_on_the_wire": "/data/id"})
        story.wait(11 * S)
        send(story, connection, 1, 2)
        again = story.connect("news")
        send(story, again, 2, 3)
        assert story.outcome is Outcome.FAILED

    def test_messages_without_the_field_show_nothing(self) -> None:
        story, _ = lossy({"drop": {}, "when": FROM_SERVER}, {"no_duplicates_on_the_wire": "/data/other"})
        assert story.end().seen == "no message had /data/other"


class TestGaps:
    RULE: dict[str, Any] = {"drop": {}, "when": {"nth": "2", **FROM_SERVER}}  # noqa: RUF012

    def test_what_a_fault_took_is_missing_unless_it_is_sent_again(self) -> None:
        story, connection = lossy(self.RULE, {"no_gap_on_the_wire": "/data/id"})
        send(story, connection, 1, 2, 3)
        assert (story.outcome, story.row.seen) == (Outcome.HOLDS, "1 missing of 1 to 3: 2")
        assert story.end().outcome is Outcome.FAILED
        send(story, connection, 2)
        assert (story.outcome, story.row.seen) == (Outcome.HOLDS, "1 to 3")
        assert story.end().outcome is Outcome.PASSED

    def test_so_is_what_never_came(self) -> None:
        story, connection = lossy(self.RULE, {"no_gap_on_the_wire": "/data/id"})
        send(story, connection, 1, 1, 5, 6, 9)
        assert story.row.seen == "5 missing of 1 to 9: 2 to 4, 7 to 8"


class TestMissed:
    RULE: dict[str, Any] = {"drop": {}, "when": {"first": "2", **FROM_SERVER}}  # noqa: RUF012

    def test_so_many_may_be_withheld(self) -> None:
        story, connection = lossy(self.RULE, {"missed": {"field": "/data/id", "at_most": "2"}})
        send(story, connection, 1, 2, 3)
        assert (story.end().outcome, story.end().seen) == (Outcome.PASSED, "2 of 3: 1, 2")

    def test_one_more_fails(self) -> None:
        story, connection = lossy(self.RULE, {"missed": {"field": "/data/id", "at_most": "1"}})
        send(story, connection, 1, 2, 3)
        assert story.end().outcome is Outcome.FAILED

    def test_what_comes_again_was_not_missed(self) -> None:
        story, connection = lossy(self.RULE, {"missed": "/data/id"})
        send(story, connection, 1, 2, 3, 1, 2)
        assert story.end().outcome is Outcome.PASSED

    def test_what_a_close_overtakes_was(self) -> None:
        held = [{"latency": {"delay": "5s"}, "when": FROM_SERVER}]
        close = {"name": "close", "rules": [{"close": "4200"}]}
        story = Trial({"name": "slow", "lasts": "1s", "rules": held}, close, expect={"missed": "/data/id"})
        connection = story.connect("news")
        send(story, connection, 7)
        story.wait(2 * S)
        assert (story.end().outcome, story.end().seen) == (Outcome.FAILED, "1 of 1: 7")


def test_a_message_that_a_fault_changes_is_what_it_has_become() -> None:
    rule = {"rewrite": {"set": {"/data/id": "8"}}, "when": {"nth": "1", **FROM_SERVER}}
    story, connection = lossy(rule, {"no_gap_on_the_wire": "/data/id"})
    send(story, connection, 1)
    story.verdict()
    tracked = [told.event for told in story.records.values() if isinstance(told.event, Tracked)]
    assert tracked == [Tracked(Side.SERVER, "/data/id", "1", False), Tracked(Side.SERVER, "/data/id", "8", True)]
