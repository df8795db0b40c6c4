"""Stories of frames that nobody sent: where they go between others, when, and toward whom."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosproxy.events import Discarded, Struck, Suppressed
from chaosproxy.units import SECOND
from tests.virtual import (
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
    read_messages,
    text,
)

M = b"mask"


def opened(*rules: Any, **top: Any) -> Connection:
    return Network(profile(rules=list(rules), **top)).open()


class TestWhen:
    def test_at_the_start_of_its_phase_on_live_connections_once(self) -> None:
        network = Network(
            profile({"name": "quiet", "until": "step"}, {"name": "loud", "rules": [{"inject": {"text": "x"}}]})
        )
        c = network.open()
        assert c.client.stream == b""
        network.step()
        assert c.client.stream == text("x")
        assert network.open().client.stream == b""

    def test_as_connections_open(self) -> None:
        assert opened({"inject": {"text": "x", "hits": "new"}}).client.stream == text("x")

    def test_behind_each_message_named(self) -> None:
        c = opened({"inject": {"text": "x"}, "when": {"from": "server", "nth": [2, 3]}})
        c.send(SERVER, text("a"), text("b") + text("c"), text("d"))
        assert payloads(c.client.stream) == [b"a", b"b", b"x", b"c", b"x", b"d"]

    def test_behind_a_message_of_the_other_side(self) -> None:
        c = opened({"inject": {"text": "x", "to": "client"}, "when": {"from": "client", "nth": 1}})
        c.send(CLIENT, text("a", M))
        assert (c.client.stream, c.server.stream) == (text("x"), text("a", M))

    def test_every_so_often_on_live_and_new_connections(self) -> None:
        network = Network(profile())
        live = network.open()
        network.add(live_rule("inject", {"text": "x", "interval": "300ms"}))
        network.wait(100 * MS)
        new = network.open()
        network.wait(600 * MS)
        assert live.client.arrivals == [(300, b"x"), (600, b"x")]
        assert new.client.arrivals == [(400, b"x"), (700, b"x")]
        network.heal()
        network.wait(10 * SECOND)
        assert len(live.client.arrivals) == 2
        assert len(network.events(Struck)) == 2  # the first on each connection is worth a line
        assert network.world.tally.strikes == {"inject": 4}

    def test_another_rule_does_not_move_its_time(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("inject", {"text": "x", "interval": "300ms"}))
        network.wait(200 * MS)
        network.add(live_rule("latency", "1us", id="other", when={"from": "client"}))
        network.wait(200 * MS)
        assert c.client.arrivals == [(300, b"x")]

    def test_a_connection_that_ends_is_left_alone(self) -> None:
        network = Network(profile(rules=[{"inject": {"text": "x", "interval": "100ms", "to": "both"}}]))
        network.open()
        network.end_all()

    def test_time_and_messages_do_not_go_together(self) -> None:
        with pytest.raises(ValueError, match="leave one of them out"):
            profile(rules=[{"inject": {"text": "x", "interval": "1s"}, "when": {"nth": 1}}])


class TestWhere:
    def test_never_inside_a_message_that_has_begun_to_pass(self) -> None:
        network = Network(profile())
        c = network.open()
        begin, middle, end = frame(b"he", 1, fin=False), frame(b"ll", 0, fin=False), frame(b"o", 0)
        c.send(SERVER, begin + middle[:3])
        network.add(live_rule("inject", {"text": "x"}))
        assert c.client.stream == begin + middle[:3]
        c.send(SERVER, middle[3:])
        assert c.client.stream == begin + middle
        c.send(SERVER, end + text("next"))
        assert c.client.stream == begin + middle + end + text("x") + text("next")

    def test_a_control_frame_goes_between_fragments_but_not_inside_a_frame(self) -> None:
        network = Network(profile())
        c = network.open()
        begin, end = frame(b"he", 1, fin=False), frame(b"llo", 0)
        c.send(SERVER, begin[:3])
        network.add(live_rule("inject", {"ping": "p"}))
        assert c.client.stream == begin[:3]
        c.send(SERVER, begin[3:])
        assert c.client.stream == begin + frame(b"p", 9)
        c.send(SERVER, end)
        assert c.client.stream == begin + frame(b"p", 9) + end

    def test_what_waits_for_a_message_that_never_ends_is_given_up(self) -> None:
        network = Network(profile())
        c = network.open()
        begin = frame(b"he", 1, fin=False)
        c.send(SERVER, begin)
        network.add(live_rule("inject", {"text": "x"}))
        c.fin(SERVER)
        assert c.client.stream == begin
        assert c.client.fin_at == network.now
        assert network.events(Discarded) == [Discarded(SERVER, len(text("x")))]

    def test_behind_what_is_held(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "1s"))
        c.send(SERVER, text("a"))
        network.add(live_rule("inject", {"text": "x"}, id="inject"))
        assert c.client.stream == b""
        network.wait(SECOND)
        assert payloads(c.client.stream) == [b"a", b"x"]

    def test_nothing_goes_into_a_half_open_connection(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("half_open", {"hits": "live"}))
        network.add(live_rule("inject", {"text": "x"}, id="inject"))
        network.heal()
        assert c.client.stream == b""
        assert [suppressed.fault for suppressed in network.events(Suppressed)] == ["inject"]

    def test_nothing_goes_to_a_connection_that_is_not_open_yet(self) -> None:
        network = Network(profile(), accepts_dials=False)
        c = network.connect()
        network.add(live_rule("inject", {"text": "x"}))
        assert c.client.data == b""

    @settings(max_examples=100)
    @given(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 40), st.booleans())
    def test_however_the_stream_is_chopped_it_stays_well_formed_and_nothing_is_lost(
        self, chops: list[int], at: int, is_judged: bool
    ) -> None:
        network = Network(
            profile(rules=[{"drop": {}, "when": {"event": "never"}}] if is_judged else [], protocol="pusher")
        )
        c = network.open()
        stream = frame(b"one", 1, fin=False) + frame(b"", 9) + frame(b"two", 0) + text("three") + text("four")
        rest = stream
        for index, chop in enumerate([*chops, len(stream)]):
            if index == min(at, len(chops)):
                network.add(live_rule("inject", {"binary": "ff"}))
            c.send(SERVER, rest[:chop])
            rest = rest[chop:]
        network.wait(SECOND)
        messages, incomplete = read_messages(c.client.stream)
        assert incomplete == b""
        got = [message.payload for message in messages if not message.opcode & 8]
        assert sorted(got) == sorted([b"onetwo", b"three", b"four", b"\xff"])
        assert [payload for payload in got if payload != b"\xff"] == [b"onetwo", b"three", b"four"]


class TestWhat:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ({"text": "ä"}, text("ä")),
            ({"text": ""}, text("")),
            ({"binary": "00 ff"}, frame(b"\x00\xff", 2)),
            ({"ping": "p"}, frame(b"p", 9)),
            ({"pong": ""}, frame(b"", 10)),
            ({"close": "4242"}, close_frame(4242)),
            ({"raw": "de ad"}, b"\xde\xad"),
        ],
    )
    def test_a_client_gets_it_unmasked(self, content: dict[str, str], expected: bytes) -> None:
        assert opened({"inject": {**content, "hits": "new"}}).client.stream == expected

    def test_a_server_gets_it_masked_with_a_key_that_the_seed_decides(self) -> None:
        def run(seed: int) -> bytes:
            c = opened({"inject": {"text": "hello", "to": "server", "hits": "new"}}, seed=seed)
            assert payloads(c.server.stream) == [b"hello"]
            assert c.server.frames[0].mask
            return c.server.stream

        assert run(1) == run(1) != run(2)

    def test_both_may_get_it(self) -> None:
        c = opened({"inject": {"text": "x", "to": "both", "hits": "new"}})
        assert payloads(c.client.stream) == payloads(c.server.stream) == [b"x"]

    @pytest.mark.parametrize("options", [{}, {"text": "a", "ping": "b"}, {"to": "server"}, {"ping": "x" * 126}])
    def test_exactly_one_content_that_fits(self, options: dict[str, str]) -> None:
        with pytest.raises(ValueError):
            profile(rules=[{"inject": options}])

    def test_a_close_frame_from_nowhere_ends_nothing_by_itself(self) -> None:
        c = opened({"inject": {"close": "1000", "hits": "new"}})
        c.send(SERVER, text("still"))
        assert c.client.stream == close_frame(1000) + text("still")
        assert c.client.fin_at is None


class TestViolations:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("mask", frame(b"chaos", mask=bytes(4))),
            ("reserved_bit", b"\xb1\x05chaos"),
            ("opcode", b"\x83\x05chaos"),
            ("control_opcode", b"\x8b\x05chaos"),
            ("control_size", frame(bytes(126), 9)),
            ("control_fragment", b"\x09\x05chaos"),
            ("continuation", b"\x80\x05chaos"),
            ("interleaved", b"\x01\x05chaos\x81\x05chaos"),
            ("length", b"\x82\x7f\x80\0\0\0\0\0\0\0chaos"),
        ],
    )
    def test_toward_a_client(self, kind: str, expected: bytes) -> None:
        assert opened({"violate": {"kind": kind, "hits": "new"}}).client.stream == expected

    def test_toward_a_server_the_frame_is_masked_but_for_the_one_that_must_be(self) -> None:
        masked = opened({"violate": {"kind": "opcode", "to": "server", "hits": "new"}}).server.frames
        assert [(seen.first, bool(seen.mask), seen.payload) for seen in masked] == [(0x83, True, b"chaos")]
        assert opened({"violate": {"kind": "mask", "to": "server", "hits": "new"}}).server.stream == text("chaos")

    def test_behind_a_message(self) -> None:
        c = opened({"violate": "opcode", "when": {"from": "server", "nth": 1}})
        c.send(SERVER, text("a"))
        assert c.client.stream == text("a") + b"\x83\x05chaos"
