"""Laws, held against random traffic: what no chopping, no timing and no rule elsewhere may change."""

import json
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosproxy.digest import RunDigest, run_digest
from chaosproxy.events import Discarded, Struck
from chaosproxy.journal import Journal
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import SIDES, Side

from .virtual import (
    CLIENT,
    MS,
    SERVER,
    Connection,
    Network,
    Seen,
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
CUTS = st.lists(st.integers(0, 400), max_size=12)
BYTES = st.binary(max_size=60)
HELD = ["flush", "discard"]


def chop(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:stop] for start, stop in pairwise(places)]


def masked(side: Side) -> bytes:
    return M if side is CLIENT else b""


class TestIdle:
    @given(
        sent=st.tuples(BYTES, BYTES),
        cuts=st.tuples(CUTS, CUTS),
        order=st.lists(st.integers(0, 1)),
        ends=st.integers(0, 3),
    )
    @pytest.mark.parametrize("top", [{}, {"protocol": "pusher"}], ids=["scanned", "read"])
    def test_any_bytes_chopped_anyhow_arrive_identical_and_so_do_half_closes(
        self,
        top: dict[str, Any],
        sent: tuple[bytes, bytes],
        cuts: tuple[list[int], list[int]],
        order: list[int],
        ends: int,
    ) -> None:
        network = Network(profile(**top))
        c = network.connect()
        heads = (request(), switching())
        chunks = tuple(chop(heads[side] + sent[side], cuts[side]) for side in SIDES)
        for turn in [*order, *[0] * 20, *[1] * 20]:
            if chunks[turn] and (turn == CLIENT or c.server.data):
                c.send(SIDES[turn], chunks[turn].pop(0))
        for side in SIDES:
            if ends & 1 << side:
                c.fin(side)
        for side in SIDES:
            receiver = c.peer(side.other)
            assert receiver.data == heads[side] + sent[side]
            assert (receiver.fin_at is not None) is bool(ends & 1 << side)
        assert c.is_over is (ends == 3)


# --- Rules that come and go at every byte --------------------------------------------------------------------------

# A fragmented message with a ping between its frames, a long length, an empty message, one more.
TALK = [(b"ab", 1, False), (b"p", 9, True), (b"cd", 0, True), (b"x" * 130, 2, True), (b"", 1, True), (b"end", 1, True)]


def talk(side: Side, suffix: bytes = b"") -> bytes:
    return b"".join(frame(data, op, mask=masked(side), fin=fin) for data, op, fin in TALK) + suffix


def said(messages: list[Seen]) -> list[bytes]:
    return [message.payload for message in messages if not message.opcode & 8]


WHOLE = [b"abcd", b"x" * 130, b"", b"end", b"after"]
TRANSIENT: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "latency": ("latency", {"delay": "50ms", "jitter": "50ms"}, {}),
    "latency judged": ("latency", "50ms", {"size": "> 0B"}),
    "freeze": ("half_open", {"mode": "freeze", "heal": "flush"}, {}),
    "flush": ("half_open", {"heal": "flush"}, {}),
    "discard": ("half_open", {"heal": "discard"}, {}),
    "drop": ("drop", {}, {"every": 2}),
    "drop pings": ("drop", {}, {"opcode": "ping"}),
}
LOSSLESS = {"latency", "latency judged", "freeze", "flush", "drop pings"}
BYTE_EXACT = {"latency", "freeze", "flush"}


def transient(name: str, side: Side, begin: int, end: int, pause: int, top: dict[str, Any]) -> Connection:
    """A rule that acts between two byte offsets of what a side sends behind its head, which comes glued to it."""
    network = Network(profile(**top))
    c = network.connect()
    stream = talk(side)
    head = (request(), switching())[side]
    if side is SERVER:
        c.send(CLIENT, request())
    c.send(side, head + stream[:begin])
    if side is CLIENT:
        c.send(SERVER, switching())
    fault, options, when = TRANSIENT[name]
    network.add(live_rule(fault, options, when=when))
    c.send(side, stream[begin:end])
    network.wait(pause)
    network.heal()
    c.send(side, stream[end:])
    network.wait(SECOND)
    c.send(side, text("after", masked(side)))
    return c


