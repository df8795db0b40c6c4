import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from chaosproxy.wire.frames import SIDES, Side
from chaosproxy.wire.http import parse_response
from chaosproxy.wire.inflate import FINAL_BLOCKS_MAX, Extension, Inflater, Negotiated, Untracked

TAIL = b"\x00\x00\xff\xff"
SIZE_MAX = 1 << 20
texts = st.lists(st.binary(max_size=300) | st.sampled_from((b"", b"hello", b"hello" * 50)), max_size=6)


def inflater(*, takeover: bool = True, size_max: int = SIZE_MAX) -> Inflater:
    return Inflater(takeover=takeover, message_bytes_max=size_max)


def deflate(*texts: bytes, bits: int = 15, level: int = 6, takeover: bool = True) -> list[bytes]:
    """Write messages as RFC 7692, section 7.2.1 says."""
    payloads = []
    deflater = zlib.compressobj(level, wbits=-bits)
    for text in texts:
        if not takeover:
            deflater = zlib.compressobj(level, wbits=-bits)
        payloads.append((deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL))
    return payloads


def final(text: bytes) -> bytes:
    """A stream that ends with a final block."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(text) + deflater.flush(zlib.Z_FINISH)


def deflated_by_judge(texts: list[bytes], bits: int, takeover: bool) -> list[bytes]:
    judge = PerMessageDeflate(False, not takeover, 15, bits)
    return [bytes(judge.encode(Frame(Opcode.BINARY, text)).data) for text in texts]


class TestReading:
    @given(texts, st.integers(9, 15), st.integers(0, 9), st.booleans())
    def test_what_zlib_deflates_is_read(self, texts: list[bytes], bits: int, level: int, takeover: bool) -> None:
        reader = inflater(takeover=takeover)
        payloads = deflate(*texts, bits=bits, level=level, takeover=takeover)
        assert [reader.read(payload) for payload in payloads] == texts

    @given(texts, st.integers(9, 15), st.booleans())
    def test_what_the_websockets_library_deflates_is_read(self, texts: list[bytes], bits: int, takeover: bool) -> None:
        reader = inflater(takeover=takeover)
        assert [reader.read(payload) for payload in deflated_by_judge(texts, bits, takeover)] == texts

    def test_references_reach_into_earlier_messages(self) -> None:
        text = bytes(range(256)) * 8
        first, second = deflate(text, text)
        assert len(second) < 50
        reader = inflater()
        assert [reader.read(first), reader.read(second)] == [text, text]
        with pytest.raises(Untracked):
            inflater(takeover=False).read(second)

    @given(texts)
    def test_a_message_may_end_with_a_final_block(self, texts: list[bytes]) -> None:
        for takeover in (True, False):
            reader = inflater(takeover=takeover)
            for text in texts:
                assert reader.read(final(text) + b"\0") == text  # RFC 7692, section 7.2.3.4
                assert reader.read(final(text)) == text  # without the empty block that must follow
                assert reader.read(deflate(text)[0]) == text

    def test_the_rfcs_examples_are_read(self) -> None:
        """RFC 7692, sections 7.2.3.1 to 7.2.3.6."""
        reader = inflater()
        assert reader.read(bytes.fromhex("f248cdc9c90700")) == b"Hello"
        assert reader.read(bytes.fromhex("f200110000")) == b"Hello"
        for payload in (
            "000500faff48656c6c6f00",
            "f348cdc9c9070000",
            "f248050000 00ffffcac9c90700",
            "00",
        ):
            expected = b"" if payload == "00" else b"Hello"
            assert inflater().read(bytes.fromhex(payload)) == expected

    @given(texts, st.binary(max_size=100))
    def test_blocks_behind_a_final_block_belong_to_the_message(self, texts: list[bytes], last: bytes) -> None:
        reader = inflater()
        payload = b"".join(map(final, texts)) + deflate(last)[0]
        assert reader.read(payload) == b"".join(texts) + last
        assert reader.read(deflate(b"next")[0]) == b"next"

    def test_final_blocks_are_limited_since_each_costs_a_restart(self) -> None:
        reader = inflater()
        assert reader.read(final(b"") * (FINAL_BLOCKS_MAX - 1) + deflate(b"a")[0]) == b"a"
        with pytest.raises(Untracked):
            reader.read(final(b"") * 1_000_000)

    @given(texts)
    def test_an_empty_payload_is_an_empty_message(self, texts: list[bytes]) -> None:
        reader = inflater()
        for payload, text in zip(deflate(*texts), texts, strict=True):
            assert reader.read(b"") == b""
            assert reader.read(payload) == text


def lose_on_purpose(reader: Inflater) -> None:
    reader.lose()


def lose_by_garbage(reader: Inflater) -> None:
    with pytest.raises(Untracked):
        reader.read(b"\xff")


class TestLosing:
    @given(st.integers(0, 3000))
    @example(1000)
    def test_the_cap_is_exact(self, size: int) -> None:
        reader = inflater(takeover=False, size_max=1000)
        for payload in (deflate(bytes(size))[0], final(bytes(size)), final(bytes(size // 2)) + final(bytes(size // 2))):
            if size <= 1000:
                assert len(reader.read(payload)) in (size, size // 2 * 2)
            elif size // 2 * 2 > 1000:
                with pytest.raises(Untracked):
                    reader.read(payload)

    @pytest.mark.parametrize("size_max", [0, 1, 100_000])
    def test_a_bomb_takes_no_more_memory_than_the_cap(self, size_max: int) -> None:
        bomb = deflate(bytes(20 * 1024 * 1024))[0]
        tracemalloc.start()
        with pytest.raises(Untracked):
            inflater(size_max=size_max).read(bomb)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(bomb) + 3 * size_max + 100_000

    @pytest.mark.parametrize("takeover", [True, False])
    def test_nothing_is_kept_of_a_bomb(self, takeover: bool) -> None:
        bomb = deflate(bytes(50 * 1024 * 1024))[0]
        reader = inflater(takeover=takeover, size_max=1000)
        tracemalloc.start()
        with pytest.raises(Untracked):
            reader.read(bomb)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < len(bomb) // 2

    @given(st.binary(max_size=200), st.booleans())
    def test_garbage_is_only_ever_untracked(self, garbage: bytes, takeover: bool) -> None:
        reader = inflater(takeover=takeover, size_max=1000)
        try:
            assert len(reader.read(garbage)) <= 1000
        except Untracked:
            assert reader.is_lost == takeover

    @pytest.mark.parametrize("lose", [lose_on_purpose, lose_by_garbage])
    def test_with_takeover_nothing_behind_an_unread_message_is_read(self, lose: Callable[[Inflater], None]) -> None:
        reader = inflater()
        lose(reader)
        assert reader.is_lost
        with pytest.raises(Untracked):
            reader.read(deflate(b"a")[0])

    @pytest.mark.parametrize("lose", [lose_on_purpose, lose_by_garbage])
    def test_without_takeover_every_message_is_read_afresh(self, lose: Callable[[Inflater], None]) -> None:
        reader = inflater(takeover=False)
        lose(reader)
        assert not reader.is_lost
        assert reader.read(deflate(b"a")[0]) == b"a"


def negotiated(*values: str) -> Negotiated:
    lines = "".join(f"Sec-WebSocket-Extensions: {value}\r\n" for value in values)
    return Negotiated(parse_response(f"HTTP/1.1 101 Go\r\n{lines}\r\n".encode()))


class TestNegotiating:
    @pytest.mark.parametrize("values", [(), ("",), (" , ",), ("", ",")])
    def test_without_an_extension_nothing_is_compressed(self, values: tuple[str, ...]) -> None:
        assert negotiated(*values).extension is Extension.NONE
        assert negotiated(*values).inflater(Side.CLIENT, 1) is None

    @pytest.mark.parametrize(
        ("value", "takeovers"),
        [
            ("permessage-deflate", (True, True)),
            ("PerMessage-Deflate ; Client_No_Context_Takeover", (False, True)),
            ("permessage-deflate;server_no_context_takeover", (True, False)),
            ("permessage-deflate;\tserver_no_context_takeover ;client_no_context_takeover", (False, False)),
            ("permessage-deflate; server_max_window_bits=9; client_max_window_bits", (True, True)),
            ('permessage-deflate; server_max_window_bits = "15"; server_no_context_takeover', (True, False)),
            (", permessage-deflate ,", (True, True)),
        ],
    )
    def test_each_side_may_give_up_its_context(self, value: str, takeovers: tuple[bool, bool]) -> None:
        found = negotiated(value)
        assert found.extension is Extension.DEFLATE
        inflaters = [found.inflater(side, 1) for side in SIDES]
        assert tuple(inflater.takeover for inflater in inflaters if inflater) == takeovers

    @pytest.mark.parametrize(
        "values",
        [
            ("permessage-foo",),
            ("x-webkit-deflate-frame",),
            ("permessage-deflate, permessage-foo",),
            ("permessage-deflate", "permessage-deflate"),
            ("permessage-foo", "permessage-deflate"),
            ("permessage-deflate; foo",),
            ("permessage-deflate;",),
            ('permessage-deflate; foo="a,b;c"',),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover",),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=10",),
            (";",),
            ("=",),
        ],
    )
    def test_what_is_not_understood_is_not_read(self, values: tuple[str, ...]) -> None:
        assert negotiated(*values).extension is Extension.UNKNOWN
        assert negotiated(*values).inflater(Side.SERVER, 1) is None

    @given(st.text("permessage-deflate;,= \"'\t_noctxk", max_size=40))
    def test_any_header_is_understood_or_not(self, value: str) -> None:
        assert negotiated(value.strip()).extension in Extension
