"""Stories of one direction: what latency and drop do to messages, which ones a rule takes, and which lane they take."""

import json
from typing import Any

import pytest

from chaosproxy.events import Established, Framed, Limited, Pause, Resume, Struck, Suppressed, Unjudged
from chaosproxy.lanes import Lane
from chaosproxy.units import SECOND
from chaosproxy.world import Options

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
    text,
)

M = b"mask"


def opened(*rules: Any, extension: str = "", **top: Any) -> Connection:
    return Network(profile(rules=list(rules), **top)).open(extension=extension)


def lane(c: Connection) -> Lane:
    return c.session.directions[SERVER].lane


class TestLanes:
    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ({"reset": {}}, Lane.PASS),
            ({"half_open": {"heal": "flush", "hits": "live"}}, Lane.PASS),
            ({"latency": "1s", "when": {"from": "client"}}, Lane.PASS),
            ({"latency": "1s", "when": {"connection": 2}}, Lane.PASS),
            ({"latency": "1s"}, Lane.FLOW),
            ({"latency": "1s", "when": {"nth": 2}}, Lane.FLOW),
            ({"latency": "1s", "when": {"size": "> 1B"}}, Lane.JUDGED),
            ({"drop": {}}, Lane.JUDGED),
            ({"close": "4200", "when": {"nth": 2}}, Lane.JUDGED),
        ],
    )
    def test_a_rule_puts_a_direction_on_its_lane(self, rule: dict[str, Any], expected: Lane) -> None:
        seen = lane(opened(rule))
        assert (Lane.PASS if seen is Lane.READ else seen) is expected

    def test_it_goes_back_to_passing_when_nothing_is_held(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "1s"))
        c.send(SERVER, text("a"))
        network.heal()
        assert lane(c) is Lane.FLOW
        network.wait(SECOND)
        assert lane(c) is Lane.PASS

    def test_messages_are_read_as_they_pass_where_a_protocol_is_observed(self) -> None:
        c = opened(protocol="pusher")
        message = text(json.dumps({"event": "pusher:connection_established", "data": '{"socket_id":"7.7"}'}))
        c.send(SERVER, message[:9], message[9:])
        assert c.client.stream == message
        assert c.network.events(Established) == [Established("7.7")]

    def test_they_are_read_too_while_the_last_of_a_latency_is_held(self) -> None:
        network = Network(profile(protocol="pusher"))
        c = network.open()
        network.add(live_rule("latency", "1s"))
        c.send(SERVER, text("held"))
        network.heal()
        message = text(json.dumps({"event": "pusher:connection_established", "data": '{"socket_id":"7.7"}'}))
        c.send(SERVER, message, message[:9])
        network.wait(SECOND)
        c.send(SERVER, message[9:])
        assert c.client.stream == text("held") + message + message
        assert network.events(Established) == [Established("7.7")] * 2

    def test_frames_are_journalled_where_that_was_asked_for(self) -> None:
        network = Network(profile(), Options(frames_journalled=True))
        c = network.open()
        c.send(CLIENT, text("abc", M))
        c.send(SERVER, frame(b"", 9))
        assert network.events(Framed) == [Framed(CLIENT, "text", 3, ""), Framed(SERVER, "ping", 0, "")]