class TestEveryOffset:
    @pytest.mark.parametrize("is_read", [False, True], ids=["scanned", "read"])
    @pytest.mark.parametrize("name", TRANSIENT)
    def test_a_rule_that_came_and_went_leaves_a_stream_that_parses(self, name: str, is_read: bool) -> None:
        top = {"protocol": "pusher"} if is_read else {}
        side = SERVER
        size = len(talk(side))
        # Inside the long payload all offsets are alike.
        offsets = [at for at in range(size + 1) if at < 22 or at > size - 16]
        for begin in offsets:
            for end in offsets:
                if end < begin:
                    continue
                c = transient(name, side, begin, end, 30 * MS, top)
                stream = c.client.stream
                messages, rest = read_messages(stream)
                assert rest == b"", (begin, end)
                if name in LOSSLESS:
                    assert said(messages) == WHOLE, (begin, end)
                if name in BYTE_EXACT and not is_read:
                    assert stream == talk(side, text("after")), (begin, end)
                assert said(messages)[-1] == b"after" or name == "drop"

    @given(
        names=st.lists(st.sampled_from(sorted(TRANSIENT)), min_size=1, max_size=3),
        side=st.sampled_from(SIDES),
        places=st.lists(st.integers(0, 170), min_size=6, max_size=6),
        waits=st.lists(st.sampled_from([0, 30 * MS, SECOND]), min_size=6, max_size=6),
        blocks=st.lists(st.booleans(), min_size=6, max_size=6),
        is_read=st.booleans(),
        small=st.booleans(),
    )
    @settings(max_examples=400)
    def test_rules_that_overlap_leave_a_stream_that_parses(
        self,
        names: list[str],
        side: Side,
        places: list[int],
        waits: list[int],
        blocks: list[bool],
        is_read: bool,
        small: bool,
    ) -> None:
        top: dict[str, Any] = {"protocol": "pusher"} if is_read else {}
        if small:
            top |= {"held_bytes_max": "1KiB"}
        network = Network(profile(**top))
        c = network.open()
        stream = talk(side)
        starts, stops = sorted(places[:3]), sorted(places[3:])
        changes = sorted([(at, 1, n) for n, at in enumerate(starts)] + [(at, 0, n) for n, at in enumerate(stops)])
        at = 0
        for step, (place, is_start, number) in enumerate(changes):
            c.send(side, stream[at:place])
            at = max(at, min(place, len(stream)))
            if number < len(names):
                fault, options, when = TRANSIENT[names[number]]
                if is_start:
                    network.add(live_rule(fault, options, id=f"r{number}", when=when))
                elif any(rule.id == f"r{number}" for rule in network.world.live_rules):
                    network.heal(f"r{number}")
            c.blocked(side.other, blocks[step])
            network.wait(waits[step])
        network.heal()
        c.blocked(side.other, False)
        c.send(side, stream[at:])
        network.wait(5 * SECOND)
        c.send(side, text("after", masked(side)))
        messages, rest = read_messages(c.peer(side.other).stream)
        assert rest == b""
        assert said(messages)[-1:] == [b"after"]
        if set(names) <= LOSSLESS:
            assert said(messages) == WHOLE
        for one in SIDES:
            c.fin(one)
        assert c.is_over and network.world.sessions == {}

    @pytest.mark.parametrize("ending", ["close", "fin", "reset", "drain"])
    @pytest.mark.parametrize("rule", [None, "latency", "flush", "discard"])
    def test_an_end_at_every_offset_never_breaks_a_frame_but_by_a_reset_or_fin(
        self, ending: str, rule: str | None
    ) -> None:
        stream = talk(SERVER)
        for begin in [*range(24), len(stream) - 3, len(stream)]:
            network = Network(profile())
            c = network.open()
            c.send(SERVER, stream[:begin])
            if rule:
                fault, options, when = TRANSIENT[rule]
                network.add(live_rule(fault, options, when=when), lasts=SECOND)
            c.send(SERVER, stream[begin : begin + 3])
            network.wait(2 * SECOND)
            if ending == "drain":
                network.drain()
            else:
                network.add(live_rule(ending, {"code": 4200} if ending == "close" else {}, id="end"))
            c.send(SERVER, stream[begin + 3 :])
            if ending in ("close", "drain"):
                messages, rest = read_messages(c.client.stream)
                assert messages[-1].opcode == 8
                assert not rest or messages[-1].opcode == 8
            network.wait(20 * SECOND)
            assert c.is_over and network.world.sessions == {}


# --- Chance --------------------------------------------------------------------------------------------------------


def delivered(rules: list[dict[str, Any]], chunks: list[bytes], *, seed: int = 3) -> tuple[list[bytes], list[Struck]]:
    network = Network(profile(rules=rules, seed=seed))
    c = network.open()
    c.send(SERVER, *chunks)
    network.wait(10 * SECOND)
    messages, rest = read_messages(c.client.stream)
    assert rest == b""
    return [message.payload for message in messages if message.opcode == 1], network.events(Struck)


