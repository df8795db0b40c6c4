"""When bytes may leave, where a rule limits how fast: pure clocks, asked piece by piece and in order.

A pacer works at what leaves and not at what comes, so that a rule that ends changes nothing for what has left and all
for what has not.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from .units import MILLISECOND, SECOND

PIECE_TIME = 20 * MILLISECOND  # what a bandwidth lets leave at once is what takes it so long
PIECE_BYTES_MAX = 64 * 1024
LATE_TIME_MAX = SECOND  # how late we may have been with a piece so that those behind it make up for it


class Pacer(Protocol):
    """Cuts what leaves into pieces and says when each may."""

    def piece(self, now: int) -> int:
        """How many bytes may leave at once, at most; at least one."""

    def reserve(self, size: int, now: int, since: int) -> int:
        """When so many bytes may leave; from then on the time is theirs. Call it once for each piece.

        They have waited for nothing but what left before them, and for us, since a time that may have been before now.
        """


class Stretch(NamedTuple):
    """A time at one rate, in bytes per second."""

    rate: int
    lasts: int


class Bucket:
    """A link of limited rate: each piece takes its size's time, and `burst` bytes of unused time may be saved up.

    The rate may go through stretches, over and over from `since` on. Several connections may share one bucket: they
    are served in the order in which they ask.
    """

    def __init__(self, stretches: Sequence[Stretch], burst: int, since: int) -> None:
        self._stretches = tuple(stretches)
        self._round = sum(stretch.lasts for stretch in stretches)
        self._since = since
        self._free_at = since  # when all that was reserved has left, at the link's rate
        fastest = max(stretch.rate for stretch in stretches)
        self._burst_time = burst * SECOND // fastest

    def piece(self, now: int) -> int:
        at = max(self._free_at, now - self._burst_time)
        rate, lasts = self._at(at)
        while not rate and lasts is not None:
            at += lasts
            rate, lasts = self._at(at)
        time = PIECE_TIME if lasts is None else min(PIECE_TIME, lasts)  # a piece over an edge would wait for the rest
        return max(1, min(PIECE_BYTES_MAX, rate * time // SECOND))

    def reserve(self, size: int, now: int, since: int) -> int:
        self._free_at = self._behind(max(self._free_at, since - self._burst_time), size)
        return max(now, self._free_at)

    def _behind(self, at: int, size: int) -> int:
        """When the last of so many bytes has gone through that begin at `at`."""
        left = size * SECOND
        while True:
            rate, lasts = self._at(at)
            if not rate or (lasts is not None and left > rate * lasts):
                assert lasts is not None
                left -= rate * lasts
                at += lasts
                continue
            return at - (-left // rate)

    def _at(self, at: int) -> tuple[int, int | None]:
        """The rate at a time, and how long it stays; for ever where there is one stretch only."""
        if len(self._stretches) == 1:
            return self._stretches[0].rate, None
        within = (at - self._since) % self._round
        for rate, lasts in self._stretches:
            if within < lasts:
                return rate, lasts - within
            within -= lasts
        raise AssertionError("the stretches make up the round")


class Slicer:
    """Cuts what leaves into small pieces with a gap behind each."""

    def __init__(self, next_size: Callable[[], int], gap: int) -> None:
        self._next_size = next_size
        self._gap = gap
        self._free_at = 0
        self._size = 0  # of the next piece, until it is taken

    def piece(self, now: int) -> int:
        self._size = self._size or self._next_size()
        return self._size

    def reserve(self, size: int, now: int, since: int) -> int:
        self._size = 0
        at = max(now, self._free_at)
        self._free_at = at + self._gap
        return at
