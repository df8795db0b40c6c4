"""Read HTTP/1.1 heads strictly and keep their bytes: what is forwarded is what came (RFC 9112; RFC 6455, section 4).

A lenient head parser in a proxy is a smuggling hole, so whatever two servers might read in two ways is refused here.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from hashlib import sha1
from http import HTTPStatus

HEAD_BYTES_MAX = 64 * 1024
TARGET_BYTES_MAX = 8 * 1024
HEADERS_MAX = 128
_METHOD_BYTES_MAX = 32

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST_VALUE = re.compile(rb"(?<=\r\n)(host:[ \t]*)[^\r]*?([ \t]*)(?=\r\n)", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_NOT_IN_A_LINE = re.compile(r"[\r\n\0]")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_END_TO_END = {b"host", b"origin", b"cookie", b"authorization", b"content-length", b"transfer-encoding"}
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)  # and any answer to HEAD
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

    @property
    def names(self) -> tuple[str, ...]:
        """What may be told of the headers: their values may be secrets."""
        return tuple(name.decode("latin-1") for name, _ in self.headers)

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
    """An upgrade request to exactly `websocket`, or a plain one."""

    def __init__(self, raw: bytes, start: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw, start, headers)
        self.method, self.target, self.version = start.split(b" ")
        self.is_upgrade = bool(self.values(b"upgrade"))
        _check_request(self)
        (_check_upgrade if self.is_upgrade else _check_plain)(self)

    @property
    def key(self) -> bytes:
        """An upgrade's Sec-WebSocket-Key."""
        return self.values(b"sec-websocket-key")[0]

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
    """An upstream's answer."""

    def __init__(self, raw: bytes, start: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw, start, headers)
        match = _STATUS_LINE.fullmatch(start)
        if not match:
            raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's status line is malformed")
        self.is_old = match[1] == b"0"  # HTTP/1.0
        self.status = int(match[2])


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
    """Read the head of a request, upgrade or plain. Raise BadHead (400, 405, 414, 431, 505) for anything else."""
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
    """What any request must be."""
    is_old = head.version == b"HTTP/1.0" and not head.is_upgrade
    if head.version != b"HTTP/1.1" and not is_old:
        status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if head.version.startswith(b"HTTP/") else HTTPStatus.BAD_REQUEST
        what = "a WebSocket handshake needs HTTP/1.1" if head.is_upgrade else "only HTTP/1.1 and HTTP/1.0 are carried"
        raise BadHead(status, what)
    if head.method == b"CONNECT":
        raise BadHead(HTTPStatus.METHOD_NOT_ALLOWED, "CONNECT would choose the target: this proxy has its one upstream")
    if not head.target.startswith(b"/") and (head.is_upgrade or (head.method, head.target) != (b"OPTIONS", b"*")):
        # RFC 9112, section 3.2: with an absolute URL the client would choose the target.
        raise BadHead(HTTPStatus.BAD_REQUEST, "the request target is not a path")
    if len(head.target) > TARGET_BYTES_MAX:
        raise BadHead(HTTPStatus.REQUEST_URI_TOO_LONG, f"the request target is longer than {TARGET_BYTES_MAX} bytes")
    if len(head.values(b"host")) != 1 and not (is_old and not head.values(b"host")):
        raise BadHead(HTTPStatus.BAD_REQUEST, "a request needs exactly one Host header")
    if any(token in _END_TO_END or token.startswith(b"sec-websocket-") for token in head.tokens(b"connection")):
        # A server that drops what Connection names would then decide without these.
        raise BadHead(HTTPStatus.BAD_REQUEST, "the Connection header names a header that must reach the server")


def _check_plain(head: Request) -> None:
    """The end of a plain request's body must be beyond doubt (RFC 9112, section 6.3)."""
    codings, lengths = head.values(b"transfer-encoding"), head.values(b"content-length")
    if codings and (lengths or head.version != b"HTTP/1.1"):
        raise BadHead(HTTPStatus.BAD_REQUEST, "Transfer-Encoding goes with HTTP/1.1 and without a Content-Length only")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise BadHead(HTTPStatus.BAD_REQUEST, "the only Transfer-Encoding carried is exactly one 'chunked'")
    if lengths and (len(lengths) != 1 or not LENGTH.fullmatch(lengths[0])):
        raise BadHead(HTTPStatus.BAD_REQUEST, "the Content-Length is malformed, or there are several")


def _check_upgrade(head: Request) -> None:
    upgrade = head.values(b"upgrade")
    if b"upgrade" not in head.tokens(b"connection"):
        raise BadHead(HTTPStatus.BAD_REQUEST, "an Upgrade header needs a Connection header that names it")
    if head.values(b"transfer-encoding") or head.values(b"content-length") not in ([], [b"0"]):
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake has no body")
    if head.method != b"GET":
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake is a GET request")
    if len(upgrade) != 1 or upgrade[0].lower() != b"websocket":
        raise BadHead(HTTPStatus.BAD_REQUEST, "only an upgrade to exactly 'websocket' is carried")
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise BadHead(HTTPStatus.BAD_REQUEST, "a WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64")


def persists(request: Request, response: Response) -> bool:
    """Whether both heads let the connection live on behind the response's body (RFC 9112, section 9.3)."""
    options = request.tokens(b"connection"), response.tokens(b"connection")
    if any(b"close" in each for each in options):
        return False
    is_old = request.version == b"HTTP/1.0", response.is_old
    if any(is_old) and b"keep-alive" not in options[1]:
        return False
    return not is_old[0] or b"keep-alive" in options[0]


def _is_key(value: bytes) -> bool:
    try:
        return len(b64decode(value, validate=True)) == 16
    except Base64Error:
        return False


def accept_for(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a key (RFC 6455, section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def build_acceptance(request: Request) -> bytes:
    """Make a 101 of our own that accepts a WebSocket, with no extension and no subprotocol (section 4.2.2)."""
    accept = accept_for(request.key).decode()
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode()


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
