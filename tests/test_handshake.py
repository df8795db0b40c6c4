"""Stories of handshakes that rules delay, spoil, or let open into something else than a tunnel that works."""

from typing import Any

import pytest

from chaosproxy.engine import Lane
from chaosproxy.events import Answered, Ended, Healed, Opened, Pause, Resume, Struck, Suppressed
from chaosproxy.legs import State
from chaosproxy.units import SECOND
from chaosproxy.wire.flaws import Flaw, spoil
from chaosproxy.wire.http import accept_for
from chaosproxy.world import Options

from .virtual import (
    CLIENT,
    KEY,
    MS,
    SERVER,
    START,
    Connection,
    Network,
    close_frame,
    frame,
    live_rule,
    payloads,
    profile,
    read_messages,
    request,
    switching,
    text,
)

M = b"mask"
QUIET = {"name": "quiet", "until": "step"}
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


def asked(network: Network, headers: tuple[str, ...] = ()) -> Connection:
    """A connection whose request is complete, and has been passed on where nothing hinders it."""
    c = network.connect()
    c.send(CLIENT, request(headers=headers))
    return c


def struck(network: Network) -> list[str]:
    return [event.fault for event in network.events(Struck)]


class TestOpeningMoment:
    """Faults that hit new connections act between the 101 and the bytes behind it."""

    @pytest.mark.parametrize("fault", ["close", "fin", "reset"])
    def test_an_ending_comes_before_the_frame_that_shares_a_segment_with_the_101(self, fault: str) -> None:
        options = {"hits": "new", **({"code": 4200} if fault == "close" else {})}
        network = Network(profile(rules=[{fault: options}]))
        c = asked(network)
        c.send(SERVER, switching() + text("too late"))
        assert c.client.stream == (close_frame(4200) if fault == "close" else b"")
        assert struck(network) == [fault]
        network.end_all()

    def test_the_stronger_of_two_acts_and_the_other_does_not(self) -> None:
        network = Network(profile(rules=[{"close": {"code": 4200, "hits": "new"}}, {"reset": {"hits": "new"}}]))
        c = asked(network)
        c.send(SERVER, switching())
        assert c.client.reset_at == network.now and c.client.stream == b""
        assert struck(network) == ["reset"]
        assert network.world.sessions == {}

    def test_the_reply_to_a_close_may_have_come_early(self) -> None:
        network = Network(profile(rules=[{"close": {"code": 4200, "hits": "new"}}]))
        c = network.connect()
        c.send(CLIENT, request() + close_frame(1000, mask=M))
        c.send(SERVER, switching())
        assert c.client.close_code == 4200 and c.client.fin_at == network.now

    def test_a_live_rule_hits_a_connection_that_was_asking_as_it_came(self) -> None:
        network = Network(profile())
        c = asked(network)
        network.add(live_rule("close", {"code": 4200, "hits": "new"}))
        c.send(SERVER, switching() + text("too late"))
        assert c.client.stream == close_frame(4200)
        assert struck(network) == ["close"]

    def test_a_connection_that_a_heal_lets_open_meets_the_rules_of_the_new_phase_only(self) -> None:
        old = [{"half_open": {"heal": "flush"}}, {"reset": {"hits": "new"}}]
        network = Network(
            profile(QUIET, {"name": "a", "until": "step", "rules": old}, {"name": "b", "rules": ["silent"]})
        )
        c = asked(network)
        network.step()
        c.send(SERVER, switching() + text("first"))
        assert c.client.data == b""
        network.step()
        assert c.client.data == switching()
        assert struck(network) == ["half_open", "silent"]


