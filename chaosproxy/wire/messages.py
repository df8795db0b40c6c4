"""Put messages together from the pieces of their frames (RFC 6455, section 5.4)."""

from functools import cached_property

from .frames import FIN, RSV1, Opcode, Piece, parse_frame

OPCODE_NAMES = {opcode.value: opcode.name.lower() for opcode in Opcode}


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
        if len(self.frames) == 1:
            return parse_frame(self.frames[0]).payload
        return b"".join(parse_frame(frame).payload for frame in self.frames)


class Assembler:
    """Collect pieces into messages. A control frame between fragments is a message of its own."""

    __slots__ = ("_control", "_frames", "_parts", "control_size", "message_size")

    def __init__(self) -> None:
        self.message_size = 0  # bytes of the message in progress
        self.control_size = 0  # bytes of the control frame in progress
        self._frames: list[bytes] = []  # complete frames of the message in progress
        self._parts: list[bytes] = []  # parts of its frame in progress
        self._control: list[bytes] = []  # parts of a control frame in progress

    @property
    def size(self) -> int:
        """Bytes collected and not yet part of a complete message."""
        return self.message_size + self.control_size

    @property
    def first(self) -> int:
        """The first byte of the message in progress."""
        return (self._frames or self._parts)[0][0]

    def feed(self, piece: Piece) -> Message | None:
        """Take a piece; return the message it completes."""
        if piece.is_control:
            self._control.append(piece.data)
            self.control_size += len(piece.data)
            return Message([self.take_control()]) if piece.ends else None
        self._parts.append(piece.data)
        self.message_size += len(piece.data)
        if not piece.ends:
            return None
        self._frames.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts.clear()
        if piece.first < FIN:
            return None
        frames, self._frames = self._frames, []
        self.message_size = 0
        return Message(frames)

    def peek(self) -> bytes:
        """What is incomplete, in an order that keeps the stream well-formed."""
        return b"".join(self._frames + self._parts + self._control)

    def take(self) -> bytes:
        """Give up what is incomplete."""
        data = self.peek()
        self.message_size = self.control_size = 0
        self._frames, self._parts, self._control = [], [], []
        return data

    def take_control(self) -> bytes:
        """Give up the control frame in progress."""
        data = self._control[0] if len(self._control) == 1 else b"".join(self._control)
        self._control, self.control_size = [], 0
        return data
