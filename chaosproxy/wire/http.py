"""Read HTTP/1.1 heads strictly and keep their bytes: what is forwarded is what came (RFC 9112; RFC 6455, section 4).

A lenient head parser in a proxy is a smuggling hole, so whatever two servers might read in two ways is refused here.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from hashlib import sha1
from http import HTTPStatus

HEAD_BYTES_MAX = 64 * 1024
TARGET_BYTES_MAX = 8 * 1024
HEADERS_MAX = 128
CHUNK_LINE_BYTES_MAX = 8 * 1024
_METHOD_BYTES_MAX = 32

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST_VALUE = re.compile(rb"(?<=\r\n)(host:[ \t]*)[^\r]*?([ \t]*)(?=\r\n)", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_NOT_IN_A_LINE = re.compile(r"[\r\n\0]")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PLAIN_HTTP = (
    "only WebSocket upgrades are carried here, no plain HTTP: point HTTP requests at the server itself, and let the "
    "client fall back on nothing else (pusher-js: enabledTransports: ['ws'], socket.io: transports: ['websocket'])"
)
_END_TO_END = {b"host", b"origin", b"cookie", b"authorization", b"content-length"}
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)  # and any answer to HEAD, which is never forwarded
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class BadHead(Exception):
    """A head that is not forwarded, with the status that answers it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head:
    """A request's or a response's head. Header names are compared in lower case; values are bytes without padding."""

    def __init__(self, raw: bytes, start: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.raw = raw
        self.start = start
        self.headers = headers

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def without(self, name: bytes) -> bytes:
        """The bytes of the head but for the lines of one header."""
        start, *lines = self.raw[:-4].split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].lower() != name]
        return b"\r\n".join([start, *kept, b"", b""])

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated header, in lower case."""
        members = (member.strip().lower() for value in self.values(name) for member in value.split(b","))
        return [member for member in members if member]


class Request(Head):
    """An upgrade request to exactly `websocket`."""

    def __init__(self, raw: bytes, start: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw, start, headers)
        self.method, self.target, self.version = start.split(b" ")
        _check_request(self)
        self.key = self.values(b"sec-websocket-key")[0]

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> str:
        return self.target.partition(b"?")[2].decode("latin-1")

    def header(self, name: str) -> str | None:
        values = self.values(name.lower().encode())
        return values[0].decode("latin-1") if values else None


class Response(Head):
    """An upstream's answer to an upgrade request."""

    def __init__(self, raw: bytes, start: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw, start, headers)
        match = _STATUS_LINE.fullmatch(start)
        if not match:
            raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's status line is malformed")
        self.status = int(match[1])


class HeadReader:
    """Collect the bytes of a head. `feed` gives the complete head's bytes once; what came behind it is in `rest`."""

    def __init__(self, *, from_client: bool) -> None:
        self.begun = False
        self._check = _check_request_beginning if from_client else _check_response_beginning
        self._status = HTTPStatus.BAD_REQUEST if from_client else HTTPStatus.BAD_GATEWAY
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer without the end of a head

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, data: bytes) -> bytes | None:
        """Raise BadHead when the head is over a limit or certainly not HTTP."""
        self._buffer += data
        self.begun = self.begun or bool(data)
        found = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        end = len(self._buffer) if found < 0 else found + 4
        self._check(self._buffer, end)
        if _BARE_LF.search(self._buffer, self._searched, end):
            raise BadHead(self._status, "a line of the head is not ended by CRLF")
        if found < 0:
            self._searched = end
            return None
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        return raw


