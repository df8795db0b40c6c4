"""Stories of endings: what follows a close frame, kept legs, half-closes, late FINs, cuts, blows spread over a time."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.events import Closed, Discarded, End, Healed, Release, Reset, Send, Struck, Suppressed
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
SENDERS = pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])


def open_and_add(fault: str, options: Any = None, when: dict[str, Any] | None = None) -> tuple[Network, Connection]:
    """An open connection, and then a live rule."""
    network = Network(profile())
    c = network.open()
    network.add(live_rule(fault, options, when=when))
    return network, c


def said(side: Side, message: str | bytes) -> bytes:
    return text(message, M if side is CLIENT else b"")


class TestWhatFollowsAClose:
    @pytest.mark.parametrize("to", ["client", "server"])
    @pytest.mark.parametrize("then", ["reply", "fin", "reset", "nothing"])
    def test_the_frame_comes_first_and_then_what_was_chosen(self, to: str, then: str) -> None:
        network, c = open_and_add("close", {"code": 3000, "to": to, "then": then})
        aimed = c.client if to == "client" else c.server
        assert aimed.close_code == 3000
        assert (aimed.fin_at == network.now) is (then == "fin")
        assert (aimed.reset_at == network.now) is (then == "reset")
        other = c.server if to == "client" else c.client
        assert other.close_code == 1001 and other.fin_at == network.now

    def test_the_reset_is_one_behind_what_has_been_written(self) -> None:
        _, c = open_and_add("close", {"code": 3000, "then": "reset"})
        assert c.actions(Send, Reset)[-3:-1] == [Send(CLIENT, close_frame(3000)), Reset(CLIENT, behind=True)]

    def test_behind_fin_at_once_the_peers_end_is_awaited_for_five_seconds(self) -> None:
        network, c = open_and_add("close", {"code": 3000, "then": "fin", "to": "both"})
        network.wait(5 * SECOND - 1)
        assert not c.is_over
        network.wait(1)
        assert c.is_over

    def test_nothing_stays_nothing_whatever_the_client_says_until_it_ends(self) -> None:
        network, c = open_and_add("close", {"code": 3000, "then": "nothing"})
        c.fin(SERVER)
        c.send(CLIENT, close_frame(3000, mask=M), said(CLIENT, "still here"))
        network.wait(3600 * SECOND)
        assert c.client.stream == close_frame(3000) and c.client.fin_at is None
        c.fin(CLIENT)
        assert c.actions(End, Release)[-2:] == [End(CLIENT), Release(CLIENT)] and c.is_over

    def test_inside_a_frame_all_of_it_waits_for_its_end(self) -> None:
        network = Network(profile())
        c = network.open()
        c.send(SERVER, text("hello")[:3])
        network.add(live_rule("close", {"code": 3000, "then": "reset"}))
        assert c.client.reset_at is None
        c.send(SERVER, text("hello")[3:])
        assert c.client.stream == text("hello") + close_frame(3000)
        assert c.client.reset_at == network.now

    def test_an_oversized_reason_and_one_that_is_no_utf8_are_sent_as_they_are(self) -> None:
        _, c = open_and_add("close", {"code": 3000, "reason": "x" * 200, "oversized": True})
        assert c.client.stream == close_frame(3000, b"x" * 200)
        _, c = open_and_add("close", {"code": 3000, "reason_hex": "ff fe"})
        assert c.client.stream == close_frame(3000, b"\xff\xfe")


class TestKeptLegs:
    @pytest.mark.parametrize("fault", ["fin", "reset"])
    @pytest.mark.parametrize("end", ["", "fin", "rst"])
    def test_nothing_leaves_on_it_before_its_time_and_then_fin(self, fault: str, end: str) -> None:
        network, c = open_and_add(fault, {"leg": "client", "other": "keep", "keep_for": "30s"})
        c.send(SERVER, text("to a ghost"))
        if end:
            getattr(c, end)(SERVER)
        before = [action for action in c.actions(Send, End, Reset, Release) if action.side is SERVER]  # type: ignore[union-attr]
        assert len(before) == 1  # the request
        network.wait(30 * SECOND - 1)
        assert c.server.fin_at is None and c.server.reset_at is None
        network.wait(1)
        assert (c.server.fin_at == network.now) is (end != "rst")
        network.wait(5 * SECOND)
        assert c.is_over

    def test_a_kept_leg_is_read_though_it_was_paused(self) -> None:
        network = Network(profile())
        c = network.open()
        c.blocked(CLIENT, True)
        network.add(live_rule("reset", {"leg": "client", "other": "keep", "keep_for": "30s"}))
        assert c.server.is_read

    def test_the_end_of_the_proxy_does_not_wait_for_it(self) -> None:
        network, c = open_and_add("reset", {"leg": "client", "other": "keep", "keep_for": "30s"})
        network.drain()
        assert c.server.reset_at == network.now and c.is_over

    def test_a_leg_that_is_still_being_dialled_is_kept_without_being_read(self) -> None:
        network = Network(profile(), accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        c.blocked(CLIENT, True)  # what the server will send is not wanted yet
        network.add(live_rule("reset", {"leg": "client", "other": "keep", "keep_for": "7s"}))
        assert c.client.reset_at == network.now
        assert c.is_over
        c.dial_answered()
        assert c.server.reset_at == network.now


class TestHalfClose:
    @SENDERS
    def test_fin_goes_one_way_and_the_other_way_goes_on(self, side: Side) -> None:
        network, c = open_and_add("half_close", {"leg": side.label})
        assert c.peer(side).fin_at == network.now and c.peer(side.other).fin_at is None
        c.send(side, said(side, "still heard"))
        c.send(side.other, said(side.other, "lost"), said(side.other, "too"))
        assert payloads(c.peer(side.other).stream) == [b"still heard"]
        assert c.session.state is State.TUNNEL

    @SENDERS
    def test_what_could_go_nowhere_is_counted(self, side: Side) -> None:
        network, c = open_and_add("half_close", {"leg": side.label})
        lost = said(side.other, "lost")
        c.send(side.other, lost, lost)
        c.fin(side)
        c.fin(side.other)
        assert c.is_over
        assert network.events(Discarded) == [Discarded(side.other, 2 * len(lost))]
        assert network.events(Closed) == [Closed("rule", "fin", None)]

    @SENDERS
    def test_when_its_peer_ends_the_other_side_gets_fin_and_has_five_seconds(self, side: Side) -> None:
        network, c = open_and_add("half_close", {"leg": side.label})
        c.fin(side)
        assert c.peer(side.other).fin_at == network.now
        c.send(side.other, said(side.other, "to nobody"))
        network.wait(5 * SECOND)
        assert c.is_over

    def test_a_frame_in_flight_is_not_waited_for(self) -> None:
        network = Network(profile())
        c = network.open()
        c.send(SERVER, text("hello")[:3])
        network.add(live_rule("half_close", "client"))
        c.send(SERVER, text("hello")[3:])
        assert c.client.stream == text("hello")[:3] and c.client.fin_at == network.now

    def test_behind_a_message_that_names_it_nothing_leaves(self) -> None:
        network, c = open_and_add("half_close", "client", {"from": "server", "nth": 2})
        c.send(SERVER, text("1") + text("2") + text("3"))
        assert payloads(c.client.stream) == [b"1"]
        assert c.client.fin_at == network.now

    def test_before_the_connection_is_open_it_is_suppressed(self) -> None:
        network = Network(profile())
        c = network.connect()
        c.send(CLIENT, request())
        network.add(live_rule("half_close", "client"))
        assert [event.fault for event in network.events(Suppressed)] == ["half_close"]
        c.send(SERVER, switching())
        assert c.client.fin_at is None

    def test_a_close_behind_it_reaches_the_other_leg(self) -> None:
        network, c = open_and_add("half_close", "client")
        network.add(live_rule("close", {"code": 3000, "to": "both"}, id="later"))
        assert c.client.stream == b"" and c.server.close_code == 3000


class TestSlowClose:
    @SENDERS
    def test_each_fin_waits_and_data_does_not(self, side: Side) -> None:
        network, c = open_and_add("slow_close", "3s")
        c.send(side, said(side, "at once"))
        c.fin(side)
        assert payloads(c.peer(side.other).stream) == [b"at once"]
        network.wait(3 * SECOND - 1)
        c.send(side.other, said(side.other, "the other way"))
        assert payloads(c.peer(side).stream) == [b"the other way"]
        assert c.peer(side.other).fin_at is None
        network.wait(1)
        assert c.peer(side.other).fin_at == network.now

    def test_behind_a_finished_close_handshake_too(self) -> None:
        network, c = open_and_add("slow_close", "3s", {"from": "server"})
        c.send(CLIENT, close_frame(1000, mask=M))
        c.send(SERVER, close_frame(1000))
        c.fin(SERVER)
        assert c.client.stream == close_frame(1000) and c.client.fin_at is None
        c.fin(CLIENT)
        assert c.server.fin_at == network.now
        network.wait(3 * SECOND)
        assert c.client.fin_at == network.now and c.is_over
        assert network.events(Closed) == [Closed("client", "close", 1000)]

    def test_a_fin_that_waits_keeps_its_due_time_when_the_rule_ends(self) -> None:
        network, c = open_and_add("slow_close", "3s")
        c.fin(SERVER)
        network.wait(SECOND)
        network.heal()
        network.wait(2 * SECOND - 1)
        assert c.client.fin_at is None
        network.wait(1)
        assert c.client.fin_at == network.now
        c.fin(CLIENT)
        assert c.is_over

    def test_two_of_them_add_up(self) -> None:
        network, c = open_and_add("slow_close", "3s")
        network.add(live_rule("slow_close", "2s", id="second"))
        c.fin(SERVER)
        network.wait(5 * SECOND - 1)
        assert c.client.fin_at is None
        network.wait(1)
        assert c.client.fin_at == network.now

    def test_it_comes_behind_what_is_held_and_its_own_time_begins_there(self) -> None:
        network, c = open_and_add("slow_close", "3s")
        network.add(live_rule("latency", "1s", id="slow"))
        c.send(SERVER, text("held"))
        c.fin(SERVER)
        network.wait(4 * SECOND - 1)
        assert payloads(c.client.stream) == [b"held"] and c.client.fin_at is None
        network.wait(1)
        assert c.client.fin_at == network.now

    def test_it_waits_through_a_half_open(self) -> None:
        network, c = open_and_add("slow_close", "3s")
        c.fin(SERVER)
        network.add(live_rule("half_open", {"leg": "both"}, id="silence"))
        network.wait(10 * SECOND)
        assert c.client.fin_at is None
        network.heal("silence")
        assert c.client.fin_at == network.now

    def test_a_reset_does_not_wait(self) -> None:
        network, c = open_and_add("slow_close", "3s")
        c.fin(SERVER)
        c.rst(SERVER)
        assert c.client.reset_at == network.now

    @SENDERS
    def test_a_reset_waits_too_where_it_shall(self, side: Side) -> None:
        network, c = open_and_add("slow_close", {"delay": "3s", "resets": "true"})
        c.rst(side)
        c.send(side.other, said(side.other, "to nobody"))
        network.wait(3 * SECOND - 1)
        assert c.peer(side.other).reset_at is None and c.peer(side.other).stream == b""
        network.wait(1)
        assert c.peer(side.other).reset_at == network.now and c.is_over
        assert network.events(Closed) == [Closed(side.label, "reset", None)]
        assert [(event.fault, event.side) for event in network.events(Struck)] == [("slow_close", side)]

    def test_a_reset_that_waits_leaves_a_half_open_leg_at_the_heal(self) -> None:
        network, c = open_and_add("slow_close", {"delay": "3s", "resets": "true"})
        c.rst(CLIENT)
        network.add(live_rule("half_open", {"leg": "server"}, id="silence"))
        network.wait(60 * SECOND)
        network.heal("silence")
        assert c.server.reset_at is not None and c.is_over

    def test_it_strikes_when_a_fin_waits_and_also_on_connections_that_open_later(self) -> None:
        network, _ = open_and_add("slow_close", "3s")
        c = network.open()
        assert network.events(Struck) == []
        c.fin(SERVER)
        assert [(event.fault, event.side) for event in network.events(Struck)] == [("slow_close", SERVER)]

    @pytest.mark.parametrize(("hits", "late"), [("live", (True, False)), ("new", (False, True))])
    def test_which_connections_it_hits(self, hits: str, late: tuple[bool, bool]) -> None:
        network, live = open_and_add("slow_close", {"delay": "3s", "hits": hits})
        new = network.open()
        for c in (live, new):
            c.fin(SERVER)
        assert (live.client.fin_at is None, new.client.fin_at is None) == late


class TestCutAfterBytes:
    @SENDERS
    @pytest.mark.parametrize("by", ["reset", "fin"])
    @pytest.mark.parametrize("size", [1, 2, 5, 12, 13, 20])
    def test_exactly_so_many_are_let_through_in_the_middle_of_a_frame_too(self, side: Side, by: str, size: int) -> None:
        network, c = open_and_add("cut_after", {"bytes": f"{size}B", "by": by})
        data = said(side, "first") + said(side, "second") + said(side, "third")
        c.send(side, data[:4], data[4:])
        assert c.peer(side.other).stream == data[:size]
        for peer in (c.client, c.server):
            assert (peer.reset_at if by == "reset" else peer.fin_at) == network.now
        assert [(event.fault, event.side) for event in network.events(Struck)] == [("cut_after", side)]
        come = 4 if size < 4 else len(data)
        assert sum(event.size for event in network.events(Discarded)) == come - size

    def test_not_one_byte_earlier(self) -> None:
        network, c = open_and_add("cut_after", {"bytes": "7B"})
        c.send(SERVER, text("hello")[:6])
        network.wait(3600 * SECOND)
        assert c.session.state is State.TUNNEL
        c.send(SERVER, text("hello")[6:])
        assert c.client.stream == text("hello") and c.client.reset_at == network.now

    def test_the_reset_comes_behind_what_was_let_through(self) -> None:
        _, c = open_and_add("cut_after", {"bytes": "7B"})
        c.send(SERVER, text("hello"))
        assert c.actions(Send, Reset)[-3:] == [
            Send(CLIENT, text("hello")),
            Reset(CLIENT, behind=True),
            Reset(SERVER, behind=True),
        ]

    def test_each_side_has_a_count_of_its_own(self) -> None:
        _, c = open_and_add("cut_after", {"bytes": "10B"})
        c.send(SERVER, text("1"), text("1"))
        c.send(CLIENT, said(CLIENT, ""))
        assert c.session.state is State.TUNNEL
        c.send(SERVER, text("2345"))
        assert c.client.stream == (text("1") * 2 + text("2345"))[:10] and c.is_over

    def test_from_a_named_side_only_its_bytes_count(self) -> None:
        _, c = open_and_add("cut_after", {"bytes": "10B"}, {"from": "client"})
        c.send(SERVER, text("x" * 1000))
        assert c.session.state is State.TUNNEL
        c.send(CLIENT, said(CLIENT, "x" * 1000))
        assert c.server.stream == said(CLIENT, "x" * 1000)[:10] and c.is_over

    def test_on_a_new_connection_all_bytes_behind_the_heads_count(self) -> None:
        network = Network(profile(rules=[{"cut_after": {"bytes": "10B"}}]))
        c = network.open()
        c.send(SERVER, text("hello"), text("hello"))
        assert c.client.stream == (text("hello") * 2)[:10]

    def test_what_was_sent_before_the_rule_does_not_count_though_it_is_still_held(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "1s", id="slow"))
        c.send(SERVER, text("before"), text("part")[:3])
        network.add(live_rule("cut_after", {"bytes": "5B"}))
        c.send(SERVER, text("part")[3:] + text("after"))
        network.wait(2 * SECOND)
        assert c.client.stream == text("before") + text("part")[:3] + (text("part")[3:] + text("after"))[:5]

    def test_a_message_that_is_being_put_together_when_the_rule_begins_does_not_count(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("drop", when={"size": "> 1KiB"}, id="judging"))
        c.send(SERVER, text("half")[:4])
        network.add(live_rule("cut_after", {"bytes": "3B"}))
        c.send(SERVER, text("half")[4:] + text("after"))
        assert c.client.stream == text("half") + text("after")[:1]

    def test_healed_the_rest_passes_uncounted_and_on_the_fast_lane(self) -> None:
        network, c = open_and_add("cut_after", {"bytes": "10B"})
        c.send(SERVER, text("hello"))
        assert not c.session.passes(SERVER)
        network.heal()
        assert c.session.passes(SERVER)
        c.send(SERVER, text("x" * 100))
        assert payloads(c.client.stream) == [b"hello", b"x" * 100]
        assert network.events(Struck) == [] and network.events(Healed) == []

    @pytest.mark.parametrize(("hits", "cut"), [("live", (True, False)), ("new", (False, True)), ("all", (True, True))])
    def test_which_connections_it_hits(self, hits: str, cut: tuple[bool, bool]) -> None:
        network, live = open_and_add("cut_after", {"bytes": "1B", "hits": hits})
        new = network.open()
        for c in (live, new):
            c.send(SERVER, text("x"))
        assert (live.is_over, new.is_over) == cut

    @pytest.mark.parametrize(("other", "seen"), [("fin", "fin_at"), ("reset", "reset_at"), ("keep", "")])
    def test_one_leg_is_cut_and_the_other_gets_what_the_rule_says(self, other: str, seen: str) -> None:
        network, c = open_and_add("cut_after", {"bytes": "3B", "leg": "client", "other": other})
        c.send(SERVER, text("hello"))
        assert c.client.stream == text("hello")[:3] and c.client.reset_at == network.now
        assert {name for name in ("fin_at", "reset_at") if getattr(c.server, name) is not None} == {seen} - {""}

    def test_two_of_them_each_count(self) -> None:
        network, c = open_and_add("cut_after", {"bytes": "9B", "leg": "client"})
        network.add(live_rule("cut_after", {"bytes": "5B", "by": "fin"}, id="second"))
        c.send(SERVER, text("hello") * 2)
        assert c.client.stream == text("hello")[:5] and c.client.fin_at == network.now

    @given(
        size=st.integers(1, 60),
        before=st.integers(0, 30),
        cuts=st.sets(st.integers(1, 59)),
        beside=st.sampled_from([None, ("latency", "1s", None), ("drop", None, {"size": "> 1KiB"})]),
        by=st.sampled_from(["reset", "fin"]),
    )
    def test_however_the_bytes_are_chopped_and_held_exactly_so_many_of_them_leave(
        self, size: int, before: int, cuts: set[int], beside: tuple[str, Any, Any] | None, by: str
    ) -> None:
        stream = text("first") + frame(b"", 9) + frame(b"sec", 1, fin=False) + frame(b"ond", 0) + text("x" * 40)
        network = Network(profile())
        c = network.open()
        if beside:
            network.add(live_rule(beside[0], beside[1], id="beside", when=beside[2]))
        c.send(SERVER, stream[:before])
        network.add(live_rule("cut_after", {"bytes": f"{size}B", "by": by}))
        for begin, end in pairwise([before, *sorted(before + cut for cut in cuts), len(stream)]):
            if begin < end:
                c.send(SERVER, stream[begin:end])
        network.wait(2 * SECOND)
        assert c.client.stream == stream[: before + size]
        assert (c.session.state is State.TUNNEL) is (before + size > len(stream))
        if by == "reset":  # what comes behind a FIN of ours is not counted any more
            received = c.session.directions[SERVER].splitter.bytes
            discarded = sum(event.size for event in network.events(Discarded))
            assert len(c.client.stream) + discarded == received


class TestCutAfterMessages:
    @SENDERS
    def test_behind_the_last_of_them_and_the_next_does_not_leave(self, side: Side) -> None:
        network, c = open_and_add("cut_after", {"messages": 2})
        c.send(side, b"".join(said(side, str(number)) for number in range(4)))
        assert payloads(c.peer(side.other).stream) == [b"0", b"1"]
        assert c.is_over
        assert [(event.side, event.message) for event in network.events(Struck)] == [(side, 2)]

    def test_control_frames_and_messages_that_when_does_not_name_do_not_count(self) -> None:
        _, c = open_and_add("cut_after", {"messages": 2, "by": "fin"}, {"from": "server", "size": "> 3B"})
        c.send(CLIENT, said(CLIENT, "long enough") * 3)
        c.send(SERVER, frame(b"a ping", 9), text("long 1"), text("x"), text("long 2"))
        assert payloads(c.client.stream) == [b"long 1", b"x", b"long 2"] and c.client.fin_at is not None

    def test_behind_a_message_that_a_latency_holds_it_waits_until_that_has_left(self) -> None:
        network, c = open_and_add("latency", "1s")
        network.add(live_rule("cut_after", {"messages": 2}, id="cut"))
        c.send(SERVER, text("1") + text("2") + text("3"))
        network.wait(SECOND - 1)
        assert c.session.state is State.TUNNEL
        network.wait(1)
        assert payloads(c.client.stream) == [b"1", b"2"] and c.client.reset_at == network.now

    def test_once_its_message_has_come_the_cut_comes_though_the_rule_ends(self) -> None:
        network, c = open_and_add("latency", "1s")
        network.add(live_rule("cut_after", {"messages": 1}, id="cut"))
        c.send(SERVER, text("1"))
        network.heal("cut")
        c.send(SERVER, text("2"))
        network.wait(SECOND)
        assert payloads(c.client.stream) == [b"1"] and c.is_over

    def test_a_message_that_another_rule_drops_counts_too_so_that_no_rule_moves_anothers_cut(self) -> None:
        network, c = open_and_add("drop", when={"nth": 1})
        network.add(live_rule("cut_after", {"messages": 2}, id="cut"))
        c.send(SERVER, text("dropped"))
        assert c.session.state is State.TUNNEL
        c.send(SERVER, text("counted"))
        assert payloads(c.client.stream) == [b"counted"] and c.is_over

    def test_a_fragmented_message_is_one(self) -> None:
        _, c = open_and_add("cut_after", {"messages": 1})
        whole = frame(b"a", 1, fin=False) + frame(b"b", 0)
        c.send(SERVER, whole + text("next"))
        assert c.client.stream == whole


class TestCutAfterAge:
    def test_traffic_does_not_keep_a_connection_alive(self) -> None:
        network = Network(profile(rules=[{"cut_after": {"age": "60s", "by": "fin"}}]))
        c = network.open()
        for _ in range(59):
            network.wait(SECOND)
            c.send(CLIENT, frame(b"", 9, mask=M))
            c.send(SERVER, frame(b"", 10))
        assert c.session.state is State.TUNNEL and c.session.passes(CLIENT)
        network.wait(SECOND - 1)
        assert c.client.fin_at is None
        network.wait(1)
        assert c.client.fin_at == c.server.fin_at == network.now
        assert len(c.server.frames) == 59

    def test_connections_that_are_older_when_the_rule_begins_are_cut_at_once(self) -> None:
        network = Network(profile())
        old = network.open()
        network.wait(50 * SECOND)
        younger = network.open()
        network.wait(20 * SECOND)
        network.add(live_rule("cut_after", {"age": "60s"}))
        assert old.client.reset_at == network.now and younger.client.reset_at is None
        network.wait(40 * SECOND)
        assert younger.client.reset_at == network.now

    def test_a_connection_that_opens_later_has_its_own_time(self) -> None:
        network, _ = open_and_add("cut_after", {"age": "2s"})
        network.wait(SECOND)
        c = network.open()
        network.wait(2 * SECOND - 1)
        assert not c.is_over
        network.wait(1)
        assert c.is_over

    def test_healed_before_its_time_it_does_not_come(self) -> None:
        network, c = open_and_add("cut_after", {"age": "2s"})
        network.wait(SECOND)
        network.heal()
        network.wait(60 * SECOND)
        assert c.session.state is State.TUNNEL

    def test_on_a_half_open_connection_it_is_suppressed(self) -> None:
        network, c = open_and_add("cut_after", {"age": "2s"})
        network.add(live_rule("half_open", id="silence"))
        network.wait(3 * SECOND)
        network.heal("silence")
        assert c.session.state is State.TUNNEL
        assert [event.fault for event in network.events(Suppressed)] == ["cut_after"]


class TestBlows:
    """Faults that hit live connections as their phase begins."""

    @pytest.mark.parametrize("fault", ["close", "fin", "reset", "half_close"])
    def test_over_a_time_they_fall_evenly_by_number(self, fault: str) -> None:
        network = Network(profile())
        connections = [network.open() for _ in range(4)]
        options = {"close": {"code": 4200}, "half_close": {"leg": "client"}}.get(fault, {})
        network.add(live_rule(fault, {**options, "over": "2s"}))
        network.wait(3 * SECOND)
        at = [(c.client.reset_at or c.client.fin_at, c.log) for c in connections]
        if fault == "close":
            begun = [next(t for t, action in c.log if action == Send(CLIENT, close_frame(4200))) for c in connections]
        else:
            begun = [time for time, _ in at if time is not None]
        assert [(time - begun[0]) // MS for time in begun] == [0, 500, 1000, 1500]
        assert begun[0] == network.now - 3 * SECOND

    def test_a_rule_that_ends_before_strikes_no_more(self) -> None:
        network = Network(profile())
        connections = [network.open() for _ in range(4)]
        network.add(live_rule("reset", {"over": "2s"}), lasts=700 * MS)
        network.wait(3 * SECOND)
        assert [c.is_over for c in connections] == [True, True, False, False]
        assert network.deadline is None

    def test_connections_that_end_before_are_no_ones_turn(self) -> None:
        network = Network(profile())
        connections = [network.open() for _ in range(4)]
        network.add(live_rule("reset", {"over": "2s"}))
        connections[1].rst(CLIENT)
        network.wait(1500 * MS)
        assert [c.is_over for c in connections] == [True] * 4
        assert len(network.events(Struck)) == 3

    def test_with_hits_all_new_ones_are_struck_as_they_open(self) -> None:
        network = Network(profile())
        connections = [network.open() for _ in range(2)]
        network.add(live_rule("reset", {"over": "2s", "hits": "all"}))
        assert network.connect().open().is_over
        assert [c.is_over for c in connections] == [True, False]

    @pytest.mark.parametrize(
        ("stronger", "weaker"),
        [
            ({"reset": {"leg": "client"}}, {"fin": {"leg": "client", "other": "reset"}}),
            ({"fin": {"leg": "client"}}, {"close": {"code": 3000}}),
            ({"close": {"code": 3000}}, {"half_open": {"leg": "client"}}),
            ({"fin": {"leg": "client"}}, {"half_open": {"leg": "client"}}),
        ],
        ids=["reset-fin", "fin-close", "close-half_open", "fin-half_open"],
    )
    @pytest.mark.parametrize("is_listed_first", [True, False])
    def test_the_stronger_of_two_on_one_leg_acts_alone(
        self, stronger: dict[str, Any], weaker: dict[str, Any], is_listed_first: bool
    ) -> None:
        rules = [stronger, weaker] if is_listed_first else [weaker, stronger]
        network = Network(profile({"name": "quiet", "until": "step"}, {"name": "hurt", "rules": rules}))
        c = network.open()
        network.step()
        (name,) = stronger
        assert [event.fault for event in network.events(Struck)] == [name]
        assert (c.client.reset_at is not None) is (name == "reset")
        assert (c.client.fin_at is not None) is (name == "fin")
        assert (c.client.stream == close_frame(3000)) is (name == "close")