class TestSilent:
    @pytest.mark.parametrize("heal", ["flush", "discard", "reset"])
    @pytest.mark.parametrize("mode", ["freeze", "blackhole"])
    def test_the_101_is_the_last_that_leaves_until_it_heals(self, mode: str, heal: str) -> None:
        rule = {"silent": {"mode": mode, "heal": heal}}
        network = Network(profile({"name": "mute", "lasts": "30s", "rules": [rule]}, {"name": "after"}))
        c = network.connect()
        c.send(CLIENT, request() + text("early", M))
        c.send(SERVER, switching() + text("first"), text("second"))
        c.send(CLIENT, text("more", M))
        network.wait(30 * SECOND - 1)
        assert c.client.data == switching() and c.server.data == request()
        assert (c.client.is_read, c.server.is_read) == ((False, False) if mode == "freeze" else (True, True))
        network.wait(1)
        match heal, mode:
            case "flush", _:
                assert payloads(c.client.stream) == [b"first", b"second"]
                assert payloads(c.server.stream) == [b"early", b"more"]
            case "discard", "blackhole":
                assert c.client.stream == c.server.stream == b""
            case "discard", _:  # what was not read is with the kernel, and comes behind the heal
                assert payloads(c.client.stream) == [b"second"]
                assert payloads(c.server.stream) == [b"more"]
            case _:
                assert c.client.reset_at == c.server.reset_at == network.now
        network.end_all()

    def test_a_discarded_message_of_a_compressed_stream_does_not_destroy_the_rest(self) -> None:
        network = Network(profile({"name": "mute", "lasts": "3s", "rules": [{"silent": "discard"}]}, {"name": "after"}))
        c = network.connect()
        c.send(CLIENT, request(headers=["Sec-WebSocket-Extensions: permessage-deflate"]))
        # RFC 7692, section 7.2.3.2: "Hello", twice; the second refers to the first.
        first, second = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
        c.send(SERVER, switching("permessage-deflate") + frame(first, rsv1=True))
        network.wait(3 * SECOND)
        c.send(SERVER, frame(second, rsv1=True))
        assert c.client.stream == text("Hello")

    @pytest.mark.parametrize("how", ["fin", "rst"])
    @pytest.mark.parametrize("side", [CLIENT, SERVER])
    def test_an_end_is_remembered_and_performed_behind_the_held_bytes(self, side: Any, how: str) -> None:
        network = Network(profile({"name": "mute", "lasts": "10s", "rules": ["silent"]}, {"name": "after"}))
        c = asked(network)
        c.send(SERVER, switching())
        c.send(side, text("last", M if side is CLIENT else b""))
        getattr(c, how)(side)
        other = c.peer(side.other)
        network.wait(10 * SECOND - 1)
        assert other.stream == b"" and other.fin_at is None and other.reset_at is None
        network.wait(1)
        assert payloads(other.stream) == [b"last"]
        assert (other.fin_at if how == "fin" else other.reset_at) == network.now

    def test_an_end_that_shares_a_segment_with_the_101_is_remembered_too(self) -> None:
        network = Network(profile({"name": "mute", "lasts": "10s", "rules": ["silent"]}, {"name": "after"}))
        c = asked(network)
        c.fin(CLIENT)
        c.send(SERVER, switching())
        c.fin(SERVER)
        assert (c.client.fin_at, c.server.fin_at) == (None, None)
        network.wait(10 * SECOND)
        assert c.client.fin_at == c.server.fin_at == network.now and c.is_over

    def test_it_hits_what_opens_meanwhile_and_nothing_else(self) -> None:
        network = Network(
            profile(QUIET, {"name": "mute", "until": "step", "rules": ["silent"]}, {"name": "after", "until": "step"})
        )
        live, opening = network.open(), asked(network)
        network.step()
        opening.send(SERVER, switching())
        new = network.open()
        for c in (live, opening, new):
            c.send(SERVER, text("a"))
        assert [c.client.stream for c in (live, opening, new)] == [text("a"), b"", b""]
        network.step()
        later = network.open()
        later.send(SERVER, text("a"))
        assert [c.client.stream for c in (live, opening, new, later)] == [text("a")] * 4
        assert struck(network) == ["silent", "silent"]
        assert len(network.events(Healed)) == 2

    def test_handshakes_go_on_as_ever_and_connections_count_as_opened(self) -> None:
        mute = {"name": "mute", "until": {"opened": 1}, "rules": ["silent"]}
        network = Network(profile(mute, {"name": "after"}, starts="launch"))
        bad = network.connect()
        bad.send(CLIENT, b"garbage\r\n\r\n")
        assert bad.client.data.startswith(b"HTTP/1.1 400 ")
        c = asked(network)
        c.send(SERVER, switching() + text("first"))
        assert network.phase == "after"
        assert c.client.stream == text("first")  # healed in the same instant

    def test_conditions_choose_connections(self) -> None:
        network = Network(profile(rules=[{"silent": {}, "when": {"connection": "2-"}}]))
        streams = []
        for _ in range(3):
            c = network.open()
            c.send(SERVER, text("a"))
            streams.append(c.client.stream)
        assert streams == [text("a"), b"", b""]

    def test_shutdown_ends_it_by_rst(self) -> None:
        network = Network(profile(rules=["silent"]))
        c = network.open()
        network.drain()
        assert c.client.reset_at == c.server.reset_at == network.now


