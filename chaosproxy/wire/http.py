"""Read HTTP/1.1 heads strictly and keep their bytes: what is forwarded is what came (RFC 9112; RFC 6455, section 4).

A lenient head parser in a proxy is a smuggling hole, so whatever two servers might read in two ways is refused here.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from enum import Enum
from hashlib import sha1
from http import HTTPStatus

HEAD_BYTES_MAX = 64 * 1024
TARGET_BYTES_MAX = 8 * 1024
HEADERS_MAX = 128

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


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

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated header, in lower case."""
        members = (member.strip().lower() for value in self.values(name) for member in value.split(b","))
        return [member for member in members if member]


class Request(Head):
    """An upgrade request to exactly `websocket`."""

    def __init__(self, raw: bytes, start: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw, start, headers)
        method, self.target, version = start.split(b" ")
        _check_request(self, method, version)
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
            raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's status line is not one of HTTP/1.1")
        self.status = int(match[1])


class HeadReader:
    """Collect the bytes of a head. `feed` gives the complete head's bytes once; what came behind it is in `rest`."""

    def __init__(self, *, from_client: bool) -> None:
        self.rest = b""
        self.begun = False
        self._from_client = from_client
        self._searched = 0

    def feed(self, data: bytes) -> bytes | None:
        """Raise BadHead when the head is over a limit or certainly not HTTP."""
        self.rest += data
        self.begun = self.begun or bool(data)
        end = self.rest.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            self._searched = len(self.rest)
            self._check_beginning()
            return None
        raw, self.rest = self.rest[: end + 4], self.rest[end + 4 :]
        self._searched = 0
        self._check_size(raw)
        return raw

    def _check_size(self, raw: bytes) -> None:
        if not self._from_client:
            if len(raw) > HEAD_BYTES_MAX:
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's response head is too large")
            return
        line = raw.find(b"\r\n")
        if (line if line >= 0 else len(raw)) > TARGET_BYTES_MAX + 32:
            raise BadHead(
                HTTPStatus.REQUEST_URI_TOO_LONG, f"the request target is longer than {TARGET_BYTES_MAX} bytes"
            )
        if len(raw) > HEAD_BYTES_MAX:
            raise BadHead(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the request head exceeds {HEAD_BYTES_MAX} bytes"
            )

    def _check_beginning(self) -> None:
        self._check_size(self.rest)
        if self._from_client:
            if not _GET.startswith(self.rest[: len(_GET)]) and not _may_be_request(self.rest):
                raise BadHead(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request")
        elif not b"HTTP/1.".startswith(self.rest[:7]):
            raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's answer is not HTTP/1.1")


_END_TO_END = {b"host", b"origin", b"cookie", b"authorization", b"content-length"}
_GET = b"GET "
_METHOD_BYTES_MAX = 32


def _may_be_request(data: bytes) -> bool:
    method, space, rest = data[: _METHOD_BYTES_MAX + 1].partition(b" ")
    if not _TOKEN.fullmatch(method) or (not space and len(data) > _METHOD_BYTES_MAX):
        return False
    return b"\n" not in rest or b"\r\n" in data


def parse_request(raw: bytes) -> Request:
    """Read the head of an upgrade request. Raise BadHead (400, 426, 431, 505 …) for anything else."""
    lines = _lines(raw, HTTPStatus.BAD_REQUEST)
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise BadHead(HTTPStatus.BAD_REQUEST, "the request line is malformed")
    return Request(raw, lines[0], _headers(lines[1:], HTTPStatus.BAD_REQUEST))


def parse_response(raw: bytes) -> Response:
    """Read the head of an upstream's answer. Raise BadHead (502) for a malformed one."""
    lines = _lines(raw, HTTPStatus.BAD_GATEWAY)
    return Response(raw, lines[0], _headers(lines[1:], HTTPStatus.BAD_GATEWAY))


def _lines(raw: bytes, status: HTTPStatus) -> list[bytes]:
    lines = raw[:-4].split(b"\r\n")
    if any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines):
        raise BadHead(status, "a line of the head is not ended by CRLF, or holds a NUL")
    return lines


