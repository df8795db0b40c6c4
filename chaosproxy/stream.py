"""What one peer of an opaque connection (tcp://) sends: bytes, with nothing in them that could be told apart.

A chunk is what a read happened to give, so nothing that is decided may depend on where it ends. Timing takes it as it
comes; what changes bytes goes by their position in the stream, block by block.
"""

from typing import ClassVar

from .engine import Direction
from .events import Struck
from .faults import BLOCK_BYTES, Delivery
from .holding import Held
from .lanes import Lane
from .link import Link
from .wire.frames import Splitter


class ByteCounter(Splitter):
    """In a splitter's place where there is nothing to split: it only counts."""

    __slots__ = ()

    def scan(self, data: bytes) -> None:
        self.bytes += len(data)


class Stream(Direction):
    """A direction without frames: two lanes, PASS and FLOW, and an end wherever a chunk ends."""

    splitter_type: ClassVar[type[Splitter]] = ByteCounter

    @property
    def is_inside_frame(self) -> bool:
        return False

    def receive(self, data: bytes, now: int) -> None:
        """Take what the side sent."""
        begin = self.splitter.bytes
        self.splitter.scan(data)
        if self.lane is Lane.PASS:
            self.holding.ready.append(data)
            return
        delivery = Delivery(now, None)
        stalls: tuple[Link, ...] = ()
        for link in self.links:
            if link.is_pacing or not self._is_of_age(link, now):
                continue
            if link.fault.garbles:
                data = self._garble(link, data, begin)
            elif link.hits_connection():
                link.dice[self.side].go_to(begin)
                self._note_paced(link)
                (delivery,) = link.fault.apply(delivery, link.dice[self.side])
                if link.fault.keeps:
                    stalls += (link,)
        self.holding.put(Held(delivery.due, data, ends=True, came=now, stalls=stalls))

    def shut(self, now: int) -> None:
        """Let nothing more go on. What is held is discarded: no part of it belongs to what has left."""
        self.holding.is_inside_frame = False
        super().shut(now)

    def _wanted_lane(self) -> Lane:
        return Lane.FLOW if self.links or self.gate is not None else Lane.PASS

    def _strike(self, link: Link) -> None:
        """Count it. What is struck has no number, so the first time of a side is worth a line."""
        link.has_acted = True
        link.strikes += 1
        self._tally.strike(link.fault.name)
        if self.side.label not in link.told:
            link.told.add(self.side.label)
            self._events.append(Struck(link.rule.id, link.fault.name, self.side, None, None))

    def _garble(self, link: Link, data: bytes, begin: int) -> bytes:
        """Change bytes by their place in the stream: the same ones, however it was chopped."""
        dice = link.dice[self.side]
        parts: list[bytes] = []
        at = 0
        while at < len(data):
            block, within = divmod(begin + at, BLOCK_BYTES)
            part = data[at : at + BLOCK_BYTES - within]
            at += len(part)
            dice.go_to(block)
            throw = dice.throw()  # always, so that what follows in the block does not hang on whether there is a chance
            if link.when.chance is None or throw < link.when.chance:
                garbled = link.fault.garble(part, within, dice)
                if garbled != part and block > link.rests_until[self.side]:
                    link.rests_until[self.side] = block  # each block counts once
                    self._strike(link)
                part = garbled
            parts.append(part)
        return b"".join(parts)
