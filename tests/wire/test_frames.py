import tracemalloc
from enum import Enum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets import frames as judge
from websockets.streams import StreamReader

from chaosproxy.wire.frames import (
    Opcode,
    Piece,
    Side,
    Splitter,
    build_close,
    build_frame,
    frame_end,
    parse_close,
    parse_frame,
)

from .streams import chop, cuts, encode, firsts, masks, runs, streams

MASK = b"\x01\x02\x03\x04"


class Reference:
    """The frames of a stream, found byte by byte with nothing clever."""

    def __init__(self, stream: bytes) -> None:
        self.frames: list[tuple[bytes, int]] = []  # the bytes of each that came, and how many it lacks
        self.counts = [0] * 16
        self.head = b""
        self.is_open = False
        while stream:
            if (total := _declared_size(stream)) is None:
                self.head = stream
                return
            self.frames.append((stream[:total], max(0, total - len(stream))))
            self.counts[stream[0] % 16] += 1
            if stream[0] % 16 < 8:
                self.is_open = stream[0] < 128
            stream = stream[total:]

    @property
    def need(self) -> int:
        return self.frames[-1][1] if self.frames and not self.head else 0

    @property
    def close(self) -> tuple[bytes, bool] | None:
        """The first close frame, and whether all of it has come."""
        return next(((frame, lack == 0) for frame, lack in self.frames if frame[0] % 16 == 8), None)


def _declared_size(stream: bytes) -> int | None:
    if len(stream) < 2:
        return None
    code = stream[1] % 128
    length_bytes = {126: 2, 127: 8}.get(code, 0)
    if len(stream) < 2 + length_bytes:
        return None
    length = int.from_bytes(stream[2 : 2 + length_bytes], "big") if length_bytes else code
    return 2 + length_bytes + (4 if stream[1] >= 128 else 0) + length


def check_state(splitter: Splitter, stream: bytes) -> None:
    reference = Reference(stream)
    assert splitter.bytes == len(stream)
    assert splitter.frames == reference.counts
    assert splitter.need == reference.need
    assert splitter.head == reference.head
    assert splitter.open == reference.is_open
    assert splitter.inside_frame == bool(reference.need or reference.head)
    if reference.need:
        assert splitter.first == reference.frames[-1][0][0]
    assert 0 <= splitter.gone <= len(splitter.head)
    close, is_whole = reference.close or (b"", False)
    assert splitter.closing == close[: len(splitter.closing)]
    assert bool(splitter.closing) == bool(close)
    assert splitter.has_closed == is_whole


def scanned(chunks: list[bytes]) -> Splitter:
    splitter = Splitter()
    for chunk in chunks:
        splitter.scan(chunk)
    return splitter


