"""Put messages together from the pieces of their frames (RFC 6455, section 5.4).

A message is judged only when all of it is here and none of it has left. What cannot be judged passes as loose bytes.
"""

from functools import cached_property
from typing import NamedTuple

from .frames import RSV1, Opcode, Piece, parse_frame


class Loose(NamedTuple):
    """Bytes of a message that will not be judged."""

    data: bytes
    ends: bool  # a frame ends with them
    begins: bool  # they are the first of their message to be let go


class Message:
    """One complete message, or one control frame, in its original frames."""

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames

    @cached_property
    def raw(self) -> bytes:
        """The very bytes that came."""
        return self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)

    @property
    def opcode(self) -> int:
        return self.frames[0][0] & 0x0F

    @property
    def is_control(self) -> bool:
        return self.frames[0][0] & 0x08 != 0

    @property
    def is_compressed(self) -> bool:
        """RSV1 on the first frame (RFC 7692, section 6). Meaningful only where the extension was negotiated."""
        return self.frames[0][0] & RSV1 != 0

    @cached_property
    def mask(self) -> bytes:
        """The mask key of the first frame."""
        return parse_frame(self.frames[0]).mask

    @cached_property
    def payload(self) -> bytes:
        """The unmasked payload of all frames, still compressed where it came so."""
        return b"".join(parse_frame(frame).payload for frame in self.frames)


class Assembler:
    """Collect pieces into messages. Control frames between fragments pass on their own."""

    __slots__ = ("_control", "_control_passes", "_frames", "_message_passes", "_parts", "_size", "size_max", "unjudged")

    def __init__(self, size_max: int) -> None:
        self.size_max = size_max
        self.unjudged = 0  # messages that passed without being judged
        self._frames: list[bytes] = []  # complete frames of the message in progress
        self._parts: list[bytes] = []  # parts of its frame in progress
        self._control: list[bytes] = []  # parts of a control frame in progress
        self._size = 0
        self._message_passes = False
        self._control_passes = False

    @property
    def is_empty(self) -> bool:
        return not self._size and not self._control

    @property
    def held(self) -> int:
        return self._size + sum(map(len, self._control))

    def begin_inside(self, *, message: bool, control: bool) -> None:
        """Start in the middle of a message or control frame of which bytes have left."""
        self._message_passes = message
        self._control_passes = control
        self.unjudged += message

    def feed(self, piece: Piece) -> Message | Loose | None:
        """Take a piece; return the message it completes, or the bytes that may go on unjudged."""
        return self._feed_control(piece) if piece.is_control else self._feed_data(piece)

    def _feed_control(self, piece: Piece) -> Message | Loose | None:
        if piece.starts:
            self._control_passes = piece.gone > 0
        if self._control_passes:
            return Loose(piece.data[piece.gone :], piece.ends, begins=False)
        self._control.append(piece.data)
        if not piece.ends:
            if sum(map(len, self._control)) <= self.size_max:
                return None
            self._control_passes = True
            return Loose(self._take_control(), ends=False, begins=True)
        return Message([self._take_control()])

    def _feed_data(self, piece: Piece) -> Message | Loose | None:
        if piece.gone and not self._message_passes:
            # The first bytes of this frame left before its length was known; its message can't be judged any more.
            data = self._take_message() + piece.data[piece.gone :]
            self._message_passes = not self._completes(piece)
            self.unjudged += 1
            return Loose(data, piece.ends, begins=True)
        if self._message_passes:
            if self._completes(piece):
                self._message_passes = False
            return Loose(piece.data[piece.gone :], piece.ends, begins=False)
        self._size += len(piece.data)
        self._parts.append(piece.data)
        if piece.ends:
            self._frames.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts.clear()
        if self._completes(piece):
            frames, self._frames, self._size = self._frames, [], 0
            return Message(frames)
        if self._size > self.size_max:
            self._message_passes = True
            self.unjudged += 1
            return Loose(self._take_message(), piece.ends, begins=True)
        return None

    def release(self) -> list[Loose]:
        """Let go of what is incomplete; the rest of it will follow as loose bytes."""
        loose: list[Loose] = []
        if self._size:
            ends = not self._parts
            self._message_passes = True
            self.unjudged += 1
            loose.append(Loose(self._take_message(), ends, begins=True))
        if self._control:
            self._control_passes = True
            loose.append(Loose(self._take_control(), ends=False, begins=True))
        return loose

    @staticmethod
    def _completes(piece: Piece) -> bool:
        return piece.ends and piece.first & 0x80 != 0

    def _take_message(self) -> bytes:
        data = b"".join(self._frames + self._parts)
        self._frames, self._parts, self._size = [], [], 0
        return data

    def _take_control(self) -> bytes:
        data = b"".join(self._control)
        self._control = []
        return data


OPCODE_NAMES = {opcode: opcode.name.lower() for opcode in Opcode}