NUMBERS = [text(f"{number}") for number in range(60)]
LOSSY = {"id": "lossy", "drop": {}, "when": {"chance": "30%"}}


class TestChance:
    @given(cuts=CUTS, pings=st.lists(st.integers(0, 59), max_size=10))
    def test_strikes_depend_on_messages_and_neither_on_chopping_nor_on_pings(
        self, cuts: list[int], pings: list[int]
    ) -> None:
        expected, struck = delivered([LOSSY], [b"".join(NUMBERS)])
        assert 0 < len(expected) < 60
        assert delivered([LOSSY], chop(b"".join(NUMBERS), cuts)) == (expected, struck)
        with_pings = b"".join((frame(b"", 9) if at in pings else b"") + data for at, data in enumerate(NUMBERS))
        assert delivered([LOSSY], chop(with_pings, cuts)) == (expected, struck)

    @given(
        other=st.sampled_from(
            [
                {"latency": "10ms"},
                {"drop": {}, "when": {"opcode": "ping", "chance": "50%"}},
                {"close": "4200", "when": {"nth": 1000}},
                {"half_open": {"hits": "live"}},
                {"latency": {"delay": "10ms", "jitter": "10ms"}, "when": {"chance": "50%"}},
                {"drop": {}, "when": {"from": "client"}},
            ]
        ),
        is_first=st.booleans(),
    )
    def test_a_rule_elsewhere_moves_no_strike(self, other: dict[str, Any], is_first: bool) -> None:
        expected, struck = delivered([LOSSY], NUMBERS)
        seen, events = delivered([other, LOSSY] if is_first else [LOSSY, other], NUMBERS)
        assert seen == expected
        assert [event for event in events if event.rule == "lossy"] == struck

    @given(seed=st.integers(0, 1000), low=st.integers(0, 100), more=st.integers(0, 50))
    def test_a_higher_chance_strikes_a_superset(self, seed: int, low: int, more: int) -> None:
        kept = [
            set(delivered([{"drop": {}, "when": {"chance": f"{share}%"}}], NUMBERS, seed=seed)[0])
            for share in (low, min(100, low + more))
        ]
        assert kept[1] <= kept[0]

    @given(cuts=CUTS, when=st.sampled_from([{}, {"size": "> 0B"}, {"nth": 3}, {"chance": "50%"}]))
    def test_messages_are_due_at_the_same_time_however_they_were_chopped(
        self, cuts: list[int], when: dict[str, Any]
    ) -> None:
        def arrivals(chunks: list[bytes]) -> list[tuple[int, bytes]]:
            network = Network(profile(rules=[{"latency": {"delay": "300ms", "jitter": "200ms"}, "when": when}]))
            c = network.open()
            c.send(SERVER, *chunks)
            network.wait(SECOND)
            return c.client.arrivals

        assert arrivals(chop(b"".join(NUMBERS), cuts)) == arrivals(NUMBERS)

    @given(size=st.integers(1000, 1060), cuts=st.lists(st.integers(0, 2000), max_size=8), is_read=st.booleans())
    def test_what_is_too_large_to_be_judged_passes_however_it_was_chopped(
        self, size: int, cuts: list[int], is_read: bool
    ) -> None:
        stream = frame(b"x" * (size // 2), fin=False) + frame(b"ping", 9) + frame(b"x" * (size - size // 2), 0)
        outcomes = []
        for chunks in ([stream], chop(stream, cuts)):
            top = {"protocol": "pusher"} if is_read else {}
            network = Network(profile(rules=[{"drop": {}}], judged_bytes_max="1KiB", **top))
            c = network.open()
            c.send(SERVER, *chunks, text("small"))
            outcomes.append(payloads(c.client.stream))
        assert outcomes[0] == outcomes[1] == ([] if size + 4 + 4 <= 1024 else [b"x" * size])


class TestOrder:
    @given(
        sends=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=4)), min_size=1, max_size=20),
        when=st.sampled_from([{}, {"size": "> 0B"}, {"chance": "50%"}, {"every": 2}]),
        seed=st.integers(0, 50),
    )
    def test_jitter_never_reorders_and_every_message_is_due_within_it_or_behind_another(
        self, sends: list[tuple[int, bytes]], when: dict[str, Any], seed: int
    ) -> None:
        rule = {"latency": {"delay": "100ms", "jitter": "80ms"}, "when": when}
        network = Network(profile(rules=[rule], seed=seed))
        c = network.open()
        sent_at = []
        for gap, payload in sends:
            network.wait(gap * MS)
            sent_at.append(network.at)
            c.send(SERVER, text(payload))
        network.wait(SECOND)
        arrivals = c.client.arrivals
        assert [payload for _, payload in arrivals] == [payload for _, payload in sends]
        last = 0
        for began, (at, _) in zip(sent_at, arrivals, strict=True):
            assert at >= last and began <= at <= max(began + 180, last)
            last = at


