"""The stage of `run`, and beside it, in its process and loop: proxies, and sessions of tests.

A proxy has a name and a port that its user chose, and stays until it is deleted. A session has an id and any port, is
judged, and ends by itself once nobody asks about it any more. Each holds as much as a stage may, so their number is
bounded.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterator
from secrets import token_hex, token_urlsafe
from typing import NamedTuple

from ..port_holder import why_not
from ..security import Security
from ..sockets import Address, Upstream, words
from ..stage import Stage
from ..units import SECOND, format_duration
from ..world import DIALS_PER_SECOND_MAX, Options
from .loops import Listener, loop_in
from .orders import Fence, Refused
from .room import MAIN, Kind, Room
from .room_order import RoomOrder
from .runs import check_fit

ROOMS_MAX = 100
IDLE_MAX = 3600 * SECOND
DIALS_PER_SECOND_OF_OTHERS = DIALS_PER_SECOND_MAX // ROOMS_MAX
"""The cap of each before a server that may be somebody else's: together they dial as often as one proxy may."""

_UNKNOWN = {
    Kind.PROXY: "there is no proxy of this name; GET /api/proxies lists them",
    Kind.SESSION: "there is no session of this id; GET /api/sessions lists them",
}


class Terms(NamedTuple):
    """On what a proxy or session stands: its server, and what holds before it."""

    upstream: Upstream
    options: Options
    security: Security
    fence: Fence


Grounds = Callable[[str | None], Awaitable[Terms]]
"""The terms before an upstream, as users write it, or before that of `run`. Raises ValueError where it is none, and
Refused where nobody may stand before it."""