class TestLatency:
    @pytest.mark.parametrize("is_added", [True, False])
    def test_another_rule_that_changes_inside_a_message_does_not_change_what_it_waits(self, is_added: bool) -> None:
        network = Network(profile(rules=[{"latency": "300ms", "when": {"from": "server"}}]))
        c = network.open()
        other = live_rule("drop", id="other", when={"from": "server", "nth": 99})
        if not is_added:
            network.add(other)
        message = text("a message")
        c.send(SERVER, message[:5])
        network.wait(100 * MS)
        if is_added:
            network.add(other)
        else:
            network.heal("other")
        network.wait(100 * MS)
        c.send(SERVER, message[5:])
        network.wait(300 * MS - 1)
        assert c.client.arrivals == []
        network.wait(1)
        assert c.client.arrivals == [(500, b"a message")]

    def test_every_message_is_due_exactly_its_delay_later(self) -> None:
        c = opened({"latency": "300ms"})
        c.send(SERVER, text("a"))
        c.network.wait(100 * MS)
        c.send(SERVER, text("b"))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(300, b"a"), (400, b"b")]

    def test_it_is_due_to_the_nanosecond(self) -> None:
        c = opened({"latency": "300ms"})
        c.send(SERVER, text("a"))
        c.network.wait(300 * MS - 1)
        assert c.client.arrivals == []
        c.network.wait(1)
        assert c.client.arrivals == [(300, b"a")]

    @pytest.mark.parametrize("when", [{}, {"size": "> 0B"}], ids=["flow", "judged"])
    def test_two_add_up(self, when: dict[str, Any]) -> None:
        c = opened({"latency": "300ms", "when": when}, {"latency": "200ms"})
        c.send(SERVER, text("a"))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(500, b"a")]

    def test_control_frames_wait_too_where_no_message_is_named(self) -> None:
        c = opened({"latency": "300ms"})
        c.send(SERVER, frame(b"p", 9))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(300, b"p")]

    def test_control_frames_pass_where_messages_are_named_and_keep_their_place(self) -> None:
        c = opened({"latency": "300ms", "when": {"nth": 1}})
        c.send(SERVER, frame(b"p", 9), text("a"), frame(b"q", 9))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(0, b"p"), (300, b"a"), (300, b"q")]

    def test_a_ping_between_fragments_does_not_change_what_the_message_waits(self) -> None:
        c = opened({"latency": "300ms", "when": {"nth": 1}})
        c.send(SERVER, frame(b"a", fin=False), frame(b"p", 9))
        c.network.wait(100 * MS)
        c.send(SERVER, frame(b"b", 0))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(300, b"a"), (300, b"p"), (400, b"b")]

    def test_what_is_held_keeps_its_due_time_when_the_rule_ends_and_new_messages_wait_behind_it(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "300ms"))
        c.send(SERVER, text("a"))
        network.wait(100 * MS)
        network.heal()
        c.send(SERVER, text("b"))
        network.wait(SECOND)
        c.send(SERVER, text("c"))
        assert c.client.arrivals == [(300, b"a"), (300, b"b"), (1100, b"c")]

    def test_a_faster_later_rule_still_waits_behind_the_last(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "300ms"))
        c.send(SERVER, text("a"))
        network.add(live_rule("latency", "100ms"))
        c.send(SERVER, text("b"))
        network.wait(300 * MS)
        c.send(SERVER, text("c"))
        network.wait(SECOND)
        assert c.client.arrivals == [(300, b"a"), (300, b"b"), (400, b"c")]

    def test_only_the_named_side_waits(self) -> None:
        c = opened({"latency": "300ms", "when": {"from": "server"}})
        c.send(CLIENT, text("a", M))
        assert c.server.stream == text("a", M)

    def test_it_waits_for_its_age(self) -> None:
        c = opened({"latency": "300ms", "when": {"age": "1s"}})
        c.network.wait(SECOND - 1)
        c.send(SERVER, text("young"))
        assert c.client.stream == text("young")
        c.network.wait(1)
        c.send(SERVER, text("old"))
        assert c.client.stream == text("young")

    def test_it_is_told_once_per_side(self) -> None:
        c = opened({"latency": "300ms"})
        c.send(SERVER, text("a"), text("b"))
        assert len(c.network.events(Struck)) == 1

    def test_held_bytes_pause_the_sender_and_resume_it_when_they_leave(self) -> None:
        c = opened({"latency": "1s"}, held_bytes_max="1KiB")
        c.send(SERVER, text(b"x" * 1024), text("y"))
        assert c.actions(Pause) == [Pause(SERVER)]
        c.network.wait(SECOND)
        assert c.actions(Resume) == [Resume(SERVER)]
        c.network.wait(SECOND)
        assert payloads(c.client.stream) == [b"x" * 1024, b"y"]
        assert len(c.network.events(Limited)) == 1

    def test_a_large_message_that_leaves_at_once_is_not_limited(self) -> None:
        c = opened({"drop": {}, "when": {"nth": 100}}, held_bytes_max="1KiB")
        c.send(SERVER, text(b"x" * 4000))
        assert c.network.events(Limited) == [] and c.actions(Pause) == []

    def test_a_delay_of_nothing_delays_nothing(self) -> None:
        c = opened({"latency": "0s"})
        c.send(SERVER, text("a"))
        assert c.client.arrivals == [(0, b"a")]


