"""Put messages together from the pieces of their frames (RFC 6455, section 5.4)."""

from functools import cached_property

from .frames import FIN, RSV1, Opcode, Piece, parse_frame, parse_mask
from .pointer import Document

FRAGMENTS_MAX = 16 * 1024  # of one message that is put together; each takes memory beside its bytes
OPCODE_NAMES = {opcode.value: opcode.name.lower() for opcode in Opcode}


class Message:
    """One complete message, or one control frame, in its original frames."""

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames
        self._document: Document | None = None

    @cached_property
    def raw(self) -> bytes:
        """The very bytes that came."""
        return self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)

    def is_over(self, size_max: int) -> bool:
        """Whether it is too large, or in too many fragments, to be judged: the same whether it came at once or not."""
        return len(self.raw) > size_max or len(self.frames) > FRAGMENTS_MAX

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
        return parse_mask(self.frames[0])

    @cached_property
    def payload(self) -> bytes:
        """The unmasked payload of all frames, still compressed where it came so."""
        if len(self.frames) == 1:
            return parse_frame(self.frames[0]).payload
        return b"".join(parse_frame(frame).payload for frame in self.frames)

    def document(self, content: bytes) -> Document:
        """The content, as its sender meant it, as JSON: read at most once, whoever asks."""
        if self._document is None:
            self._document = Document(content)
        return self._document


class Assembler:
    """Collect pieces into messages. A control frame between fragments is a message of its own."""

    __slots__ = ("_control", "_fragments", "_fragments_size", "_part")

    def __init__(self) -> None:
        self._fragments: list[bytes] = []  # complete frames of the message in progress
        self._fragments_size = 0
        self._part = bytearray()  # of its frame in progress
        self._control = bytearray()  # of a control frame in progress

    @property
    def message_size(self) -> int:
        """Of the message in progress."""
        return self._fragments_size + len(self._part)

    @property
    def control_size(self) -> int:
        """Of the control frame in progress."""
        return len(self._control)

    @property
    def size(self) -> int:
        """Of all that is incomplete."""
        return self._fragments_size + len(self._part) + len(self._control)

    def is_message_over(self, size_max: int) -> bool:
        """Whether the message in progress is too large, or in too many fragments, to be put together."""
        return self.message_size > size_max or len(self._fragments) > FRAGMENTS_MAX

    @property
    def first(self) -> int:
        """The first byte of the message in progress."""
        return (self._fragments[0] if self._fragments else self._part)[0]

    def feed(self, piece: Piece) -> Message | None:
        """Take a piece; return the message it completes."""
        frame = piece.data
        if not (piece.starts and piece.ends):
            part = self._control if piece.is_control else self._part
            part += frame
            if not piece.ends:
                return None
            frame = bytes(part)
            part.clear()
        if piece.is_control:
            return Message([frame])
        if piece.first < FIN:
            self._fragments.append(frame)
            self._fragments_size += len(frame)
            return None
        frames = [*self._fragments, frame]
        self._fragments.clear()
        self._fragments_size = 0
        return Message(frames)

    def peek(self) -> bytes:
        """What is incomplete, in an order that keeps the stream well-formed."""
        return b"".join([*self._fragments, self._part, self._control])

    def take(self) -> bytes:
        """Give up what is incomplete."""
        data = self.peek()
        self._fragments.clear()
        self._fragments_size = 0
        self._part.clear()
        self._control.clear()
        return data

    def take_control(self) -> bytes:
        """Give up the control frame in progress."""
        data = bytes(self._control)
        self._control.clear()
        return data
