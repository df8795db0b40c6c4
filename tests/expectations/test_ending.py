"""How a client ends its connections: in virtual time."""

from typing import Any

from tests.expectations.trial import CLIENT, SERVER, Outcome, S, Trial
from tests.virtual import close_frame

CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
CLOSE: dict[str, Any] = {"name": "close", "lasts": "5s", "rules": [{"close": "4200"}]}
WELL: dict[str, Any] = {"name": "well"}
MASK = b"\1\2\3\4"


def trial(expect: Any, *phases: dict[str, Any]) -> Trial:
    return Trial(*(phases or (CALM, WELL)), expect=expect)


class TestCode:
    def test_each_connection_that_the_client_ends_has_it(self) -> None:
        story = trial({"close_code": ["1000", "1001"]})
        for code in (1000, 1001):
            story.leave(story.connect(), code)
        assert (story.outcome, story.row.seen) == (Outcome.HOLDS, "2 ended, each with such a code")

    def test_another_code_fails(self) -> None:
        story = trial({"close_code": "1000"})
        story.leave(story.connect(), 1001)
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "the code 1001")
        assert story.events_of(story.row) == ["CloseReceived"]

    def test_so_does_none(self) -> None:
        story = trial({"close_code": "1000"})
        story.connect().rst(CLIENT)
        assert story.row.seen == "no close frame (reset)"
        other = trial({"close_code": "1000"})
        other.leave(other.connect(), None)
        assert other.row.seen == "a close frame without a code"

    def test_a_connection_that_others_end_is_not_the_clients(self) -> None:
        story = trial({"close_code": "1000"}, CALM, CLOSE, WELL)
        connection = story.connect()
        story.wait(1 * S)
        connection.send(CLIENT, close_frame(4200, mask=MASK))
        connection.fin(CLIENT)
        assert story.end().seen == "no client ended a connection"


class TestCleanly:
    def test_by_the_closing_handshake(self) -> None:
        story = trial({"closes_cleanly": "true"})
        story.leave(story.connect())
        assert (story.outcome, story.row.seen) == (Outcome.HOLDS, "1 ended, each by the closing handshake")

    def test_a_bare_fin_is_not_clean(self) -> None:
        story = trial({"closes_cleanly": "true"})
        story.connect().fin(CLIENT)
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "it sent no close frame (fin)")

    def test_a_close_frame_wants_an_answer(self) -> None:
        story = trial({"closes_cleanly": "true"}, CALM, CLOSE, WELL)
        first = story.connect()
        story.wait(1 * S)
        first.send(CLIENT, close_frame(4200, mask=MASK))
        first.fin(CLIENT)
        assert story.outcome is Outcome.HOLDS
        second = story.connect()
        second.send(SERVER, close_frame(1001))
        second.fin(CLIENT)
        assert (story.outcome, story.row.seen) == (Outcome.FAILED, "it did not answer the close frame (fin)")

    def test_one_that_goes_with_the_run_is_not_judged(self) -> None:
        story = trial({"closes_cleanly": "true"})
        story.connect().fin(CLIENT)
        row = story.end()
        assert (row.outcome, row.seen) == (Outcome.FAILED, "no connection ended by a client, or by a close frame")