class TestMatches:
    @pytest.mark.parametrize(
        ("when", "dropped"),
        [
            ({}, "abcdef"),
            ({"nth": 2}, "b"),
            ({"nth": ["1", "3"]}, "ac"),
            ({"every": 2}, "bdf"),
            ({"first": 2}, "ab"),
            ({"size": "> 1B"}, ""),
            ({"size": "1B"}, "abcdef"),
            ({"opcode": "binary"}, "f"),
            ({"opcode": "binary", "first": 1}, "f"),
            ({"from": "client"}, ""),
            ({"chance": "0%"}, ""),
            ({"chance": "100%"}, "abcdef"),
            ({"every": 2, "first": 4}, "bd"),
        ],
    )
    def test_a_drop_takes_the_messages_named(self, when: dict[str, Any], dropped: str) -> None:
        c = opened({"drop": {}, "when": when})
        c.send(SERVER, *(text(name) for name in "abcde"), frame(b"p", 9), frame(b"f", 2))
        kept = b"".join(payloads(c.client.stream)).decode()
        assert kept == "".join(name for name in "abcdef" if name not in dropped)
        assert len(c.client.frames) == 1 + len(kept)
        assert [event.message for event in c.network.events(Struck)] == ["abcdef".index(name) + 1 for name in dropped]

    def test_events_and_channels_choose_messages(self) -> None:
        c = opened({"drop": {}, "when": {"event": "client-*", "channel": "private-?"}}, protocol="pusher")
        pairs = [("client-x", "private-a"), ("client-x", "private-ab"), ("other", "private-a")]
        messages = [text(json.dumps({"event": event, "channel": channel}), M) for event, channel in pairs]
        c.send(CLIENT, *messages)
        assert c.server.stream == messages[1] + messages[2]

    def test_control_frames_are_taken_only_by_name(self) -> None:
        c = opened({"drop": {}, "when": {"opcode": ["ping", "close"]}})
        c.send(SERVER, frame(b"p", 9), frame(b"q", 10), close_frame(1000))
        assert c.client.stream == frame(b"q", 10)

    def test_a_later_rule_counts_what_an_earlier_one_dropped_and_moves_no_strike(self) -> None:
        c = opened({"drop": {}, "when": {"nth": 1}}, {"drop": {}, "when": {"nth": [1, 3]}})
        c.send(SERVER, text("a"), text("b"), text("c"), text("d"))
        assert payloads(c.client.stream) == [b"b", b"d"]
        assert [(struck.message, struck.turn) for struck in c.network.events(Struck)] == [(1, 1), (3, 3)]

    def test_an_end_at_a_message_comes_also_where_that_was_dropped(self) -> None:
        c = opened({"drop": {}, "when": {"nth": 1}}, {"close": "4200", "when": {"nth": 1}})
        c.send(SERVER, text("a"))
        assert c.client.stream == close_frame(4200)

    def test_a_message_that_closes_the_connection_is_not_delivered(self) -> None:
        c = opened({"close": "4200", "when": {"nth": 2}})
        c.send(SERVER, text("a") + text("b") + text("c"))
        assert c.client.stream == text("a") + close_frame(4200)

    def test_a_message_can_make_its_connection_silent(self) -> None:
        c = opened({"half_open": {"heal": "flush"}, "when": {"from": "client", "nth": 2}})
        c.send(CLIENT, text("a", M) + text("b", M))
        c.send(SERVER, text("x"))
        assert c.server.stream == text("a", M) and c.client.stream == b""