class TestAccounts:
    @given(
        name=st.sampled_from(["latency", "latency judged", "freeze", "flush", "discard"]),
        begin=st.integers(0, 170),
        end=st.integers(0, 170),
        ending=st.sampled_from([None, "reset", "fin", "close"]),
        heal=st.sampled_from(["flush", "reset"]),
        is_read=st.booleans(),
    )
    @settings(max_examples=300)
    def test_delivered_and_discarded_and_held_is_what_was_received(
        self, name: str, begin: int, end: int, ending: str | None, heal: str, is_read: bool
    ) -> None:
        network = Network(profile(**({"protocol": "pusher"} if is_read else {})))
        c = network.open()
        stream = talk(SERVER)
        c.send(SERVER, stream[:begin])
        fault, options, when = TRANSIENT[name]
        if fault == "half_open" and heal == "reset":
            options = {**options, "heal": "reset"}
        network.add(live_rule(fault, options, when=when))
        c.send(SERVER, stream[begin : begin + end])
        network.heal() if fault == "half_open" else None
        if ending:
            network.add(live_rule(ending, {"code": 4200} if ending == "close" else {}, id="end"))
        direction = c.session.directions[SERVER]
        received = direction.splitter.bytes
        discarded = sum(event.size for event in network.events(Discarded) if event.side is SERVER)
        here = direction.held + direction._assembler.size + len(direction.splitter.head[direction.splitter.gone :])
        closes = len(frame(b"\x10\x68", 8)) if c.client.stream.endswith(frame(b"\x10\x68", 8)) else 0
        assert len(c.client.stream) - closes + discarded + here == received


# --- Compression ---------------------------------------------------------------------------------------------------

WORDS = st.lists(st.sampled_from([b"alpha", b"alpha beta", b"gamma" * 9, b"", b"delta alpha"]), min_size=1, max_size=14)
TAIL = b"\x00\x00\xff\xff"


