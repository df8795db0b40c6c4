"""Where bodies end: RFC 9112, sections 6.3 and 7.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.wire.bodies import CHUNK_LINE_BYTES_MAX, BodyEnd
from chaosproxy.wire.http import BadHead, parse_request, parse_response

from .streams import chop, cuts


def body_of(answer: bytes, chunks: list[bytes]) -> tuple[bytes, bool]:
    end = BodyEnd(parse_response(answer))
    return b"".join(map(end.feed, chunks)), end.is_over


CHUNKED = b"HTTP/1.1 404 \r\nTransfer-Encoding: gzip, chunked\r\n\r\n"


class TestResponses:
    @given(st.binary(max_size=100), st.binary(max_size=20), cuts)
    def test_a_length_ends_it(self, body: bytes, behind: bytes, sizes: list[int]) -> None:
        answer = b"HTTP/1.1 404 \r\nContent-Length: %d\r\n\r\n" % len(body)
        assert body_of(answer, chop(body + behind, sizes)) == (body, True)
        assert body_of(answer, chop(body[:-1], sizes)) == (body[:-1], not body)

    @given(st.binary(max_size=100), cuts)
    def test_without_a_length_it_ends_with_the_connection(self, body: bytes, sizes: list[int]) -> None:
        for answer in (b"HTTP/1.1 404 \r\n\r\n", b"HTTP/1.1 404 \r\nTransfer-Encoding: gzip\r\n\r\n"):
            assert body_of(answer, chop(body, sizes)) == (body, False)

    @pytest.mark.parametrize("status", [204, 304])
    def test_some_answers_have_none(self, status: int) -> None:
        answer = b"HTTP/1.1 %d \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" % status
        assert body_of(answer, [b"hello"]) == (b"", True)

    @given(
        st.lists(st.binary(min_size=1, max_size=40), max_size=4),
        st.sampled_from((b"", b";a", b" ;a=b;c", b'\t; a="b\t\xe9"')),
        st.sampled_from((b"", b"A: b\r\n", b"A: b\r\nB: c\r\n")),
        st.binary(max_size=20),
        cuts,
    )
    def test_the_last_chunk_ends_it(
        self, parts: list[bytes], extension: bytes, trailers: bytes, behind: bytes, sizes: list[int]
    ) -> None:
        chunks = b"".join(b"%X%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
        body = chunks + b"000" + extension + b"\r\n" + trailers + b"\r\n"
        assert body_of(CHUNKED, chop(body + behind, sizes)) == (body, True)
        assert body_of(CHUNKED, chop(body[:-1], sizes)) == (body[:-1], False)

    @pytest.mark.parametrize(
        "body",
        [
            b"\r\n",
            b"x\r\n",
            b"-5\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"1_0\r\n",
            b" 5\r\n",
            b"5\n",
            b"5\r\r\n",
            b"5;a\0\r\n",
            b"5 a\r\n",
            b"\xd9\xa5\r\n",
            b"F" * 16 + b"\r\n",
            b"0\r\na: b\n",
            b"2\r\nabc\r\n",
            b"2\r\nab\n",
            b"2\r\nab\r\r\n",
            b"1" * (CHUNK_LINE_BYTES_MAX + 1),
            b"0\r\n" + b"a" * (CHUNK_LINE_BYTES_MAX + 1),
        ],
    )
    def test_malformed_chunks_are_refused(self, body: bytes) -> None:
        for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
            with pytest.raises(BadHead) as refusal:
                body_of(CHUNKED, chunks)
            assert refusal.value.status == 502

    @pytest.mark.parametrize(
        "length", [b"", b"-1", b"+1", b"1_0", b"5, 5", b"\xb2", b"0x5", b"5 5", b"9" * 5000], ids=lambda v: v[:9]
    )
    def test_a_malformed_length_is_refused(self, length: bytes) -> None:
        with pytest.raises(BadHead):
            BodyEnd(parse_response(b"HTTP/1.1 404 \r\nContent-Length: " + length + b"\r\n\r\n"))

    def test_two_lengths_are_refused(self) -> None:
        with pytest.raises(BadHead):
            BodyEnd(parse_response(b"HTTP/1.1 404 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"))

    @given(st.lists(st.binary(max_size=9) | st.sampled_from((b"\r\n", b"5\r\n", b"0\r\n", b"-1\r\n"))))
    def test_garbage_is_only_ever_refused(self, chunks: list[bytes]) -> None:
        try:
            body, _ = body_of(CHUNKED, chunks)
        except BadHead:
            return
        assert b"".join(chunks).startswith(body)

    def test_a_length_beside_a_coding_is_refused(self) -> None:
        with pytest.raises(BadHead):
            BodyEnd(parse_response(CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n"))

    def test_chunked_twice_is_refused(self) -> None:
        with pytest.raises(BadHead):
            BodyEnd(parse_response(CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"))

    def test_an_answer_to_head_has_none_whatever_it_says(self) -> None:
        for lines in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""):
            end = BodyEnd(parse_response(b"HTTP/1.1 200 \r\n" + lines + b"\r\n"), answers_head=True)
            assert end.is_over
            assert (end.feed(b"next"), end.surplus) == (b"", b"next")

    def test_chunks_of_http_1_0_are_no_framing(self) -> None:
        end = BodyEnd(parse_response(CHUNKED.replace(b"1.1", b"1.0")))
        assert end.lasts
        assert end.feed(b"0\r\n\r\nmore") == b"0\r\n\r\nmore"

    def test_only_a_body_without_any_length_lasts(self) -> None:
        assert BodyEnd(parse_response(b"HTTP/1.1 200 \r\n\r\n")).lasts
        assert not BodyEnd(parse_response(CHUNKED)).lasts
        assert not BodyEnd(parse_response(b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n")).lasts
        assert not BodyEnd(parse_response(b"HTTP/1.1 204 \r\n\r\n")).lasts


POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED_POST = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def sent(head: bytes, chunks: list[bytes]) -> tuple[bytes, bytes, bool]:
    """What goes on of a request's body, what came behind it, and whether it is complete."""
    end = BodyEnd(parse_request(head))
    body, behind = b"", b""
    for chunk in chunks:
        body += end.feed(chunk)
        behind += end.surplus
    return body, behind, end.is_over


