"""What the judge of a new run knows of connections that have lived on."""

from chaosproxy.attempt import Spot
from chaosproxy.carried import attempt_of
from chaosproxy.effects import Leg
from chaosproxy.expectations import Outcome
from chaosproxy.units import SECOND
from chaosproxy.verdict import Judge

from .test_world import established, subscribed
from .virtual import CLIENT, Network, profile

PLAIN = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_connection_is_known_with_all_that_it_had() -> None:
    network = Network(profile(protocol="pusher", identify={"query": "me"}))
    c = network.open("/app/key?me=anna")
    network.wait(SECOND)
    established(c)
    subscribed(c, "news")
    attempt = attempt_of(network.world, c.session, 7)
    opened = Spot(c.session.opened_at or 0, 7)
    assert (attempt.number, attempt.client, attempt.connection) == (1, "anna", 1)
    assert (attempt.opened, attempt.established, attempt.socket_id) == (opened, opened, "1.1")
    assert attempt.subscribed == [(opened, "news")] and attempt.is_counted


def test_one_that_has_asked_for_nothing_and_one_of_plain_http_count_for_nothing() -> None:
    network = Network(profile())
    silent, plain = network.connect(), network.connect()
    plain.send(CLIENT, PLAIN)
    for c in (silent, plain):
        assert not attempt_of(network.world, c.session, 7).is_counted


def test_one_that_is_being_ended_is_not_carried_over() -> None:
    network = Network(profile())
    first, second = network.open(), network.open()
    network.steer(lambda world, now: [(second.session, second.session.close(Leg.BOTH, 1001, "", now))])
    assert network.world.carrying == [first.session]


def test_what_the_new_profile_does_to_it_is_judged() -> None:
    network = Network(profile())
    c = network.open()
    played = profile({"name": "down", "rules": [{"close": 4200}]}, expect=["one_connection"])
    network.play(played)
    judge = Judge(played, network.now)
    judge.history.take_over([attempt_of(network.world, c.session, 1)])
    for seq, told in enumerate(network.told, 2):
        if told.at >= network.now:
            judge.hear(told, seq)
    rows = {row.name: row.outcome for row in judge.verdict(network.now).rows}
    assert rows["a client came"] is Outcome.PASSED
    assert rows["close struck"] is Outcome.PASSED
