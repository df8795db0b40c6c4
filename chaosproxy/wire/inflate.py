"""Read permessage-deflate streams (RFC 7692). We inflate for reading; there is no deflater: section 6 lets any message
go uncompressed, so what must be rewritten on such a stream goes out plain.
"""

import zlib
from enum import Enum, auto

from .frames import Side
from .http import Response

_TAIL = b"\x00\x00\xff\xff"  # section 7.2.2


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
        offers = [offer.strip() for offer in b",".join(response.values(b"sec-websocket-extensions")).split(b",")]
        offers = [offer for offer in offers if offer]
        self.extension = Extension.NONE
        self._parameters: dict[bytes, bytes] = {}
        if not offers:
            return
        name, *parameters = (part.strip() for part in offers[0].split(b";"))
        if len(offers) > 1 or name.lower() != b"permessage-deflate":
            self.extension = Extension.UNKNOWN
            return
        self.extension = Extension.DEFLATE
        for parameter in parameters:
            key, _, value = parameter.partition(b"=")
            self._parameters[key.strip().lower()] = value.strip().strip(b'"')

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
        if not self.takeover:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = self._inflate.decompress(payload + _TAIL, self._size_max + 1)
        except zlib.error as error:
            self.lose()
            raise Untracked(f"not a deflate stream: {error}") from None
        if len(data) > self._size_max or self._inflate.unconsumed_tail:
            self.lose()
            raise Untracked(f"a message inflates to more than {self._size_max} bytes")
        if self._inflate.eof:
            # A final block ended the stream (section 7.2.3.5 allows it); what follows starts a new one.
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return data

    def lose(self) -> None:
        """A message passed unread: with context takeover nothing behind it can be read."""
        self.is_lost = self.takeover