class TestUnjudged:
    def test_a_message_of_which_a_byte_has_left_is_not_judged_and_is_counted(self) -> None:
        network = Network(profile())
        c = network.open()
        c.send(SERVER, text("abc")[:3])
        network.add(live_rule("drop"))
        c.send(SERVER, text("abc")[3:], text("d"))
        assert c.client.stream == text("abc")
        assert network.events(Unjudged) == [Unjudged(SERVER, 1)]

    def test_a_message_that_is_incomplete_when_its_rule_ends_goes_on_unjudged(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("drop"))
        c.send(SERVER, text("abc")[:3])
        network.heal()
        assert c.client.stream == text("abc")[:3]
        c.send(SERVER, text("abc")[3:])
        assert c.client.stream == text("abc")

    def test_one_that_is_too_large_passes_and_is_counted(self) -> None:
        c = opened({"drop": {}}, judged_bytes_max="1KiB")
        large = frame(b"x" * 2000)
        c.send(SERVER, large[:1500], large[1500:], text("small"))
        assert c.client.stream == large
        assert c.network.events(Unjudged) == [Unjudged(SERVER, 1)]

    def test_a_control_frame_between_the_fragments_of_a_held_message_passes(self) -> None:
        c = opened({"drop": {}, "when": {"nth": 9}})
        c.send(SERVER, frame(b"a", fin=False), frame(b"p", 9))
        assert c.client.stream == frame(b"p", 9)
        c.send(SERVER, frame(b"b", 0))
        assert payloads(c.client.stream) == [b"ab"]

    def test_the_limit_is_on_messages_and_a_ping_does_not_tip_it(self) -> None:
        c = opened({"drop": {}, "when": {"nth": 2}}, judged_bytes_max="1KiB")
        c.send(SERVER, frame(b"x" * 1000, fin=False), frame(b"p" * 60, 9)[:50])
        c.send(SERVER, frame(b"p" * 60, 9)[50:], frame(b"y", 0), text("dropped"))
        assert payloads(c.client.stream) == [b"x" * 1000 + b"y"]


class TestCompression:
    def test_an_unknown_extension_makes_messages_unchangeable_and_that_is_said_once(self) -> None:
        c = opened({"drop": {}}, extension="x-private")
        c.send(SERVER, text("a"), text("b"))
        assert payloads(c.client.stream) == [b"a", b"b"]
        assert len(c.network.events(Suppressed)) == 1
        assert c.network.events(Struck) == []

    def test_a_discard_on_an_unknown_extension_loses_nothing(self) -> None:
        network = Network(profile())
        c = network.open(extension="x-private")
        network.add(live_rule("half_open", {"heal": "discard"}))
        c.send(SERVER, text("a"), text("bc")[:2])
        network.heal()
        c.send(SERVER, text("bc")[2:])
        assert payloads(c.client.stream) == [b"a", b"bc"]

    def test_a_live_drop_on_an_untracked_connection_is_suppressed_but_acts_on_new_ones(self) -> None:
        network = Network(profile())
        old = network.open(extension="permessage-deflate")
        network.add(live_rule("drop"))
        old.send(SERVER, text("a"))
        assert payloads(old.client.stream) == [b"a"]
        assert [event.fault for event in network.events(Suppressed)] == ["drop"]
        new = network.open(extension="permessage-deflate")
        new.send(SERVER, text("a"))
        assert new.client.stream == b""
