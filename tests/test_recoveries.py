"""How clients get over losses, in numbers: stories in virtual time, each told as it happens."""

from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

import pytest

from chaosproxy import recoveries
from chaosproxy.recoveries import DETECTION_BOUNDS, RECONNECT_BOUNDS, RECOVERY_BOUNDS, Recoveries
from chaosproxy.tally import Buckets
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.world import Told
from tests.expectations.trial import Trial
from tests.virtual import CLIENT, SERVER, close_frame

S, MS = SECOND, MILLISECOND
MASK = b"\1\2\3\4"
CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
WELL: dict[str, Any] = {"name": "well"}


def outage(*rules: Any, lasts: str = "10s", name: str = "outage") -> dict[str, Any]:
    return {"name": name, "lasts": lasts, "rules": list(rules)}


BLACKHOLE: dict[str, Any] = {"half_open": {"mode": "blackhole", "heal": "reset", "hits": "live"}}
FREEZE: dict[str, Any] = {"half_open": {"mode": "freeze", "heal": "flush", "hits": "live"}}


class _Heard(list[Told]):
    """What is told is heard at once, as in a proxy."""

    def __init__(self, hear: Callable[[Told], None]) -> None:
        self._hear = hear

    def __iadd__(self, several: Iterable[Told]) -> "_Heard":
        for told in several:
            self.append(told)
        return self

    def append(self, told: Told) -> None:
        super().append(told)
        self._hear(told)

    def insert(self, index: SupportsIndex, told: Told) -> None:
        raise AssertionError("nothing is told out of turn")


class Story(Trial):
    """Clients are told apart by `client` in the query."""

    def __init__(self, *phases: dict[str, Any], **top: Any) -> None:
        super().__init__(*phases, **{"identify": {"query": "client"}, **top})
        self.seen = Recoveries(lambda: self.network.world.profile.protocol is not None)
        self.network.told = _Heard(self.seen.tell)

    @property
    def reconnects(self) -> tuple[int, int]:
        return numbers(self.seen.reconnects)

    @property
    def detections(self) -> tuple[int, int]:
        return numbers(self.seen.detections)

    @property
    def recoveries(self) -> tuple[int, int]:
        return numbers(self.seen.recoveries)


def numbers(buckets: Buckets) -> tuple[int, int]:
    """How many times, and their sum in milliseconds."""
    assert buckets.sum % MS == 0
    return sum(buckets.counts), buckets.sum // MS


