"""What the messages of one direction say: inflated where they are compressed, understood in the protocol's terms."""

import json
from hashlib import blake2b
from typing import NamedTuple

from .events import Event, Framed, Tracked, Unjudged
from .profile import Profile
from .protocols import NOTHING, PROTOCOLS, Meaning, Protocol
from .rule import reads_messages
from .wire.frames import Piece, Side
from .wire.inflate import Extension, Inflater, Negotiated, Untracked
from .wire.messages import OPCODE_NAMES, Assembler, Message
from .wire.pointer import MISSING, Document, Pointer

VALUE_CHARACTERS_MAX = 128


class Reading(NamedTuple):
    """What reading messages is for; with neither, idle directions are only scanned."""

    protocol: Protocol | None = None
    is_needed: bool = False  # a rule of the profile reads or changes messages, or they are observed
    frames_journalled: bool = False
    tracked: tuple[Pointer, ...] = ()  # fields by which messages are told apart


def reading_of(profile: Profile, is_needed: bool, frames_journalled: bool) -> Reading:
    """Say what messages are read for: what the profile needs, and what else is wanted."""
    protocol = PROTOCOLS[profile.protocol] if profile.protocol else None
    is_needed = is_needed or bool(profile.protocol or profile.expect)
    is_needed = is_needed or any(reads_messages(rule) for rule in profile.every_rule())
    return Reading(protocol, is_needed, frames_journalled, profile.tracked)


class Reader:
    """Reads what one side sends."""

    def __init__(self, side: Side, reading: Reading, bytes_max: int, events: list[Event]) -> None:
        self.side = side
        self.is_needed = reading.is_needed or reading.frames_journalled  # every message is read
        self._reading = reading
        self._bytes_max = bytes_max
        self._events = events
        self._extension = Extension.NONE
        self._inflater: Inflater | None = None
        self.copies = Assembler()  # of what is forwarded by other means
        self.is_behind = False  # the message in progress can't be read: its beginning has not been
        self._skips_control = False  # nor can the control frame in progress

    def set_reading(self, reading: Reading) -> None:
        """Messages are read for something else; what has been read goes on being read."""
        self._reading = reading
        self.is_needed = self.is_needed or reading.is_needed or reading.frames_journalled

    def begin(self, is_inside_message: bool, is_inside_control: bool) -> None:
        """From here on pieces are followed; what is in progress began before."""
        self.is_behind, self._skips_control = is_inside_message, is_inside_control

    def open(self, negotiated: Negotiated) -> None:
        """Messages come from here on; `negotiated` says what is compressed."""
        self._extension = negotiated.extension
        inflater = negotiated.inflater(self.side, self._bytes_max)
        # With context takeover a stream can be read only from its first byte on.
        self._inflater = inflater if inflater and (self.is_needed or not inflater.takeover) else None

    @property
    def is_readable(self) -> bool:
        """Whether the content of messages can be read, and so changed."""
        if self._extension is Extension.DEFLATE:
            return self._inflater is not None and not self._inflater.is_lost
        return self._extension is Extension.NONE

    @property
    def is_lost(self) -> bool:
        """Whether a compressed stream was followed and can't be any more."""
        return self._inflater is not None and self._inflater.is_lost

    @property
    def stands_alone(self) -> bool:
        """Whether each compressed message can be read without those before it."""
        return self._inflater is not None and not self._inflater.takeover

    @property
    def why_unreadable(self) -> str:
        if self._extension is Extension.UNKNOWN:
            return "an unknown extension was negotiated"
        return "the compressed stream was not followed from its first byte; new connections will be"

    def is_deflated(self, message: Message) -> bool:
        return self._extension is Extension.DEFLATE and message.is_compressed and not message.is_control

    def content(self, message: Message) -> bytes | None:
        """The message's payload as its sender meant it; None where it can't be read."""
        if self._extension is Extension.NONE or message.is_control:
            return message.payload
        if self._extension is Extension.UNKNOWN:
            return None
        if not message.is_compressed:
            return message.payload
        try:
            return self._inflater.read(message.payload) if self._inflater else None
        except Untracked:
            self._events.append(Unjudged(self.side, 1))
            return None

    def follow(self, piece: Piece) -> None:
        """Read a piece that is forwarded by other means."""
        if self.is_behind and not piece.is_control:
            self.is_behind = not piece.completes
            return
        if self._skips_control and piece.is_control:
            self._skips_control = not (piece.starts or piece.ends)
            if not piece.starts:
                return
        message = self.copies.feed(piece)
        size_max = self._bytes_max
        if message and not message.is_over(size_max):
            content = self.content(message)
            meaning = self.observe(message, content)
            self._events += meaning.events + self.track(content, has_left=True)
        elif message or self.copies.control_size > size_max or self.copies.is_message_over(size_max):
            self.copies.take()
            self.is_behind = message is None
            self.lose()

    def observe(self, message: Message, content: bytes | None) -> Meaning:
        """What it means in the protocol's terms; journalled where frames are."""
        reading = self._reading
        meaning = NOTHING
        if reading.protocol and content is not None and message.opcode == 1:
            meaning = reading.protocol.read(self.side, content)
        if reading.frames_journalled:
            size = len(message.payload if content is None else content)
            self._events.append(Framed(self.side, OPCODE_NAMES.get(message.opcode, "reserved"), size, meaning.event))
        return meaning

    def track(self, content: bytes | None, *, has_left: bool) -> tuple[Tracked, ...]:
        """What a message has in the fields that are followed."""
        if not self._reading.tracked or content is None:
            return ()
        document = Document(content)
        found = [(pointer, document.get(pointer)) for pointer in self._reading.tracked]
        return tuple(
            Tracked(self.side, pointer.text, _as_text(value), has_left)
            for pointer, value in found
            if value is not MISSING
        )

    def lose(self) -> None:
        """A compressed message passed unread."""
        if self._inflater:
            self._inflater.lose()


def _as_text(value: object) -> str:
    """The same text for the same value, and a short one."""
    text = json.dumps(value, sort_keys=True)
    if len(text) <= VALUE_CHARACTERS_MAX:
        return text
    return "blake2b:" + blake2b(text.encode(), digest_size=16).hexdigest()
