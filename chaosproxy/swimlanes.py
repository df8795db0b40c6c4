"""Lanes of clients over time, within bounds, that tell what has changed behind a version.

Each of a client's connections at a time has a lane of its own. An item is known by the number of the journal's record
that began it. What is let go is counted: of lanes the one that has been over for longest, of a list what has not
changed for longest.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any

from pydantic import JsonValue

LANES_MAX = 2000
LIST_MAX = 500  # items in one list
ITEMS_MAX = 50_000  # in all lanes together

Json = dict[str, JsonValue]
Item = dict[str, Any]
_SEQ = itemgetter("seq")


class Items:
    """Items by their number, in the order in which they changed."""

    def __init__(self) -> None:
        self._items: OrderedDict[int, tuple[int, Item]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item, version: int) -> None:
        """Add an item, or note that it has changed."""
        self._items[item["seq"]] = version, item
        self._items.move_to_end(item["seq"])

    def shrink(self) -> None:
        """Let go of the one that has not changed for longest."""
        self._items.popitem(last=False)

    def since(self, version: int) -> list[JsonValue]:
        """What has changed behind a version, by number. It looks at nothing else."""
        changed: list[Item] = []
        for changed_in, item in reversed(self._items.values()):
            if changed_in <= version:
                break
            changed.append(item)
        return [*sorted(changed, key=_SEQ)]


class Lane:
    """One of a client's connections at a time, and what came of those before it."""

    def __init__(self, number: int, client: str, row: int) -> None:
        self.id = number
        self.client = client
        self.row = row
        self.version = 0
        self.attempt: int | None = None
        self.is_live = False
        self.freed = 0  # by which record
        self.path = self.socket_id = ""
        self.voice = ""  # what its client calls itself, where connections have no keys
        self.wire, self.ends, self.states, self.marks = Items(), Items(), Items(), Items()
        self.state: Item | None = None  # the client's now
        self.strikes: dict[str, Item] = {}  # the last mark of each rule

    @property
    def size(self) -> int:
        return len(self.wire) + len(self.ends) + len(self.states) + len(self.marks)

    def since(self, version: int) -> Json:
        return {
            "id": self.id,
            "client": self.client,
            "voice": self.voice,
            "row": self.row,
            "attempt": self.attempt,
            "live": self.is_live,
            "path": self.path,
            "socket_id": self.socket_id,
            "wire": self.wire.since(version),
            "ends": self.ends.since(version),
            "states": self.states.since(version),
            "marks": self.marks.since(version),
        }


class _Client:
    """A client's lanes by their rows. Each row below `rows` has a live lane or is in `free`."""

    def __init__(self) -> None:
        self.lanes: dict[int, Lane] = {}
        self.rows = 0
        self.free: list[int] = []  # a heap

    def take(self, before: int) -> int:
        """The first row, if it was free before that record, or else a new one."""
        if self.free:
            lane = self.lanes.get(self.free[0])
            if lane is None or lane.freed < before:
                return heappop(self.free)
        self.rows += 1
        return self.rows - 1


class Lanes:
    """All lanes of a picture."""

    def __init__(self) -> None:
        self.version = 1  # of what is put or touched next
        self.changed_in = 1  # 0 is what nobody knows yet
        self.lanes_left_out = self.items_left_out = 0
        self._lanes: OrderedDict[int, Lane] = OrderedDict()  # in the order in which they changed
        self._over: OrderedDict[int, Lane] = OrderedDict()  # those with no attempt any more, in order
        self._clients: dict[str, _Client] = {}
        self._made = 0
        self._items = 0

    @property
    def only_client(self) -> str:
        """The only one's key, or else that of nobody."""
        return next(iter(self._clients)) if len(self._clients) == 1 else ""

    def since(self, version: int) -> list[JsonValue]:
        """The lanes that have changed behind a version, with what has changed in them."""
        changed: list[Lane] = []
        for lane in reversed(self._lanes.values()):
            if lane.version <= version:
                break
            changed.append(lane)
        return [lane.since(version) for lane in sorted(changed, key=lambda lane: lane.id)]

    # -- lanes ------------------------------------------------------------------------------------------------------

    def take(self, client: str, attempt: int, before: int) -> Lane | None:
        """A client's first lane, if it was free before that record, or a new one; None where there is no room."""
        lanes = self._clients.setdefault(client, _Client())
        row = lanes.take(before)
        lane = lanes.lanes.get(row) or self._make(client, row)
        if lane is None:
            heappush(lanes.free, row)
            return None
        self._over.pop(lane.id, None)
        lane.attempt, lane.is_live, lane.path, lane.socket_id = attempt, True, "", ""
        self.touch(lane)
        return lane

    def free(self, lane: Lane, seq: int) -> None:
        """A lane's attempt is over, as that record says."""
        lane.is_live, lane.freed = False, seq
        heappush(self._clients[lane.client].free, lane.row)
        self._over[lane.id] = lane
        self.touch(lane)

    def first_of(self, client: str) -> Lane | None:
        """A client's lane of row 0, in which it speaks; it may do so before it has a connection."""
        lanes = self._clients.setdefault(client, _Client())
        if 0 not in lanes.lanes:
            if not lanes.rows:
                lanes.free, lanes.rows = [0], 1
            if lane := self._make(client, 0):
                self._over[lane.id] = lane
        return lanes.lanes.get(0)

    def has(self, lane: Lane | None) -> bool:
        """Whether a lane has not been let go."""
        return lane is not None and lane.id in self._lanes

    def _make(self, client: str, row: int) -> Lane | None:
        """A new lane, in the room of one that is over if need be; None where all are live."""
        lanes = self._clients[client]
        if len(self._lanes) >= LANES_MAX and not self._let_go():
            self.lanes_left_out += 1
            if not lanes.lanes:
                del self._clients[client]
            return None
        self._made += 1
        lane = self._lanes[self._made] = lanes.lanes[row] = Lane(self._made, client, row)
        self._clients[client] = lanes  # the one that was let go may have been its last
        self.touch(lane)
        return lane

    def _let_go(self, but: Lane | None = None) -> bool:
        """Let go of the lane that has been over for longest, if there is one."""
        lane = next(iter(self._over.values()), None)
        if lane is None or lane is but:
            return False
        del self._over[lane.id], self._lanes[lane.id]
        lanes = self._clients[lane.client]
        del lanes.lanes[lane.row]
        if not lanes.lanes:
            del self._clients[lane.client]
        self._items -= lane.size
        self.items_left_out += lane.size
        self.lanes_left_out += 1
        return True

    # -- items ------------------------------------------------------------------------------------------------------

    def touch(self, lane: Lane) -> None:
        """A lane has changed."""
        lane.version = self.changed_in = self.version
        self._lanes.move_to_end(lane.id)

    def put(self, lane: Lane, items: Items, item: Item) -> None:
        """Add an item to a list of a lane, or change it."""
        before = len(items)
        items.put(item, self.version)
        self._items += len(items) - before
        self.touch(lane)
        is_over = len(items) > LIST_MAX or (self._items > ITEMS_MAX and not self._let_go(lane))
        if is_over and len(items) > 1:
            items.shrink()
            self._items -= 1
            self.items_left_out += 1

    def put_beside(self, items: Items, item: Item) -> None:
        """The same for a list that is no lane's."""
        items.put(item, self.version)
        self.changed_in = self.version
        if len(items) > LIST_MAX:
            items.shrink()
            self.items_left_out += 1
