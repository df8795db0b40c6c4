"""Stories of messages that come twice or in another order, whole and readable on compressed streams too."""

import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosproxy.events import Discarded, Struck
from chaosproxy.units import SECOND
from tests.virtual import (
    CLIENT,
    MS,
    SERVER,
    Connection,
    Network,
    frame,
    live_rule,
    payloads,
    profile,
    read_messages,
    text,
)

M = b"mask"
DEFLATE = "permessage-deflate"


def opened(*rules: Any, extension: str = "", **top: Any) -> Connection:
    return Network(profile(rules=list(rules), **top)).open(extension=extension)


def sent(c: Connection, *messages: str) -> list[str]:
    """What the client gets of messages of the server."""
    c.send(SERVER, *map(text, messages))
    c.network.wait(10 * SECOND)
    return [payload.decode() for payload in payloads(c.client.stream)]


class TestDuplicate:
    def test_a_message_comes_so_many_times_more(self) -> None:
        assert sent(opened({"duplicate": 2, "when": {"nth": 2}}), "a", "b", "c") == ["a", "b", "b", "b", "c"]

    def test_a_copy_is_the_very_bytes(self) -> None:
        c = opened({"duplicate": {}})
        parts = [frame(b"he", 1, mask=M, fin=False), frame(b"llo", 0, mask=b"MASK")]
        c.send(CLIENT, *parts)
        assert c.server.stream == b"".join(parts) * 2

    def test_copies_with_a_gap_come_later_and_others_go_between(self) -> None:
        c = opened({"duplicate": {"copies": 2, "gap": "100ms"}, "when": {"nth": 1}})
        c.send(SERVER, text("a"), text("b"))
        c.network.wait(150 * MS)
        c.send(SERVER, text("c"))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(0, b"a"), (0, b"b"), (100, b"a"), (150, b"c"), (200, b"a")]

    def test_a_copy_waits_for_the_end_of_a_message_that_passes(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("duplicate", {"gap": "100ms"}, when={"nth": 1}))
        c.send(SERVER, text("a"))
        network.heal()
        c.send(SERVER, frame(b"be", 1, fin=False))
        network.wait(200 * MS)
        c.send(SERVER, frame(b"gun", 0))
        network.wait(SECOND)
        assert payloads(c.client.stream) == [b"a", b"begun", b"a"]

    def test_copies_under_way_still_come_after_the_heal(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("duplicate", {"gap": "100ms"}))
        c.send(SERVER, text("a"))
        network.heal()
        network.wait(SECOND)
        assert c.client.arrivals == [(0, b"a"), (100, b"a")]

    def test_fin_goes_behind_the_copies(self) -> None:
        c = opened({"duplicate": {"gap": "1h"}})
        c.send(SERVER, text("a"))
        c.fin(SERVER)
        assert payloads(c.client.stream) == [b"a", b"a"]
        assert c.client.fin_at == c.network.now

    def test_each_strike_is_told_once(self) -> None:
        c = opened({"duplicate": 3})
        sent(c, "a", "b")
        assert len(c.network.events(Struck)) == 2


