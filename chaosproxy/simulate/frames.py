"""WebSocket as the modelled peers speak it: strictly, uncompressed, each message in one frame."""

from collections.abc import Callable
from typing import NamedTuple

from ..wire.frames import Opcode, Side, Splitter, build_close, build_frame, parse_close
from ..wire.messages import Assembler

MASK = b"\x37\xfa\x21\x3d"  # RFC 6455, section 5.7
PROTOCOL_ERROR, INVALID_DATA = 1002, 1007
_RESERVED = 0x70


class Heard(NamedTuple):
    """A message or control frame, or why the connection must be failed: the code for that."""

    opcode: int
    payload: bytes
    failure: int | None = None


class Ear:
    """Reads what a peer says, as a strict endpoint does."""

    def __init__(self, sender: Side) -> None:
        self._sender = sender
        self._splitter = Splitter()
        self._assembler = Assembler()

    def hear(self, data: bytes) -> list[Heard]:
        heard: list[Heard] = []
        for piece in self._splitter.split(data):
            if failure := self._failure(piece.first):
                return [*heard, Heard(0, b"", failure)]
            if (message := self._assembler.feed(piece)) is None:
                continue
            is_masked = bool(message.mask)
            if is_masked is not (self._sender is Side.CLIENT) or (message.is_control and len(message.payload) > 125):
                return [*heard, Heard(0, b"", PROTOCOL_ERROR)]
            if message.opcode == Opcode.TEXT and not _is_text(message.payload):
                return [*heard, Heard(0, b"", INVALID_DATA)]
            heard.append(Heard(message.opcode, message.payload))
        return heard

    @staticmethod
    def _failure(first: int) -> int | None:
        is_known = first & 0x0F in (0, *Opcode)
        return PROTOCOL_ERROR if first & _RESERVED or not is_known else None


class Mouth:
    """Says frames by a socket's `send`."""

    def __init__(self, send: Callable[[bytes], None], sender: Side) -> None:
        self._send = send
        self._mask = MASK if sender is Side.CLIENT else b""

    def text(self, words: str) -> None:
        self._send(build_frame(Opcode.TEXT, words.encode(), self._mask))

    def ping(self) -> None:
        self._send(build_frame(Opcode.PING, b"", self._mask))

    def pong(self, payload: bytes) -> None:
        self._send(build_frame(Opcode.PONG, payload, self._mask))

    def close(self, code: int | None) -> None:
        self._send(build_close(code, b"", self._mask))


def close_code(payload: bytes) -> int | None:
    """The code of a close frame."""
    return parse_close(payload)[0]


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
