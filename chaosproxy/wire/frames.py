"""Find WebSocket frames in a byte stream, and build new ones (RFC 6455, section 5).

The splitter only measures frames, it never judges them: reserved bits, unknown opcodes, a missing or surplus mask and
lengths up to 2^64 - 1 are all followed as they are, and nothing is allocated for a length that was merely declared.
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled module
    from websockets.utils import apply_mask

from .fast import IS_COMPILED, State


class Side(IntEnum):
    """One of the two peers of a connection. An integer, so that it can index a pair."""

    CLIENT = 0
    SERVER = 1

    @property
    def other(self) -> "Side":
        return SIDES[1 - self]

    @property
    def label(self) -> str:
        return "server" if self else "client"


SIDES = (Side.CLIENT, Side.SERVER)


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


FIN = 0x80
RSV1 = 0x40
MASKED = 0x80
HEAD_UNKNOWN = -1
_RUN_MIN = 8
_length_of_8_bytes = Struct("!Q").unpack_from
_CLOSE_BYTES_MAX = 139  # 14 + 125, a legal payload behind the longest head; of a longer frame only so much is kept
_HEAD_SIZES = {126: 4, 127: 10}
# The whole frame's size by its second byte; 0 where the length is in the bytes behind.
_SHORT_SIZES = tuple(
    0 if second & 0x7F > 125 else 2 + (4 if second & MASKED else 0) + (second & 0x7F) for second in range(256)
)


class Piece(NamedTuple):
    """A run of bytes of one frame, never of two."""

    data: bytes
    first: int  # the frame's first byte: FIN, RSV bits, opcode
    starts: bool  # the first byte of the frame is in it
    ends: bool  # the last byte of the frame is in it
    gone: int  # so many leading bytes of `data` have been forwarded before

    @property
    def is_control(self) -> bool:
        return self.first & 0x08 != 0

    @property
    def completes(self) -> bool:
        """Whether a message, or a control frame, ends with it."""
        return self.ends and self.first >= 0x80


class Frame(NamedTuple):
    """One frame taken apart; `payload` is unmasked."""

    first: int
    mask: bytes  # 4 bytes, or none
    payload: bytes


class Splitter(State):
    """Follow the frames of one direction of one connection, however its bytes are chopped.

    Call either `scan` (forward the chunk whole, only count) or `split` (get the pieces) for each chunk.
    """

    __slots__ = ("_on_close",)

    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        self._on_close = on_close  # told when the first close frame begins, and when it has come whole
        self.bytes = 0  # all bytes seen
        self.frames = [0] * 16  # frames seen, by opcode; counted when their length is known
        self.first = 0  # first byte of the frame in progress, where `need` is not 0
        self.need = 0  # bytes the frame in progress still lacks
        self.head = b""  # the beginning of a frame whose length is not known yet (at most 9 bytes)
        self.gone = 0  # so many bytes of `head` have been forwarded
        self.open = False  # a fragmented message has begun and not ended
        self.closing = b""  # the first close frame, as much of it as has come and is kept
        self._close_lacks = 0  # bytes that frame still lacks

    @property
    def inside_frame(self) -> bool:
        return self.need > 0 or bool(self.head)

    def follow(self, data: bytes) -> None:
        """Follow a chunk that is forwarded whole: what `scan` does. No frame objects, one pass over the heads."""
        size = len(data)
        self.bytes += size
        at = self.need
        if at >= size:
            self.need = at - size
            if self._close_lacks:
                self._follow_close(data)
            return
        if at:
            self.need = 0
            if self._close_lacks:
                self._follow_close(data[:at])
        elif self.head:
            data = self.head + data
            size = len(data)
            self.head = b""
            self.gone = 0
        frames = self.frames
        is_open = self.open
        may_run = True
        last = size - 1
        while at < last:
            first = data[at]
            second = data[at + 1]
            end = at + _SHORT_SIZES[second]
            if end == at:
                # Written out as in `frame_end`, since a call would cost a third more.
                end += 8 if second & MASKED else 4
                if second & 0x7F == 126:
                    if at + 4 > size:
                        break
                    end += data[at + 2] << 8 | data[at + 3]
                else:
                    if at + 10 > size:
                        break
                    end += 6 + _length_of_8_bytes(data, at + 2)[0]
            frames[first & 0x0F] += 1
            if not first & 0x08:
                is_open = first < FIN
            elif first & 0x0F == Opcode.CLOSE and not self.closing:
                self._begin_close(data, at, end)
            if may_run and end < last:
                # Messages in flight are often alike. Once per chunk, so that it costs little where they are not.
                may_run = False
                run = _equal_heads(data, at, end)
                frames[first & 0x0F] += run
                end += run * (end - at)
            at = end
        self.open = is_open
        if at > size:
            self.need = at - size
            self.first = first
        elif at < size:
            self.head = data[at:]
            self.gone = size - at

    if not IS_COMPILED:
        scan = follow

    def split(self, data: bytes, *, forwarded: bool = False) -> list[Piece]:
        """Cut a chunk at the ends of frames. A head whose length is not known yet is withheld (see `release_head`).

        With `forwarded` the caller sends the chunk on whole: pieces then serve only for reading.
        """
        self.bytes += len(data)
        pieces: list[Piece] = []
        at = 0
        if self.need:
            at = min(self.need, len(data))
            self.need -= at
            pieces.append(Piece(data[:at], self.first, starts=False, ends=not self.need, gone=0))
            if self._close_lacks:
                self._follow_close(data[:at])
        data = self.head + data
        gone = self.gone
        self.head = b""
        self.gone = 0
        size = len(data)
        while at < size:
            end = frame_end(data, at)
            if end == HEAD_UNKNOWN:
                self.head = data[at:]
                self.gone = size - at if forwarded else gone
                break
            self.first = first = data[at]
            self.frames[first & 0x0F] += 1
            if not first & 0x08:
                self.open = first < FIN
            elif first & 0x0F == Opcode.CLOSE and not self.closing:
                self._begin_close(data, at, end)
            stop = min(end, size)
            pieces.append(Piece(data[at:stop], first, starts=True, ends=end <= size, gone=gone))
            gone = 0
            self.need = end - stop
            at = stop
        return pieces

    def _begin_close(self, data: bytes, at: int, end: int) -> None:
        self.closing = data[at : min(end, at + _CLOSE_BYTES_MAX)]
        self._close_lacks = max(0, end - len(data))
        self._on_close()

    def _follow_close(self, data: bytes) -> None:
        self.closing += data[: _CLOSE_BYTES_MAX - len(self.closing)]
        self._close_lacks -= len(data)
        if not self._close_lacks:
            self._on_close()

    @property
    def has_closed(self) -> bool:
        """Whether a whole close frame has come."""
        return bool(self.closing) and not self._close_lacks

    @property
    def close_status(self) -> tuple[int | None, str]:
        """The code and reason of the close frame, once it has come."""
        return parse_close(parse_frame(self.closing).payload) if self.has_closed else (None, "")

    @property
    def inside_message(self) -> bool:
        """Whether bytes of a text or binary message have come and not all of them."""
        return self.open or (self.inside_frame and not self.inside_control)

    @property
    def has_had_message(self) -> bool:
        """Whether the first text or binary message has come to its end."""
        begun = self.frames[1] + self.frames[2]
        return begun > 1 or (begun == 1 and not self.inside_message)

    @property
    def inside_control(self) -> bool:
        """Whether a control frame is incomplete."""
        return self.inside_frame and (self.head[0] if self.head else self.first) & 0x08 != 0

    def release_head(self) -> bytes:
        """Give what `split` withheld, to be forwarded now."""
        withheld = self.head[self.gone :]
        self.gone = len(self.head)
        return withheld


def frame_end(data: bytes, at: int) -> int:
    """Where the frame that begins at `at` ends, or HEAD_UNKNOWN while its length has not arrived."""
    size = len(data)
    if at + 2 > size:
        return HEAD_UNKNOWN
    second = data[at + 1]
    if short := _SHORT_SIZES[second]:
        return at + short
    end = at + (8 if second & MASKED else 4)
    if second & 0x7F == 126:
        return end + (data[at + 2] << 8 | data[at + 3]) if at + 4 <= size else HEAD_UNKNOWN
    return end + 6 + int(_length_of_8_bytes(data, at + 2)[0]) if at + 10 <= size else HEAD_UNKNOWN


def _head_size(second: int) -> int:
    """The bytes of a frame's head in front of its mask key."""
    return _HEAD_SIZES.get(second & 0x7F, 2)