class TestBadAccept:
    @pytest.mark.parametrize("kind", Flaw)
    def test_the_flaw_is_in_the_head_and_the_tunnel_works_all_the_same(self, kind: Flaw) -> None:
        network = Network(profile(rules=[{"bad_accept": kind.value}]))
        c = network.connect()
        c.send(CLIENT, request() + text("early", M))
        c.send(SERVER, switching() + text("first"))
        c.send(CLIENT, text("more", M))
        assert c.client.data == spoil(switching(), kind, b"x-chaos") + text("first") != switching() + text("first")
        assert payloads(c.server.stream) == [b"early", b"more"]
        assert network.events(Answered) == [Answered(101, "server", "")]
        assert network.events(Opened) == [Opened("")]
        assert struck(network) == ["bad_accept"]
        network.end_all()

    def test_the_accept_is_wrong(self) -> None:
        network = Network(profile(rules=["bad_accept"]))
        c = asked(network)
        c.send(SERVER, switching())
        assert accept_for(KEY) not in c.client.data
        assert len(c.client.data) == len(switching())

    @pytest.mark.parametrize(
        ("options", "offer"),
        [
            ({"kind": "subprotocol", "named": "mqtt"}, "Sec-WebSocket-Protocol: chat, mqtt"),
            ({"kind": "extension", "named": "x-a; b=1"}, "Sec-WebSocket-Extensions: x-a"),
        ],
    )
    def test_what_the_client_has_offered_is_not_pretended_to_be_a_fault(
        self, options: dict[str, str], offer: str
    ) -> None:
        network = Network(profile(rules=[{"bad_accept": options}]))
        c = asked(network, (offer,))
        c.send(SERVER, switching())
        assert c.client.data == switching()
        assert struck(network) == [] and len(network.events(Suppressed)) == 1
        d = asked(network)
        d.send(SERVER, switching())
        assert d.client.data != switching() and struck(network) == ["bad_accept"]

    def test_messages_are_read_by_what_the_server_has_negotiated(self) -> None:
        rules = [{"bad_accept": {"kind": "extension", "named": "x-unknown"}}, {"drop": {}, "when": {"size": "1B"}}]
        network = Network(profile(rules=rules))
        c = asked(network)
        c.send(SERVER, switching())
        c.send(SERVER, text("x"), text("yy"))
        assert payloads(c.client.stream) == [b"yy"]

    def test_flaws_of_several_rules_add_up_and_refusals_are_left_alone(self) -> None:
        network = Network(profile(rules=[{"bad_accept": "no_upgrade"}, {"bad_accept": "no_connection"}]))
        c, d = asked(network), asked(network)
        c.send(SERVER, switching())
        d.send(SERVER, REFUSAL)
        expected = spoil(spoil(switching(), Flaw.NO_UPGRADE, b""), Flaw.NO_CONNECTION, b"")
        assert (c.client.data, d.client.data) == (expected, REFUSAL)

    def test_a_rule_that_comes_while_the_answer_is_awaited_spoils_it_and_chance_is_for_connections(self) -> None:
        network = Network(profile(seed=3))
        waiting = [asked(network) for _ in range(30)]
        network.add(live_rule("bad_accept", when={"chance": "50%"}))
        for c in waiting:
            c.send(SERVER, switching())
        spoilt = [c.client.data != switching() for c in waiting]
        assert 0 < sum(spoilt) == len(struck(network)) < 30
        network.heal()
        assert network.open().client.data == switching()


def latency(at: str, delay: str = "2s", **more: Any) -> dict[str, Any]:
    return {"latency": {"delay": delay, "at": at, **more}}


