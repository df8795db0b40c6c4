"""What is to happen at some time unless something else happens first. Pure: times are integer nanoseconds of any clock.

Setting an alarm later again and again, as each frame that is sent does, costs no more than writing the time down.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Alarms(Generic[Key]):
    def __init__(self) -> None:
        self._count = 0
        # By key: when it rings, and how many alarms had been set before.
        self._due: dict[Key, tuple[int, int]] = {}
        # Entries may be out of date: `_due` tells what holds. A key's first entry is never later than it rings.
        self._heap: list[tuple[int, int, Key]] = []
        self._first: dict[Key, int] = {}

    def set(self, key: Key, at: int) -> None:
        """Let the alarm ring at that time, and at no other."""
        self._count += 1
        self._due[key] = at, self._count
        if key not in self._first or at < self._first[key]:
            self._queue(key)

    def cancel(self, key: Key) -> bool:
        """Tell whether the alarm was set; it no longer is."""
        return self._due.pop(key, None) is not None

    @property
    def deadline(self) -> int | None:
        """When the next alarm rings."""
        while self._heap:
            at, count, key = self._heap[0]
            if self._due.get(key) == (at, count):
                return at
            heapq.heappop(self._heap)
            if self._first.get(key) == at:
                del self._first[key]
                if key in self._due:
                    self._queue(key)
        return None

    def pop(self, now: int) -> Key | None:
        """Take the first alarm that is due, if there is one; of two for the same time, the one set first."""
        deadline = self.deadline
        if deadline is None or deadline > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._first.pop(key, None)
        return key

    def _queue(self, key: Key) -> None:
        at, count = self._due[key]
        self._first[key] = at
        heapq.heappush(self._heap, (at, count, key))
