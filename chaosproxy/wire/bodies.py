"""Find the end of a request's or a response's body in the bytes that come (RFC 9112, sections 6.3 and 7.1).

Nothing is decoded and nothing changed: whoever carries a body only has to know which bytes are its own.
"""

import re
from enum import Enum, auto
from http import HTTPStatus

from .http import BODILESS, LENGTH, BadHead, Request, Response

CHUNK_LINE_BYTES_MAX = 8 * 1024

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class _Expect(Enum):
    """What comes next in a chunked body (RFC 9112, section 7.1)."""

    SIZE = auto()
    DATA_END = auto()
    TRAILER = auto()


class BodyEnd:
    """Follow a body to its end.

    Of a client's chunked body nothing is given before its line is complete and well formed, so nothing else reaches
    the upstream. What an upstream sends passes as it comes.
    """

    def __init__(self, head: Request | Response, *, answers_head: bool = False) -> None:
        """Raise BadHead where the end of the body can't be known for sure. `answers_head`: a response to HEAD."""
        self.is_over = False
        self.surplus = b""  # of what was fed last: what came behind the body
        self._is_request = isinstance(head, Request)
        self._need: int | None = None  # bytes of the body or chunk still to come; None up to the connection's end
        self._expect: _Expect | None = None  # None where the body is not chunked
        self._line = bytearray()
        codings, lengths = head.values(b"transfer-encoding"), head.values(b"content-length")
        if isinstance(head, Response) and (answers_head or head.status in BODILESS):
            self.is_over = True
        elif isinstance(head, Response) and codings:
            if lengths:
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's answer has both a length and a coding")
            names = head.tokens(b"transfer-encoding")
            if names.count(b"chunked") > 1:
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's answer is chunked twice")
            if names[-1:] == [b"chunked"] and not head.is_old:
                self._expect = _Expect.SIZE
        elif codings:
            self._expect = _Expect.SIZE
        elif lengths:
            if len(lengths) != 1 or not LENGTH.fullmatch(lengths[0]):
                raise BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's Content-Length is malformed")
            self._need = int(lengths[0])
            self.is_over = self._need == 0
        elif self._is_request:
            self.is_over = True

    @property
    def lasts(self) -> bool:
        """Whether only the end of the connection ends it."""
        return not self.is_over and self._need is None and self._expect is None

    def feed(self, data: bytes) -> bytes:
        """Give the part of `data` that belongs to the body. Raise BadHead where its chunks are malformed.

        What is withheld of a client's line is given with the rest of the line.
        """
        at = len(data)
        if self.is_over:
            at = 0
        elif self._expect is not None:
            return self._feed_chunked(data)
        elif self._need is not None:
            at = min(self._need, at)
            self._need -= at
            self.is_over = self._need == 0
        self.surplus = data[at:]
        return data[:at]

    def _feed_chunked(self, data: bytes) -> bytes:
        at = 0
        withheld = bytes(self._line) if self._is_request else b""
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
                raise self._malformed()
            if self._line.endswith(b"\n"):
                self._end_line(bytes(self._line))
                self._line.clear()
        self.surplus = data[at:]
        if not self._is_request:
            return data[:at]
        taken = withheld + data[:at]
        return taken[: len(taken) - len(self._line)]

    def _end_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise self._malformed()
        match self._expect:
            case _Expect.TRAILER if line == b"\r\n":
                self.is_over = True
            case _Expect.TRAILER if _TRAILER.fullmatch(line[:-2]) or not self._is_request:
                pass
            case _Expect.DATA_END if line == b"\r\n":
                self._expect = _Expect.SIZE
            case _Expect.SIZE if size := _CHUNK_LINE.fullmatch(line[:-2]):
                self._need = int(size[1], 16)
                self._expect = _Expect.DATA_END if self._need else _Expect.TRAILER
            case _:
                raise self._malformed()

    def _malformed(self) -> BadHead:
        if self._is_request:
            return BadHead(HTTPStatus.BAD_REQUEST, "the request's chunked body is malformed")
        return BadHead(HTTPStatus.BAD_GATEWAY, "the upstream's chunked body is malformed")