def drip(end: BodyEnd, stream: bytes, into: list[bytes]) -> None:
    """Feed byte by byte. What was given before a refusal is kept."""
    for byte in stream:
        part = end.feed(bytes((byte,)))
        into.append(part)


class TestRequests:
    def test_without_a_length_there_is_none(self) -> None:
        assert sent(POST + b"\r\n", [b"GET"]) == (b"", b"GET", True)

    @given(st.binary(min_size=1, max_size=100), st.binary(max_size=20), cuts)
    def test_a_length_ends_it_and_what_is_behind_is_told_apart(
        self, body: bytes, behind: bytes, sizes: list[int]
    ) -> None:
        head = POST + b"Content-Length: %d\r\n\r\n" % len(body)
        assert sent(head, chop(body + behind, sizes)) == (body, behind, True)

    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=4), st.binary(max_size=20), cuts)
    def test_the_last_chunk_ends_it_in_any_chopping(self, parts: list[bytes], behind: bytes, sizes: list[int]) -> None:
        body = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nA: b\r\n\r\n"
        assert sent(CHUNKED_POST, chop(body + behind, sizes)) == (body, behind, True)

    @pytest.mark.parametrize(
        ("good", "bad"),
        [
            (b"", b"x\r\n"),
            (b"", b"5\n"),
            (b"", b"-1\r\n"),
            (b"", b"0x5\r\n"),
            (b"", b"\r\n"),
            (b"", b"F" * 16 + b"\r\n"),
            (b"", b"1;" + b"a" * CHUNK_LINE_BYTES_MAX),
            (b"", b"1;a\0\r\n"),
            (b"2\r\nab", b"c\r\n"),
            (b"2\r\nab", b"\n"),
            (b"0\r\n", b" folded\r\n"),
            (b"0\r\n", b"no colon\r\n"),
            (b"0\r\n", b"a b: c\r\n"),
            (b"0\r\n", b"GET / HTTP/1.1\r\n"),
            (b"0\r\nA: b\r\n", b"a: b\n"),
        ],
    )
    def test_no_byte_of_a_malformed_line_goes_on(self, good: bytes, bad: bytes) -> None:
        body: list[bytes] = []
        with pytest.raises(BadHead) as refusal:
            drip(BodyEnd(parse_request(CHUNKED_POST)), good + bad, body)
        assert refusal.value.status == 400
        assert b"".join(body) == good
        with pytest.raises(BadHead):
            sent(CHUNKED_POST, [good + bad])
