import tracemalloc
from contextlib import suppress
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.headers import build_host
from websockets.utils import accept_key

from chaosproxy.wire.bodies import BodyEnd
from chaosproxy.wire.http import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    TARGET_BYTES_MAX,
    BadHead,
    HeadReader,
    Request,
    accept_for,
    build_answer,
    is_tunnel,
    parse_request,
    parse_response,
    persists,
    with_host,
)

from .streams import chop, cuts

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
HOST = b"Host: a"
UPGRADE = b"Upgrade: websocket"
CONNECTION = b"Connection: Upgrade"
SEC_KEY = b"Sec-WebSocket-Key: " + KEY
VERSION = b"Sec-WebSocket-Version: 13"
GOOD = (HOST, UPGRADE, CONNECTION, SEC_KEY, VERSION)


def head(*lines: bytes, start: bytes = b"GET /app/key?protocol=7 HTTP/1.1") -> bytes:
    return b"\r\n".join((start, *lines, b"", b""))


def request(*more: bytes, without: bytes = b"", start: bytes = b"GET /app/key?protocol=7 HTTP/1.1") -> bytes:
    """A good request, with more lines and without one."""
    return head(*(line for line in GOOD if line != without), *more, start=start)


def read_request(*chunks: bytes) -> Request:
    """Read a request as a session does."""
    reader = HeadReader(from_client=True)
    for chunk in chunks:
        if (raw := reader.feed(chunk)) is not None:
            return parse_request(raw)
    raise AssertionError("the head is not complete")


