"""Stories of half-open connections: the fate of each leg, one direction alone, ends that meet silence, lost pongs."""

import pytest

from chaosproxy.events import Closed, Dial, Discarded, End, Healed, Release, Reset, Send, Struck, Suppressed
from chaosproxy.legs import State
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import Side

from .virtual import (
    CLIENT,
    MS,
    SERVER,
    Connection,
    Network,
    close_frame,
    frame,
    live_rule,
    payloads,
    profile,
    request,
    switching,
    text,
)

M = b"mask"
LEGS = pytest.mark.parametrize("silent", [CLIENT, SERVER], ids=["client", "server"])
HEALS = pytest.mark.parametrize("heal", ["flush", "discard", "reset"])


def open_and_step(*rules: object, **top: object) -> tuple[Network, Connection]:
    """An open connection, and then a phase of 90 s with the rules."""
    network = Network(
        profile(
            {"name": "quiet", "until": "step"},
            {"name": "fault", "lasts": "90s", "rules": list(rules)},
            {"name": "after"},
            **top,
        )
    )
    c = network.open()
    network.step()
    return network, c


def said(side: Side, message: str) -> bytes:
    return text(message, M if side is CLIENT else b"")


def loud(c: Connection, side: Side) -> list[object]:
    """What was done on a leg since the handshake that its peer could notice."""
    acts = c.actions(Send, End, Reset, Release)
    return [action for action in acts if action.side is side][1:]  # type: ignore[union-attr]