def _check_request_beginning(data: bytearray, size: int) -> None:
    method, space, _ = data[: min(size, _METHOD_BYTES_MAX + 1)].partition(b" ")
    if (method and not _TOKEN.fullmatch(method)) or (not space and len(method) > _METHOD_BYTES_MAX):
        raise BadHead(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request")
    line_bytes_max = _METHOD_BYTES_MAX + TARGET_BYTES_MAX + len(b"  HTTP/1.1\r\n")
    if size > line_bytes_max and data.find(b"\r\n", 0, line_bytes_max) < 0:
        raise BadHead(HTTPStatus.REQUEST_URI_TOO_LONG, f"the request target is longer than {TARGET_BYTES_MAX} bytes")
    if size > HEAD_BYTES_MAX:
        raise BadHead(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the request head is larger than {HEAD_BYTES_MAX} bytes"
        )


def _check_response_beginning(data: bytearray, size: int) -> None:
    if not b"HTTP/1.".startswith(bytes(data[: min(size, 7)])):
        raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's answer is not HTTP/1.1")
    if size > HEAD_BYTES_MAX:
        raise BadHead(HTTPStatus.BAD_GATEWAY, f"the upstream's response head is larger than {HEAD_BYTES_MAX} bytes")


def parse_request(raw: bytes) -> Request:
    """Read the head of an upgrade request. Raise BadHead (400, 414, 426, 431, 505) for anything else."""
    start, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = start.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise BadHead(HTTPStatus.BAD_REQUEST, "the request line is malformed")
    return Request(raw, start, _headers(lines, HTTPStatus.BAD_REQUEST))


def parse_response(raw: bytes) -> Response:
    """Read the head of an upstream's answer. Raise BadHead (502) for a malformed one."""
    start, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return Response(raw, start, _headers(lines, HTTPStatus.BAD_GATEWAY))


def with_host(raw: bytes, host: str) -> bytes:
    """The bytes of a request head with another value in the line of its Host; all else stays as it is."""
    return _HOST_VALUE.sub(lambda match: match[1] + host.encode("ascii") + match[2], raw, count=1)


def _headers(lines: Iterable[bytes], status: HTTPStatus) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadHead(status, "a header line is malformed (folded, without a colon, or with a space before it)")
        if not _TEXT.fullmatch(value):
            raise BadHead(status, "a header value holds a control character")
        headers.append((name.lower(), value.strip(b" \t")))
    if len(headers) > HEADERS_MAX:
        too_many = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if status < 500 else status
        raise BadHead(too_many, f"the head has more than {HEADERS_MAX} headers")
    return headers


def _check_request(head: Request) -> None:
    if head.version != b"HTTP/1.1":
        status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if head.version.startswith(b"HTTP/") else HTTPStatus.BAD_REQUEST
        raise BadHead(status, "a WebSocket handshake needs HTTP/1.1")
    if not head.target.startswith(b"/"):
        # RFC 9112, section 3.2: with CONNECT or an absolute URL the client would choose the target.
        raise BadHead(HTTPStatus.BAD_REQUEST, "the request target is not a path")
    if len(head.target) > TARGET_BYTES_MAX:
        raise BadHead(HTTPStatus.REQUEST_URI_TOO_LONG, f"the request target is longer than {TARGET_BYTES_MAX} bytes")
    if len(head.values(b"host")) != 1:
        raise BadHead(HTTPStatus.BAD_REQUEST, "a request needs exactly one Host header")
    upgrade = head.values(b"upgrade")
    nominated = head.tokens(b"connection")
    if not upgrade or b"upgrade" not in nominated:
        raise BadHead(HTTPStatus.UPGRADE_REQUIRED, _PLAIN_HTTP)
    if head.values(b"transfer-encoding") or head.values(b"content-length") not in ([], [b"0"]):
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake has no body")
    if head.method != b"GET":
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake is a GET request")
    if len(upgrade) != 1 or upgrade[0].lower() != b"websocket":
        raise BadHead(HTTPStatus.BAD_REQUEST, "only an upgrade to exactly 'websocket' is carried")
    if any(token in _END_TO_END or token.startswith(b"sec-websocket-") for token in nominated):
        # A server that drops what Connection names would then decide without these.
        raise BadHead(HTTPStatus.BAD_REQUEST, "the Connection header names a header that must reach the server")
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64")


def _is_key(value: bytes) -> bool:
    try:
        return len(b64decode(value, validate=True)) == 16
    except Base64Error:
        return False


def accept_for(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a key (RFC 6455, section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def is_tunnel(response: Response, request: Request) -> bool:
    """Whether a 101 really accepts this request: Upgrade, Connection and Sec-WebSocket-Accept (section 4.1)."""
    return (
        response.start.startswith(b"HTTP/1.1 101")
        and [value.lower() for value in response.values(b"upgrade")] == [b"websocket"]
        and b"upgrade" in response.tokens(b"connection")
        and response.values(b"sec-websocket-accept") == [accept_for(request.key)]
    )


def build_answer(status: int, headers: Sequence[tuple[str, str]] = (), body: str = "", *, reason: str = "") -> bytes:
    """Make a complete response of our own, after which the connection ends.

    Raise ValueError for what would break out of its line; those who take text from outside refuse it before.
    """
    content = b"" if status in BODILESS else body.encode()
    given = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status} {reason or _PHRASES.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if "content-type" not in given and content:
        lines.append("Content-Type: text/plain; charset=utf-8")
    if "content-length" not in given and status not in BODILESS:
        lines.append(f"Content-Length: {len(content)}")
    if "connection" not in given:
        lines.append("Connection: close")
    if any(map(_NOT_IN_A_LINE.search, lines)) or any(":" in name for name in given):
        raise ValueError("a head can't hold CR, LF or NUL, nor a header's name a colon")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


class _Expect(Enum):
    """What comes next in a chunked body (RFC 9112, section 7.1)."""

    SIZE = auto()
    DATA_END = auto()
    TRAILER = auto()


class BodyEnd:
    """Find the end of a response's body (RFC 9112, section 6.3), to know when a refused upgrade has been answered."""

    def __init__(self, response: Response) -> None:
        self.is_over = False
        self._need: int | None = None  # bytes of the body or chunk still to come; None up to the connection's end
        self._expect: _Expect | None = None  # None where the body is not chunked
        self._line = bytearray()
        if response.status in BODILESS:
            self.is_over = True
        elif response.values(b"transfer-encoding"):
            if response.tokens(b"transfer-encoding")[-1:] == [b"chunked"]:
                self._expect = _Expect.SIZE
        elif lengths := response.values(b"content-length"):
            if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's Content-Length is malformed")
            self._need = int(lengths[0])
            self.is_over = self._need == 0

    def feed(self, data: bytes) -> bytes:
        """Give the part of `data` that belongs to the body. Raise BadHead where its chunks are malformed."""
        if self.is_over:
            return b""
        if self._expect is not None:
            return self._feed_chunked(data)
        if self._need is None:
            return data
        part = data[: self._need]
        self._need -= len(part)
        self.is_over = self._need == 0
        return part

    def _feed_chunked(self, data: bytes) -> bytes:
        at = 0
        while at < len(data) and not self.is_over:
            if self._need:
                step = min(self._need, len(data) - at)
                self._need -= step
                at += step
                continue
            stop = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:stop]
            at = stop
            if len(self._line) > CHUNK_LINE_BYTES_MAX:
                raise _malformed_chunk()
            if self._line.endswith(b"\n"):
                self._end_line(bytes(self._line))
                self._line.clear()
        return data[:at]

    def _end_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise _malformed_chunk()
        match self._expect:
            case _Expect.TRAILER:
                self.is_over = line == b"\r\n"
            case _Expect.DATA_END if line == b"\r\n":
                self._expect = _Expect.SIZE
            case _Expect.SIZE if size := _CHUNK_LINE.fullmatch(line[:-2]):
                self._need = int(size[1], 16)
                self._expect = _Expect.DATA_END if self._need else _Expect.TRAILER
            case _:
                raise _malformed_chunk()


def _malformed_chunk() -> BadHead:
    return BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's chunked body is malformed")