def _equal_heads(data: bytes, at: int, end: int) -> int:
    """How many whole frames behind the one from `at` to `end` have the same head, compared column by column.

    Where only a few could, none is told: they are faster followed one by one.
    """
    stride = end - at
    run = (len(data) - end) // stride
    if run < _RUN_MIN:
        return 0
    for column in range(_head_size(data[at + 1])):
        if not run:
            break
        wanted = data[at + column : at + column + 1]
        found = data[end + column : end + run * stride : stride]
        if found != wanted * run:
            run -= len(found.lstrip(wanted))
    return run


def parse_frame(raw: bytes) -> Frame:
    """Take one complete frame apart."""
    mask = parse_mask(raw)
    payload = raw[_head_size(raw[1]) + len(mask) :]
    return Frame(raw[0], mask, apply_mask(payload, mask) if mask else payload)


def parse_mask(raw: bytes) -> bytes:
    """The mask key of a frame, or nothing."""
    at = _head_size(raw[1])
    return raw[at : at + 4] if raw[1] & MASKED else b""


def build_frame(opcode: int, payload: bytes, mask: bytes = b"", *, fin: bool = True) -> bytes:
    """Make one frame, in the shortest encoding of its length; masked where a 4-byte `mask` is given."""
    first = (FIN if fin else 0) | opcode
    masked = MASKED if mask else 0
    size = len(payload)
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 1 << 16:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    return head + mask + (apply_mask(payload, mask) if mask else payload)