class TestOneSilentLeg:
    @LEGS
    def test_nothing_gets_through_either_way(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        c.send(CLIENT, said(CLIENT, "a"))
        c.send(SERVER, said(SERVER, "b"))
        network.wait(89 * SECOND)
        assert loud(c, CLIENT) == loud(c, SERVER) == []
        network.wait(SECOND)
        assert payloads(c.server.stream) == [b"a"] and payloads(c.client.stream) == [b"b"]

    @LEGS
    def test_the_peer_of_the_live_leg_is_answered_when_it_ends_and_the_other_learns_of_it_at_the_heal(
        self, silent: Side
    ) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        live = silent.other
        c.send(silent, said(silent, "lost"))
        c.send(live, said(live, "last words"))
        c.fin(live)
        assert loud(c, live) == [End(live), Release(live)]
        assert loud(c, silent) == []
        assert network.events(Discarded) == [Discarded(silent, len(said(silent, "lost")))]
        network.wait(90 * SECOND)
        assert loud(c, silent) == [Send(silent, said(live, "last words")), End(silent)]
        assert c.peer(silent).fin_at == network.now
        c.fin(silent)
        assert c.is_over and network.events(Closed) == [Closed(live.label, "fin", None)]

    @LEGS
    def test_who_does_not_end_behind_the_live_peer_is_let_go_after_five_seconds(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        c.fin(silent.other)
        network.wait(90 * SECOND)
        c.send(silent, said(silent, "to nobody"))
        network.wait(5 * SECOND - 1)
        assert not c.is_over
        network.wait(1)
        assert c.is_over

    @LEGS
    def test_a_live_peer_that_resets_is_told_of_at_the_heal(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        c.rst(silent.other)
        network.wait(90 * SECOND - 1)
        assert c.peer(silent).reset_at is None
        network.wait(1)
        assert c.peer(silent).reset_at == network.now

    @LEGS
    @pytest.mark.parametrize("how", ["fin", "rst"])
    def test_the_live_side_sees_a_ghost_whatever_the_silent_peer_does(self, silent: Side, how: str) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        getattr(c, how)(silent)
        c.send(silent.other, said(silent.other, "anyone?"))
        network.wait(90 * SECOND - 1)
        assert loud(c, CLIENT) == loud(c, SERVER) == []
        network.wait(1)
        ghost = c.peer(silent.other)
        assert (ghost.fin_at if how == "fin" else ghost.reset_at) == network.now

    @LEGS
    def test_a_ghost_that_its_server_gives_up_is_over(self, silent: Side) -> None:
        _, c = open_and_step({"half_open": {"leg": silent.label}})
        c.rst(silent)
        c.fin(silent.other)
        assert c.is_over
        assert loud(c, silent.other) == [End(silent.other), Release(silent.other)]

    @LEGS
    @pytest.mark.parametrize("mode", ["freeze", "blackhole"])
    def test_freeze_stops_reading_the_silent_peer_and_only_it(self, silent: Side, mode: str) -> None:
        _, c = open_and_step({"half_open": {"leg": silent.label, "mode": mode}})
        assert c.peer(silent).is_read is (mode == "blackhole")
        assert c.peer(silent.other).is_read

    def test_two_rules_give_each_leg_a_mode_of_its_own(self) -> None:
        network, c = open_and_step(
            {"half_open": {"leg": "client", "mode": "freeze"}}, {"half_open": {"leg": "server", "mode": "blackhole"}}
        )
        assert (c.client.is_read, c.server.is_read) == (False, True)
        c.fin(SERVER)
        assert loud(c, SERVER) == []
        network.wait(90 * SECOND)
        assert c.client.fin_at == network.now and c.client.is_read

    def test_when_one_of_two_rules_heals_its_leg_answers_the_end_that_came_meanwhile(self) -> None:
        network, c = open_and_step({"half_open": {"leg": "client"}})
        network.add(live_rule("half_open", {"leg": "server"}))
        c.fin(SERVER)
        network.wait(SECOND)
        assert loud(c, SERVER) == []
        network.heal()
        assert loud(c, SERVER) == [End(SERVER), Release(SERVER)] and loud(c, CLIENT) == []

    def test_a_half_close_from_before_the_silence_stays_one(self) -> None:
        network = Network(profile())
        c = network.open()
        c.fin(SERVER)
        network.add(live_rule("half_open", {"leg": "client"}))
        assert c.server.fin_at is None
        network.heal()
        c.send(CLIENT, said(CLIENT, "still coming"))
        assert payloads(c.server.stream) == [b"still coming"]


class TestEndsThatMeetSilence:
    """A fault that ends acts on the live leg; on the silent one it is suppressed, and owed until the heal."""

    @LEGS
    @pytest.mark.parametrize("fault", ["fin", "reset"])
    @pytest.mark.parametrize("other", ["fin", "reset"])
    def test_one_aimed_at_the_live_leg_acts_and_the_other_follows_at_the_heal(
        self, silent: Side, fault: str, other: str
    ) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        network.add(live_rule(fault, {"leg": silent.other.label, "other": other}))
        live, mute = c.peer(silent.other), c.peer(silent)
        assert (live.fin_at if fault == "fin" else live.reset_at) == network.now
        network.wait(90 * SECOND - 1)
        assert loud(c, silent) == []
        network.wait(1)
        assert (mute.fin_at if other == "fin" else mute.reset_at) == network.now
        network.wait(5 * SECOND)
        assert c.is_over and network.events(Suppressed) == []

    @LEGS
    @pytest.mark.parametrize("fault", ["fin", "reset"])
    def test_one_aimed_at_both_is_suppressed_on_the_silent_leg_only(self, silent: Side, fault: str) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        network.add(live_rule(fault))
        live = c.peer(silent.other)
        assert (live.fin_at if fault == "fin" else live.reset_at) == network.now
        assert loud(c, silent) == []
        assert [event.fault for event in network.events(Suppressed)] == [fault]
        assert [event.fault for event in network.events(Struck)] == ["half_open", fault]

    @LEGS
    @pytest.mark.parametrize("fault", ["fin", "reset", "half_close"])
    def test_one_aimed_at_the_silent_leg_alone_does_nothing(self, silent: Side, fault: str) -> None:
        network, c = open_and_step({"half_open": {"leg": silent.label}})
        network.add(live_rule(fault, {"leg": silent.label}))
        assert loud(c, CLIENT) == loud(c, SERVER) == []
        assert [event.fault for event in network.events(Suppressed)] == [fault]
        network.wait(90 * SECOND)
        assert c.session.state is State.TUNNEL

    def test_a_close_reaches_the_live_server_and_the_client_gets_fin_at_the_heal(self) -> None:
        network, c = open_and_step({"half_open": {"leg": "client"}})
        network.add(live_rule("close", {"code": 3000, "to": "server"}))
        assert c.server.close_code == 3000
        c.send(SERVER, close_frame(3000))
        assert c.server.fin_at == network.now
        network.wait(90 * SECOND)
        assert c.client.stream == b"" and c.client.fin_at == network.now

    @HEALS
    def test_at_the_heal_reset_wins_over_what_is_owed(self, heal: str) -> None:
        network, c = open_and_step({"half_open": {"leg": "client", "heal": heal}})
        network.add(live_rule("fin", {"leg": "server"}))
        network.wait(90 * SECOND)
        assert (c.client.reset_at == network.now) is (heal == "reset")
        assert (c.client.fin_at == network.now) is (heal != "reset")
        assert [event.fault for event in network.events(Healed)] == ["half_open"]

    def test_a_silent_peers_fin_is_answered_at_the_heal_of_an_ended_connection(self) -> None:
        network, c = open_and_step({"half_open": {"leg": "client"}})
        network.add(live_rule("reset", {"leg": "server"}))
        c.fin(CLIENT)
        assert loud(c, CLIENT) == []
        network.wait(90 * SECOND)
        assert loud(c, CLIENT) == [End(CLIENT), Release(CLIENT)] and c.is_over

    def test_at_the_end_of_the_proxy_the_silent_leg_is_reset_and_the_live_one_closed(self) -> None:
        network, c = open_and_step({"half_open": {"leg": "client"}})
        network.drain()
        assert c.client.reset_at == network.now and c.client.stream == b""
        assert c.server.close_code == 1001 and c.server.reset_at is None

    def test_a_client_that_was_lost_while_its_dial_was_under_way_is_not_asked_for_after_the_heal(self) -> None:
        network = Network(profile(), accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        network.add(live_rule("half_open", {"heal": "flush"}))
        c.rst(CLIENT)
        network.heal()
        assert c.is_over
        c.dial_answered()
        assert c.server.data == b""
        assert c.server.reset_at == network.now


class TestOneDirection:
    @LEGS
    def test_only_what_one_side_sends_is_kept_back(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"from": silent.label}})
        c.send(silent, said(silent, "held"))
        c.send(silent.other, said(silent.other, "passes"))
        assert payloads(c.peer(silent).stream) == [b"passes"]
        assert c.peer(silent.other).stream == b""
        network.wait(90 * SECOND)
        assert payloads(c.peer(silent.other).stream) == [b"held"]

    @LEGS
    @pytest.mark.parametrize("mode", ["freeze", "blackhole"])
    def test_freeze_stops_reading_that_side(self, silent: Side, mode: str) -> None:
        _, c = open_and_step({"half_open": {"from": silent.label, "mode": mode}})
        assert c.peer(silent).is_read is (mode == "blackhole")
        assert c.peer(silent.other).is_read

    @LEGS
    def test_an_end_in_the_open_direction_passes_and_in_the_other_it_is_remembered(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"from": silent.label}})
        c.fin(silent.other)
        assert c.peer(silent).fin_at == network.now
        c.fin(silent)
        assert c.peer(silent.other).fin_at is None
        network.wait(90 * SECOND)
        assert c.peer(silent.other).fin_at == network.now and c.is_over

    @LEGS
    def test_a_reset_in_the_open_direction_passes_and_in_the_other_it_is_remembered(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"from": silent.label}})
        c.rst(silent)
        c.send(silent.other, said(silent.other, "to nobody"))
        network.wait(89 * SECOND)
        assert c.peer(silent.other).reset_at is None
        network.wait(SECOND)
        assert c.peer(silent.other).reset_at == network.now
        assert Discarded(silent.other, len(said(silent.other, "to nobody"))) in network.events(Discarded)

    @LEGS
    def test_a_reset_from_the_side_that_gets_through_ends_both_at_once(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"from": silent.label}})
        c.rst(silent.other)
        assert c.peer(silent).reset_at == network.now and c.is_over

    @LEGS
    def test_faults_that_end_act_on_both_legs(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"from": silent.label}})
        network.add(live_rule("close", "4200"))
        assert c.client.close_code == 4200 and c.server.close_code == 1001
        assert network.events(Suppressed) == []

    @LEGS
    def test_heal_discards_whole_messages_of_that_side_only(self, silent: Side) -> None:
        network, c = open_and_step({"half_open": {"from": silent.label, "heal": "discard"}})
        c.send(silent, said(silent, "gone"), said(silent, "across")[:3])
        c.send(silent.other, said(silent.other, "passes"))
        network.wait(90 * SECOND)
        c.send(silent, said(silent, "across")[3:], said(silent, "next"))
        assert payloads(c.peer(silent.other).stream) == [b"next"]
        assert payloads(c.peer(silent).stream) == [b"passes"]

    def test_with_heal_reset_both_legs_are_reset(self) -> None:
        network, c = open_and_step({"half_open": {"from": "client", "heal": "reset"}})
        network.wait(90 * SECOND)
        assert c.client.reset_at == c.server.reset_at == network.now

    def test_two_directions_heal_one_by_one(self) -> None:
        network, c = open_and_step({"half_open": {"from": "client"}})
        network.add(live_rule("half_open", {"from": "server"}))
        c.send(CLIENT, said(CLIENT, "a"))
        c.send(SERVER, said(SERVER, "b"))
        network.heal()
        assert payloads(c.client.stream) == [b"b"] and c.server.stream == b""
        network.wait(90 * SECOND)
        assert payloads(c.server.stream) == [b"a"]


