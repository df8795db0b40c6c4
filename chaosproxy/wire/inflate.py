"""Read permessage-deflate streams (RFC 7692). We inflate for reading; there is no deflater: section 6 lets any message
go uncompressed, so what must be rewritten on such a stream goes out plain.
"""

import zlib
from enum import Enum, auto

from .frames import SIDES, Side
from .http import Response

FINAL_BLOCKS_MAX = 64  # in one message; each restarts the inflater
_SLICE = 64 * 1024
_TAIL = b"\x00\x00\xff\xff"  # section 7.2.2
_PARAMETERS = {
    f"{side.label}_{name}".encode() for side in SIDES for name in ("no_context_takeover", "max_window_bits")
}  # section 7.1


class Untracked(Exception):
    """The stream can't be read any more: over the size cap with context takeover, or not a deflate stream."""


class Extension(Enum):
    """What the handshake negotiated, as far as reading messages is concerned."""

    NONE = auto()
    DEFLATE = auto()
    UNKNOWN = auto()  # messages can be neither read nor changed


class Negotiated:
    """The extensions of a 101 response (RFC 6455, section 9.1)."""

    def __init__(self, response: Response) -> None:
        self.extension = Extension.NONE
        self._parameters: set[bytes] = set()
        offers = response.tokens(b"sec-websocket-extensions")
        if not offers:
            return
        name, *parameters = (part.partition(b"=")[0].strip() for part in offers[0].split(b";"))
        self._parameters = set(parameters)
        is_known = (
            len(offers) == 1
            and name == b"permessage-deflate"
            and len(self._parameters) == len(parameters)
            and self._parameters <= _PARAMETERS
        )
        self.extension = Extension.DEFLATE if is_known else Extension.UNKNOWN

    def inflater(self, side: Side, message_bytes_max: int) -> "Inflater | None":
        """The reader for what `side` sends; None where nothing is compressed."""
        if self.extension is not Extension.DEFLATE:
            return None
        takeover = side.label.encode() + b"_no_context_takeover" not in self._parameters
        return Inflater(takeover=takeover, message_bytes_max=message_bytes_max)


class Inflater:
    """Inflate the messages of one direction, in order, with a cap on each message's inflated size."""

    def __init__(self, *, takeover: bool, message_bytes_max: int) -> None:
        self.is_lost = False
        self.takeover = takeover
        self._size_max = message_bytes_max
        # The largest window reads every smaller one, whatever max_window_bits was agreed.
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, payload: bytes) -> bytes:
        """Inflate one message's payload. Raise Untracked where it can't be; with takeover, from then on always."""
        if self.is_lost:
            raise Untracked("an earlier message could not be read")
        try:
            return self._read(payload)
        except zlib.error as error:
            self.lose()
            raise Untracked(f"not a deflate stream: {error}") from None
        except Untracked:
            self.lose()
            raise

    def _read(self, payload: bytes) -> bytes:
        if not self.takeover:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        if not payload:
            return b""  # not a deflate stream, but there is only one thing it can mean
        parts: list[bytes] = []
        size = at = blocks = 0
        rest = b""
        while rest or at < len(payload):
            if not rest:  # in slices, since zlib keeps a copy of what it has not got to
                rest = payload[at : at + _SLICE]
                at += _SLICE
                rest += _TAIL if at >= len(payload) else b""
            parts.append(self._inflate.decompress(rest, self._size_max + 1 - size))
            size += len(parts[-1])
            if size > self._size_max:
                raise Untracked(f"a message inflates to more than {self._size_max} bytes")
            rest = b""
            if self._inflate.eof:
                # A final block ended the stream (section 7.2.3.4 allows it); what follows starts a new one. Should a
                # peer keep its window across it, zlib can't: the next reference into it is an error, not wrong text.
                rest = self._inflate.unused_data
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                blocks += 1
                if at >= len(payload) and len(rest) <= len(_TAIL):
                    break
                if blocks == FINAL_BLOCKS_MAX:
                    raise Untracked(f"a message holds more than {FINAL_BLOCKS_MAX} final blocks")
        return b"".join(parts)

    def lose(self) -> None:
        """A message passed unread: with context takeover nothing behind it can be read."""
        self.is_lost = self.takeover
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)  # the old one keeps what it has not inflated
