"""The story from events alone, in virtual time."""

from chaosproxy.demo.clients import ClientEvent, Kind
from chaosproxy.demo.story import GOOD, NAIVE, OUTAGE, PROXY, RECOVERY, Look, Mark, Story
from chaosproxy.events import Listening, PhaseEntered, Struck
from chaosproxy.lanes import Limits
from chaosproxy.reading import Reading
from chaosproxy.session import Session
from chaosproxy.tally import Tally
from chaosproxy.units import SECOND
from chaosproxy.world import Told


class Teller:
    """Tells a story event by event; times are seconds."""

    def __init__(self) -> None:
        self.story = Story(0)

    def client(self, at: float, name: str, kind: Kind, detail: str = "") -> list[Mark]:
        return self.story.hear_client(ClientEvent(round(at * SECOND), name, kind, detail))

    def phase(self, at: float, name: str) -> list[Mark]:
        return self.story.hear_proxy(Told(round(at * SECOND), None, PhaseEntered(name, 1, "time")))

    def struck(self, at: float, name: str) -> list[Mark]:
        session = Session(1, Limits(1024, 1024), Reading(None, False, False), Tally(), 0)
        session.client = name
        return self.story.hear_proxy(Told(round(at * SECOND), session, Struck("r", "half_open", None, None, None)))

    def connected(self, at: float, name: str) -> None:
        self.client(at, name, Kind.DIAL, "1")
        self.client(at, name, Kind.STATE, "connected")
        self.client(at, name, Kind.SUBSCRIBED, "news")


def played() -> Teller:
    """An outage from 2 s to 8 s, which the good client notices and the naive one does not."""
    teller = Teller()
    teller.connected(0.1, GOOD)
    teller.connected(0.2, NAIVE)
    teller.phase(2, OUTAGE)
    teller.story.hear_proxy(Told(2 * SECOND, None, Listening(False, "phase outage")))
    teller.struck(2, GOOD)
    teller.struck(2, NAIVE)
    teller.client(3.5, GOOD, Kind.ERROR, "no pong: the link is dead")
    teller.client(3.5, GOOD, Kind.STATE, "connecting")
    teller.client(3.5, GOOD, Kind.DIAL, "2")
    teller.client(3.5, GOOD, Kind.ERROR, "ConnectionRefusedError …")
    teller.client(5.5, GOOD, Kind.STATE, "unavailable")
    teller.phase(8, RECOVERY)
    teller.client(8, NAIVE, Kind.CLOSED, "1006")
    teller.client(8.2, NAIVE, Kind.STATE, "connecting")
    teller.client(8.2, NAIVE, Kind.DIAL, "2")
    teller.client(8.3, NAIVE, Kind.STATE, "connected")
    teller.client(9, GOOD, Kind.DIAL, "3")
    teller.client(9, GOOD, Kind.STATE, "connected")
    teller.client(9.1, GOOD, Kind.SUBSCRIBED, "news")
    teller.client(9.2, GOOD, Kind.MESSAGE, "headline news")
    return teller


def test_the_good_client_passes() -> None:
    teller = played()
    teller.phase(12, "")
    row = teller.story.row(GOOD)
    assert (row.noticed, row.back, row.subscribed, row.verdict) == (
        "after 1.5 s",
        "1.0 s after the heal",
        "yes",
        "PASS",
    )


def test_the_naive_client_fails_with_its_reasons() -> None:
    teller = played()
    teller.phase(12, "")
    row = teller.story.row(NAIVE)
    assert row.noticed == "never, only from the heal"
    assert row.verdict == "FAIL: never noticed, did not subscribe again"


def test_nothing_is_decided_before_the_end() -> None:
    assert played().story.row(GOOD).verdict == "not decided: ended early"


def test_a_client_that_stays_away_fails() -> None:
    teller = Teller()
    teller.connected(0.1, GOOD)
    for at, phase in ((2, OUTAGE), (8, RECOVERY), (12, "")):
        teller.phase(at, phase)
    assert teller.story.row(GOOD).failures == ("never noticed", "did not come back", "did not subscribe again")


def test_the_marks_tell_what_happened() -> None:
    words = [mark.text for mark in played().story.marks if mark.actor == GOOD and mark.at > 2]
    assert words == [
        "NOTICED after 1.5 s: no pong: the link is dead",
        "attempt 2 is refused, tries again",
        "unavailable: tells its user, and tries on",
        "BACK with attempt 3, 1.0 s after the heal",
        "subscribed to news again",
        "hears messages again",
    ]


def test_a_lane_shows_a_client_deaf_while_it_thinks_that_all_is_well() -> None:
    story = played().story
    looks = {actor: [(at, look) for at, look in story.lane(actor)] for actor in (PROXY, GOOD, NAIVE)}
    assert looks[PROXY] == [(0, Look.PASSING), (2, Look.BROKEN), (8, Look.PASSING)]
    assert looks[GOOD][-5:] == [
        (2, Look.DEAF),
        (3.5, Look.CONNECTING),
        (5.5, Look.UNAVAILABLE),
        (9, Look.DEAF),
        (9.1, Look.HEARING),
    ]
    assert looks[NAIVE][-3:] == [(2, Look.DEAF), (8.2, Look.CONNECTING), (8.3, Look.DEAF)]


def test_the_end_says_who_is_deaf() -> None:
    assert [(mark.actor, mark.text) for mark in played().phase(12, "")] == [
        (NAIVE, "connected and deaf: it did not subscribe again")
    ]
