"""Streams of bytes: however they are chopped, what leaves is the same, and nothing is lost on the way."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.events import Discarded, Event, Struck
from chaosproxy.faults import BLOCK_BYTES, Dice, Fault, Moment
from chaosproxy.lanes import Lane, Limits
from chaosproxy.link import Link
from chaosproxy.match import Match
from chaosproxy.profile import RULES, BoundRule
from chaosproxy.reading import Reading
from chaosproxy.stream import Stream
from chaosproxy.tally import Tally
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.wire.frames import Side

SIDES = st.sampled_from([Side.CLIENT, Side.SERVER])


class Flip(Fault):
    """Flips some bits of each block."""

    name: ClassVar = "flip"
    family: ClassVar = "damage"
    moments: ClassVar = frozenset({Moment.MESSAGE})
    heals: ClassVar = "what follows is whole"
    acts_on_bytes: ClassVar = True
    garbles: ClassVar = True

    def garble(self, data: bytes, within: int, dice: Dice) -> bytes:
        changed = bytearray(data)
        for _ in range(3):
            at = int(dice.throw() * BLOCK_BYTES) - within
            bit = 1 << int(dice.throw() * 8)
            if 0 <= at < len(data):
                changed[at] ^= bit
        return bytes(changed)


def flip(chance: str | None = None, seed: int = 0) -> Link:
    return Link(BoundRule("flip", Flip(), Match.model_validate({"chance": chance}), is_named=True), seed, (1, "", 1))


def link(fault: str, options: Any = None, when: dict[str, Any] | None = None) -> Link:
    rule = RULES[fault].model_validate({fault: options, "when": when or {}})
    return Link(BoundRule(fault, rule.fault, rule.when, is_named=True), 0, (1, "", 1))


class Run:
    """A stream, and what has left it."""

    def __init__(self, side: Side = Side.CLIENT, held_bytes_max: int = 1024 * 1024) -> None:
        self.events: list[Event] = []
        self.tally = Tally()
        limits = Limits(held_bytes_max, 1024)
        self.stream = Stream(side, limits, Reading(), self.tally, self.events, _no_effect, _no_close)
        self.left = b""

    def take(self, chunks: Sequence[bytes], now: int = 0) -> bytes:
        for chunk in chunks:
            self.stream.receive(chunk, now)
            self.let_go(now)
        return self.left

    def let_go(self, now: int) -> bytes:
        self.stream.release(now)
        self.left += self.stream.holding.take()
        return self.left

    def drain(self) -> bytes:
        """Let time pass until nothing waits for it."""
        while (deadline := self.stream.deadline) is not None:
            self.let_go(deadline)
        return self.left


def _no_effect(link: Link | None, effect: Any, side: Side, message: int) -> None:
    raise AssertionError("a stream has no messages that could have an effect")


def _no_close(side: Side) -> None:
    raise AssertionError("a stream has no close frames")


@st.composite
def chopped(draw: st.DrawFn, size_max: int = 6000) -> list[bytes]:
    """Bytes, in chunks."""
    size = draw(st.integers(1, size_max))
    data = draw(st.binary(min_size=1, max_size=64)) * (size // 16 + 1)
    return chop(draw, data[:size])


def chop(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=12).map(sorted))
    edges = [0, *cuts, len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if begin < end]


class TestLanes:
    @given(chopped(), SIDES)
    def test_with_no_rules_every_chunk_passes_as_it_came(self, chunks: list[bytes], side: Side) -> None:
        run = Run(side)
        assert run.take(chunks) == b"".join(chunks)
        assert run.stream.lane is Lane.PASS
        assert run.stream.splitter.bytes == len(run.left)
        assert run.stream.is_idle and not run.events

    def test_a_rule_takes_it_off_that_lane_and_its_end_brings_it_back(self) -> None:
        run = Run()
        run.stream.set_links([link("latency", "1s")], 0)
        run.take([b"held"])
        run.stream.set_links([], 0)
        assert run.stream.lane is Lane.FLOW
        assert run.drain() == b"held"
        assert run.stream.lane is Lane.PASS

    @given(chopped(), st.integers(0, 7))
    def test_delivered_and_held_are_what_was_received(self, chunks: list[bytes], rules: int) -> None:
        run = Run()
        every = [link("latency", "5ms"), link("bandwidth", "100kB/s"), link("slice", {"size": "700B", "gap": "2ms"})]
        run.stream.set_links([each for bit, each in enumerate(every) if rules >> bit & 1], 0)
        received = 0
        for turn, chunk in enumerate(chunks):
            received += len(chunk)
            run.take([chunk], turn * MILLISECOND)
            assert len(run.left) + run.stream.held == received
        assert run.drain() == b"".join(chunks)
        assert run.stream.is_idle

    @given(chopped(), st.integers(0, 20))
    def test_shut_lets_nothing_more_go_not_even_the_rest_of_a_chunk(self, chunks: list[bytes], at: int) -> None:
        run = Run()
        run.stream.set_links([link("slice", {"size": "100B", "gap": "1ms"})], 0)
        run.take(chunks)
        run.let_go(at * MILLISECOND)
        left = run.left
        held = run.stream.held

        run.stream.shut(at * MILLISECOND)
        run.take([b"more"], SECOND)

        assert run.left == left
        assert [event for event in run.events if isinstance(event, Discarded)] == (
            [Discarded(Side.CLIENT, held)] if held else []
        )


class TestDamage:
    @given(
        st.data(), st.binary(min_size=1, max_size=40), st.integers(0, 1000), st.sampled_from([None, "50%", "5%"]), SIDES
    )
    def test_the_same_bytes_are_hit_however_they_are_chopped(
        self, data: st.DataObject, pattern: bytes, seed: int, chance: str | None, side: Side
    ) -> None:
        sent = pattern * 200
        choppings = [[sent], *(data.draw(st.composite(chop)(sent)) for _ in range(2))]
        results = []
        for chunks in choppings:
            run = Run(side)
            run.stream.set_links([flip(chance, seed)], 0)
            results.append((run.take(chunks), run.tally.strikes, run.events))
        assert results[0] == results[1] == results[2]
        assert len(results[0][0]) == len(sent)

    def test_every_block_is_hit_and_counted_where_there_is_no_chance(self) -> None:
        run = Run()
        run.stream.set_links([flip()], 0)
        run.take([bytes(10 * BLOCK_BYTES)])
        blocks = [run.left[at : at + BLOCK_BYTES] for at in range(0, len(run.left), BLOCK_BYTES)]
        assert all(any(block) for block in blocks)
        assert run.tally.strikes == {"flip": 10}
        assert run.events == [Struck("flip", "flip", Side.CLIENT, None, None)]

    def test_a_larger_chance_hits_the_same_blocks_in_the_same_way_and_more(self) -> None:
        def hit(chance: str) -> dict[int, bytes]:
            run = Run()
            run.stream.set_links([flip(chance, seed=7)], 0)
            left = run.take([bytes(400 * BLOCK_BYTES)])
            blocks = {at: left[at * BLOCK_BYTES : (at + 1) * BLOCK_BYTES] for at in range(400)}
            return {at: block for at, block in blocks.items() if any(block)}

        some, more = hit("5%"), hit("6%")
        assert 5 <= len(some) < len(more) <= 50
        assert some.items() <= more.items()

    def test_what_passed_before_the_rule_counts_for_the_place(self) -> None:
        sent = bytes(5000)
        whole = Run()
        whole.stream.set_links([flip()], 0)
        later = Run()
        later.take([sent[:1500], sent[1500:3000]])
        later.stream.set_links([flip()], 0)

        assert later.take([sent[3000:]])[3000:] == whole.take([sent])[3000:]

    def test_each_connection_and_side_is_hit_in_its_own_way(self) -> None:
        def left(side: Side, number: int) -> bytes:
            run = Run(side)
            run.stream.set_links([Link(BoundRule("flip", Flip(), Match(), is_named=True), 0, (1, "", number))], 0)
            return run.take([bytes(4096)])

        assert len({left(side, number) for side in Side for number in (1, 2, 3)}) == 6

    def test_damage_and_latency_go_together(self) -> None:
        run, timed = Run(), Run()
        run.stream.set_links([flip()], 0)
        timed.stream.set_links([link("latency", "5ms"), flip()], 0)
        assert timed.take([bytes(3000)]) == b""
        assert timed.drain() == run.take([bytes(3000)])

    @given(st.data(), st.sampled_from(["bits", "bytes"]), st.integers(1, 5))
    def test_corrupt_hits_the_same_bytes_however_they_are_chopped(
        self, data: st.DataObject, kind: str, count: int
    ) -> None:
        sent = bytes(range(256)) * 20
        results = set()
        for chunks in [[sent], data.draw(st.composite(chop)(sent))]:
            run = Run()
            run.stream.set_links([link("corrupt", {"kind": kind, "count": count})], 0)
            results.add(run.take(chunks))
        (left,) = results
        changed = sum(was != now for was, now in zip(sent, left, strict=True))
        assert 0 < changed <= 5 * count


class TestBounds:
    def test_what_is_held_is_told_to_be_full(self) -> None:
        run = Run(held_bytes_max=1024)
        run.stream.set_links([link("stall")], 0)
        run.take([bytes(1000)])
        assert not run.stream.holding.is_full
        run.take([bytes(100)])
        assert run.stream.holding.is_full
        assert run.stream.deadline is None
