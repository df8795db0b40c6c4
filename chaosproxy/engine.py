"""Rules x messages x now -> what leaves, and when. One `Direction` carries what one peer of a connection sends.

A chunk takes one of four lanes: PASS (scanned for frame boundaries and forwarded whole), READ (the same, and its
messages are read as they pass), FLOW (queued in pieces that end with frames, for timing), JUDGED (messages are put
together and the rules asked). In every lane a frame that has begun to leave is finished by its own bytes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from .events import (
    Break,
    Discarded,
    Effect,
    Established,
    Event,
    Framed,
    Heal,
    Leg,
    Limited,
    Other,
    Struck,
    Subscribed,
    Suppressed,
    Unjudged,
)
from .faults import Delivery
from .link import Link
from .protocols import NOTHING, Meaning, Protocol
from .tally import Tally
from .wire.frames import RSV1, Piece, Side, Splitter, build_frame
from .wire.inflate import Extension, Inflater, Negotiated, Untracked
from .wire.messages import OPCODE_NAMES, Assembler, Message


class Lane(Enum):
    PASS = "pass"
    READ = "read"
    FLOW = "flow"
    JUDGED = "judged"


class Limits(NamedTuple):
    """Bytes that may be held per direction, and the size over which a message passes unjudged."""

    held_bytes_max: int
    judged_bytes_max: int


class Reading(NamedTuple):
    """What reading messages is for; with neither, idle directions are only scanned."""

    protocol: Protocol | None = None
    is_needed: bool = False  # a rule of the profile reads or changes messages, or the protocol is observed
    frames_journalled: bool = False


class _Held(NamedTuple):
    due: int
    data: bytes
    ends: bool  # a frame ends with it
    observed: Established | Subscribed | None = None  # what its peer will know once it has this
    came: int = 0  # where a rule delays it, when it came


class Direction:
    """What one side sends: followed, judged, held and let go.

    `ready` is what shall be sent now, in order. Effects that a message caused are handed to `on_effect` on the spot,
    so that they act before the next message.
    """

    def __init__(
        self,
        side: Side,
        limits: Limits,
        reading: Reading,
        tally: Tally,
        events: list[Event],
        on_effect: Callable[[Link | None, Effect, Side, int], None],
        on_close: Callable[[Side], None],
    ) -> None:
        self.side = side
        self.ready: list[bytes] = []
        self.splitter = Splitter(lambda: on_close(side))
        self.lane = Lane.READ if reading.is_needed or reading.frames_journalled else Lane.PASS
        self.links: tuple[Link, ...] = ()
        self.gate: Heal | None = None  # half-open: nothing leaves, and what becomes of it at heal
        self.is_shut = False  # nothing goes on any more, but for the rest of a frame that has begun to leave
        self.opened_at = 0
        self.held = 0
        self.last_due = 0  # when the last of what is held leaves
        self._tally = tally
        self._limits = limits
        self._reading = reading
        self._reads = self.lane is Lane.READ
        self._events = events
        self._on_effect = on_effect
        self._assembler = Assembler()  # what has come and not been let go
        self._reader = Assembler()  # copies of what has been let go, to read it
        self._is_readable = True  # the reader has the message in progress from its first byte
        self._queue: deque[_Held] = deque()
        self._is_busy = False  # pieces of a chunk are being taken: the splitter is ahead of them
        self._delay = 0  # of the message in progress, in the FLOW lane
        self._control_delay = 0  # of the control frame in progress
        self._message_tail = False  # the message in progress has begun to leave: it is not judged
        self._control_tail = False
        self._drops_rest = False  # the message in progress arrived across a heal that discards
        self._sent_inside_frame = False
        self._extension = Extension.NONE
        self._inflater: Inflater | None = None
        self._is_plain = False  # touched: this compressed direction goes on uncompressed
        self._ordinal = 0  # text and binary messages begun
        self._withheld = 0  # bytes not even held, since a reset is to come
        self._has_told_limit = False

    # -- configuration ----------------------------------------------------------------------------------------------

    def open(self, now: int, negotiated: Negotiated) -> None:
        """The tunnel is open; `negotiated` says what is compressed."""
        self.opened_at = now
        self._extension = negotiated.extension
        inflater = negotiated.inflater(self.side, self._limits.judged_bytes_max)
        # With context takeover a stream can be read only from its first byte on.
        self._inflater = inflater if inflater and (self._reads or not inflater.takeover) else None

    def set_links(self, links: Sequence[Link], now: int) -> None:
        """The rules that may act on this direction's messages have changed."""
        self.links = tuple(links)
        self._change_lane(now)

    def set_gate(self, gate: Heal | None, now: int) -> None:
        """Half-open, or healed: then what is held leaves in order, or is gone."""
        if gate is None and self.gate is Heal.DISCARD and not self._message_tail:
            self._drops_rest = self.splitter.inside_message
        self.gate = gate
        self._change_lane(now)

    def shut(self) -> None:
        """Let nothing more go on, but for the rest of a frame that has begun to leave. What is held is discarded."""
        if self.lane in (Lane.PASS, Lane.READ):
            self._sent_inside_frame = self.splitter.inside_frame
            self._begin_tails()
        self.lane = Lane.FLOW
        while self._queue and self._sent_inside_frame:
            self._send(self._pop())
        self.is_shut = True
        self.links = ()
        self.gate = None
        lost = self.held + len(self._assembler.take()) + len(self.splitter.release_head()) + self._withheld
        self._queue.clear()
        self.held = 0
        if lost:
            self._events.append(Discarded(self.side, lost))

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def is_inside_frame(self) -> bool:
        """Whether what has been sent ends inside a frame."""
        if self.lane in (Lane.PASS, Lane.READ):
            return self.splitter.inside_frame
        return self._sent_inside_frame

    @property
    def is_idle(self) -> bool:
        """Whether nothing that came is still here."""
        return not self._queue and not self._assembler.size and len(self.splitter.head) == self.splitter.gone

    @property
    def is_readable(self) -> bool:
        """Whether the content of messages can be read, and so changed."""
        if self._extension is Extension.DEFLATE:
            return self._inflater is not None and not self._inflater.is_lost
        return self._extension is Extension.NONE

    @property
    def is_full(self) -> bool:
        return self.held >= self._limits.held_bytes_max

    @property
    def deadline(self) -> int | None:
        """When something is due to leave."""
        return self._queue[0].due if self._queue and self.gate is None else None

    # -- bytes ------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: int) -> None:
        """Take what the side sent."""
        if self.lane is Lane.PASS:
            self.splitter.scan(data)
            self.ready.append(data)
            return
        if self.lane is Lane.READ:
            self.ready.append(data)
            for piece in self.splitter.split(data, forwarded=True):
                self._read(piece)
            return
        self._is_busy = True
        for piece in self.splitter.split(data):
            self._take(piece, now)
        self._is_busy = False

    def release(self, now: int) -> None:
        """Let go of what is due."""
        if self.gate is None:
            while self._queue and self._queue[0].due <= now:
                held = self._pop()
                if 0 < held.came < held.due:
                    self._tally.delays.add(held.due - held.came)
                    self._tally.delay_errors.add(now - held.due)
                self._send(held)
            if not self._queue:
                self._change_lane(now)
        self._check_limit()

    def finish(self, now: int) -> None:
        """The side has ended: what is incomplete goes on as it is, behind what is held."""
        if self._drops_rest or self._is_plain or self.gate is Heal.DISCARD:
            self._drops_rest = False
            if lost := len(self._assembler.take()) + len(self.splitter.release_head()):
                self._events.append(Discarded(self.side, lost))
        self._let_go(now, ends=not self.splitter.need)
        if withheld := self.splitter.release_head():
            self._hold(_Held(now, withheld, ends=False))

    # -- lanes ------------------------------------------------------------------------------------------------------

    def _change_lane(self, now: int) -> None:
        if self.is_shut or self._is_busy:
            return
        wanted = self._wanted_lane()
        if wanted is self.lane or (wanted is Lane.READ and self._queue):
            return  # what is read goes on being put together until nothing is held
        if self.lane in (Lane.PASS, Lane.READ):
            self._sent_inside_frame = self.splitter.inside_frame
            self._begin_tails()
            self._ordinal = self.splitter.frames[1] + self.splitter.frames[2]
            if self._message_tail and wanted is Lane.JUDGED:
                self._events.append(Unjudged(self.side, 1))
        elif self.lane is Lane.FLOW and wanted is Lane.JUDGED:
            self._follow_begun()
        elif self.lane is Lane.JUDGED and self._assembler.size:
            self._message_tail = self._message_tail or self.splitter.inside_message
            self._control_tail = self._control_tail or (self.splitter.inside_control and self.splitter.need > 0)
            self._let_go(now, ends=not self.splitter.need)
        if wanted in (Lane.PASS, Lane.READ):
            if self._queue:
                self.lane = Lane.JUDGED if self._reads else Lane.FLOW  # until it is empty
                return
            if withheld := self.splitter.release_head():
                self.ready.append(withheld)
            self._message_tail = self._control_tail = False
        self.lane = wanted

    def _wanted_lane(self) -> Lane:
        if self._is_plain or self._drops_rest or self.gate is Heal.DISCARD or any(link.judges for link in self.links):
            return Lane.JUDGED
        if self.links or self.gate is not None:
            return Lane.JUDGED if self._reads else Lane.FLOW
        return Lane.READ if self._reads else Lane.PASS

    def _begin_tails(self) -> None:
        """From forwarding to holding: what has begun to leave is followed to its end."""
        self._message_tail = self.splitter.inside_message
        self._control_tail = self.splitter.inside_control

    def _follow_begun(self) -> None:
        """From holding pieces to judging messages: one whose first pieces are held already is not judged."""
        is_control = self.splitter.inside_control
        is_begun = self.splitter.need > 0
        self._control_tail = self._control_tail or (is_begun and is_control)
        if not self._message_tail and (self.splitter.open or (is_begun and not is_control)):
            self._message_tail = True
            self._events.append(Unjudged(self.side, 1))

    def _let_go(self, now: int, *, ends: bool) -> None:
        """Let what has been collected leave unjudged. What follows of it is read on, where this direction is read."""
        collected = self._assembler.peek()
        if not collected:
            return
        if self._reads:
            self._reader, self._assembler = self._assembler, self._reader
        self._assembler.take()
        self._events.append(Unjudged(self.side, 1))
        self._hold(_Held(now, collected, ends))

    # -- pieces -----------------------------------------------------------------------------------------------------

    def _take(self, piece: Piece, now: int) -> None:
        if piece.is_control:
            self._control_tail = self._control_tail or piece.gone > 0
            if self._control_tail:
                self._control_tail = not piece.ends
                self._pass_on(piece, now)
                return
        else:
            if piece.starts and piece.first & 0x0F:
                self._ordinal += 1
            self._message_tail = self._message_tail or piece.gone > 0
            if self._message_tail:
                self._message_tail = not _completes(piece)
                self._pass_on(piece, now)
                return
        if self.lane is not Lane.JUDGED:
            if piece.starts and piece.is_control:
                self._control_delay = self._flow_delay(piece, now)
            elif piece.starts and piece.first & 0x0F:
                self._delay = self._flow_delay(piece, now)
            delay = self._control_delay if piece.is_control else self._delay
            self._hold(_Held(now + delay, piece.data, piece.ends, came=now))
            return
        message = self._assembler.feed(piece)
        size_max = self._limits.judged_bytes_max
        if message:
            if message.is_over(size_max):
                self._pass_large(message.raw, message.is_control, message.is_compressed, piece, now)
                return
            if self._drops_rest and not message.is_control:
                self._drops_rest = False
                content = self._content(message)
                if self._can_lose(message):
                    self._lose(message)
                else:
                    self._deliver(message, content, (Delivery(now, message),), NOTHING, now)
                return
            self._judge(message, now)
        elif piece.is_control and self._assembler.control_size > size_max:
            self._control_tail = True
            self._pass_large(self._assembler.take_control(), True, False, piece, now)
        elif self._assembler.is_message_over(size_max):
            self._message_tail = True
            self._is_readable = False
            is_compressed = self._assembler.first & RSV1 != 0
            self._pass_large(self._assembler.take(), False, is_compressed, piece, now)

    def _pass_large(self, data: bytes, is_control: bool, is_compressed: bool, piece: Piece, now: int) -> None:
        """Let what is too large to be judged leave as it is; however it was chopped, nothing is done to it."""
        self._events.append(Unjudged(self.side, 1))
        if not is_control:
            self._drops_rest = False
            if is_compressed and self._inflater:
                self._inflater.lose()
                if self._is_plain and self._inflater.is_lost:
                    self._give_up()
                    return
        self._hold(_Held(now, data, piece.ends))

    def _give_up(self) -> None:
        """A compressed direction was made plain and can't be read any more: nothing right can be sent."""
        self._events.append(Suppressed("", "", "a compressed stream that was changed can't be read any more"))
        self._on_effect(None, Break(Leg.BOTH, Other.RESET), self.side, self._ordinal)

    def _pass_on(self, piece: Piece, now: int) -> None:
        """A piece of a message that is not judged. It is still read where its beginning has been."""
        self._hold(_Held(now, piece.data[piece.gone :], piece.ends))
        if self._reads:
            self._read(piece)

    def _read(self, piece: Piece) -> None:
        """Read a piece that is forwarded by other means."""
        if not self._is_readable and not piece.is_control:
            self._is_readable = _completes(piece)
            return
        message = self._reader.feed(piece)
        size_max = self._limits.judged_bytes_max
        if message and not message.is_over(size_max):
            meaning = self._observe(message, self._content(message))
            if meaning.observed:
                self._events.append(meaning.observed)
        elif message or self._reader.control_size > size_max or self._reader.is_message_over(size_max):
            self._reader.take()
            self._is_readable = message is not None
            if self._inflater:
                self._inflater.lose()

    def _flow_delay(self, piece: Piece, now: int) -> int:
        """How long a message waits by rules that need not know it."""
        delivery = Delivery(now, None)
        for link in self.links:
            if not self._is_of_age(link, now):
                continue
            if piece.is_control:
                if not link.is_steady:
                    continue
            elif link.when.takes_opcode(piece.first & 0x0F) and link.takes_turn(self.side):
                self._strike(link)
            else:
                continue
            for changed in link.fault.apply(delivery, link.dice[self.side]):
                delivery = changed
        return delivery.due - now

    # -- messages ---------------------------------------------------------------------------------------------------

    def _judge(self, message: Message, now: int) -> None:
        content = self._content(message)
        meaning = self._observe(message, content)
        deliveries = [Delivery(now, message, content)]
        for link in self.links:
            if not deliveries or self.is_shut:
                break
            if self._takes(link, message, content, meaning, now):
                effect = link.fault.effect()
                if effect is not None:
                    self._on_effect(link, effect, self.side, self._ordinal)
                elif self._can_act(link, message):
                    before, dice = deliveries, link.dice[self.side]
                    deliveries = [result for delivery in before for result in link.fault.apply(delivery, dice)]
                    has_missed = link.fault.may_miss and deliveries == before
                    if not has_missed and not (message.is_control and link.is_steady):
                        self._strike(link)
        self._deliver(message, content, deliveries, meaning, now)

    def _takes(self, link: Link, message: Message, content: bytes | None, meaning: Meaning, now: int) -> bool:
        if not self._is_of_age(link, now):
            return False
        if message.is_control and link.is_steady:
            return True
        return link.when.takes_content(message, content, meaning) and link.takes_turn(self.side)

    def _is_of_age(self, link: Link, now: int) -> bool:
        return link.when.age is None or now - self.opened_at >= link.when.age

    def _can_act(self, link: Link, message: Message) -> bool:
        """Removing or changing a message of a compressed stream needs the stream to be readable."""
        if not link.fault.is_loss or message.is_control or self.is_readable:
            return True
        if "unreadable" not in link.told:
            link.told.add("unreadable")
            reason = (
                "an unknown extension was negotiated"
                if self._extension is Extension.UNKNOWN
                else "the compressed stream was not followed from its first byte; new connections will be"
            )
            self._events.append(Suppressed(link.rule.id, link.fault.name, reason))
        return False

    def _strike(self, link: Link) -> None:
        link.has_acted = True
        link.strikes += 1
        self._tally.strike(link.fault.name)
        if link.fault.is_timing:
            # Every message is struck, so only the first of a side is worth a line; all are counted.
            if self.side.label in link.told:
                return
            link.told.add(self.side.label)
        turn = link.dice[self.side].ordinal
        self._events.append(Struck(link.rule.id, link.fault.name, self.side, self._ordinal, turn))

    def _content(self, message: Message) -> bytes | None:
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

    def _observe(self, message: Message, content: bytes | None) -> Meaning:
        reading = self._reading
        meaning = NOTHING
        if reading.protocol and content is not None and message.opcode == 1:
            meaning = reading.protocol.read(self.side, content)
        if reading.frames_journalled:
            size = len(message.payload if content is None else content)
            self._events.append(Framed(self.side, OPCODE_NAMES.get(message.opcode, "reserved"), size, meaning.event))
        return meaning

    def _deliver(
        self, message: Message, content: bytes | None, deliveries: Sequence[Delivery], meaning: Meaning, now: int
    ) -> None:
        if self.is_shut:
            self._events.append(Discarded(self.side, len(message.raw)))
            return
        if self.gate is Heal.DISCARD and self._can_lose(message):
            self._lose(message)
            return
        is_deflated = self._extension is Extension.DEFLATE and message.is_compressed
        is_untouched = len(deliveries) == 1 and deliveries[0].payload is None
        if is_deflated and not is_untouched:
            self._is_plain = True
        for delivery in deliveries:
            if delivery.payload is None and not (self._is_plain and is_deflated):
                data = message.raw
            else:
                payload = content if delivery.payload is None else delivery.payload
                if payload is not None:
                    opcode = message.opcode if delivery.opcode is None else delivery.opcode
                    data = build_frame(opcode, payload, message.mask)
                elif self._inflater and not self._inflater.takeover:
                    data = message.raw  # every message stands for itself
                else:
                    self._give_up()
                    return
            self._hold(_Held(delivery.due, data, ends=True, observed=meaning.observed, came=now))

    def _can_lose(self, message: Message) -> bool:
        """Whether a message can be taken out of the stream without destroying what follows."""
        return message.is_control or self.is_readable

    def _lose(self, message: Message) -> None:
        if message.is_compressed and self._extension is Extension.DEFLATE:
            self._is_plain = True
        self._events.append(Discarded(self.side, len(message.raw)))

    # -- holding ----------------------------------------------------------------------------------------------------

    def _hold(self, held: _Held) -> None:
        """Queue behind all that came before: what is due earlier still waits its turn."""
        if self.is_shut:
            if self._sent_inside_frame:
                self._send(held)
            return
        if self.gate is Heal.RESET:
            self._withheld += len(held.data)  # the heal will lose it
            return
        self.last_due = max(held.due, self.last_due)
        self._queue.append(held._replace(due=self.last_due))
        self.held += len(held.data)

    def _pop(self) -> _Held:
        held = self._queue.popleft()
        self.held -= len(held.data)
        return held

    def _send(self, held: _Held) -> None:
        self.ready.append(held.data)
        self._sent_inside_frame = not held.ends
        if held.observed:
            self._events.append(held.observed)

    def _check_limit(self) -> None:
        if self.is_full and not self._has_told_limit:
            self._has_told_limit = True
            self._events.append(Limited(self.side, self.held))


def _completes(piece: Piece) -> bool:
    return piece.ends and piece.first >= 0x80