class TestScanning:
    @given(streams, cuts)
    def test_any_chopping_leaves_the_state_of_the_naive_loop(self, stream: bytes, sizes: list[int]) -> None:
        check_state(scanned([stream]), stream)
        check_state(scanned(chop(stream, sizes)), stream)

    @given(runs, st.integers(0, 40))
    def test_a_run_of_equal_frames_is_counted_as_by_the_naive_loop(self, stream: bytes, start: int) -> None:
        check_state(scanned([stream]), stream)
        check_state(scanned(chop(stream, [start])), stream)

    @pytest.mark.parametrize("length_bytes", [0, 2, 8])
    def test_a_run_ends_at_the_first_different_head(self, length_bytes: int) -> None:
        equal = encode(0x81, b"x" * 20, MASK, length_bytes=length_bytes) * 30
        for other in (b"\x89\x00", b"\x81\x00", encode(0x81, b"y" * 21, MASK, length_bytes=length_bytes), b"\x01"):
            check_state(scanned([equal + other + equal]), equal + other + equal)

    def test_frames_of_equal_size_with_different_length_bytes_are_no_run(self) -> None:
        stream = encode(0x81, b"xx", length_bytes=2) * 20 + encode(0x81, b"y" * 0x0102, length_bytes=2)
        check_state(scanned([stream]), stream)

    def test_an_endless_message_is_open_until_its_last_fragment(self) -> None:
        splitter = scanned([b"\x01\x01a", b"\x89\x00", b"\x00\x01b"])
        assert splitter.inside_message and not splitter.inside_frame
        splitter.scan(b"\x80\x00")
        assert not splitter.inside_message

    def test_a_control_frame_in_progress_is_told_from_a_message(self) -> None:
        for part in (b"\x89", b"\x89\x05ab"):
            assert scanned([part]).inside_control
            assert not scanned([part]).inside_message
        assert not scanned([b"\x81"]).inside_control
        assert scanned([b"\x81"]).inside_message

    def test_nothing_is_allocated_for_a_declared_length(self) -> None:
        head = encode(0x82, b"", MASK, length_bytes=8, length=(1 << 64) - 1)
        chunk = bytes(65536)
        tracemalloc.start()
        splitter = scanned([head] + [chunk] * 1000)
        splitter.split(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert splitter.need == (1 << 64) - 1 - 1001 * 65536
        assert peak < 2 * 65536


class Way(Enum):
    SCAN = 0
    READ = 1  # split a chunk that is forwarded whole
    SPLIT = 2


class TestSplitting:
    @given(streams, cuts)
    def test_any_chopping_leaves_the_state_of_the_naive_loop(self, stream: bytes, sizes: list[int]) -> None:
        splitter = Splitter()
        for chunk in chop(stream, sizes):
            splitter.split(chunk)
        check_state(splitter, stream)

    @given(streams, cuts)
    def test_the_pieces_are_the_stream_but_for_the_withheld_head(self, stream: bytes, sizes: list[int]) -> None:
        splitter = Splitter()
        pieces = [piece for chunk in chop(stream, sizes) for piece in splitter.split(chunk)]
        assert b"".join(piece.data for piece in pieces) + splitter.head == stream
        assert all(piece.gone == 0 for piece in pieces)
        assert splitter.release_head() == Reference(stream).head

    @given(streams, cuts)
    def test_pieces_end_exactly_where_frames_end(self, stream: bytes, sizes: list[int]) -> None:
        splitter = Splitter()
        found: list[bytes] = []
        for piece in (piece for chunk in chop(stream, sizes) for piece in splitter.split(chunk)):
            if piece.starts:
                found.append(b"")
            found[-1] += piece.data
            assert piece.first == found[-1][0]
            assert piece.ends == (_declared_size(found[-1]) == len(found[-1]))
        assert found == [frame for frame, _ in Reference(stream).frames]

    @given(streams, cuts, st.lists(st.sampled_from(Way)))
    @example(b"\x81\x01a\x81\x01b", [1, 1, 1, 1, 1], [Way.SCAN, Way.SPLIT, Way.READ, Way.SPLIT, Way.SCAN])
    def test_changing_the_way_at_any_byte_loses_nothing(self, stream: bytes, sizes: list[int], ways: list[Way]) -> None:
        splitter = Splitter()
        left: list[bytes] = []  # as the engine lets it leave
        for index, chunk in enumerate(chop(stream, sizes)):
            way = ways[index % len(ways)] if ways else Way.SPLIT
            if way is Way.SPLIT:
                left += [piece.data[piece.gone :] for piece in splitter.split(chunk)]
                continue
            left.append(splitter.release_head())
            if way is Way.SCAN:
                splitter.scan(chunk)
            else:
                check_gone(splitter.split(chunk, forwarded=True))
            left.append(chunk)
        left.append(splitter.release_head())
        assert b"".join(left) == stream
        assert splitter.gone == len(splitter.head)
        check_state(splitter, stream)

    @given(st.binary(min_size=1, max_size=9))
    def test_a_head_that_was_completed_is_not_remembered_as_gone(self, payload: bytes) -> None:
        for way in (Way.SCAN, Way.READ, Way.SPLIT):
            splitter = scanned([b"\x81"])
            rest = bytes((len(payload),)) + payload
            splitter.scan(rest) if way is Way.SCAN else splitter.split(rest, forwarded=way is Way.READ)
            assert (splitter.head, splitter.gone) == (b"", 0)


def check_gone(pieces: list[Piece]) -> None:
    for piece in pieces:
        assert 0 <= piece.gone < len(piece.data)
        assert not piece.gone or piece.starts


class TestClosing:
    @given(streams, cuts, st.integers(0, 2000).map(lambda n: n % 140 if n % 3 else n), masks, st.booleans())
    def test_the_first_close_is_found_however_chopped(
        self, before: bytes, sizes: list[int], size: int, mask: bytes | None, is_split: bool
    ) -> None:
        reference = Reference(before)
        if reference.need or reference.head or reference.close:
            before = b""
        close = encode(0x88, bytes(size), mask, length_bytes=0 if size < 126 else 2)
        told: list[bool] = []
        splitter = Splitter(lambda: told.append(splitter.has_closed))
        stream = before + close + encode(0x88, b"\x0f\xa1second", mask) + b"\x88\x01"
        sent = b""
        for chunk in chop(stream, sizes):
            splitter.split(chunk) if is_split else splitter.scan(chunk)
            sent += chunk
            check_state(splitter, sent)
            begun, whole = bool(splitter.closing), splitter.has_closed
            assert told in ([[True], [False, True]] if whole else [[False]] if begun else [[]])
        whole = scanned([stream])
        assert splitter.closing == whole.closing
        assert splitter.close_status == whole.close_status

    @given(st.integers(0, 65535), st.text("aé€😀", max_size=30), masks, cuts)
    def test_its_code_and_reason_are_read(self, code: int, reason: str, mask: bytes | None, sizes: list[int]) -> None:
        raw = b"\x81\x02hi" + build_close(code, reason.encode(), mask or b"")
        assert scanned(chop(raw, sizes)).close_status == (code, reason)

    def test_a_close_without_a_status_has_none(self) -> None:
        assert scanned([build_close(None)]).close_status == (None, "")
        assert scanned([b"\x88\x01\x03"]).close_status == (None, "")
        assert scanned([b"\x88\x02\x03"]).close_status == (None, "")
        assert scanned([]).close_status == (None, "")

    def test_of_an_over_long_close_only_the_beginning_is_kept(self) -> None:
        frame = encode(0x88, b"\x03\xe8" + b"x" * 60000, length_bytes=2)
        for chunks in ([frame], chop(frame, [1] * 3 + [50] * 100)):
            splitter = scanned(chunks)
            assert splitter.has_closed
            assert splitter.close_status[0] == 1000
            assert len(splitter.closing) < 200

    def test_the_longest_legal_close_is_kept_whole_in_any_encoding(self) -> None:
        for length_bytes in (0, 2, 8):
            frame = encode(0x88, b"\x03\xe8" + b"x" * 123, MASK, length_bytes=length_bytes)
            assert scanned([frame]).closing == frame

    def test_broken_text_in_a_reason_is_replaced(self) -> None:
        assert parse_close(b"\x03\xe8a\xff") == (1000, "a�")


def read_by_judge(raw: bytes, *, mask: bool) -> judge.Frame:
    reader = StreamReader()
    reader.feed_data(raw)
    with pytest.raises(StopIteration) as stop:
        next(judge.Frame.parse(reader.read_exact, mask=mask, max_size=None))
    frame = stop.value.value
    assert isinstance(frame, judge.Frame)
    return frame


sizes_at_edges = st.sampled_from((0, 1, 125, 126, 127, 65535, 65536, 65537))


class TestFrames:
    @given(st.sampled_from(Opcode), sizes_at_edges, masks, st.booleans())
    def test_the_websockets_library_reads_what_is_built(
        self, opcode: Opcode, size: int, mask: bytes | None, fin: bool
    ) -> None:
        if opcode >= 8:
            size, fin = min(size, 125), True
        payload = bytes(range(256)) * 257
        raw = build_frame(opcode, payload[:size], mask or b"", fin=fin)
        frame = read_by_judge(raw, mask=mask is not None)
        assert (frame.opcode, frame.data, frame.fin) == (judge.Opcode(opcode), payload[:size], fin)
        assert frame_end(raw, 0) == len(raw)

    @given(sizes_at_edges, st.booleans(), st.booleans())
    def test_what_the_websockets_library_builds_is_read(self, size: int, mask: bool, fin: bool) -> None:
        payload = bytes(range(256)) * 257
        raw = judge.Frame(judge.Opcode.BINARY, payload[:size], fin).serialize(mask=mask)
        frame = parse_frame(raw)
        assert frame.first == 2 | fin << 7
        assert frame.payload == payload[:size]
        assert len(frame.mask) == 4 * mask
        assert frame_end(raw, 0) == len(raw)
        assert build_frame(2, frame.payload, frame.mask, fin=fin) == raw

    @given(firsts, st.binary(max_size=300), masks, st.sampled_from((2, 8)))
    def test_lengths_may_be_longer_than_they_need(
        self, first: int, payload: bytes, mask: bytes | None, length_bytes: int
    ) -> None:
        frame = parse_frame(encode(first, payload, mask, length_bytes=length_bytes))
        assert (frame.first, len(frame.payload), frame.mask) == (first, len(payload), mask or b"")

    def test_a_close_may_have_any_code(self) -> None:
        assert build_close(0) == b"\x88\x02\x00\x00"
        assert build_close(65535, b"x") == b"\x88\x03\xff\xffx"
        assert build_close(None) == b"\x88\x00"


def test_a_side_knows_the_other() -> None:
    assert (Side.CLIENT.other, Side.SERVER.other) == (Side.SERVER, Side.CLIENT)
    assert (Side.CLIENT.label, Side.SERVER.label) == ("client", "server")