class TestWaitAtAccept:
    def test_nothing_is_read_until_the_delay_has_passed(self) -> None:
        network = Network(profile(rules=[latency("accept")]))
        c = network.connect()
        c.send(CLIENT, request())
        network.wait(2 * SECOND - 1)
        assert not c.client.is_read and c.session.request is None and not c.is_dialled
        network.wait(1)
        assert c.is_dialled and c.server.data == request()
        assert c.actions(Pause, Resume) == [Pause(CLIENT), Resume(CLIENT)]
        assert network.events(Struck) == [Struck(network.world.active_rules[0].id, "latency", None, None, None)]
        network.end_all()

    def test_bytes_that_came_before_reading_could_stop_wait_too(self) -> None:
        network = Network(profile(rules=[latency("accept")]))
        c = network.connect()
        c.read_ahead(CLIENT, request()[:20])
        c.send(CLIENT, request()[20:])
        assert c.session.request is None
        network.wait(2 * SECOND)
        assert c.server.data == request()

    def test_the_deadline_for_the_head_begins_with_the_reading(self) -> None:
        network = Network(profile(rules=[latency("accept", "60s")]))
        c = network.connect()
        c.send(CLIENT, request()[:20])
        network.wait(70 * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert c.client.data.startswith(b"HTTP/1.1 408 ")

    def test_a_hang_that_ends_meanwhile_does_not_bring_the_deadline_forward(self) -> None:
        network = Network(
            profile({"name": "a", "lasts": "5s", "rules": ["hang"]}, rules=[latency("accept", "60s")], starts="launch")
        )
        c = network.connect()
        network.wait(69 * SECOND)
        assert c.client.data == b""
        network.wait(SECOND)
        assert c.client.data.startswith(b"HTTP/1.1 408 ")

    def test_a_clients_fin_that_is_found_behind_its_request_cuts_the_wait_short(self) -> None:
        network = Network(profile(rules=[latency("accept", "60s")]))
        c = network.connect()
        c.send(CLIENT, request())
        c.fin(CLIENT)
        assert c.server.data == b""
        network.happen(c, lambda now: c.session.found_ended(CLIENT, now))
        network.run()
        assert c.server.data == request() and network.now == START
        assert [event.how for event in network.events(Ended)] == ["fin, not read yet", "fin"]

    def test_a_clients_rst_ends_it_and_so_does_a_shutdown(self) -> None:
        network = Network(profile(rules=[latency("accept", "60s")]))
        c, d = network.connect(), network.connect()
        c.rst(CLIENT)
        assert c.is_over
        network.drain()
        d.fin(CLIENT)
        assert d.is_over and network.world.sessions == {}

    def test_the_wait_outlives_its_rule_and_chance_chooses_connections(self) -> None:
        network = Network(profile(seed=1))
        network.add(live_rule("latency", {"delay": "2s", "at": "accept"}, when={"chance": "50%"}))
        connections = [network.connect() for _ in range(30)]
        network.heal()
        for c in connections:
            c.send(CLIENT, request())
        waiting = [c for c in connections if not c.is_dialled]
        assert 0 < len(waiting) < 30
        network.wait(2 * SECOND)
        assert all(c.server.data == request() for c in connections)


class TestWaitOfTheRequest:
    def test_the_dial_waits_and_what_comes_early_stays_behind_the_request(self) -> None:
        network = Network(profile(rules=[latency("request")]))
        c = network.connect()
        c.send(CLIENT, request()[:30])
        network.wait(SECOND)
        c.send(CLIENT, request()[30:], text("early", M))
        network.wait(2 * SECOND - 1)
        assert not c.is_dialled
        network.wait(1)
        assert c.server.data == request()
        c.send(SERVER, switching())
        assert payloads(c.server.stream) == [b"early"]
        network.end_all()

    def test_it_trips_no_deadline_of_our_own(self) -> None:
        network = Network(profile(rules=[latency("request", "10m")]))
        c = asked(network)
        network.wait(600 * SECOND)
        c.send(SERVER, switching())
        assert c.client.data == switching()

    def test_two_add_up_exactly(self) -> None:
        network = Network(profile(rules=[latency("request", "300ms"), latency("request", "450ms")]))
        c = asked(network)
        network.wait(750 * MS - 1)
        assert not c.is_dialled
        network.wait(1)
        assert c.is_dialled and struck(network) == ["latency", "latency"]

    def test_jitter_is_thrown_once_per_connection_and_stays_within_its_bounds(self) -> None:
        def dials(seed: int) -> list[int]:
            network = Network(profile(rules=[latency("request", "300ms", jitter="100ms")], seed=seed))
            connections = [asked(network) for _ in range(20)]
            network.wait(SECOND)
            return [(at - START) for c in connections for at, data in c.server.received if data == request()]

        assert dials(1) == dials(1) != dials(2)
        assert len(set(dials(1))) == 20 and all(200 * MS <= dial <= 400 * MS for dial in dials(1))

    def test_other_rules_meet_the_request_when_it_has_come_through(self) -> None:
        network = Network(profile(rules=[latency("request"), {"reject": 503}]))
        c = asked(network)
        network.wait(2 * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert c.client.data.startswith(b"HTTP/1.1 503 ") and not c.is_dialled

    def test_a_clients_fin_cuts_it_short_and_its_rst_ends_it(self) -> None:
        network = Network(profile(rules=[latency("request", "60s")]))
        c, d = asked(network), asked(network)
        c.fin(CLIENT)
        d.rst(CLIENT)
        assert c.server.data == request() and network.now == START
        assert d.is_over and not d.is_dialled
        network.end_all()

    def test_it_keeps_its_due_time_when_the_rule_ends(self) -> None:
        network = Network(profile({"name": "slow", "lasts": "1s", "rules": [latency("request")]}, {"name": "after"}))
        c = asked(network)
        network.wait(2 * SECOND - 1)
        assert not c.is_dialled
        network.wait(1)
        assert c.is_dialled
        assert asked(network).is_dialled

    def test_a_connection_whose_head_is_still_coming_when_the_rule_begins_is_subject_to_it(self) -> None:
        network = Network(profile())
        c = network.connect()
        c.send(CLIENT, request()[:-1])
        network.add(live_rule("latency", {"delay": "2s", "at": "request"}))
        c.send(CLIENT, request()[-1:])
        assert not c.is_dialled
        network.wait(2 * SECOND)
        assert c.is_dialled

    @pytest.mark.parametrize(("heals_at", "dials_at"), [(1, 2), (5, 5)])
    def test_a_half_open_beside_it_lets_it_go_when_both_are_over(self, heals_at: int, dials_at: int) -> None:
        network = Network(profile(rules=[latency("request")]))
        c = asked(network)
        network.add(live_rule("half_open", {"heal": "flush", "hits": "live"}), lasts=heals_at * SECOND)
        network.wait(dials_at * SECOND - 1)
        assert not c.is_dialled
        network.wait(1)
        assert c.server.data == request()

    def test_a_rule_on_requests_acts_behind_both(self) -> None:
        network = Network(profile(rules=[latency("request"), {"reject": 503}]))
        c = asked(network)
        network.add(live_rule("half_open", {"heal": "flush", "hits": "live"}), lasts=5 * SECOND)
        network.wait(5 * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert c.client.data.startswith(b"HTTP/1.1 503 ") and network.events(Suppressed) == []

    def test_a_request_that_came_through_waits_for_the_cap_on_dials_like_any(self) -> None:
        network = Network(profile(rules=[latency("request")]), Options(dials_per_second_max=2))
        connections = [asked(network) for _ in range(5)]
        network.wait(2 * SECOND)
        assert [c.is_dialled for c in connections] == [True, True, False, False, False]
        network.wait(2 * SECOND)
        assert all(c.is_dialled for c in connections)


class TestWaitOfTheResponse:
    def test_the_101_waits_and_all_behind_it(self) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = network.connect()
        c.send(CLIENT, request() + text("early", M))
        c.send(SERVER, switching() + text("first"))
        network.wait(SECOND)
        c.send(SERVER, text("second"))
        network.wait(SECOND - 1)
        assert c.client.data == b"" and c.server.data == request() and c.session.state is State.ANSWER
        network.wait(1)
        assert c.client.data == switching() + text("first") + text("second")
        assert payloads(c.server.stream) == [b"early"]
        assert network.events(Opened) == [Opened("")] and c.session.opened_at == network.now
        network.end_all()

    def test_a_refusal_waits_whole_with_the_fin_behind_it(self) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        c.send(SERVER, b"HTTP/1.1 103 Early Hints\r\n\r\n" + REFUSAL[:-1])
        c.send(SERVER, REFUSAL[-1:])
        c.fin(SERVER)
        assert c.client.data == b"HTTP/1.1 103 Early Hints\r\n\r\n"
        network.wait(2 * SECOND)
        assert c.client.data.endswith(REFUSAL) and c.client.fin_at == network.now
        assert network.events(Answered) == [Answered(403, "server", "")]

    def test_a_refusal_up_to_the_fin_ends_with_it(self) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        c.send(SERVER, b"HTTP/1.1 403 Forbidden\r\n\r\nno")
        c.fin(SERVER)
        network.wait(2 * SECOND)
        assert c.client.data.endswith(b"\r\n\r\nno") and c.client.fin_at == network.now

    def test_an_upstream_that_ends_behind_its_101_ends_behind_it_for_the_client_too(self) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        c.send(SERVER, switching() + close_frame(1001))
        c.fin(SERVER)
        assert c.client.data == b""
        network.wait(2 * SECOND)
        assert c.client.close_code == 1001 and c.client.fin_at == network.now

    def test_an_upstreams_rst_overtakes_what_waits(self) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        c.send(SERVER, switching() + text("lost"))
        c.rst(SERVER)
        assert c.client.reset_at == network.now == START and c.client.data == b""

    def test_it_trips_no_deadline_of_our_own(self) -> None:
        network = Network(profile(rules=[latency("response", "10m")]))
        c = asked(network)
        network.wait(59 * SECOND)
        c.send(SERVER, switching())
        network.wait(600 * SECOND)
        assert c.client.data == switching()

    def test_an_upstream_that_floods_meanwhile_is_paused(self) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        c.send(SERVER, switching())
        flood = frame(b"x" * 70_000, 2)
        c.send(SERVER, *[flood] * 20)
        assert not c.server.is_read
        network.wait(2 * SECOND)
        assert c.server.is_read and c.client.stream == flood * 20

    def test_a_clients_fin_cuts_it_short_and_its_rst_ends_it(self) -> None:
        network = Network(profile(rules=[latency("response", "60s")]))
        c, d = asked(network), asked(network)
        c.send(SERVER, switching() + text("first"))
        d.send(SERVER, switching())
        c.fin(CLIENT)
        d.rst(CLIENT)
        assert c.client.data == switching() + text("first") and c.server.fin_at == network.now == START
        assert d.is_over and d.server.reset_at == network.now
        network.end_all()

    def test_a_client_that_had_ended_before_is_not_kept_waiting_for(self) -> None:
        network = Network(profile(rules=[latency("response", "60s")]))
        c = asked(network)
        c.fin(CLIENT)
        c.send(SERVER, switching())
        assert c.client.data == switching() and struck(network) == []

    def test_a_connection_that_has_asked_when_the_rule_begins_is_subject_to_it_and_outlives_it(self) -> None:
        network = Network(profile())
        c = asked(network)
        network.add(live_rule("latency", {"delay": "2s", "at": "response"}), lasts=SECOND)
        c.send(SERVER, switching())
        network.wait(2 * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert c.client.data == switching()

    @pytest.mark.parametrize("begins", ["before", "behind"])
    @pytest.mark.parametrize(("heals_at", "opens_at"), [(1, 2), (5, 5)])
    def test_a_half_open_beside_it_lets_it_go_when_both_are_over(
        self, begins: str, heals_at: int, opens_at: int
    ) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        half_open = live_rule("half_open", {"heal": "flush", "hits": "live"})
        if begins == "before":
            network.add(half_open, lasts=heals_at * SECOND)
            opens_at = heals_at + 2  # the answer is read at the heal
        c.send(SERVER, switching() + text("first"))
        if begins == "behind":
            network.add(half_open, lasts=heals_at * SECOND)
        c.fin(SERVER)
        network.wait(opens_at * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert c.client.data == switching() + text("first") and c.client.fin_at == network.now

    @pytest.mark.parametrize("heals_at", [1, 5])
    def test_an_upstream_lost_meanwhile_is_lost_behind_what_the_half_open_kept(self, heals_at: int) -> None:
        network = Network(profile(rules=[latency("response")]))
        c = asked(network)
        c.send(SERVER, switching() + text("first"))
        network.add(live_rule("half_open", {"heal": "flush", "hits": "live"}), lasts=heals_at * SECOND)
        c.rst(SERVER)
        network.wait(5 * SECOND)
        assert c.client.data == switching() + text("first")
        assert c.client.reset_at == START + max(2, heals_at) * SECOND

    def test_a_silent_behind_it_begins_with_the_101(self) -> None:
        network = Network(profile(rules=[latency("response"), "silent"]))
        c = asked(network)
        c.send(SERVER, switching() + text("first"))
        c.fin(SERVER)
        network.wait(60 * SECOND)
        assert c.client.data == switching() and c.client.fin_at is None

    def test_a_shutdown_does_not_wait_for_it(self) -> None:
        network = Network(profile(rules=[latency("response", "60s")]))
        c = asked(network)
        c.send(SERVER, switching())
        network.drain()
        assert c.client.fin_at == c.server.fin_at == network.now == START
        network.wait(60 * SECOND)
        assert c.is_over and c.client.data == b""


class TestFirstFrame:
    def test_the_first_message_of_each_direction_waits_and_all_behind_it(self) -> None:
        network = Network(profile(rules=[latency("first_frame")]))
        c = network.open()
        c.send(SERVER, text("1"), text("2"))
        network.wait(SECOND)
        c.send(SERVER, text("3"))
        c.send(CLIENT, text("a", M))
        network.wait(2 * SECOND)
        c.send(SERVER, text("4"))
        assert c.client.arrivals == [(2000, b"1"), (2000, b"2"), (2000, b"3"), (3000, b"4")]
        assert c.server.arrivals == [(3000, b"a")]
        assert struck(network) == ["latency", "latency"]
        network.end_all()

    def test_the_direction_may_be_chosen(self) -> None:
        network = Network(profile(rules=[{**latency("first_frame"), "when": {"from": "server"}}]))
        c = network.open()
        c.send(CLIENT, text("a", M))
        c.send(SERVER, text("1"))
        network.wait(2 * SECOND)
        assert (c.server.arrivals, c.client.arrivals) == ([(0, b"a")], [(2000, b"1")])

    def test_it_waits_from_its_last_byte_on_and_a_ping_before_it_does_not_wait(self) -> None:
        network = Network(profile(rules=[latency("first_frame")]))
        c = network.open()
        c.send(SERVER, frame(b"ping", 9), frame(b"fir", fin=False))
        network.wait(SECOND)
        c.send(SERVER, frame(b"st", 0), frame(b"pong", 10))
        network.wait(2 * SECOND)
        assert c.client.arrivals == [(0, b"ping"), (2000, b"fir"), (3000, b"st"), (3000, b"pong")]

    @pytest.mark.parametrize("top", [{}, {"protocol": "pusher"}], ids=["scanned", "read"])
    def test_behind_the_first_message_the_connection_is_as_fast_as_without_it(self, top: dict[str, Any]) -> None:
        network = Network(profile(rules=[latency("first_frame")], **top))
        c = network.open()
        idle = Lane.READ if top else Lane.PASS
        assert c.session.directions[SERVER].lane is not idle
        c.send(SERVER, text("1"))
        assert c.session.directions[SERVER].lane is not idle
        network.wait(2 * SECOND)
        assert c.session.directions[SERVER].lane is idle
        assert payloads(c.client.stream) == [b"1"]

    def test_a_direction_that_has_had_its_first_message_is_left_alone(self) -> None:
        network = Network(profile())
        c, d = network.open(), network.open()
        c.send(SERVER, text("1"))
        d.send(SERVER, text("1")[:2])
        network.add(live_rule("latency", {"delay": "2s", "at": "first_frame"}))
        c.send(SERVER, text("2"))
        d.send(SERVER, text("1")[2:], text("2"))
        assert [read_messages(each.client.stream)[1] for each in (c, d)] == [b"", b""]
        assert [payloads(each.client.stream) for each in (c, d)] == [[b"1", b"2"]] * 2
        assert struck(network) == []

    def test_beside_rules_that_judge_only_the_first_message_waits(self) -> None:
        network = Network(profile(rules=[latency("first_frame"), {"drop": {}, "when": {"nth": 2}}]))
        c = network.open()
        c.send(SERVER, text("1"), text("2"))
        network.wait(3 * SECOND)
        c.send(SERVER, text("3"))
        assert c.client.arrivals == [(2000, b"1"), (3000, b"3")]

    def test_chance_is_thrown_once_for_both_directions(self) -> None:
        network = Network(profile(rules=[{**latency("first_frame"), "when": {"chance": "50%"}}], seed=2))
        connections = [network.open() for _ in range(30)]
        for c in connections:
            c.send(CLIENT, text("a", M))
            c.send(SERVER, text("1"))
        waiting = [(c.server.stream == b"", c.client.stream == b"") for c in connections]
        assert set(waiting) == {(True, True), (False, False)}

    def test_what_is_held_keeps_its_due_time_when_the_rule_ends(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", {"delay": "2s", "at": "first_frame"}))
        c.send(SERVER, text("1"))
        network.heal()
        network.wait(2 * SECOND - 1)
        assert c.client.stream == b""
        network.wait(1)
        assert c.client.stream == text("1")
