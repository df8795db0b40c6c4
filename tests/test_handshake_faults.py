"""What rules do to the TLS handshake, as far as the world and its sessions decide it."""

import pytest

from chaosproxy.events import Closed, End, Healed, Secured, Send, Struck
from chaosproxy.legs import State
from chaosproxy.opening import HEAD_TIME
from chaosproxy.units import SECOND

from .virtual import CLIENT, SERVER, Network, live_rule, profile, request

EXPIRED = {"bad_certificate": "expired"}


def test_bad_certificate_is_chosen_for_each_new_connection_and_healing_takes_it_back() -> None:
    network = Network(profile())
    before = network.connect()
    network.add(live_rule("bad_certificate", "expired"))
    during = network.connect()
    assert [each.session.certificate for each in (before, during)] == ["", "expired"]
    assert network.events(Struck) == [Struck("live", "bad_certificate", None, None, None)]

    network.heal()
    after = network.connect()
    assert [each.session.certificate for each in (before, during, after)] == ["", "", ""]


def test_a_client_that_does_not_verify_gets_its_connection() -> None:
    network = Network(profile(rules=[EXPIRED]))
    connection = network.open()

    assert connection.session.certificate == "expired"
    assert connection.session.state is State.TUNNEL


def test_chance_picks_attempts() -> None:
    network = Network(profile(rules=[{**EXPIRED, "when": {"chance": "50%"}}], seed=3))
    shown = [network.connect().session.certificate for _ in range(40)]

    assert {"", "expired"} == set(shown)
    again = Network(profile(rules=[{**EXPIRED, "when": {"chance": "50%"}}], seed=3))
    assert shown == [again.connect().session.certificate for _ in range(40)]


def test_tls_stall_holds_until_it_heals_and_the_time_for_a_head_begins_then() -> None:
    network = Network(profile())
    network.add(live_rule("tls_stall"))
    stalled = network.connect()
    network.wait(60 * SECOND)
    assert stalled.session.holds_handshake
    assert stalled.actions(Send) == []

    network.heal()
    assert not stalled.session.holds_handshake
    assert network.events(Healed) == [Healed("live", "tls_stall")]
    network.wait(HEAD_TIME - 1)
    assert stalled.actions(Send) == []
    stalled.send(CLIENT, request())
    assert stalled.is_dialled


def test_a_stalled_client_that_gives_up_is_over() -> None:
    network = Network(profile(rules=["tls_stall"]))
    stalled = network.connect()
    stalled.fin(CLIENT)

    assert stalled.is_over
    network.end_all()


def test_a_half_open_for_all_new_connections_holds_handshakes_and_a_hang_does_not() -> None:
    network = Network(profile())
    early = network.connect()
    network.add(live_rule("half_open", id="silence"))
    late = network.connect()
    assert early.session.holds_handshake and late.session.holds_handshake
    network.heal("silence")
    assert not early.session.holds_handshake and not late.session.holds_handshake
    network.add(live_rule("hang"))
    assert not network.connect().session.holds_handshake


@pytest.mark.parametrize("is_truncated", [False, True])
def test_a_truncation_is_passed_on_as_one_and_an_end_as_an_end(is_truncated: bool) -> None:
    network = Network(profile())
    connection = network.open()
    network.happen(connection, lambda now: connection.session.ended(SERVER, now, is_truncated=is_truncated))

    assert connection.actions(End) == [End(CLIENT, notify=not is_truncated)]


@pytest.mark.parametrize(
    ("options", "notifies"),
    [({}, (False, False)), ({"leg": "client"}, (False, True)), ({"notify": True}, (True, True))],
)
def test_fin_truncates_only_the_leg_it_aims_at(options: dict[str, object], notifies: tuple[bool, bool]) -> None:
    network = Network(profile())
    connection = network.open()
    network.add(live_rule("fin", options))

    assert connection.actions(End) == [End(CLIENT, notifies[0]), End(SERVER, notifies[1])]


def test_tls_that_fails_ends_the_connection_as_a_loss() -> None:
    network = Network(profile())
    connection = network.open()
    network.happen(connection, lambda now: connection.session.broken(CLIENT, "bad record mac", now))

    assert network.events(Secured) == [Secured(CLIENT, "", "bad record mac")]
    assert network.events(Closed) == [Closed("client", "tls", None)]
    assert connection.server.reset_at is not None


def test_plaintext_on_a_tls_port_is_answered_400() -> None:
    network = Network(profile())
    connection = network.connect()
    network.happen(connection, lambda now: connection.session.refuse_plaintext(now))

    assert b"HTTP/1.1 400 Bad Request\r\n" in connection.client.data
    assert b"use wss:// in place of ws://" in connection.client.data
