"""Rules x messages x now -> what leaves, and when. One `Direction` carries what one peer of a connection sends.

A chunk takes one of four lanes: PASS (scanned for frame boundaries and forwarded whole), READ (the same, and its
messages are read as they pass), FLOW (queued in pieces that end with frames, for timing), JUDGED (messages are put
together and the rules asked). In every lane a frame that has begun to leave is finished by its own bytes.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from .effects import Break, Effect, Heal, Leg, Other
from .events import Discarded, Event, Struck, Suppressed, Unjudged
from .faults import Delivery
from .holding import Held, Holding
from .lanes import Lane, Limits
from .link import Link
from .protocols import NOTHING, Meaning
from .reading import Reader, Reading
from .tally import Tally
from .wire.frames import RSV1, Piece, Side, Splitter, build_fragments, build_frame
from .wire.inflate import Negotiated
from .wire.messages import Assembler, Message


class _Timed(NamedTuple):
    """How a message is held that need not be known."""

    delay: int
    stalls: tuple[Link, ...]


class Direction:
    """What one side sends: followed, judged, held and let go.

    `holding` has what is to be sent, in order. Effects that a message caused are handed to `on_effect` on the spot,
    so that they act before the next message.
    """

    splitter_type: ClassVar[type[Splitter]] = Splitter

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
        self.holding = Holding(side, limits.held_bytes_max, tally, events, self._note_paced)
        self.splitter = self.splitter_type(lambda: on_close(side))
        self._reader = Reader(side, reading, limits.judged_bytes_max, events)
        self.lane = Lane.READ if self._reader.is_needed else Lane.PASS
        self.links: tuple[Link, ...] = ()
        self.opened_at = 0
        self._tally = tally
        self._limits = limits
        self._reads = self._reader.is_needed
        self._events = events
        self._on_effect = on_effect
        self._assembler = Assembler()  # what has come and not been let go
        self._is_busy = False  # pieces of a chunk are being taken: the splitter is ahead of them
        # In the FLOW lane: when the message and the control frame in progress are due, and what keeps them.
        self._timed = self._control_timed = _Timed(0, ())
        self._message_tail = False  # the message in progress has begun to leave: it is not judged
        self._control_tail = False
        self._drops_rest = False  # the message in progress arrived across a heal that discards
        self._is_plain = False  # touched: this compressed direction goes on uncompressed
        self._ordinal = 0  # text and binary messages begun

    # -- configuration ----------------------------------------------------------------------------------------------

    def open(self, now: int, negotiated: Negotiated) -> None:
        """The tunnel is open; `negotiated` says what is compressed."""
        self.opened_at = now
        self._reader.open(negotiated)

    def set_links(self, links: Sequence[Link], now: int) -> None:
        """The rules that may act on this direction's messages have changed."""
        self.links = tuple(links)
        self.holding.set_links(links, {link: link.pacer(self.side) for link in links if link.is_pacing}, now)
        self._change_lane(now)

    def set_reading(self, reading: Reading, now: int) -> None:
        """Messages are read for something else from here on, those of a compressed stream only where it was followed.

        What has been read goes on being read.
        """
        self._reader.set_reading(reading)
        if self._reader.is_needed and not self._reads:
            is_collected = self.lane is Lane.JUDGED and not self._message_tail
            self._reader.begin(self.splitter.inside_message and not is_collected, self.splitter.inside_control)
            self._reads = True
            self._change_lane(now)

    def insert(self, data: bytes, *, is_control: bool, now: int) -> None:
        """Send something of our own between messages, or a control frame between frames, behind what is held."""
        if self.lane in (Lane.PASS, Lane.READ):
            self.holding.begin(self.splitter.inside_frame, self.splitter.inside_message)
        self.holding.insert(Held(now, data, ends=True, completes=None if is_control else True))
        self._change_lane(now)

    def set_gate(self, gate: Heal | None, now: int) -> None:
        """Half-open, or healed: then what is held leaves in order, or is gone."""
        if gate is None and self.gate is Heal.DISCARD and not self._message_tail:
            self._drops_rest = self.splitter.inside_message
        self.holding.gate = gate
        self._change_lane(now)

    def shut(self, now: int) -> None:
        """Let nothing more go on, but for the rest of a frame that has begun to leave. What is held is discarded."""
        if self.lane in (Lane.PASS, Lane.READ):
            self._begin_tails()
        self.lane = Lane.FLOW
        self.links = ()
        self.holding.shut(now, len(self._assembler.take()) + len(self.splitter.release_head()))

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def is_inside_frame(self) -> bool:
        """Whether what has been sent ends inside a frame."""
        if self.lane in (Lane.PASS, Lane.READ):
            return self.splitter.inside_frame
        return self.holding.is_inside_frame

    @property
    def is_inside_message(self) -> bool:
        """Whether what has been sent ends inside a message, in or between its frames."""
        if self.lane in (Lane.PASS, Lane.READ):
            return self.splitter.inside_message
        return self.holding.is_inside_message

    @property
    def is_idle(self) -> bool:
        """Whether nothing that came is still here."""
        return not self.holding and not self._assembler.size and len(self.splitter.head) == self.splitter.gone

    @property
    def kept(self) -> int:
        """Bytes that came and have not left, complete or not."""
        return self.queued + self._assembler.size + len(self.splitter.head) - self.splitter.gone

    @property
    def queued(self) -> int:
        """Of these, the bytes that have been judged and wait to leave, or leave now."""
        return self.held + sum(map(len, self.holding.ready))

    @property
    def is_readable(self) -> bool:
        """Whether the content of messages can be read, and so changed."""
        return self._reader.is_readable

    @property
    def gate(self) -> Heal | None:
        """Half-open: nothing leaves, and what becomes of it at heal."""
        return self.holding.gate

    @property
    def held(self) -> int:
        """Bytes that wait to leave."""
        return self.holding.size

    @property
    def is_shut(self) -> bool:
        """Whether nothing goes on any more, but for the rest of a frame that has begun to leave."""
        return self.holding.is_shut

    @property
    def deadline(self) -> int | None:
        """When something is due to leave."""
        return self.holding.deadline if self.holding else None

    # -- bytes ------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: int) -> None:
        """Take what the side sent."""
        if self.lane is Lane.PASS:
            self.splitter.scan(data)
            self.holding.ready.append(data)
            return
        if self.lane is Lane.READ:
            self.holding.ready.append(data)
            for piece in self.splitter.split(data, forwarded=True):
                self._reader.follow(piece)
            return
        self._is_busy = True
        for piece in self.splitter.split(data):
            self._take(piece, now)
        self._is_busy = False

    def release(self, now: int) -> None:
        """Let go of what is due."""
        self.holding.release(now)
        if not self.holding:
            self._change_lane(now)

    def finish(self, now: int) -> None:
        """The side has ended: what is incomplete goes on as it is, behind what is held."""
        self.holding.gather(now)
        if self._drops_rest or self._is_plain or self.gate is Heal.DISCARD:
            self._drops_rest = False
            if lost := len(self._assembler.take()) + len(self.splitter.release_head()):
                self._events.append(Discarded(self.side, lost))
        self._let_go(now, ends=not self.splitter.need)
        if withheld := self.splitter.release_head():
            self.holding.put(Held(now, withheld, ends=False, completes=False))
        self.holding.give_up_waiting()

    # -- lanes ------------------------------------------------------------------------------------------------------

    def _change_lane(self, now: int) -> None:
        if self.is_shut or self._is_busy:
            return
        wanted = self._wanted_lane()
        if wanted is self.lane or (wanted is Lane.READ and self.holding):
            return  # what is read goes on being put together until nothing is held
        if self.lane in (Lane.PASS, Lane.READ):
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
            if self.holding:
                self.lane = Lane.JUDGED if self._reads else Lane.FLOW  # until it is empty
                return
            if withheld := self.splitter.release_head():
                self.holding.ready.append(withheld)
            self._message_tail = self._control_tail = False
        self.lane = wanted

    def _wanted_lane(self) -> Lane:
        if self._is_plain or self._drops_rest or self.gate is Heal.DISCARD or any(link.judges for link in self.links):
            return Lane.JUDGED
        acts = any(not link.is_for_first or not self.splitter.has_had_message for link in self.links)
        if acts or self.gate is not None or self.holding.has_waiting:
            return Lane.JUDGED if self._reads else Lane.FLOW
        return Lane.READ if self._reads else Lane.PASS

    def _begin_tails(self) -> None:
        """From forwarding to holding: what has begun to leave is followed to its end."""
        self.holding.begin(self.splitter.inside_frame, self.splitter.inside_message)
        self._message_tail = self.splitter.inside_message
        self._control_tail = self.splitter.inside_control
        self._timed = self._control_timed = _Timed(0, ())

    def _follow_begun(self) -> None:
        """From holding pieces to judging messages: one whose first pieces are held already is not judged."""
        is_control = self.splitter.inside_control
        is_begun = self.splitter.need > 0
        self._control_tail = self._control_tail or (is_begun and is_control)
        if not self._message_tail and (self.splitter.open or (is_begun and not is_control)):
            self._message_tail = True
            self._events.append(Unjudged(self.side, 1))

    def _let_go(self, now: int, *, ends: bool) -> None:
        """Let what has been collected leave unjudged, as late as rules of timing say, and what follows of it too.

        That is read on, where this direction is read.
        """
        collected = self._assembler.peek()
        if not collected:
            return
        self._timed = self._control_timed = delay, stalls = self._time(collected[0], now)
        if self._reads:
            self._reader.copies, self._assembler = self._assembler, self._reader.copies
        self._assembler.take()
        self._events.append(Unjudged(self.side, 1))
        self.holding.put(Held(now + delay, collected, ends, completes=False, stalls=stalls))

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
                self._message_tail = not piece.completes
                self._pass_on(piece, now)
                return
        if self.lane is not Lane.JUDGED:
            if piece.starts and piece.is_control:
                self._control_timed = self._time(piece.first, now)
            elif piece.starts and piece.first & 0x0F:
                self._timed = self._time(piece.first, now)
            delay, stalls = self._control_timed if piece.is_control else self._timed
            self._put_piece(piece, piece.data, now + delay, came=now, stalls=stalls)
            return
        message = self._assembler.feed(piece)
        size_max = self._limits.judged_bytes_max
        if message:
            if message.is_over(size_max):
                self._pass_large(message.raw, message.is_control, message.is_compressed, piece, now)
                return
            if self._drops_rest and not message.is_control:
                self._drops_rest = False
                content = self._reader.content(message)
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
            self._reader.is_behind = True
            is_compressed = self._assembler.first & RSV1 != 0
            self._pass_large(self._assembler.take(), False, is_compressed, piece, now)

    def _pass_large(self, data: bytes, is_control: bool, is_compressed: bool, piece: Piece, now: int) -> None:
        """Let what is too large to be judged leave as it is; however it was chopped, nothing is done to it."""
        self._events.append(Unjudged(self.side, 1))
        if is_control:
            self._control_timed = _Timed(0, ())
        else:
            self._timed = _Timed(0, ())
        if not is_control:
            self._drops_rest = False
            if is_compressed:
                self._reader.lose()
                if self._is_plain and self._reader.is_lost:
                    self._give_up()
                    return
        self._put_piece(piece, data, now)

    def _give_up(self) -> None:
        """A compressed direction was made plain and can't be read any more: nothing right can be sent."""
        self._events.append(Suppressed("", "", "a compressed stream that was changed can't be read any more"))
        self._on_effect(None, Break(Leg.BOTH, Other.RESET), self.side, self._ordinal)

    def _pass_on(self, piece: Piece, now: int) -> None:
        """A piece of a message that is not judged. It is still read where its beginning has been."""
        delay, stalls = self._control_timed if piece.is_control else self._timed
        self._put_piece(piece, piece.data[piece.gone :], now + delay, stalls=stalls)
        if self._reads:
            self._reader.follow(piece)

    def _put_piece(self, piece: Piece, data: bytes, due: int, *, came: int = 0, stalls: tuple[Link, ...] = ()) -> None:
        completes = None if piece.is_control else piece.completes
        self.holding.put(Held(due, data, piece.ends, completes, came=came, stalls=stalls))

    def _time(self, first: int, now: int) -> _Timed:
        """How long a message waits by rules that need not know it."""
        delivery = Delivery(now, None)
        stalls: tuple[Link, ...] = ()
        for link in self.links:
            if link.is_pacing or link.judges or not self._is_of_age(link, now):
                continue
            if first & 0x08:
                if not link.is_steady:
                    continue
            elif link.when.takes_opcode(first & 0x0F) and link.takes_turn(self.side, self._ordinal):
                self._strike(link)
            else:
                continue
            if link.fault.keeps:
                stalls += (link,)
            for changed in link.fault.apply(delivery, link.dice[self.side]):
                delivery = changed
        return _Timed(delivery.due - now, stalls)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _judge(self, message: Message, now: int) -> None:
        content = self._reader.content(message)
        meaning = self._reader.observe(message, content)
        self._events += self._reader.track(content, has_left=False)
        deliveries = [Delivery(now, message, content)]
        stalls: tuple[Link, ...] = ()
        behind: list[tuple[Link, Effect]] = []
        aside: Link | None = None
        for link in self.links:
            if self.is_shut:
                break
            # Also where nothing is left of it: no rule moves another's turns.
            if link.is_pacing or not self._takes(link, message, content, meaning, now):
                continue
            effect = link.fault.effect()
            if effect is not None and link.fault.acts_behind:
                behind.append((link, effect))
            elif effect is not None:
                self._on_effect(link, effect, self.side, self._ordinal)
            elif deliveries and self._ordinal > link.rests_until[self.side] and self._can_act(link, message):
                before, dice = deliveries, link.dice[self.side]
                deliveries = [result for delivery in before for result in link.fault.apply(delivery, dice)]
                if link.fault.keeps:
                    stalls += (link,)
                if link.fault.sets_aside:
                    aside = link
                    # By messages and not by time, so that the same traffic meets the same strikes.
                    overtakers = max(delivery.overtakers for delivery in deliveries)
                    link.rests_until[self.side] = self._ordinal + overtakers
                has_missed = link.fault.may_miss and deliveries == before
                if not has_missed and not (message.is_control and link.is_steady):
                    self._strike(link)
                if not deliveries:
                    self._reply(link, before)
        self._deliver(message, content, deliveries, meaning, now, stalls, aside)
        for link, effect in behind:
            self._on_effect(link, effect, self.side, self._ordinal)

    def _reply(self, link: Link, taken: Sequence[Delivery]) -> None:
        """A rule has taken a message away; whoever sent it may get an answer."""
        for delivery in taken:
            if (reply := link.fault.reply(delivery)) is not None:
                self._on_effect(None, reply, self.side, self._ordinal)

    def _takes(self, link: Link, message: Message, content: bytes | None, meaning: Meaning, now: int) -> bool:
        if not self._is_of_age(link, now):
            return False
        if message.is_control and link.is_steady:
            return True
        ordinal = None if message.is_control else self._ordinal
        return link.when.takes_content(message, content, meaning) and link.takes_turn(self.side, ordinal)

    def _is_of_age(self, link: Link, now: int) -> bool:
        if link.is_for_first and self._ordinal > 1:
            return False
        return link.when.age is None or now - self.opened_at >= link.when.age

    def _can_act(self, link: Link, message: Message) -> bool:
        """Removing or changing a message of a compressed stream needs the stream to be readable."""
        if not link.fault.is_loss or message.is_control or self.is_readable:
            return True
        if "unreadable" not in link.told:
            link.told.add("unreadable")
            self._events.append(Suppressed(link.rule.id, link.fault.name, self._reader.why_unreadable))
        return False

    def _note_paced(self, link: Link) -> None:
        if self.side.label not in link.told:
            self._strike(link)

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

    def _deliver(
        self,
        message: Message,
        content: bytes | None,
        deliveries: Sequence[Delivery],
        meaning: Meaning,
        now: int,
        stalls: tuple[Link, ...] = (),
        aside: Link | None = None,
    ) -> None:
        if self.is_shut:
            self._events.append(Discarded(self.side, len(message.raw)))
            return
        if self.gate is Heal.DISCARD and self._can_lose(message):
            self._lose(message)
            return
        is_deflated = self._reader.is_deflated(message)
        if is_deflated and not (len(deliveries) == 1 and deliveries[0].is_untouched):
            self._is_plain = True
        observed: tuple[Event, ...] = meaning.events
        behind: list[tuple[Held, Delivery]] = []
        has_put = False
        for delivery in deliveries:
            data = self._bytes_of(message, content, delivery, is_deflated)
            if data is None:
                self._give_up()
                return
            completes = None if message.is_control else True
            body = content if delivery.payload is None else delivery.payload
            observed += self._reader.track(body, has_left=True)
            held = Held(delivery.due, data, True, completes, observed, came=now, stalls=stalls)
            observed = ()  # of several, the first one tells
            if delivery.lingers:
                behind.append((held, delivery))
            else:
                self.holding.put(held)
                has_put = True
        if has_put and not message.is_control:
            self.holding.pass_by(now)
        for held, delivery in behind:
            link = aside if delivery.overtakers else None
            self.holding.put_aside(held, delivery.overtakers, now + delivery.lingers, link)

    def _bytes_of(self, message: Message, content: bytes | None, delivery: Delivery, is_deflated: bool) -> bytes | None:
        """A message as it leaves; None where that can't be known."""
        if delivery.payload is None and not delivery.fragment_bytes and not (self._is_plain and is_deflated):
            return message.raw
        payload = content if delivery.payload is None else delivery.payload
        if payload is None:
            # Without context takeover every message stands for itself.
            return message.raw if self._reader.stands_alone else None
        opcode = message.opcode if delivery.opcode is None else delivery.opcode
        if delivery.fragment_bytes and not message.is_control:
            return build_fragments(opcode, payload, message.mask, delivery.fragment_bytes)
        return build_frame(opcode, payload, message.mask)

    def _can_lose(self, message: Message) -> bool:
        """Whether a message can be taken out of the stream without destroying what follows."""
        return message.is_control or self.is_readable

    def _lose(self, message: Message) -> None:
        if self._reader.is_deflated(message):
            self._is_plain = True
        self._events.append(Discarded(self.side, len(message.raw)))