REFUSED: dict[str, tuple[int, bytes]] = {
    # S1, S2: only an upgrade to exactly websocket
    "no connection": (400, request(without=CONNECTION)),
    "connection without upgrade": (400, request(b"Connection: keep-alive", without=CONNECTION)),
    "empty upgrade": (400, request(b"Upgrade:", without=UPGRADE)),
    "h2c": (400, request(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", without=UPGRADE)),
    "upgrade list": (400, request(b"Upgrade: websocket, h2c", without=UPGRADE)),
    "upgrade list the other way": (400, request(b"Upgrade: h2c, websocket", without=UPGRADE)),
    "upgrade to TLS": (400, request(b"Upgrade: TLS/1.0", without=UPGRADE)),
    "upgrade with a version": (400, request(b"Upgrade: websocket/13", without=UPGRADE)),
    "duplicate upgrade": (400, request(UPGRADE)),
    "two upgrades": (400, request(b"Upgrade: h2c")),
    "post": (400, request(start=b"POST / HTTP/1.1")),
    "lower-case method": (400, request(start=b"get / HTTP/1.1")),
    "no key": (400, request(without=SEC_KEY)),
    "duplicate key": (400, request(SEC_KEY)),
    "empty key": (400, request(b"Sec-WebSocket-Key:", without=SEC_KEY)),
    "short key": (400, request(b"Sec-WebSocket-Key: AAAA", without=SEC_KEY)),
    "key not in base64": (400, request(b"Sec-WebSocket-Key: " + b"\xe9" * 24, without=SEC_KEY)),
    "key with a comma": (400, request(SEC_KEY + b", " + KEY, without=SEC_KEY)),
    **{
        f"connection names {name}": (400, request(b"Connection: Upgrade, " + name.encode(), without=CONNECTION))
        for name in (
            "Sec-WebSocket-Key",
            "sec-websocket-protocol",
            "Host",
            "Origin",
            "Cookie",
            "Authorization",
            "Content-Length",
        )
    },
    # S3: what two servers might read in two ways
    "LF only": (400, request().replace(b"\r\n", b"\n")),
    "one LF only": (400, request(b"A: b\nC: d")),
    "LF ends the head": (400, request()[:-2] + b"\n"),
    "LF behind the request line": (400, request().replace(b"1.1\r\n", b"1.1\n")),
    "bare CR": (400, request(b"A: b\rC: d")),
    "CR CR LF": (400, request(b"A: b\r")),
    "empty line first": (400, b"\r\n" + request()),
    "obs-fold": (400, request(b"A: b", b" c")),
    "obs-fold with tab": (400, request(b"A: b", b"\tc")),
    "fold behind the request line": (400, head(b" a: b", *GOOD)),
    "space before colon": (400, request(b"A : b")),
    "tab before colon": (400, request(b"A\t: b")),
    "no colon": (400, request(b"A")),
    "no name": (400, request(b": b")),
    "space in name": (400, request(b"A b: c")),
    "obs-text in name": (400, request(b"A\xe9: c")),
    "NUL in value": (400, request(b"A: b\0c")),
    "NUL in name": (400, request(b"A\0: c")),
    "NUL in target": (400, request(start=b"GET /\0 HTTP/1.1")),
    "escape in value": (400, request(b"A: \x1b[31m")),
    "DEL in value": (400, request(b"A: \x7f")),
    "no host": (400, request(without=HOST)),
    "duplicate host": (400, request(HOST)),
    "two hosts": (400, request(b"host: b")),
    "content-length": (400, request(b"Content-Length: 5")),
    "content-length 00": (400, request(b"Content-Length: 00")),
    "content-length +0": (400, request(b"Content-Length: +0")),
    "content-length twice": (400, request(b"Content-Length: 0", b"Content-Length: 0")),
    "content-length and length": (400, request(b"Content-Length: 0", b"Content-Length: 5")),
    "transfer-encoding": (400, request(b"Transfer-Encoding: chunked")),
    "transfer-encoding identity": (400, request(b"Transfer-Encoding: identity")),
    "both lengths": (400, request(b"Content-Length: 0", b"Transfer-Encoding: chunked")),
    # S11: the client does not choose the target
    "connect": (405, request(start=b"CONNECT b:443 HTTP/1.1")),
    "connect a path": (405, request(start=b"CONNECT / HTTP/1.1")),
    "absolute-form": (400, request(start=b"GET http://169.254.169.254/latest HTTP/1.1")),
    "absolute-form ws": (400, request(start=b"GET ws://b/ HTTP/1.1")),
    "asterisk": (400, request(start=b"OPTIONS * HTTP/1.1")),
    "relative target": (400, request(start=b"GET app HTTP/1.1")),
    # the request line
    "no target": (400, request(start=b"GET HTTP/1.1")),
    "empty target": (400, request(start=b"GET  HTTP/1.1")),
    "two spaces": (400, request(start=b"GET  / HTTP/1.1")),
    "space in target": (400, request(start=b"GET /a b HTTP/1.1")),
    "trailing space": (400, request(start=b"GET / HTTP/1.1 ")),
    "tab for space": (400, request(start=b"GET\t/\tHTTP/1.1")),
    "long method": (400, request(start=b"G" * 33 + b" / HTTP/1.1")),
    "odd method": (400, request(start=b"G(T / HTTP/1.1")),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/1.0": (505, request(start=b"GET / HTTP/1.0")),
    "HTTP/1.2": (505, request(start=b"GET / HTTP/1.2")),
    "HTTP/2": (505, request(start=b"GET / HTTP/2")),
    "HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "another protocol": (400, request(start=b"GET / ICY/1.1")),
    "lower-case http": (400, request(start=b"GET / http/1.1")),
    # S4: sizes
    "10 MB header": (431, request(b"A: " + b"a" * 10_000_000)),
    "endless header": (431, head(*GOOD)[:-2] + b"A: " + b"a" * HEAD_BYTES_MAX),
    "endless headers": (431, head(*GOOD)[:-2] + b"A: b\r\n" * 20_000),
    "129 headers": (431, head(*GOOD, *[b"A: b"] * (HEADERS_MAX - len(GOOD) + 1))),
    "huge target": (414, request(start=b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1")),
    "long target": (414, request(start=b"GET /" + b"a" * TARGET_BYTES_MAX + b" HTTP/1.1")),
    "endless target": (414, b"GET /" + b"a" * 9000),
    "endless method": (400, b"G" * 40),
    "garbage": (400, bytes(range(256))),
    "a frame": (400, b"\x81\x05hello"),
}

CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"
POST = b"POST /apps/1/events HTTP/1.1"
OLD = b"GET / HTTP/1.0"

# Plain requests: whatever leaves a doubt about where the body ends, or chooses a target.
REFUSED_PLAIN: dict[str, tuple[int, bytes]] = {
    "both lengths": (400, head(HOST, LENGTH, CHUNKED, start=POST)),
    "both lengths the other way": (400, head(HOST, CHUNKED, LENGTH, start=POST)),
    "length twice": (400, head(HOST, LENGTH, LENGTH, start=POST)),
    "two lengths": (400, head(HOST, LENGTH, b"Content-Length: 6", start=POST)),
    "length list": (400, head(HOST, b"Content-Length: 5, 5", start=POST)),
    "empty length": (400, head(HOST, b"Content-Length:", start=POST)),
    "negative length": (400, head(HOST, b"Content-Length: -1", start=POST)),
    "signed length": (400, head(HOST, b"Content-Length: +5", start=POST)),
    "length in hex": (400, head(HOST, b"Content-Length: 0x5", start=POST)),
    "length with _": (400, head(HOST, b"Content-Length: 1_0", start=POST)),
    "endless length": (400, head(HOST, b"Content-Length: " + b"9" * 19, start=POST)),
    "coding twice": (400, head(HOST, CHUNKED, CHUNKED, start=POST)),
    "te-te": (400, head(HOST, CHUNKED, b"Transfer-Encoding: identity", start=POST)),
    "coding list": (400, head(HOST, b"Transfer-Encoding: gzip, chunked", start=POST)),
    "chunked first": (400, head(HOST, b"Transfer-Encoding: chunked, gzip", start=POST)),
    "odd coding": (400, head(HOST, b"Transfer-Encoding: xchunked", start=POST)),
    "quoted coding": (400, head(HOST, b'Transfer-Encoding: "chunked"', start=POST)),
    "coding with \\v": (400, head(HOST, b"Transfer-Encoding: \x0bchunked", start=POST)),
    "empty coding": (400, head(HOST, b"Transfer-Encoding:", start=POST)),
    "chunked HTTP/1.0": (400, head(HOST, CHUNKED, start=b"POST / HTTP/1.0")),
    "space before colon": (400, head(HOST, b"Content-Length : 5", start=POST)),
    "space before a coding's colon": (400, head(HOST, b"Transfer-Encoding : chunked", start=POST)),
    "folded coding": (400, head(HOST, b"Transfer-Encoding:", b" chunked", start=POST)),
    "bare LF before a length": (400, head(HOST, b"A: b\nContent-Length: 5", start=POST)),
    "NUL in a length": (400, head(HOST, b"Content-Length: 5\0", start=POST)),
    "no host": (400, head()),
    "two hosts": (400, head(HOST, HOST)),
    "two hosts of HTTP/1.0": (400, head(HOST, HOST, start=OLD)),
    "connection names the length": (400, head(HOST, LENGTH, b"Connection: Content-Length", start=POST)),
    "connection names the coding": (400, head(HOST, CHUNKED, b"Connection: Transfer-Encoding", start=POST)),
    "connection names a cookie": (400, head(HOST, b"Connection: close, Cookie")),
    "connect": (405, head(HOST, start=b"CONNECT 169.254.169.254:80 HTTP/1.1")),
    "connect HTTP/1.0": (405, head(HOST, start=b"CONNECT b:80 HTTP/1.0")),
    "absolute-form": (400, head(HOST, start=b"GET http://169.254.169.254/latest HTTP/1.1")),
    "absolute-form to ourselves": (400, head(HOST, start=b"GET http://127.0.0.1:7002/api/state HTTP/1.1")),
    "asterisk of GET": (400, head(HOST, start=b"GET * HTTP/1.1")),
    "relative target": (400, head(HOST, start=b"GET app HTTP/1.1")),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/2": (505, head(HOST, start=b"GET / HTTP/2")),
    "HTTP/1.2": (505, head(HOST, start=b"GET / HTTP/1.2")),
    "h2c by HTTP/1.0": (505, head(HOST, b"Upgrade: h2c", CONNECTION, start=OLD)),
}

PLAIN: dict[str, bytes] = {
    "get": head(HOST),
    "upgrade nominated and not there": head(HOST, CONNECTION),
    "post": head(HOST, LENGTH, start=POST),
    "post of nothing": head(HOST, b"Content-Length: 0", start=POST),
    "post without a length": head(HOST, start=POST),
    "chunked": head(HOST, b"transfer-encoding:CHUNKED", start=POST),
    "length with zeros": head(HOST, b"Content-Length: 0005", start=POST),
    "any method": head(HOST, start=b"M-SEARCH / HTTP/1.1"),
    "options of all": head(HOST, start=b"OPTIONS * HTTP/1.1"),
    "expect": head(HOST, LENGTH, b"Expect: 100-continue", start=POST),
    "HTTP/1.0": head(start=OLD),
    "HTTP/1.0 with a host": head(HOST, b"Connection: keep-alive", start=OLD),
    "websocket headers without an upgrade": head(HOST, SEC_KEY, VERSION),
    "h2 settings": head(HOST, b"HTTP2-Settings: AAMAAABkAAQAAP__"),
}

PASSED: dict[str, bytes] = {
    "plain": request(),
    "names in lower case": request()
    .lower()
    .replace(KEY.lower(), KEY)
    .replace(b"get", b"GET")
    .replace(b"http", b"HTTP"),
    "names in upper case": head(*(name.upper() + b":" + value for name, _, value in (g.partition(b":") for g in GOOD))),
    "headers in reverse": head(*reversed(GOOD)),
    "no space behind colons": head(*(line.replace(b": ", b":") for line in GOOD)),
    "spaces around values": head(*(line.replace(b": ", b":  \t ") + b" \t" for line in GOOD)),
    "tab in a value": request(b"A: b\tc"),
    "obs-text in a value": request("A: é".encode(), b"B: \xff\x80"),
    "odd names": request(b"!#$%&'*+-.^_`|~0Az: b"),
    "empty value": request(b"A:", b"B: "),
    "colons in a value": request(b"A: b:c::d"),
    "same header twice": request(b"A: b", b"A: c"),
    "several protocols": request(b"Sec-WebSocket-Protocol: a, b", b"Sec-WebSocket-Protocol: c"),
    "several offers": request(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, foo"),
    "keep-alive": request(b"Connection: keep-alive, Upgrade", without=CONNECTION),
    "connection twice": request(b"Connection: keep-alive"),
    "odd connection list": request(b"Connection: , ,upGRADE ,", without=CONNECTION),
    "upgrade in any case": request(b"Upgrade: WebSocket", without=UPGRADE),
    "version 8": request(b"Sec-WebSocket-Version: 8", without=VERSION),
    "no version": request(without=VERSION),
    "content-length 0": request(b"Content-Length: 0"),
    "expect": request(b"Expect: 100-continue"),
    "te": request(b"TE: trailers"),
    "empty host": request(b"Host:", without=HOST),
    "IPv6 host": request(b"Host: " + build_host("::1", 80, False, always_include_port=True).encode(), without=HOST),
    "date": request(b"Date: " + formatdate(0, usegmt=True).encode()),
    "root": request(start=b"GET / HTTP/1.1"),
    "two slashes": request(start=b"GET //a//b HTTP/1.1"),
    "only a query": request(start=b"GET /?a=b?c HTTP/1.1"),
    "odd target": request(start=b'GET /"<>\\^`{|}%zz;a,b HTTP/1.1'),
    "obs-text in target": request(start="GET /é HTTP/1.1".encode()),
    "longest target": request(start=b"GET /" + b"a" * (TARGET_BYTES_MAX - 1) + b" HTTP/1.1"),
    "most headers": head(*GOOD, *[b"A: b"] * (HEADERS_MAX - len(GOOD))),
    "largest head": request(b"A: " + b"a" * (HEAD_BYTES_MAX - len(request(b"A: ")))),
}


ALL_REFUSED = {**REFUSED, **{f"plain: {name}": refused for name, refused in REFUSED_PLAIN.items()}}


class TestRequests:
    @pytest.mark.parametrize(("status", "raw"), ALL_REFUSED.values(), ids=ALL_REFUSED)
    def test_what_could_be_read_in_two_ways_is_refused(self, status: int, raw: bytes) -> None:
        with pytest.raises(BadHead) as refusal:
            read_request(raw)
        assert refusal.value.status == status
        assert refusal.value.reason.isprintable()

    @pytest.mark.parametrize("raw", [raw[:80_000] for _, raw in ALL_REFUSED.values()], ids=ALL_REFUSED)
    def test_it_is_refused_when_it_drips(self, raw: bytes) -> None:
        with pytest.raises(BadHead):
            read_request(*(raw[at : at + 3] for at in range(0, len(raw), 3)))

    @pytest.mark.parametrize("raw", PASSED.values(), ids=PASSED)
    def test_odd_but_legal_requests_pass_as_they_came(self, raw: bytes) -> None:
        for chunks in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
            read = read_request(*chunks)
            assert read.raw == raw
            assert read.is_upgrade
            assert read.key == KEY

    @pytest.mark.parametrize("raw", PLAIN.values(), ids=PLAIN)
    def test_plain_requests_pass_as_they_came_and_are_no_upgrades(self, raw: bytes) -> None:
        for chunks in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
            read = read_request(*chunks)
            assert read.raw == raw
            assert not read.is_upgrade

    @pytest.mark.parametrize("line", [request().replace(b"\r\n", b"\n")[:40], request()[:40] + b"\n"])
    def test_lines_that_end_without_cr_are_refused_before_the_head_is_complete(self, line: bytes) -> None:
        with pytest.raises(BadHead):
            HeadReader(from_client=True).feed(line)

    def test_a_request_tells_its_parts(self) -> None:
        read = read_request(request(b"X-A: 1", b"x-a: 2", b"X-B: \xe9", start=b"GET /app/a%20b?c=d?e HTTP/1.1"))
        assert (read.path, read.query) == ("/app/a%20b", "c=d?e")
        assert (read.header("X-A"), read.header("x-b"), read.header("none")) == ("1", "é", None)
        assert read.values(b"x-a") == [b"1", b"2"]

    @given(st.binary(max_size=300) | st.lists(st.sampled_from(GOOD) | st.binary(max_size=20)).map(lambda a: head(*a)))
    def test_garbage_is_only_ever_refused(self, raw: bytes) -> None:
        for read in (parse_request, parse_response, read_request):
            with suppress(BadHead, AssertionError):
                read(raw)


class TestCollecting:
    @given(st.sampled_from([*PASSED.values()][:30]), st.binary(max_size=50), cuts)
    def test_any_chopping_gives_the_same_head_and_rest(self, raw: bytes, behind: bytes, sizes: list[int]) -> None:
        reader = HeadReader(from_client=True)
        found = [head for chunk in chop(raw, sizes) if (head := reader.feed(chunk)) is not None]
        assert found == [raw]
        assert reader.rest == b""
        reader = HeadReader(from_client=True)
        assert (reader.feed(raw + behind), reader.rest) == (raw, behind)

    @given(st.binary(max_size=200), cuts)
    def test_any_chopping_gives_the_same_verdict(self, garbage: bytes, sizes: list[int]) -> None:
        for from_client in (True, False):
            for stream in (garbage, b"GET / " + garbage, b"HTTP/1." + garbage, garbage + b"\r\n\r\n"):
                assert verdict([stream], from_client) == verdict(chop(stream, sizes), from_client)

    def test_several_heads_come_one_at_a_time(self) -> None:
        reader = HeadReader(from_client=False)
        early, answer = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", b"HTTP/1.1 101 Go\r\n\r\n"
        assert reader.feed(early + answer + b"\x81\x00") == early
        assert reader.feed(b"") == answer
        assert reader.rest == b"\x81\x00"

    def test_a_reader_knows_whether_anything_came(self) -> None:
        reader = HeadReader(from_client=True)
        assert reader.feed(b"") is None
        assert not reader.begun
        reader.feed(b"G")
        assert reader.begun

    def test_a_dripping_head_is_not_copied_at_each_byte(self) -> None:
        reader = HeadReader(from_client=True)
        reader.feed(b"GET / HTTP/1.1\r\nA: " + b"a" * 50_000)
        copies = 0
        tracemalloc.start()
        for _ in range(5_000):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            reader.feed(b"a")
            copies += tracemalloc.get_traced_memory()[1] - before > 10_000
        tracemalloc.stop()
        assert copies <= 2  # its buffer grows now and then

    @pytest.mark.parametrize(
        "raw",
        [
            b"HTTP/2 101 \r\n\r\n",
            b"\x81\x00",
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 101 a\n",
            b"HTTP/1.1 101 \r\nA: " + b"a" * HEAD_BYTES_MAX,
            b"HTTP/1.1 101 \r\nA: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n",
        ],
    )
    def test_an_answer_that_is_not_http_or_too_large_is_refused(self, raw: bytes) -> None:
        with pytest.raises(BadHead) as refusal:
            HeadReader(from_client=False).feed(raw)
        assert refusal.value.status == 502


def verdict(chunks: list[bytes], from_client: bool) -> tuple[bytes, bytes] | str | None:
    reader = HeadReader(from_client=from_client)
    raw = None
    rest = b""
    try:
        for chunk in chunks:
            raw, rest = (raw, rest + chunk) if raw is not None else (reader.feed(chunk), reader.rest)
    except BadHead:
        return "refused"
    return None if raw is None else (raw, rest)


ACCEPTED = (UPGRADE, CONNECTION, b"Sec-WebSocket-Accept: " + ACCEPT)
SWITCHING = b"HTTP/1.1 101 Switching Protocols"


class TestAnswers:
    @given(st.binary(min_size=1, max_size=30))
    def test_the_accept_value_is_that_of_the_websockets_library(self, key: bytes) -> None:
        assert accept_for(KEY) == ACCEPT
        assert accept_for(key.hex().encode()) == accept_key(key.hex()).encode()

    @pytest.mark.parametrize(
        "raw",
        [
            head(*ACCEPTED, start=SWITCHING),
            head(*reversed(ACCEPTED), start=b"HTTP/1.1 101 "),
            head(*ACCEPTED, start=b"HTTP/1.1 101"),
            head(b"upgrade:WebSocket", b"connection:keep-alive,Upgrade", ACCEPTED[2] + b"  ", start=SWITCHING),
        ],
    )
    def test_a_101_for_this_key_opens_a_tunnel(self, raw: bytes) -> None:
        assert is_tunnel(parse_response(raw), read_request(request()))

    @pytest.mark.parametrize(
        "lines",
        [
            (),
            ACCEPTED[1:],
            ACCEPTED[:2],
            (ACCEPTED[0], ACCEPTED[2]),
            (*ACCEPTED, ACCEPTED[2]),
            (*ACCEPTED, UPGRADE),
            (*ACCEPTED[:2], b"Sec-WebSocket-Accept: " + ACCEPT.swapcase()),
            (*ACCEPTED[:2], b"Sec-WebSocket-Accept: " + ACCEPT + b", " + ACCEPT),
            (b"Upgrade: h2c", *ACCEPTED[1:]),
            (b"Upgrade: websocket, h2c", *ACCEPTED[1:]),
        ],
    )
    def test_a_101_that_does_not_accept_this_key_opens_none(self, lines: tuple[bytes, ...]) -> None:
        assert not is_tunnel(parse_response(head(*lines, start=SWITCHING)), read_request(request()))

    def test_http_1_0_opens_no_tunnel_but_may_refuse(self) -> None:
        accepting = parse_response(head(*ACCEPTED, start=b"HTTP/1.0 101 Go"))
        assert not is_tunnel(accepting, read_request(request()))
        assert parse_response(b"HTTP/1.0 404 Not Found\r\n\r\n").status == 404

    @pytest.mark.parametrize(
        "start",
        [
            b"",
            b"HTTP/1.1",
            b"HTTP/1.1 ",
            b"HTTP/1.1 1010 a",
            b"HTTP/1.1 10 a",
            b"HTTP/1.1 099 a",
            b"HTTP/1.1 +10 a",
            b"HTTP/1.1  101 a",
            b"HTTP/1.1 101a",
            b"HTTP/2 101 a",
            b"http/1.1 101 a",
            b"HTTP/1.1\t101 a",
            b"HTTP/1.1 101 a\0",
            b"HTTP/1.1 101 a\r",
        ],
    )
    def test_a_malformed_status_line_is_refused(self, start: bytes) -> None:
        with pytest.raises(BadHead) as refusal:
            parse_response(head(*ACCEPTED, start=start))
        assert refusal.value.status == 502

    @pytest.mark.parametrize("line", [b"A : b", b" A: b", b"A", b"A: \0", b"A: b\rc", *[b"A: b\r\n" * 200]])
    def test_a_malformed_header_is_refused(self, line: bytes) -> None:
        with pytest.raises(BadHead) as refusal:
            parse_response(head(line, start=SWITCHING))
        assert refusal.value.status == 502

    @pytest.mark.parametrize("status", [100, 102, 103])
    def test_interim_answers_are_told_by_their_status(self, status: int) -> None:
        assert parse_response(b"HTTP/1.1 %d \r\n\r\n" % status).status == status


KEEP = b"Connection: keep-alive"
CLOSE = b"Connection: close"


class TestPersistence:
    @pytest.mark.parametrize(
        ("start", "request_lines", "response", "expected"),
        [
            (b"GET / HTTP/1.1", (), b"HTTP/1.1 200 \r\n\r\n", True),
            (b"GET / HTTP/1.1", (CLOSE,), b"HTTP/1.1 200 \r\n\r\n", False),
            (b"GET / HTTP/1.1", (b"Connection: x, CLOSE",), b"HTTP/1.1 200 \r\n\r\n", False),
            (b"GET / HTTP/1.1", (), b"HTTP/1.1 200 \r\nConnection: close\r\n\r\n", False),
            (b"GET / HTTP/1.1", (), b"HTTP/1.0 200 \r\n\r\n", False),
            (b"GET / HTTP/1.1", (), b"HTTP/1.0 200 \r\nConnection: keep-alive\r\n\r\n", True),
            (b"GET / HTTP/1.0", (), b"HTTP/1.1 200 \r\n\r\n", False),
            (b"GET / HTTP/1.0", (KEEP,), b"HTTP/1.1 200 \r\n\r\n", False),
            (b"GET / HTTP/1.0", (KEEP,), b"HTTP/1.1 200 \r\nConnection: Keep-Alive\r\n\r\n", True),
            (b"GET / HTTP/1.0", (), b"HTTP/1.0 200 \r\nConnection: keep-alive\r\n\r\n", False),
        ],
    )
    def test_both_must_agree(
        self, start: bytes, request_lines: tuple[bytes, ...], response: bytes, expected: bool
    ) -> None:
        asked = read_request(head(HOST, *request_lines, start=start))
        assert persists(asked, parse_response(response)) == expected


class TestBuilding:
    def test_an_answer_is_complete_and_closes(self) -> None:
        assert build_answer(503, [("Retry-After", "5")], "né\n") == (
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 4\r\nConnection: close\r\n\r\nn\xc3\xa9\n"
        )

    def test_what_is_given_is_not_added(self) -> None:
        given_headers = [("CONTENT-TYPE", "text/html"), ("content-length", "9"), ("Connection", "keep-alive")]
        assert build_answer(499, given_headers, "x", reason="Odd") == (
            b"HTTP/1.1 499 Odd\r\nCONTENT-TYPE: text/html\r\ncontent-length: 9\r\nConnection: keep-alive\r\n\r\nx"
        )

    def test_an_unknown_status_has_a_phrase(self) -> None:
        assert build_answer(599).startswith(b"HTTP/1.1 599 Unknown\r\n")

    @pytest.mark.parametrize("status", [204, 304])
    def test_an_answer_that_can_have_no_body_has_none(self, status: int) -> None:
        assert build_answer(status, body="x").endswith(b"\r\nConnection: close\r\n\r\n")
        assert b"Content-" not in build_answer(status, body="x")

    @given(st.integers(200, 599), st.text("a\r\n\0: é", max_size=5), st.text("b\r\n\0: ", max_size=5))
    def test_nothing_given_can_begin_a_line_of_its_own(self, status: int, name: str, value: str) -> None:
        good = build_answer(status, [("a", "b")], reason="c")
        for headers, reason in (([(name, value)], "c"), ([("a", "b")], value or "c")):
            try:
                answer = build_answer(status, headers, reason=reason)
            except ValueError:
                continue
            assert answer.count(b"\r") == answer.count(b"\n") == good.count(b"\n")
            assert b"\0" not in answer

    @given(st.integers(200, 599), st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=20))
    def test_its_own_reader_reads_it(self, status: int, body: str) -> None:
        reader = HeadReader(from_client=False)
        raw = reader.feed(build_answer(status, body=body))
        assert raw is not None
        response = parse_response(raw)
        assert response.status == status
        end = BodyEnd(response)
        assert end.feed(reader.rest) == reader.rest
        assert end.is_over


class TestHost:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"Host: a\r\n", b"Host: new:1\r\n"),
            (b"hOST:a\r\n", b"hOST:new:1\r\n"),
            (b"X-Host: a\r\nHost:\t a.example:80 \t\r\nHosts: b\r\n", b"X-Host: a\r\nHost:\t new:1 \t\r\nHosts: b\r\n"),
            (b"A: Host: x\r\nHOST: \r\n", b"A: Host: x\r\nHOST: new:1\r\n"),
        ],
    )
    def test_only_the_value_of_its_own_line_is_another(self, before: bytes, after: bytes) -> None:
        head = b"GET /host:%20x HTTP/1.1\r\n", b"Odd:\xff  value\r\n\r\n"
        assert with_host(head[0] + before + head[1], "new:1") == head[0] + after + head[1]

    def test_what_stands_in_for_it_is_taken_literally(self) -> None:
        assert with_host(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", r"\1") == b"GET / HTTP/1.1\r\nHost: \\1\r\n\r\n"