def _headers(lines: Iterable[bytes], status: HTTPStatus) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadHead(status, "a header line is malformed (folded, without a colon, or with a space before it)")
        if not _VALUE.fullmatch(value):
            raise BadHead(status, "a header value holds a control character")
        headers.append((name.lower(), value.strip(b" \t")))
    if len(headers) > HEADERS_MAX:
        too_many = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if status < 500 else status
        raise BadHead(too_many, f"the head has more than {HEADERS_MAX} headers")
    return headers


def _check_request(head: Head, method: bytes, version: bytes) -> None:
    if version != b"HTTP/1.1":
        status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if version.startswith(b"HTTP/") else HTTPStatus.BAD_REQUEST
        raise BadHead(status, "a WebSocket handshake needs HTTP/1.1")
    if len(head.values(b"host")) != 1:
        raise BadHead(HTTPStatus.BAD_REQUEST, "a request needs exactly one Host header")
    if head.values(b"transfer-encoding") or any(value != b"0" for value in head.values(b"content-length")):
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake has no body")
    upgrade = head.values(b"upgrade")
    if not upgrade or b"upgrade" not in head.tokens(b"connection"):
        raise BadHead(HTTPStatus.UPGRADE_REQUIRED, "only WebSocket upgrades are carried here")
    if method != b"GET":
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake is a GET request")
    if len(upgrade) != 1 or upgrade[0].lower() != b"websocket":
        raise BadHead(HTTPStatus.BAD_REQUEST, "only an upgrade to exactly 'websocket' is carried")
    nominated = set(head.tokens(b"connection"))
    if nominated & _END_TO_END or any(token.startswith(b"sec-websocket-") for token in nominated):
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
        [value.lower() for value in response.values(b"upgrade")] == [b"websocket"]
        and b"upgrade" in response.tokens(b"connection")
        and response.values(b"sec-websocket-accept") == [accept_for(request.key)]
    )


def build_answer(status: int, headers: Iterable[tuple[str, str]] = (), body: str = "", *, reason: str = "") -> bytes:
    """Make a complete response of our own, after which the connection ends."""
    content = body.encode()
    if not reason:
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    given = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    if "content-type" not in given and content:
        lines.append("Content-Type: text/plain; charset=utf-8")
    if "content-length" not in given:
        lines.append(f"Content-Length: {len(content)}")
    if "connection" not in given:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


class _Chunk(Enum):
    SIZE = 0
    DATA = 1
    TRAILER = 2


class BodyEnd:
    """Find the end of a response's body (RFC 9112, section 6.3), to know when a refused upgrade has been answered."""

    def __init__(self, response: Response) -> None:
        self.is_over = False
        self._need: int | None = None
        self._chunk: _Chunk | None = None
        self._line = b""
        if response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.is_over = True
        elif response.values(b"transfer-encoding"):
            if response.tokens(b"transfer-encoding")[-1:] == [b"chunked"]:
                self._chunk = _Chunk.SIZE
        elif lengths := response.values(b"content-length"):
            if len(lengths) != 1 or not lengths[0].isdigit():
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's Content-Length is malformed")
            self._need = int(lengths[0])
            self.is_over = self._need == 0

    def feed(self, data: bytes) -> bytes:
        """Give the part of `data` that belongs to the body. Without a length, the body ends with the connection."""
        if self.is_over:
            return b""
        if self._chunk is not None:
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
            if self._chunk is _Chunk.DATA:
                step = min(self._need or 0, len(data) - at)
                self._need = (self._need or 0) - step
                at += step
                if not self._need:
                    self._chunk = _Chunk.SIZE
                continue
            newline = data.find(b"\n", at)
            stop = len(data) if newline < 0 else newline + 1
            self._line += data[at:stop]
            at = stop
            if len(self._line) > HEAD_BYTES_MAX:
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's chunked body is malformed")
            if newline >= 0:
                self._end_line(self._line.strip(b"\r\n"))
                self._line = b""
        return data[:at]

    def _end_line(self, line: bytes) -> None:
        if self._chunk is _Chunk.TRAILER:
            self.is_over = not line
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's chunked body is malformed") from None
        self._need = size + 2  # the CRLF behind the data
        self._chunk = _Chunk.DATA if size else _Chunk.TRAILER