class TestOneDirectionOfAHandshake:
    def network(self, side: str, heal: str = "flush") -> tuple[Network, Connection]:
        network, _ = open_and_step({"half_open": {"from": side, "heal": heal}})
        c = network.connect()
        c.send(CLIENT, request())
        return network, c

    def test_from_the_client_the_request_waits_for_the_heal(self) -> None:
        network, c = self.network("client")
        network.wait(90 * SECOND - 1)
        assert c.actions(Dial) == []
        network.wait(1)
        c.send(SERVER, switching())
        assert c.server.data == request() and c.client.data == switching()

    def test_from_the_server_the_answer_waits_for_the_heal_however_long(self) -> None:
        network, c = self.network("server")
        assert c.server.data == request()
        network.wait(70 * SECOND)
        c.send(SERVER, switching() + text("b"))
        network.wait(20 * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert c.client.data == switching() + text("b")

    def test_a_server_that_never_answers_has_its_minute_from_the_heal_on(self) -> None:
        network, c = self.network("server")
        network.wait(149 * SECOND)
        assert c.client.data == b""
        network.wait(SECOND)
        assert c.client.data.startswith(b"HTTP/1.1 504 ")

    def test_from_the_client_begun_behind_the_request_the_answer_passes_and_messages_wait(self) -> None:
        network = Network(profile())
        c = network.connect()
        c.send(CLIENT, request() + said(CLIENT, "early"))
        network.add(live_rule("half_open", {"from": "client"}))
        c.send(SERVER, switching() + text("b"))
        assert payloads(c.client.stream) == [b"b"] and c.server.stream == b""
        network.heal()
        assert payloads(c.server.stream) == [b"early"]

    def test_a_client_that_resets_before_it_was_answered_is_no_ghost(self) -> None:
        network = Network(profile())
        c = network.connect()
        c.send(CLIENT, request())
        network.add(live_rule("half_open", {"from": "client"}))
        c.rst(CLIENT)
        assert c.server.reset_at == network.now and c.is_over

    @pytest.mark.parametrize("first", ["client", "server"])
    def test_both_directions_by_two_rules_heal_one_by_one(self, first: str) -> None:
        network = Network(profile())
        network.accepts_dials = False
        c = network.connect()
        c.send(CLIENT, request())
        for side in ("client", "server"):
            network.add(live_rule("half_open", {"from": side}, id=side))
        c.dial_answered()
        assert c.server.data == c.client.data == b""
        network.heal(first)
        assert c.server.data == (request() if first == "client" else b"")
        network.heal("server" if first == "client" else "client")
        c.send(SERVER, switching())
        assert c.server.data == request() and c.client.data == switching()


class TestLostHeartbeats:
    @pytest.mark.parametrize(("fault", "lost"), [("swallow_pong", 10), ("swallow_ping", 9)])
    def test_only_that_control_frame_is_lost_either_way(self, fault: str, lost: int) -> None:
        _, c = open_and_step({fault: {}})
        for side in (CLIENT, SERVER):
            for opcode in (1, 9, 2, 10):
                c.send(side, frame(b"x", opcode, mask=M if side is CLIENT else b""))
        kept = [opcode for opcode in (1, 9, 2, 10) if opcode != lost]
        assert [seen.opcode for seen in c.server.frames] == kept
        assert [seen.opcode for seen in c.client.frames] == kept

    def test_of_one_side_where_when_says_so(self) -> None:
        _, c = open_and_step({"swallow_pong": {}, "when": {"from": "client", "nth": 2}})
        for side in (CLIENT, SERVER):
            for payload in (b"1", b"2", b"3"):
                c.send(side, frame(payload, 10, mask=M if side is CLIENT else b""))
        assert [seen.payload for seen in c.server.frames] == [b"1", b"3"]
        assert [seen.payload for seen in c.client.frames] == [b"1", b"2", b"3"]

    def test_a_pong_between_fragments_is_lost_and_the_message_stays_as_it_came(self) -> None:
        _, c = open_and_step({"swallow_pong": {}})
        begin, end = frame(b"one ", 1, fin=False), frame(b"message", 0)
        c.send(SERVER, begin + frame(b"", 10) + end)
        assert c.client.stream == begin + end

    def test_a_compressed_stream_stays_as_it_is_even_where_the_pong_has_rsv1(self) -> None:
        network = Network(profile(rules=[{"swallow_pong": {}}]))
        c = network.open(extension="permessage-deflate")
        message = frame(b"\x4a\x04\x00", 1, rsv1=True)
        c.send(SERVER, message + frame(b"", 10, rsv1=True) + message)
        assert c.client.stream == message * 2

    def test_later_ones_pass_and_each_is_counted(self) -> None:
        network, c = open_and_step({"swallow_ping": {}})
        c.send(SERVER, frame(b"1", 9), frame(b"2", 9))
        network.wait(90 * SECOND)
        c.send(SERVER, frame(b"3", 9))
        assert [seen.payload for seen in c.client.frames] == [b"3"]
        assert [event.fault for event in network.events(Struck)] == ["swallow_ping"] * 2
        assert network.world.tally.strikes == {"swallow_ping": 2}

    def test_it_hits_connections_that_open_later_too(self) -> None:
        network, _ = open_and_step({"swallow_ping": {}})
        c = network.open()
        c.send(SERVER, frame(b"", 9))
        network.wait(100 * MS)
        assert c.client.frames == []