class TestReorder:
    def test_one_message_is_overtaken_by_the_next(self) -> None:
        assert sent(opened({"reorder": 1, "when": {"nth": 2}}), "a", "b", "c", "d") == ["a", "c", "b", "d"]

    def test_with_no_condition_messages_are_swapped_in_pairs(self) -> None:
        assert sent(opened({"reorder": 1}), *"abcdef") == list("badcfe")

    @settings(max_examples=40)
    @given(st.integers(0, 10_000), st.integers(1, 5))
    def test_none_is_overtaken_by_more_than_the_window_and_none_is_lost(self, seed: int, window: int) -> None:
        c = opened({"reorder": window, "when": {"chance": "40%"}}, seed=seed)
        names = [str(number) for number in range(30)]
        got = sent(c, *names)
        assert sorted(got, key=int) == names
        for place, name in enumerate(got):
            overtakers = sum(1 for earlier in got[:place] if int(earlier) > int(name))
            assert overtakers <= window
        assert (got != names) == (len(c.network.events(Struck)) > 0)

    def test_the_same_seed_gives_the_same_order(self) -> None:
        def run(seed: int) -> list[str]:
            names = [str(number) for number in range(30)]
            return sent(opened({"reorder": 4, "when": {"chance": "40%"}}, seed=seed), *names)

        assert run(7) == run(7) != run(8)

    def test_which_messages_it_strikes_does_not_hang_on_the_time_between_them(self) -> None:
        def struck(pause: int) -> list[int | None]:
            c = opened({"reorder": {"window": 3, "within": "1s"}, "when": {"chance": "40%"}}, seed=3)
            for number in range(20):
                c.send(SERVER, text(str(number)))
                c.network.wait(pause)
            return [event.message for event in c.network.events(Struck)]

        assert struck(0) == struck(300 * MS) == struck(5 * SECOND) != []

    def test_where_nothing_follows_it_leaves_after_its_time(self) -> None:
        c = opened({"reorder": {"window": 3, "within": "250ms"}})
        c.send(SERVER, text("a"))
        c.network.wait(SECOND)
        assert c.client.arrivals == [(250, b"a")]

    def test_pings_overtake_nothing(self) -> None:
        c = opened({"reorder": {"window": 1, "within": "1s"}})
        c.send(SERVER, text("a"), frame(b"", 9), frame(b"", 9))
        assert [seen.opcode for seen in c.client.frames] == [9, 9]
        c.send(SERVER, text("b"))
        assert [seen.payload for seen in c.client.frames][2:] == [b"b", b"a"]

    def test_at_heal_what_waits_leaves_at_once(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("reorder", {"window": 5, "within": "1h"}))
        c.send(SERVER, text("a"))
        assert c.client.stream == b""
        network.heal()
        assert c.client.stream == text("a")

    def test_fin_goes_behind_what_waits_and_a_reset_loses_it(self) -> None:
        ended = opened({"reorder": {"within": "1h"}})
        ended.send(SERVER, text("a"))
        ended.fin(SERVER)
        assert payloads(ended.client.stream) == [b"a"]
        assert ended.client.fin_at is not None

        network = Network(profile(rules=[{"reorder": {"within": "1h"}}]))
        reset = network.open()
        reset.send(SERVER, text("a"))
        network.add(live_rule("fin"))
        assert reset.client.stream == b""
        assert network.events(Discarded) == [Discarded(SERVER, len(text("a")))]

    def test_on_a_compressed_stream_every_message_stays_readable(self) -> None:
        deflate = zlib.compressobj(wbits=-15)
        messages = [f"message {number} " * (number + 1) for number in range(8)]
        c = opened({"reorder": 1, "when": {"nth": 3}}, extension=DEFLATE)
        for message in messages:
            data = deflate.compress(message.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
            c.send(SERVER, frame(data[:-4], rsv1=True))
        inflate = zlib.decompressobj(-15)
        got = []
        seen, rest = read_messages(c.client.stream)
        for each in seen:
            payload = inflate.decompress(each.payload + b"\0\0\xff\xff") if each.first & 0x40 else each.payload
            got.append(payload.decode())
        assert rest == b""
        assert got == [*messages[:2], messages[3], messages[2], *messages[4:]]

    def test_everything_ends_even_while_something_waits(self) -> None:
        network = Network(profile(rules=[{"reorder": {"within": "1h"}}]))
        network.open().send(SERVER, text("a"))
        network.end_all()


class TestFragment:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100])
    def test_frames_are_of_the_size_and_the_message_is_whole(self, size: int) -> None:
        c = opened({"fragment": f"{size}B"})
        c.send(CLIENT, text("a message", M))
        frames = c.server.frames
        assert payloads(c.server.stream) == [b"a message"]
        assert [len(seen.payload) for seen in frames[:-1]] == [size] * (len(frames) - 1)
        assert len(frames) == -(-9 // size)
        assert {seen.mask for seen in frames} == {M}

    def test_an_empty_message_stays_one_frame(self) -> None:
        c = opened({"fragment": "1B"})
        c.send(SERVER, text(""))
        assert c.client.stream == text("")

    def test_control_frames_are_never_cut(self) -> None:
        c = opened({"fragment": "1B", "when": {"opcode": ["ping", "text"]}})
        c.send(SERVER, frame(b"ping", 9))
        assert c.client.stream == frame(b"ping", 9)

    def test_on_a_compressed_stream_it_goes_on_uncompressed(self) -> None:
        deflate = zlib.compressobj(wbits=-15)
        c = opened({"fragment": "5B", "when": {"nth": 1}}, extension=DEFLATE)
        for message in (b"first message", b"second"):
            data = deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)
            c.send(SERVER, frame(data[:-4], rsv1=True))
        assert payloads(c.client.stream) == [b"first message", b"second"]
        assert not any(seen.first & 0x40 for seen in c.client.frames)