class TestSilence:
    """Half-open from 1 s to 11 s."""

    def story(self, *rules: Any) -> Story:
        story = Story(CALM, outage(*(rules or (BLACKHOLE, "hang"))), WELL)
        self.connection = story.connect()
        story.wait(1 * S)
        return story

    def test_one_that_leaves_has_noticed_and_is_back_when_it_is_established(self) -> None:
        story = self.story(BLACKHOLE)
        story.wait(4 * S)
        self.connection.fin(CLIENT)
        assert story.detections == (1, 4000)
        story.wait(2 * S)
        again = story.network.open("/app/key?client=1")
        assert story.reconnects == (1, 2000)
        story.wait(500 * MS)
        assert story.recoveries == (0, 0)
        story.establish(again)
        assert story.recoveries == (1, 6500)

    def test_one_that_tries_anew_has_noticed_and_did_not_wait(self) -> None:
        story = self.story()
        story.wait(3 * S)
        story.fail()
        assert story.detections == (1, 3000)
        assert story.reconnects == (1, 0)
        story.wait(2 * S)
        story.fail()
        assert story.detections == (1, 3000)
        assert story.reconnects == (2, 2000)
        story.wait(5 * S)
        story.connect()
        assert story.reconnects == (3, 7000)
        assert story.recoveries == (1, 10_000)

    def test_one_that_reports_another_state_has_noticed(self) -> None:
        story = self.story()
        story.wait(2 * S)
        story.report("connected", client="1")
        assert story.detections == (0, 0)
        story.report("unavailable", client="1")
        story.wait(1 * S)
        story.report("connecting", client="1")
        self.connection.fin(CLIENT)
        assert story.detections == (1, 2000)

    def test_another_ones_report_shows_nothing(self) -> None:
        story = self.story()
        story.report("unavailable", client="2")
        assert story.detections == (0, 0)

    def test_one_that_learns_of_it_by_the_reset_at_the_heal_has_not_noticed(self) -> None:
        story = self.story()
        story.wait(11 * S)
        assert story.detections == (0, 0)
        story.connect()
        assert story.reconnects == (1, 1000)
        assert story.recoveries == (1, 11_000)

    def test_one_that_outlives_it_has_lost_nothing(self) -> None:
        story = self.story(FREEZE)
        story.wait(20 * S)
        story.leave(self.connection)
        story.connect()
        assert (story.detections, story.recoveries) == ((0, 0), (0, 0))

    def test_one_that_ends_it_right_after_the_heal_had_lost_it_from_the_fault_on(self) -> None:
        story = self.story(FREEZE)
        story.wait(10 * S + 500 * MS)
        self.connection.fin(CLIENT)
        story.connect()
        assert story.detections == (0, 0)
        assert story.recoveries == (1, 10_500)

    def test_an_outage_of_two_phases_is_one(self) -> None:
        more = outage({**BLACKHOLE, "id": "more"}, "hang", name="more")
        first = outage({"half_open": {"mode": "freeze", "heal": "flush", "hits": "live"}}, lasts="2s")
        story = Story(CALM, first, more, WELL)
        connection = story.connect()
        story.wait(1 * S + 5 * S)
        connection.fin(CLIENT)
        assert story.detections == (1, 5000)
        story.fail()
        story.wait(10 * S)
        story.connect()
        assert story.recoveries == (1, 15_000)

    def test_one_whose_server_leaves_meanwhile_does_not_hear_of_it(self) -> None:
        story = self.story()
        story.wait(1 * S)
        self.connection.fin(SERVER)
        story.wait(2 * S)
        self.connection.fin(CLIENT)
        assert story.detections == (1, 3000)

    def test_one_that_can_hear_its_server_leave_has_not_noticed_by_itself(self) -> None:
        story = self.story({"half_open": {"mode": "blackhole", "from": "client", "hits": "live"}})
        story.wait(1 * S)
        self.connection.fin(SERVER)
        assert self.connection.client.fin_at is not None, "it hears"
        story.wait(1 * S)
        self.connection.fin(CLIENT)
        assert story.detections == (0, 0)
        story.connect()
        assert story.recoveries == (1, 2000)


