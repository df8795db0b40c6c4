import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.wire.frames import Splitter, build_frame
from chaosproxy.wire.messages import FRAGMENTS_MAX, OPCODE_NAMES, Assembler, Message

from .streams import chop, cuts, encode, masks, streams

MASK = b"\x01\x02\x03\x04"


def assembled(chunks: list[bytes]) -> tuple[list[Message], Assembler, Splitter]:
    splitter, assembler = Splitter(), Assembler()
    pieces = [piece for chunk in chunks for piece in splitter.split(chunk)]
    messages = [message for piece in pieces if (message := assembler.feed(piece))]
    return messages, assembler, splitter


texts = st.lists(st.binary(max_size=200), min_size=1, max_size=5)
pings = st.lists(st.binary(max_size=5), max_size=3)


class TestAssembling:
    @given(streams, cuts)
    def test_nothing_is_lost_however_the_stream_is_chopped(self, stream: bytes, sizes: list[int]) -> None:
        messages, assembler, splitter = assembled(chop(stream, sizes))
        whole, at_once, _ = assembled([stream])
        assert [message.raw for message in messages] == [message.raw for message in whole]
        assert assembler.peek() == at_once.peek()
        assert assembler.size == at_once.size
        assert bool(assembler.size) == bool(assembler.peek())
        total = sum(len(message.raw) for message in messages) + len(assembler.peek()) + len(splitter.head)
        assert total == len(stream)

    @given(texts, pings, masks, cuts)
    def test_control_frames_between_fragments_are_messages_of_their_own(
        self, parts: list[bytes], pings: list[bytes], mask: bytes | None, sizes: list[int]
    ) -> None:
        key = mask or b""
        fragments = [
            build_frame(0 if index else 1, part, key, fin=index == len(parts) - 1) for index, part in enumerate(parts)
        ]
        between = b"".join(build_frame(9, ping, key) for ping in pings)
        messages, assembler, _ = assembled(chop(between.join(fragments), sizes))
        *controls, text = messages
        assert [message.payload for message in controls] == pings * (len(parts) - 1)
        assert all(message.is_control and message.opcode == 9 for message in controls)
        assert (text.opcode, text.payload, text.mask) == (1, b"".join(parts), key)
        assert text.raw == b"".join(fragments)
        assert not text.is_control
        assert assembler.size == 0

    @given(streams, cuts)
    def test_what_is_incomplete_is_given_up_once(self, stream: bytes, sizes: list[int]) -> None:
        _, assembler, _ = assembled(chop(stream, sizes))
        seen = assembler.peek()
        assert assembler.take() == seen
        assert (assembler.take(), assembler.size) == (b"", 0)

    def test_what_is_incomplete_keeps_the_stream_well_formed(self) -> None:
        _, assembler, _ = assembled([b"\x01\x01a\x00\x02b"])
        assert assembler.peek() == b"\x01\x01a\x00\x02b"
        _, assembler, _ = assembled([b"\x01\x01a\x89\x02b"])
        assert assembler.peek() == b"\x01\x01a\x89\x02b"

    def test_a_message_goes_on_behind_a_control_frame_that_came_in_parts(self) -> None:
        messages, _, _ = assembled([b"\x01\x01a\x89\x02b", b"c\x80\x01", b"d"])
        assert [message.payload for message in messages] == [b"bc", b"ad"]


class TestLimits:
    def test_too_many_fragments_are_over_the_limit_however_small(self) -> None:
        fragments = b"\x01\x00" + b"\x00\x00" * (FRAGMENTS_MAX - 1)
        _, assembler, _ = assembled([fragments])
        assert not assembler.is_message_over(10**9)
        messages, _, _ = assembled([fragments + b"\x80\x00"])
        assert messages[0].is_over(10**9)
        _, assembler, _ = assembled([fragments + b"\x00\x00"])
        assert assembler.is_message_over(10**9)

    def test_the_memory_of_an_unfinished_message_is_no_more_than_its_size(self) -> None:
        splitter, assembler = Splitter(), Assembler()
        fragments = [encode(0x00, bytes(3), MASK) for _ in range(10_000)]
        tracemalloc.start()
        for fragment in fragments:
            for piece in splitter.split(fragment):
                assembler.feed(piece)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < assembler.size + 100 * len(fragments)

    def test_the_memory_of_a_dripping_frame_is_no_more_than_its_size(self) -> None:
        splitter, assembler = Splitter(), Assembler()
        tracemalloc.start()
        for chunk in [encode(0x82, b"", length_bytes=8, length=1 << 40), *(bytes((n % 256, 1)) for n in range(20_000))]:
            for piece in splitter.split(chunk):
                assembler.feed(piece)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < assembler.size * 1.5


class TestMessages:
    def test_compression_is_told_by_the_first_frame_alone(self) -> None:
        messages, _, _ = assembled([b"\xc1\x00\x41\x00\x80\x00\x01\x00\xc0\x00"])
        assert [message.is_compressed for message in messages] == [True, True, False]

    def test_each_fragment_has_its_own_mask(self) -> None:
        message = Message([build_frame(2, b"ab", MASK, fin=False), build_frame(0, b"cd", b"wxyz"), b"\x80\x01e"])
        assert message.payload == b"abcde"
        assert message.mask == MASK

    def test_every_opcode_has_a_name(self) -> None:
        assert OPCODE_NAMES == {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