class TestDeflate:
    @staticmethod
    def deflated(words: list[bytes], side: Side, plain: set[int], is_split: bool, *, takeover: bool) -> list[bytes]:
        compressor = zlib.compressobj(wbits=-15)
        frames = []
        for number, word in enumerate(words):
            if number in plain:
                frames.append(frame(word, mask=masked(side)))
                continue
            if not takeover:
                compressor = zlib.compressobj(wbits=-15)
            data = (compressor.compress(word) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
            half = len(data) // 2
            if is_split:
                frames.append(
                    frame(data[:half], mask=masked(side), fin=False, rsv1=True)
                    + frame(data[half:], 0, mask=masked(side))
                )
            else:
                frames.append(frame(data, mask=masked(side), rsv1=True))
        return frames

    @staticmethod
    def inflated(stream: bytes, *, takeover: bool) -> list[bytes]:
        inflater = zlib.decompressobj(-15)
        words = []
        messages, rest = read_messages(stream)
        assert rest == b""
        for message in messages:
            payload = message.payload
            if message.first & 0x40:
                if not takeover:
                    inflater = zlib.decompressobj(-15)
                payload = inflater.decompress(payload + TAIL)
            words.append(payload)
        return words

    @given(
        words=WORDS,
        side=st.sampled_from(SIDES),
        plain=st.sets(st.integers(0, 13), max_size=4),
        is_split=st.booleans(),
        takeover=st.booleans(),
        cuts=CUTS,
        share=st.sampled_from(["0%", "20%", "60%"]),
    )
    @settings(max_examples=300)
    def test_every_message_that_a_drop_leaves_decodes_exactly(
        self,
        words: list[bytes],
        side: Side,
        plain: set[int],
        is_split: bool,
        takeover: bool,
        cuts: list[int],
        share: str,
    ) -> None:
        extension = "permessage-deflate"
        if not takeover:
            extension += "; server_no_context_takeover; client_no_context_takeover"
        network = Network(profile(rules=[{"drop": {}, "when": {"chance": share}}], seed=1))
        c = network.open(extension=extension)
        stream = b"".join(self.deflated(words, side, plain, is_split, takeover=takeover))
        c.send(side, *chop(stream, cuts))
        struck = {event.message for event in network.events(Struck)}
        expected = [word for number, word in enumerate(words, 1) if number not in struck]
        assert self.inflated(c.peer(side.other).stream, takeover=takeover) == expected
        if not struck:
            assert c.peer(side.other).stream == stream

    @given(words=WORDS, begin=st.integers(0, 300), end=st.integers(0, 300), is_split=st.booleans())
    @settings(max_examples=300)
    def test_every_message_that_a_discard_leaves_decodes_exactly(
        self, words: list[bytes], begin: int, end: int, is_split: bool
    ) -> None:
        """A message may be lost only whole, and what follows must not hang on it."""
        network = Network(
            profile(
                {"name": "a", "until": "step"},
                {"name": "b", "until": "step", "rules": [{"half_open": {"heal": "discard"}}]},
                {"name": "c"},
            )
        )
        c = network.open(extension="permessage-deflate")
        stream = b"".join(self.deflated(words, SERVER, set(), is_split, takeover=True))
        begin, end = sorted((begin, end))
        c.send(SERVER, stream[:begin])
        network.step()
        c.send(SERVER, stream[begin:end])
        network.step()
        c.send(SERVER, stream[end:])
        seen = self.inflated(c.client.stream, takeover=True)
        at = 0
        for word in seen:  # a subsequence of what was sent
            at = words.index(word, at) + 1

    def test_a_compressed_stream_goes_plain_from_the_first_touched_message_and_keeps_its_mask(self) -> None:
        network = Network(profile(rules=[{"drop": {}, "when": {"nth": 2}}]))
        c = network.open(extension="permessage-deflate")
        words = [b"alpha", b"alpha", b"alpha beta", b"alpha beta"]
        frames = self.deflated(words, CLIENT, set(), True, takeover=True)
        c.send(CLIENT, *frames)
        assert c.server.stream == frames[0] + frame(words[2], mask=M) + frame(words[3], mask=M)

    def test_the_other_direction_stays_as_it_is(self) -> None:
        network = Network(profile(rules=[{"drop": {}, "when": {"from": "client"}}]))
        c = network.open(extension="permessage-deflate")
        frames = self.deflated([b"alpha", b"alpha"], SERVER, set(), False, takeover=True)
        c.send(CLIENT, *self.deflated([b"x"], CLIENT, set(), False, takeover=True))
        c.send(SERVER, *frames)
        assert c.client.stream == b"".join(frames)


class TestDigest:
    @given(
        traffic=st.lists(st.tuples(st.sampled_from(SIDES), st.binary(max_size=30)), max_size=25),
        cuts=CUTS,
        gaps=st.lists(st.integers(0, 40), min_size=1, max_size=5),
        pings=st.sets(st.integers(0, 25)),
        seed=st.integers(0, 3),
    )
    def test_the_same_seed_and_traffic_give_the_same_journal_digest_whatever_the_timing(
        self,
        traffic: list[tuple[Side, bytes]],
        cuts: list[int],
        gaps: list[int],
        pings: set[int],
        seed: int,
    ) -> None:
        def digest(is_disturbed: bool) -> RunDigest:
            rules = [
                {"latency": {"delay": "20ms", "jitter": "15ms"}, "when": {"chance": "50%"}},
                {"drop": {}, "when": {"from": "client", "chance": "40%"}},
                {"close": 4200, "when": {"from": "server", "nth": 9}},
            ]
            played = profile({"name": "a", "until": {"closed": 1}, "rules": rules}, {"name": "b"}, seed=seed)
            network = Network(played)
            for _ in range(2):
                c = network.open()
                for number, (side, payload) in enumerate(traffic):
                    message = text(payload.hex(), masked(side))
                    if is_disturbed:
                        network.wait(gaps[number % len(gaps)] * MS)
                        if number in pings:
                            c.send(side, frame(b"", 9, mask=masked(side)))
                        c.send(side, *chop(message, cuts))
                    else:
                        c.send(side, message)
                network.wait(SECOND)
                c.fin(CLIENT)
                c.fin(SERVER)
                network.wait(10 * SECOND)
            journal = Journal(played, seed)
            for told in network.told:
                journal.tell(told)
            return run_digest(json.loads(line.text) for line in journal.after(-1, 10_000))

        assert digest(is_disturbed=True) == digest(is_disturbed=False)