class TestEnds:
    def test_a_reset_is_no_silence_and_the_loss_is_from_the_fault(self) -> None:
        story = Story(CALM, outage("reset", {"reject": 503}, lasts="5s"), WELL)
        story.connect()
        story.wait(3 * S)
        story.fail()
        assert story.reconnects == (1, 2000)
        story.wait(4 * S)
        story.connect()
        assert story.detections == (0, 0)
        assert story.reconnects == (2, 6000)
        assert story.recoveries == (1, 6000)

    def test_a_close_by_a_rule_counts_from_the_rules_close_frame(self) -> None:
        story = Story(CALM, outage({"close": {"code": 4200}}), WELL)
        connection = story.connect()
        story.wait(1 * S + 300 * MS)
        connection.send(CLIENT, close_frame(4200, mask=MASK))
        connection.fin(CLIENT)
        story.wait(200 * MS)
        story.connect()
        assert story.reconnects == (1, 500)
        assert story.recoveries == (1, 500)
        assert story.detections == (0, 0)

    @pytest.mark.parametrize("how", ["close", "fin", "rst"])
    def test_a_server_that_ends_it_is_a_loss(self, how: str) -> None:
        story = Story(WELL)
        connection = story.connect()
        story.wait(1 * S)
        if how == "close":
            connection.send(SERVER, close_frame(1012))
        getattr(connection, how if how != "close" else "fin")(SERVER)
        story.wait(250 * MS)
        story.connect()
        assert story.reconnects == (1, 250)
        assert story.recoveries == (1, 250)

    def test_a_client_that_leaves_a_connection_that_works_has_lost_nothing(self) -> None:
        story = Story(WELL)
        story.leave(story.connect())
        story.wait(3 * S)
        story.connect()
        assert story.reconnects == (1, 3000)
        assert story.recoveries == (0, 0)

    def test_one_that_leaves_a_connection_that_a_fault_has_struck_has_lost_it(self) -> None:
        story = Story({**WELL, "rules": [{"drop": {}, "when": {"from": "server", "event": "pusher:pong"}}]})
        connection = story.connect()
        story.say(connection, {"event": "pusher:pong", "data": {}})
        story.wait(5 * S)
        story.leave(connection)
        story.wait(1 * S)
        story.connect()
        assert story.recoveries == (1, 1000)

    def test_a_closed_listener_leaves_live_connections_alone(self) -> None:
        story = Story(CALM, outage("refuse", lasts="5s"), WELL)
        story.connect()
        story.wait(20 * S)
        assert (story.reconnects, story.detections, story.recoveries) == ((0, 0), (0, 0), (0, 0))

    def test_a_reset_and_then_a_closed_listener_last_until_the_client_is_back(self) -> None:
        story = Story(CALM, outage("reset", "refuse", lasts="5s"), WELL)
        story.connect()
        story.wait(8 * S)
        story.connect()
        assert story.reconnects == (1, 7000)
        assert story.recoveries == (1, 7000)

    def test_the_last_of_several_connections_counts(self) -> None:
        story = Story(WELL)
        first, second = story.connect(), story.connect()
        assert story.reconnects == (0, 0)
        first.fin(SERVER)
        story.wait(1 * S)
        second.fin(SERVER)
        story.wait(2 * S)
        story.connect()
        assert story.reconnects == (1, 2000)
        assert story.recoveries == (1, 2000)

    def test_an_attempt_that_a_rule_resets_at_once_is_the_only_clients(self) -> None:
        story = Story(CALM, outage("reset", {"reset": {"at": "accept"}}, lasts="5s"), WELL)
        story.connect()
        story.wait(2 * S)
        story.network.connect()
        story.wait(3 * S)
        story.network.connect()
        assert story.reconnects == (2, 4000)

    def test_a_plain_request_is_no_attempt(self) -> None:
        story = Story(WELL)
        connection = story.connect()
        connection.fin(SERVER)
        story.wait(1 * S)
        plain = story.network.connect()
        plain.send(CLIENT, b"GET /apps?client=1 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert story.reconnects == (0, 0)

    def test_without_a_protocol_an_open_connection_is_enough(self) -> None:
        story = Story(WELL, protocol=None)
        story.network.open("/?client=1").fin(SERVER)
        story.wait(2 * S)
        story.network.open("/?client=1")
        assert story.recoveries == (1, 2000)

    def test_a_connection_that_opens_into_silence_serves_from_the_heal_on(self) -> None:
        story = Story(CALM, outage("reset", "silent", lasts="5s"), WELL, protocol=None)
        story.network.open("/?client=1")
        story.wait(2 * S)
        story.network.open("/?client=1")
        assert story.recoveries == (0, 0)
        story.wait(10 * S)
        assert story.recoveries == (1, 5000)


class TestClients:
    def test_each_is_measured_by_itself(self) -> None:
        story = Story(CALM, outage("reset", lasts="1s"), WELL)
        for client in "abc":
            story.connect(client=client)
        story.wait(1 * S)
        for client in "abc":
            story.wait(1 * S)
            story.connect(client=client)
        assert story.reconnects == (3, 1000 + 2000 + 3000)
        assert story.recoveries == (3, 6000)
        assert story.detections == (0, 0)

    def test_without_their_names_they_are_one(self) -> None:
        story = Story(CALM, outage("reset", lasts="1s"), WELL, identify=None)
        story.connect()
        story.connect()
        story.wait(2 * S)
        story.connect()
        story.connect()
        assert story.recoveries == (1, 1000)

    def test_what_is_kept_of_them_is_bounded_and_of_connections_nothing_is_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recoveries, "CLIENTS_MAX", 100)
        story = Story(WELL)
        for number in range(105):
            connection = story.connect(client=str(number))
            connection.fin(SERVER)
            connection.fin(CLIENT)
            story.wait(10 * MS)  # the cap on dials
        assert len(story.seen._clients) == 100
        assert not story.seen._connections
        story.connect(client="0")
        assert story.reconnects == (0, 0), "it had been forgotten"
        story.connect(client="90")
        assert story.reconnects[0] == 1


@pytest.mark.parametrize("bounds", [RECONNECT_BOUNDS, DETECTION_BOUNDS, RECOVERY_BOUNDS])
def test_bounds_rise(bounds: tuple[int, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
