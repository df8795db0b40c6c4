"""One plain request and its response, followed through their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.exchange import Exchange
from chaosproxy.wire.http import BadHead, parse_request

from .wire.streams import chop, cuts

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


def exchange(raw: bytes = GET) -> Exchange:
    return Exchange(parse_request(raw))


def answered(one: Exchange, *chunks: bytes) -> bytes:
    """What goes on to the client."""
    passed = b""
    for chunk in chunks:
        if one.response:
            passed += one.take_download(chunk)
        else:
            passed += one.take_heads(chunk)
            passed += one.begin_download() if one.response else b""
    return passed


@given(st.integers(0, 2), st.binary(max_size=9), cuts, cuts)
def test_any_chopping_gives_the_same(interims: int, behind: bytes, up: list[int], down: list[int]) -> None:
    one = exchange(POST)
    body = b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"
    parts = [one.take_upload(chunk) for chunk in chop(body + behind, up)]
    assert b"".join(part for part, _ in parts) == body
    assert b"".join(rest for _, rest in parts) == behind
    assert one.is_uploaded
    stream = GO_ON * interims + OK
    assert answered(one, *chop(stream, down)) == stream
    assert one.is_downloaded
    assert one.persists


def test_each_way_is_complete_on_its_own() -> None:
    one = exchange(POST)
    assert (one.is_uploaded, one.is_downloaded) == (False, False)
    answered(one, OK)
    assert (one.is_uploaded, one.is_downloaded) == (False, True)
    one.take_upload(b"0\r\n\r\n")
    assert (one.is_uploaded, one.is_downloaded) == (True, True)


def test_a_final_head_is_not_given_before_it_is_asked_for() -> None:
    one = exchange()
    assert one.take_heads(GO_ON + OK) == GO_ON
    assert one.response is not None
    assert one.begin_download() == OK


def test_it_knows_whether_an_answer_has_begun() -> None:
    one = exchange()
    assert not one.has_begun
    one.take_heads(b"H")
    assert one.has_begun


def test_a_body_without_a_length_lasts_and_the_connection_with_it_does_not() -> None:
    one = exchange()
    answered(one, b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert one.lasts
    assert not one.is_downloaded


def test_a_second_answer_behind_the_first_makes_the_connection_unfit() -> None:
    one = exchange()
    assert answered(one, OK + b"HTTP/1.1 ") == OK
    assert not one.persists


@pytest.mark.parametrize("status", [101, 600])
def test_a_status_that_can_not_be_or_changes_the_protocol(status: int) -> None:
    one = exchange()
    answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    if status == 101:
        with pytest.raises(BadHead) as refusal:
            one.take_heads(answer)
        assert refusal.value.status == 502
    else:
        assert answered(one, answer) == answer
