"""Stories of damage: what arrives, on plain and compressed streams, masked or not, and what stays untouched."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy import library
from chaosproxy.events import Struck, Suppressed

from .virtual import CLIENT, SERVER, Connection, Network, frame, live_rule, payloads, profile, read_frames, text

M = b"mask"
ESTABLISHED = json.dumps(
    {"event": "pusher:connection_established", "data": json.dumps({"socket_id": "1.2", "activity_timeout": 30})}
)
DEFLATE = "permessage-deflate"


def opened(*rules: Any, extension: str = "", **top: Any) -> Connection:
    return Network(profile(rules=list(rules), **top)).open(extension=extension)


class Deflating:
    """A peer that compresses, with context takeover."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def text(self, payload: str, mask: bytes = b"") -> bytes:
        data = self._deflate.compress(payload.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return frame(data[:-4], mask=mask, rsv1=True)


def inflated(stream: bytes) -> list[tuple[bool, bytes]]:
    """Whether each message came compressed, and what it says to a peer that reads the whole stream."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    frames, rest = read_frames(stream)
    assert rest == b""
    found = []
    for seen in frames:
        is_compressed = bool(seen.first & 0x40)
        tail = b"\x00\x00\xff\xff"
        found.append((is_compressed, inflate.decompress(seen.payload + tail) if is_compressed else seen.payload))
    return found


class TestOnTheWire:
    def test_a_changed_message_is_one_frame_and_its_neighbours_are_untouched(self) -> None:
        c = opened({"truncate": "3B", "when": {"nth": 2}})
        odd = frame(b"fi", fin=False) + frame(b"rst", 0)
        c.send(SERVER, odd, frame(b"sec", fin=False), frame(b"ond", 0), text("third"))
        assert c.client.stream == odd + text("sec") + text("third")

    def test_toward_the_server_it_keeps_the_mask_key_of_its_first_frame(self) -> None:
        c = opened({"replace": {"binary": "00 01"}, "when": {"from": "client"}})
        c.send(CLIENT, frame(b"be", mask=M, fin=False), frame(b"fore", 0, mask=b"othr"))
        assert c.server.stream == frame(b"\x00\x01", 2, mask=M)

    def test_a_control_frame_is_damaged_where_it_is_named(self) -> None:
        c = opened({"corrupt": "bytes", "when": {"opcode": "pong"}})
        c.send(CLIENT, frame(b"ping", 9, mask=M), frame(b"pong", 10, mask=M), text("text", M))
        ping, pong, message = c.server.frames
        assert (ping.payload, message.payload) == (b"ping", b"text")
        assert (pong.opcode, len(pong.payload)) == (10, 4) and pong.payload != b"pong"

    def test_rules_act_one_behind_the_other(self) -> None:
        c = opened(
            {"rewrite": {"set": {"/a": "2"}}},
            {"rewrite": {"remove": "/b"}},
            {"truncate": {"by": "1B"}},
        )
        c.send(SERVER, text('{"a": 1, "b": 2}'))
        assert payloads(c.client.stream) == [b'{"a":2']

    def test_what_is_damaged_waits_as_others_do(self) -> None:
        c = opened({"latency": "100ms"}, {"replace": {"text": "new"}, "when": {"nth": 1}})
        c.send(SERVER, text("old"), text("next"))
        c.network.wait(1_000_000_000)
        assert c.client.arrivals == [(100, b"new"), (100, b"next")]

    def test_a_whole_message_of_64_kib_may_shrink_to_nothing_and_one_of_nothing_grow(self) -> None:
        c = opened({"truncate": "0B", "when": {"nth": 1}}, {"replace": {"text": "x" * 70_000}, "when": {"nth": 2}})
        c.send(SERVER, text("x" * 65_536), text(""))
        assert payloads(c.client.stream) == [b"", b"x" * 70_000]


class TestStrikes:
    def test_only_what_is_changed_is_struck(self) -> None:
        c = opened({"truncate": "4B"})
        c.send(SERVER, text("short"), text("tiny"), text("longer"))
        assert payloads(c.client.stream) == [b"shor", b"tiny", b"long"]
        assert [(struck.message, struck.turn) for struck in c.network.events(Struck)] == [(1, 1), (3, 3)]
        assert c.network.world.tally.strikes == {"truncate": 2}

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            ({"corrupt": "bits"}, ""),
            ({"corrupt": "json"}, "no JSON"),
            ({"rewrite": {"set": {"/a/b": "1"}}}, '{ "c" : 1 }'),
            ({"replace": {"text": "the same"}}, "the same"),
            ({"truncate": {"keep": "100%"}}, "all of it"),
        ],
    )
    def test_what_is_not_changed_leaves_as_the_very_bytes_that_came(self, rule: dict[str, Any], message: str) -> None:
        c = opened(rule, extension=DEFLATE)
        sent = Deflating().text(message)
        c.send(SERVER, sent)
        assert c.client.stream == sent
        assert c.network.events(Struck) == []

    def test_another_rule_moves_no_strike_and_no_bit(self) -> None:
        rule = {"id": "one", "corrupt": "bits", "when": {"chance": "50%"}}
        streams = []
        for before in ([], [{"id": "two", "corrupt": "bytes", "when": {"chance": "0%"}}], [{"latency": "0ms"}]):
            c = opened(*before, rule, seed=3)
            c.send(SERVER, *(text(f"message {number}") for number in range(40)))
            streams.append(c.client.stream)
        assert streams[0] == streams[1] == streams[2]
        hurt = sum(payload != b"message %d" % number for number, payload in enumerate(payloads(streams[0])))
        assert 8 <= hurt <= 32

    @given(st.integers(0, 5), st.lists(st.integers(1, 60), max_size=12))
    def test_the_same_seed_gives_the_same_however_the_bytes_are_chopped(self, seed: int, sizes: list[int]) -> None:
        stream = b"".join(frame(b"mess", fin=False) + frame(b"age %d" % number, 0) for number in range(12))
        at = 0
        chunks = []
        for size in sizes:
            chunks.append(stream[at : at + size])
            at += size
        seen = []
        for pieces in ([stream], [*chunks, stream[at:]]):
            c = opened({"corrupt": {"kind": "bytes", "count": 2}, "when": {"chance": "60%"}}, seed=seed)
            c.send(SERVER, *pieces)
            seen.append(payloads(c.client.stream))
        assert seen[0] == seen[1]

    def test_another_seed_gives_other_damage(self) -> None:
        streams = set()
        for seed in range(3):
            c = opened({"corrupt": "bits"}, seed=seed)
            c.send(SERVER, text("x" * 100))
            streams.add(c.client.stream)
        assert len(streams) == 3


class TestLiveAndHealed:
    @pytest.mark.parametrize(
        ("fault", "options", "expected"),
        [
            ("truncate", {"to": "2B"}, b"{}"[:2]),
            ("replace", {"text": "new"}, b"new"),
            ("rewrite", {"set": {"/a": "1"}}, b'{"a":1}'),
            ("corrupt", {"kind": "json"}, None),
        ],
    )
    def test_it_acts_on_live_and_new_connections_and_heals(
        self, fault: str, options: dict[str, Any], expected: bytes | None
    ) -> None:
        network = Network(profile())
        live = network.open()
        live.send(SERVER, text("{}  "))
        network.add(live_rule(fault, options))
        new = network.open()
        for c in (live, new):
            c.send(SERVER, text("{}  "))
        network.heal()
        for c in (live, new):
            c.send(SERVER, text("{}  "))
            *before, struck, after = payloads(c.client.stream)
            assert before == ([b"{}  "] if c is live else [])
            assert struck != b"{}  " and expected in (struck, None)
            assert after == b"{}  "

    def test_a_message_that_had_begun_to_leave_passes_as_it_came(self) -> None:
        network = Network(profile())
        c = network.open()
        c.send(SERVER, text("begun")[:4])
        network.add(live_rule("replace", {"text": "new"}))
        c.send(SERVER, text("begun")[4:], text("next"))
        assert payloads(c.client.stream) == [b"begun", b"new"]


class TestCompressed:
    def test_from_the_first_change_on_a_direction_goes_uncompressed_and_stays_exact(self) -> None:
        c = opened({"rewrite": {"set": {"/n": "0"}}, "when": {"json": {"/n": 2}}}, extension=DEFLATE)
        server, client = Deflating(), Deflating()
        messages = [json.dumps({"n": number, "x": "same " * number}) for number in range(1, 5)]
        sent = [server.text(message) for message in messages]
        c.send(SERVER, *sent)
        back = client.text("hello", M) + client.text("hello, hello", M)
        c.send(CLIENT, back)
        assert inflated(c.client.stream) == [
            (True, messages[0].encode()),
            (False, json.dumps({"n": 0, "x": "same same "}, separators=(",", ":")).encode()),
            (False, messages[2].encode()),
            (False, messages[3].encode()),
        ]
        assert c.client.stream.startswith(sent[0])
        assert c.server.stream == back

    def test_what_is_damaged_is_the_text_and_not_its_compressed_form(self) -> None:
        c = opened({"truncate": {"keep": "50%"}}, extension=DEFLATE)
        c.send(SERVER, Deflating().text("a" * 1000))
        assert inflated(c.client.stream) == [(False, b"a" * 500)]

    @pytest.mark.parametrize("fault", [("corrupt", {}), ("truncate", {"to": "0B"}), ("replace", {"text": "x"})])
    def test_a_stream_that_was_not_followed_is_left_alone_and_that_is_said(self, fault: tuple[str, Any]) -> None:
        network = Network(profile())
        c = network.open(extension=DEFLATE)
        server = Deflating()
        before, after = server.text("before"), server.text("before and after")
        c.send(SERVER, before)
        network.add(live_rule(*fault))
        c.send(SERVER, after)
        assert c.client.stream == before + after
        assert [event.fault for event in network.events(Suppressed)] == [fault[0]]
        assert network.events(Struck) == []


class TestPusher:
    def test_what_the_server_announces_can_be_rewritten(self) -> None:
        rule = {
            "rewrite": {"set": {"/data/activity_timeout": "5"}},
            "when": {"from": "server", "event": "pusher:connection_established"},
        }
        c = opened(rule, protocol="pusher")
        c.send(SERVER, text(ESTABLISHED), text('{"event": "other", "data": "{\\"activity_timeout\\": 30}"}'))
        first, second = map(json.loads, payloads(c.client.stream))
        assert json.loads(first["data"]) == {"socket_id": "1.2", "activity_timeout": 5}
        assert json.loads(second["data"]) == {"activity_timeout": 30}

    def test_a_shipped_profile_does_so(self) -> None:
        c = Network(library.load("short-heartbeat")).open()
        c.send(SERVER, text(ESTABLISHED))
        (message,) = payloads(c.client.stream)
        assert json.loads(json.loads(message)["data"])["activity_timeout"] == 2
