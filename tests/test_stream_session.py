"""Opaque connections in virtual time: opened by the dial, ended as TCP ends, hurt by bytes and by time."""

from typing import Any

import pytest

from chaosproxy.events import Asked, Closed, Discarded, Healed, Limited, Opened, Struck, Suppressed
from chaosproxy.legs import State
from chaosproxy.opening import EARLY_BYTES_MAX
from chaosproxy.units import SECOND
from chaosproxy.world import Options
from tests.virtual import CLIENT, MS, SERVER, Network, Peer, live_rule, profile

HEALTHY = {"name": "healthy", "lasts": "10s"}


def network(*phases: dict[str, Any], accepts_dials: bool = True, dial_cap: int = 0, **top: Any) -> Network:
    options = Options(is_opaque=True, dials_per_second_max=dial_cap)
    return Network(profile(*phases, **top), options, accepts_dials=accepts_dials)


def hurt(*rules: Any) -> dict[str, Any]:
    return {"name": "hurt", "lasts": "10s", "rules": list(rules)}


def arrivals(peer: Peer, since: int) -> list[tuple[int, bytes]]:
    """What a peer has received, with the times in ms."""
    return [((at - since) // MS, data) for at, data in peer.received]


class TestOpening:
    def test_a_connection_is_dialled_at_once_and_open_when_that_succeeds(self) -> None:
        net = network(accepts_dials=False)
        connection = net.connect()
        assert connection.is_dialled
        assert net.events(Opened) == []

        connection.dial_answered()

        assert connection.session.state is State.TUNNEL
        assert (connection.session.client, connection.session.connection) == ("", 1)
        assert net.events(Opened) == [Opened("")]
        assert net.events(Asked) == []

    def test_what_looks_like_anything_is_carried_as_it_came(self) -> None:
        net = network()
        connection = net.connect()

        connection.send(CLIENT, b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x88\x02\x03\xe8")
        connection.send(SERVER, b"HTTP/1.1 400 Bad\r\n\r\n", b"\x00")

        assert connection.server.data == b"\x16\x03\x01GET / HTTP/1.1\r\n\r\n\x88\x02\x03\xe8"
        assert connection.client.data == b"HTTP/1.1 400 Bad\r\n\r\n\x00"
        assert [direction.splitter.bytes for direction in connection.session.directions] == [25, 21]
        assert [sum(direction.splitter.frames) for direction in connection.session.directions] == [0, 0]

    def test_a_server_may_speak_first(self) -> None:
        connection = network().connect()
        connection.send(SERVER, b"220 ready\r\n")
        assert connection.client.data == b"220 ready\r\n"

    def test_what_the_client_sends_before_the_dial_is_through_is_kept_and_sent(self) -> None:
        connection = network(accepts_dials=False).connect()
        connection.send(CLIENT, b"early", b" bird")
        connection.fin(CLIENT)
        connection.dial_answered()

        assert connection.server.data == b"early bird"
        assert connection.server.fin_at is not None
        connection.send(SERVER, b"worm")
        assert connection.client.data == b"worm"

    def test_what_is_kept_is_bounded_by_pausing_the_client(self) -> None:
        connection = network(accepts_dials=False).connect()
        connection.send(CLIENT, bytes(EARLY_BYTES_MAX), b"and more")
        assert not connection.client.is_read

        connection.dial_answered()

        assert connection.client.is_read
        assert connection.server.data == bytes(EARLY_BYTES_MAX) + b"and more"

    def test_an_upstream_that_cannot_be_reached_is_a_reset_for_the_client(self) -> None:
        net = network(accepts_dials=False)
        connection = net.connect()
        connection.send(CLIENT, b"hello")
        connection.dial_answered("connection refused")

        assert connection.client.reset_at == net.now
        assert connection.client.data == b""
        assert net.events(Closed) == [Closed("proxy", "reset", None)]
        assert net.world.totals.outcomes == {"failed": 1}

    def test_a_client_that_resets_before_the_dial_is_through_takes_it_along(self) -> None:
        net = network(accepts_dials=False)
        connection = net.connect()
        connection.rst(CLIENT)
        connection.dial_answered()
        assert connection.server.reset_at == net.now
        net.end_all()

    def test_dials_wait_for_the_cap(self) -> None:
        net = network(dial_cap=1)
        first, second = net.connect(), net.connect()
        assert (first.is_dialled, second.is_dialled) == (True, False)
        second.send(CLIENT, b"patient")

        net.wait(SECOND)

        assert second.server.data == b"patient"

    def test_the_timeline_starts_with_the_first_connection(self) -> None:
        net = network(HEALTHY, hurt("reset"))
        net.wait(60 * SECOND)
        assert net.phase == ""
        connection = net.connect()
        assert net.phase == "healthy"
        net.wait(10 * SECOND)
        assert connection.client.reset_at is not None and connection.server.reset_at is not None

    def test_until_counts_opened_connections(self) -> None:
        net = network({"name": "waiting", "until": {"opened": 2}}, hurt("fin"))
        net.connect()
        assert net.phase == "waiting"
        net.connect()
        assert net.phase == "hurt"


class TestEnding:
    @pytest.mark.parametrize(("side", "other"), [(CLIENT, SERVER), (SERVER, CLIENT)])
    def test_a_half_close_is_passed_on_and_the_reply_survives_it(self, side: Any, other: Any) -> None:
        net = network()
        connection = net.connect()
        connection.send(side, b"question")
        connection.fin(side)
        assert connection.peer(other).data == b"question"
        assert connection.peer(other).fin_at == net.now
        assert connection.peer(side).fin_at is None

        net.wait(3600 * SECOND)
        connection.send(other, b"answer")
        connection.fin(other)

        assert connection.peer(side).data == b"answer"
        assert connection.is_over
        assert net.events(Closed) == [Closed(side.label, "fin", None)]

    @pytest.mark.parametrize(("side", "other"), [(CLIENT, SERVER), (SERVER, CLIENT)])
    def test_a_reset_is_passed_on_at_once_and_what_is_held_is_dropped(self, side: Any, other: Any) -> None:
        net = network(rules=[{"latency": "1s"}])
        connection = net.connect()
        connection.send(side, b"lost")
        connection.rst(side)
        assert connection.peer(other).reset_at == net.now
        assert connection.peer(other).data == b""
        assert net.events(Discarded) == [Discarded(side, 4)]

    def test_fin_waits_behind_what_is_held(self) -> None:
        net = network(rules=[{"latency": "300ms"}])
        connection = net.connect()
        start = net.now
        connection.send(CLIENT, b"last words")
        connection.fin(CLIENT)
        assert connection.server.fin_at is None
        net.wait(SECOND)
        assert arrivals(connection.server, start) == [(300, b"last words")]
        assert connection.server.fin_at == start + 300 * MS

    def test_shutdown_is_a_fin_to_both_and_no_frame(self) -> None:
        net = network()
        connection = net.connect()
        net.drain()
        assert (connection.client.data, connection.server.data) == (b"", b"")
        assert connection.client.fin_at == connection.server.fin_at == net.now
        assert connection.client.reset_at is None
        assert net.events(Closed) == []
        connection.fin(CLIENT)
        connection.fin(SERVER)
        assert net.events(Closed) == [Closed("proxy", "fin", None)]

    def test_shutdown_ends_a_connection_that_is_not_open_yet(self) -> None:
        net = network(accepts_dials=False)
        connection = net.connect()
        net.drain()
        assert connection.client.fin_at == net.now
        net.end_all()

    def test_a_silent_connection_is_reset_at_shutdown(self) -> None:
        net = network(rules=[{"half_open": {}, "when": {"connection": 2}}])
        connection = net.connect()
        silent = net.connect()
        net.drain()
        assert (connection.client.reset_at, silent.client.reset_at) == (None, net.now)


class TestOpeningFaults:
    def test_hang_never_dials_and_never_answers(self) -> None:
        net = network(hurt("hang"), starts="launch")
        connection = net.connect()
        connection.send(CLIENT, b"anyone?")
        net.wait(60 * SECOND)
        assert not connection.is_dialled
        assert (connection.client.data, connection.client.fin_at, connection.client.reset_at) == (b"", None, None)
        connection.fin(CLIENT)
        assert connection.is_over

    def test_hang_strikes_the_connections_that_are_named(self) -> None:
        net = network(rules=[{"hang": {}, "when": {"connection": "2-3"}}])
        assert [net.connect().is_dialled for _ in range(4)] == [True, False, False, True]

    def test_reset_at_accept_takes_no_number(self) -> None:
        net = network(hurt({"reset": {"at": "accept"}}), starts="launch")
        struck = net.connect()
        assert struck.client.reset_at == net.now
        assert not struck.is_dialled
        net.wait(10 * SECOND)
        assert net.connect().session.connection == 1

    def test_reset_of_new_connections_strikes_as_they_open(self) -> None:
        net = network(HEALTHY, hurt({"reset": {"hits": "new"}}))
        old = net.connect()
        net.wait(10 * SECOND)
        new = net.connect()
        assert (old.client.reset_at, new.client.reset_at) == (None, net.now)
        assert new.server.reset_at == net.now

    def test_chance_picks_connections_and_the_same_ones_with_the_same_seed(self) -> None:
        def fates() -> list[bool]:
            net = network(rules=[{"hang": {}, "when": {"chance": "50%"}}], seed=7)
            return [net.connect().is_dialled for _ in range(40)]

        assert fates() == fates()
        assert 5 < sum(fates()) < 35


class TestHalfOpen:
    def test_a_new_connection_is_read_but_not_dialled_until_it_heals(self) -> None:
        net = network(HEALTHY, hurt({"half_open": {"heal": "flush"}}))
        net.connect()
        net.wait(10 * SECOND)
        new = net.connect()
        new.send(CLIENT, b"hello?")
        net.wait(9 * SECOND)
        assert not new.is_dialled

        net.wait(SECOND)

        assert new.server.data == b"hello?"
        assert new.session.state is State.TUNNEL

    def test_a_new_connection_is_reset_at_heal_where_that_resets(self) -> None:
        net = network(HEALTHY, hurt({"half_open": {"heal": "reset"}}))
        live = net.connect()
        net.wait(10 * SECOND)
        new = net.connect()
        net.wait(10 * SECOND)
        assert not new.is_dialled
        assert new.client.reset_at == live.client.reset_at == live.server.reset_at == net.now

    def test_a_live_connection_is_silent_and_heals_on_the_same_sockets(self) -> None:
        net = network(HEALTHY, hurt({"half_open": {"heal": "flush"}}))
        connection = net.connect()
        connection.send(CLIENT, b"before ")
        net.wait(10 * SECOND)
        connection.send(CLIENT, b"during")
        connection.send(SERVER, b"unheard")
        connection.fin(SERVER)
        net.wait(9 * SECOND)
        assert connection.server.data == b"before "
        assert (connection.client.data, connection.client.fin_at) == (b"", None)

        net.wait(SECOND)

        assert connection.server.data == b"before during"
        assert connection.client.data == b"unheard"
        assert connection.client.fin_at == net.now
        assert len(net.events(Healed)) == 1

    def test_what_is_held_is_bounded(self) -> None:
        net = network(rules=[{"half_open": {"hits": "live"}}], held_bytes_max="1KiB")
        connection = net.connect()
        net.add(live_rule("half_open"))
        connection.send(SERVER, bytes(1000), bytes(100), b"not read")
        assert not connection.server.is_read
        assert net.events(Limited) == [Limited(SERVER, 1100)]
        net.heal("live")
        assert connection.client.data == bytes(1100) + b"not read"
        assert connection.server.is_read

    def test_a_dial_that_succeeds_meanwhile_opens_at_heal(self) -> None:
        net = network(HEALTHY, accepts_dials=False)
        connection = net.connect()
        net.add(live_rule("half_open", {"hits": "all"}))
        connection.send(CLIENT, b"early")
        connection.dial_answered()
        connection.send(SERVER, b"late", b"r")
        connection.fin(SERVER)
        assert (connection.client.data, connection.server.data) == (b"", b"")
        assert net.events(Opened) == []

        net.heal("live")

        assert (connection.client.data, connection.server.data) == (b"later", b"early")
        assert connection.client.fin_at == net.now
        connection.send(CLIENT, b" bird")
        assert connection.server.data == b"early bird"
        net.end_all()

    def test_a_dial_that_fails_meanwhile_is_a_reset_at_heal(self) -> None:
        net = network(HEALTHY, accepts_dials=False)
        connection = net.connect()
        net.add(live_rule("half_open", {"hits": "all"}))
        connection.dial_answered("connection refused")
        assert connection.client.reset_at is None
        net.heal("live")
        assert connection.client.reset_at == net.now

    @pytest.mark.parametrize(("side", "other"), [(CLIENT, SERVER), (SERVER, CLIENT)])
    def test_a_reset_before_the_opening_follows_at_heal(self, side: Any, other: Any) -> None:
        net = network(HEALTHY, accepts_dials=False)
        connection = net.connect()
        net.add(live_rule("half_open", {"hits": "all"}))
        connection.dial_answered()
        connection.send(SERVER, b"late")
        connection.rst(side)
        assert connection.peer(other).reset_at is None
        net.heal("live")
        assert connection.peer(other).reset_at == net.now
        net.end_all()

    def test_a_client_that_resets_while_we_dial_and_are_silent_takes_the_dial_along(self) -> None:
        net = network(HEALTHY, accepts_dials=False)
        connection = net.connect()
        net.add(live_rule("half_open", {"hits": "all"}))
        connection.rst(CLIENT)
        net.heal("live")
        connection.dial_answered()
        assert connection.server.reset_at == net.now
        assert net.events(Opened) == []
        assert net.events(Closed) == [Closed("client", "reset", None)]

    def test_an_end_that_is_due_on_a_silent_connection_is_suppressed(self) -> None:
        net = network(HEALTHY)
        connection = net.connect()
        net.add(live_rule("half_open"))
        net.add(live_rule("fin", id="end"))
        assert connection.client.fin_at is None
        assert [event.fault for event in net.events(Suppressed)] == ["fin"]


class TestEndingFaults:
    def test_fin_ends_both_legs_without_a_byte(self) -> None:
        net = network(HEALTHY, hurt("fin"))
        connection = net.connect()
        net.wait(10 * SECOND)
        assert connection.client.fin_at == connection.server.fin_at == net.now
        assert (connection.client.data, connection.server.data) == (b"", b"")

    def test_reset_of_one_leg_ends_the_other_as_it_is_told(self) -> None:
        net = network(HEALTHY, hurt({"reset": {"leg": "client", "other": "fin"}}))
        connection = net.connect()
        net.wait(10 * SECOND)
        assert connection.client.reset_at == net.now
        assert (connection.server.reset_at, connection.server.fin_at) == (None, net.now)

    def test_what_is_held_when_it_ends_is_discarded_even_where_a_part_has_left(self) -> None:
        net = network(rules=[{"bandwidth": "1kB/s", "when": {"from": "client"}}])
        connection = net.connect()
        connection.send(CLIENT, bytes(1000))
        net.wait(500 * MS)
        sent = len(connection.server.data)
        assert 400 <= sent <= 600

        net.add(live_rule("fin"))

        assert len(connection.server.data) == sent
        assert net.events(Discarded) == [Discarded(CLIENT, 1000 - sent)]

    @pytest.mark.parametrize(("by", "is_reset"), [("fin", False), ("reset", True)])
    def test_cut_after_bytes_lets_exactly_so_many_through(self, by: str, is_reset: bool) -> None:
        net = network(rules=[{"cut_after": {"bytes": "10B", "by": by}, "when": {"from": "server"}}])
        connection = net.connect()
        connection.send(CLIENT, bytes(100))
        connection.send(SERVER, b"1234567", b"8901234")
        assert connection.client.data == b"1234567890"
        assert len(connection.server.data) == 100
        assert (connection.client.reset_at is not None) is is_reset
        assert (connection.client.fin_at == net.now) is not is_reset

    def test_cut_after_bytes_counts_what_has_been_held_before(self) -> None:
        net = network(rules=[{"latency": "100ms"}, {"cut_after": {"bytes": "10B"}, "when": {"from": "client"}}])
        connection = net.connect()
        connection.send(CLIENT, bytes(8), bytes(8))
        net.wait(SECOND)
        assert len(connection.server.data) == 10

    def test_cut_after_an_age_comes_whatever_flows(self) -> None:
        net = network(rules=[{"cut_after": {"age": "3s", "by": "fin"}}])
        connection = net.connect()
        start = net.now
        for _ in range(40):
            connection.send(CLIENT, b"tick")
            net.wait(100 * MS)
        assert connection.client.fin_at == start + 3 * SECOND

    def test_half_close_ends_one_way_and_the_other_goes_on(self) -> None:
        net = network(HEALTHY, hurt({"half_close": {"leg": "server"}}))
        connection = net.connect()
        net.wait(10 * SECOND)
        assert (connection.server.fin_at, connection.client.fin_at) == (net.now, None)
        connection.send(SERVER, b"still here")
        assert connection.client.data == b"still here"

    def test_slow_close_lets_a_fin_wait(self) -> None:
        net = network(rules=[{"slow_close": "2s"}])
        connection = net.connect()
        start = net.now
        connection.send(CLIENT, b"bye")
        connection.fin(CLIENT)
        net.wait(10 * SECOND)
        assert arrivals(connection.server, start) == [(0, b"bye")]
        assert connection.server.fin_at == start + 2 * SECOND

    def test_one_way_may_be_lost_and_the_other_not(self) -> None:
        net = network(HEALTHY, hurt({"half_open": {"from": "client"}}))
        connection = net.connect()
        net.wait(10 * SECOND)
        connection.send(CLIENT, b"unheard")
        connection.send(SERVER, b"heard")
        assert (connection.server.data, connection.client.data) == (b"", b"heard")
        net.wait(10 * SECOND)
        assert connection.server.data == b"unheard"

    def test_one_way_lost_while_we_dial_leaves_the_other_open(self) -> None:
        net = network(accepts_dials=False)
        connection = net.connect()
        net.add(live_rule("half_open", {"from": "client", "hits": "live"}))
        net.add(live_rule("half_open", {"from": "client", "hits": "all"}, id="again"))
        connection.send(CLIENT, b"early")
        connection.dial_answered()
        connection.send(SERVER, b"220 ready")
        assert (connection.server.data, connection.client.data) == (b"", b"220 ready")
        net.heal()
        assert connection.server.data == b"early"


class TestTiming:
    def test_latency_at_accept_lets_the_dial_wait_and_keeps_what_comes(self) -> None:
        net = network(rules=[{"latency": {"delay": "2s", "at": "accept"}}])
        connection = net.connect()
        start = net.now
        connection.send(CLIENT, b"hello")
        assert not connection.is_dialled
        net.wait(5 * SECOND)
        assert arrivals(connection.server, start) == [(2000, b"hello")]
        connection.send(SERVER, b"at once")
        assert connection.client.data == b"at once"

    def test_latency_delays_every_chunk_in_order(self) -> None:
        net = network(rules=[{"latency": "300ms", "when": {"from": "server"}}])
        connection = net.connect()
        start = net.now
        connection.send(SERVER, b"a")
        net.wait(100 * MS)
        connection.send(SERVER, b"b")
        connection.send(CLIENT, b"at once")
        net.wait(SECOND)
        assert arrivals(connection.client, start) == [(300, b"a"), (400, b"b")]
        assert arrivals(connection.server, start) == [(100, b"at once")]

    def test_two_latencies_add_up_in_bursts_too(self) -> None:
        net = network(rules=[{"latency": "100ms"}, {"latency": "200ms"}])
        connection = net.connect()
        start = net.now
        connection.send(CLIENT, b"a", b"b", b"c")
        net.wait(SECOND)
        assert arrivals(connection.server, start) == [(300, b"abc")]

    def test_jitter_never_reorders_and_hangs_on_the_place_in_the_stream(self) -> None:
        def times() -> list[tuple[int, bytes]]:
            net = network(rules=[{"latency": {"delay": "100ms", "jitter": "100ms"}}], seed=3)
            connection = net.connect()
            start = net.now
            for number in range(20):
                connection.send(CLIENT, b"%02d" % number)
                net.wait(5 * MS)
            net.wait(SECOND)
            return arrivals(connection.server, start)

        assert b"".join(data for _, data in times()) == b"".join(b"%02d" % number for number in range(20))
        assert times() == times()
        assert len({at for at, _ in times()}) > 3

    def test_it_is_counted_and_told_once_for_each_side_of_a_connection(self) -> None:
        net = network(rules=[{"latency": "10ms", "id": "slow"}])
        connection = net.connect()
        connection.send(CLIENT, b"a", b"b")
        connection.send(SERVER, b"c")
        net.wait(SECOND)
        assert net.events(Struck) == [
            Struck("slow", "latency", CLIENT, None, None),
            Struck("slow", "latency", SERVER, None, None),
        ]
        assert net.world.tally.strikes == {"latency": 2}

    def test_chance_picks_whole_connections(self) -> None:
        net = network(rules=[{"latency": "50ms", "when": {"chance": "50%"}}], seed=1)
        connections = [net.connect() for _ in range(30)]
        for connection in connections:
            connection.send(CLIENT, b"a", b"b")
        at_once = [connection.server.data for connection in connections]
        assert set(at_once) == {b"ab", b""}

    def test_an_age_spares_young_connections(self) -> None:
        net = network(rules=[{"latency": "50ms", "when": {"age": "1s"}}])
        connection = net.connect()
        connection.send(CLIENT, b"young")
        assert connection.server.data == b"young"
        net.wait(SECOND)
        connection.send(CLIENT, b"old")
        assert connection.server.data == b"young"

    def test_stall_keeps_all_until_it_heals(self) -> None:
        net = network(HEALTHY, hurt({"stall": {}, "when": {"from": "server"}}))
        connection = net.connect()
        net.wait(10 * SECOND)
        connection.send(SERVER, b"stuck")
        connection.fin(SERVER)
        connection.send(CLIENT, b"flows")
        net.wait(9 * SECOND)
        assert (connection.client.data, connection.server.data) == (b"", b"flows")
        net.wait(SECOND)
        assert connection.client.data == b"stuck"
        assert connection.client.fin_at == net.now

    def test_bandwidth_takes_its_time_for_bytes(self) -> None:
        net = network(rules=[{"bandwidth": "10kB/s", "when": {"from": "server"}}])
        connection = net.connect()
        start = net.now
        connection.send(SERVER, bytes(20_000))
        net.wait(3 * SECOND)
        assert arrivals(connection.client, start)[-1][0] == 2000
        assert len(connection.client.data) == 20_000

    def test_slice_sends_crumbs(self) -> None:
        net = network(rules=[{"slice": {"size": "2B", "gap": "5ms"}}])
        connection = net.connect()
        start = net.now
        connection.send(CLIENT, b"abcde", b"f")
        net.wait(SECOND)
        assert arrivals(connection.server, start) == [(0, b"ab"), (5, b"cd"), (10, b"e"), (15, b"f")]

    def test_a_rule_that_ends_gives_the_lane_back(self) -> None:
        net = network(HEALTHY)
        connection = net.connect()
        assert connection.session.passes(CLIENT)
        net.add(live_rule("latency", "100ms"))
        assert not connection.session.passes(CLIENT)
        connection.send(CLIENT, b"held")
        net.heal("live")
        assert not connection.session.passes(CLIENT)
        net.wait(100 * MS)
        assert connection.server.data == b"held"
        assert connection.session.passes(CLIENT)