class Rooms:
    """All stages, by what they are and their names."""

    def __init__(self, main: Room, grounds: Grounds | None = None, idle_max: int = IDLE_MAX) -> None:
        self.main = main
        self.by_client_token: dict[str, Room] = {main.client_token: main}
        self.control: Address | None = None
        """Where orders are taken; no upstream may be there."""
        self._grounds = grounds or self._grounds_of_main
        self._idle_max = idle_max
        self._rooms: dict[tuple[Kind, str], Room] = {}
        self._timers: dict[Room, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()  # loops keep only weak references to tasks
        self._opening = 0
        self._starting: set[Room] = set()
        self._names: set[str] = {MAIN}  # of proxies, also of those that are being opened
        self.has_any = False  # or had
        self._is_closed = False

    def __iter__(self) -> Iterator[Room]:
        """All but that of `run`."""
        return iter(list(self._rooms.values()))

    def of(self, kind: Kind) -> list[Room]:
        """Those of one kind; the one of `run` is the first of the proxies."""
        first = [self.main] if kind is Kind.PROXY else []
        return [*first, *(room for room in self if room.kind is kind)]

    def find(self, kind: Kind, name: str) -> Room:
        """Find a room. Raise Refused where there is none."""
        if kind is Kind.RUN or (kind is Kind.PROXY and name == MAIN):
            return self.main
        room = self._rooms.get((kind, name))
        if room is None:
            raise Refused(404, _UNKNOWN[kind])
        room.note_asked()
        return room

    # -- opening ----------------------------------------------------------------------------------------------------

    async def open(self, kind: Kind, order: RoomOrder) -> Room:
        """Open a proxy or a session. Raise Refused with the reason where that can't be."""
        if self._is_closed or self.main.stage.proxy.world.is_draining:
            raise Refused(503, "the proxy is ending")
        if len(self._rooms) + self._opening >= ROOMS_MAX:
            raise Refused(503, f"{ROOMS_MAX} proxies and sessions are open already; DELETE ends one")
        if order.name in self._names:
            raise Refused(409, f"there is a proxy {order.name} already; choose another name, or DELETE it first")
        self._opening += 1
        self._names |= {order.name} - {""}
        try:
            room = await self._begin(kind, order)
        except BaseException:
            self._names.discard(order.name)
            raise
        finally:
            self._opening -= 1
        self._rooms[kind, room.name] = self.by_client_token[room.client_token] = room
        if kind is Kind.SESSION:
            self._look_later(room, self._idle_max)
        self.has_any = True
        return room

    async def _begin(self, kind: Kind, order: RoomOrder) -> Room:
        try:
            terms = await self._grounds(order.upstream)
        except ValueError as problem:
            raise _invalid("upstream", str(problem)) from None
        check_fit(order.profile, str(terms.upstream), terms.upstream.is_opaque, terms.security, terms.fence)
        await self._check_loop(order.listen, terms.upstream)
        is_judged = kind is Kind.SESSION or bool(order.profile.expect)
        options = terms.options._replace(seed=order.seed)
        stage = Stage(terms.upstream, order.listen, order.profile, options, terms.security, is_judged=is_judged)
        room = Room(stage, terms.fence, token_urlsafe(16), kind, order.name or token_hex(4), shelf=self.main.shelf)
        self._starting.add(room)
        try:
            await stage.start()
            await self._check_loop(stage.proxy.address, terms.upstream)
            if self._is_closed:
                raise Refused(503, "the proxy is ending")
        except (OSError, UnicodeError) as error:
            await stage.stop()
            raise await _no_port(error, order.listen) from None
        except BaseException:
            await stage.stop()
            raise
        finally:
            self._starting.discard(room)
        return room

    async def _check_loop(self, listen: Address, upstream: Upstream) -> None:
        """Raise Refused where a server would be ourselves. It may look names up, so it is done beside the loop."""
        proxies = [room.stage.proxy for room in (self.main, *self, *self._starting)]
        others = [Listener(proxy.address, proxy.upstream) for proxy in proxies]
        here = Listener(listen, upstream.address)
        if problem := await asyncio.to_thread(loop_in, here, others, self.control):
            raise _invalid("upstream", problem)

    async def _grounds_of_main(self, upstream: str | None) -> Terms:
        """Without other grounds all stand where the stage of `run` stands."""
        proxy = self.main.stage.proxy
        if upstream is not None:
            raise Refused(403, "sessions and proxies have the upstream of the proxy here")
        options = proxy.world.options
        scheme = "tcp" if options.is_opaque else "wss" if proxy.security.upstream else "ws"
        return Terms(Upstream(proxy.upstream, scheme), options, proxy.security, self.main.fence)

    # -- ending -----------------------------------------------------------------------------------------------------

    def take(self, kind: Kind, name: str) -> Room:
        """Take a room out, for `end`: nobody else finds it any more. Raise Refused where there is none."""
        if kind is Kind.PROXY and name == MAIN:
            raise Refused(409, f"{MAIN} is the proxy of `run`; it ends with the process")
        room = self.find(kind, name)
        del self._rooms[kind, name]
        del self.by_client_token[room.client_token]
        if room in self._timers:
            self._timers.pop(room).cancel()
        return room

    async def end(self, room: Room) -> None:
        """End what has been taken out, its connections by RST, even where who has asked for it is gone."""
        await asyncio.shield(self._begin_to_end(room))

    def _begin_to_end(self, room: Room) -> "asyncio.Future[None]":
        ending = asyncio.ensure_future(self._end(room))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _end(self, room: Room) -> None:
        await room.close()
        await room.stage.stop()
        if room.kind is Kind.PROXY:
            self._names.discard(room.name)

    async def close(self) -> None:
        """End all, and let go who looks at the stage of `run`."""
        self._is_closed = True
        await self.main.close()
        await asyncio.gather(*(self.end(self.take(room.kind, room.name)) for room in self))
        await asyncio.gather(*self._ending)

    def _look_later(self, room: Room, after: int) -> None:
        loop = asyncio.get_running_loop()
        self._timers[room] = loop.call_later(after / SECOND, self._look, room)

    def _look(self, room: Room) -> None:
        """End a session that nobody has asked about for long: its test is gone."""
        left = self._idle_max - room.idle_for()
        if left > 0:
            self._look_later(room, left)
            return
        self.main.stage.journal.note("session_ended", session=room.name, reason=self._forgotten)
        self._begin_to_end(self.take(room.kind, room.name))

    @property
    def _forgotten(self) -> str:
        return f"nobody has asked about it for {format_duration(self._idle_max)}"


async def _no_port(error: OSError | UnicodeError, listen: Address) -> Refused:
    """Say why nobody can listen there."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Refused(409, await asyncio.to_thread(why_not, error, listen, "listen"))
    return _invalid("listen", f"can't listen on {listen}: {words(error)}")


def _invalid(path: str, message: str) -> Refused:
    return Refused(422, "the order is not valid", [{"path": path, "message": message}])