def build_fragments(opcode: int, payload: bytes, mask: bytes, size: int) -> bytes:
    """Make one message of frames with at most `size` bytes of payload each (section 5.4)."""
    starts = range(0, max(1, len(payload)), size)
    return b"".join(
        build_frame(
            opcode if not at else Opcode.CONTINUATION, payload[at : at + size], mask, fin=at + size >= len(payload)
        )
        for at in starts
    )


class Shape(NamedTuple):
    """A frame as it may not be allowed to be: any first byte, masked or not, of any declared length."""

    first: int
    payload: bytes = b""
    has_wrong_mask: bool = False  # masked toward a client, not masked toward a server
    declares: int | None = None  # the length, in the longest encoding; None: the payload's

    def build(self, mask: bytes) -> bytes:
        """Its bytes; `mask` is the key of frames of our own toward a server, none toward a client."""
        if self.has_wrong_mask:
            mask = b"" if mask else bytes(4)
        frame = build_frame(0, self.payload, mask)
        if self.declares is not None:
            body = frame[_head_size(frame[1]) :]
            frame = bytes((0, (MASKED if mask else 0) | 127)) + self.declares.to_bytes(8, "big") + body
        return bytes((self.first,)) + frame[1:]


def build_close(code: int | None, reason: bytes = b"", mask: bytes = b"") -> bytes:
    """Make a close frame with any 16-bit code, registered or not; with None, one without a status (section 7.1.5)."""
    return build_frame(Opcode.CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason, mask)


def parse_close(payload: bytes) -> tuple[int | None, str]:
    """Read the code and reason of a close frame's payload, as much of them as there is."""
    if len(payload) < 2:
        return None, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
