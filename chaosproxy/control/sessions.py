"""Sessions: ports with profiles, clients and verdicts of their own, beside the stage of `run`, in its process and loop.

Each holds as much as a stage may, so their number is bounded; one that nobody asks about any more ends by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from secrets import token_hex, token_urlsafe
from typing import NamedTuple

from ..security import Security
from ..sockets import Address, Upstream, words
from ..stage import Stage
from ..units import SECOND, format_duration
from ..world import DIALS_PER_SECOND_MAX, Options
from .orders import Fence, Refused
from .room import Room
from .runs import check_fit
from .session_order import SessionOrder

SESSIONS_MAX = 100
IDLE_MAX = 3600 * SECOND
DIALS_PER_SECOND_OF_OTHERS = DIALS_PER_SECOND_MAX // SESSIONS_MAX
"""The cap of each session before a server that may be somebody else's: together they dial as often as one proxy may."""


class Terms(NamedTuple):
    """On what a session stands: its server, and what holds before it."""

    upstream: Upstream
    options: Options
    security: Security
    fence: Fence


Grounds = Callable[[str | None], Awaitable[Terms]]
"""The terms before an upstream, as users write it, or before that of `run`. Raises ValueError where it is none, and
Refused where no session may stand before it."""


class Sessions:
    """The stage of `run`, and all sessions by their ids."""

    def __init__(self, main: Room, grounds: Grounds | None = None, idle_max: int = IDLE_MAX) -> None:
        self.main = main
        self.by_client_token: dict[str, Room] = {main.client_token: main}
        self._grounds = grounds or self._grounds_of_main
        self._idle_max = idle_max
        self._rooms: dict[str, Room] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()  # loops keep only weak references to tasks
        self._opening = 0
        self.has_any = False  # or had
        self._is_closed = False

    def __iter__(self) -> Iterator[Room]:
        return iter(list(self._rooms.values()))

    def room(self, session: str) -> Room:
        """The room of a session, or that of `run`. Raise Refused where there is none."""
        if not session:
            return self.main
        if session not in self._rooms:
            raise Refused(404, "there is no session of this id; GET /api/sessions lists them")
        room = self._rooms[session]
        room.note_asked()
        return room

    # -- opening ----------------------------------------------------------------------------------------------------

    async def open(self, order: SessionOrder) -> Room:
        """Open a session. Raise Refused with the reason where that can't be."""
        if self._is_closed or self.main.stage.proxy.world.is_draining:
            raise Refused(503, "the proxy is ending")
        if len(self._rooms) + self._opening >= SESSIONS_MAX:
            raise Refused(503, f"{SESSIONS_MAX} sessions are open already; DELETE /api/sessions/ID ends one")
        self._opening += 1
        try:
            room = await self._begin(order)
        finally:
            self._opening -= 1
        self._rooms[room.session] = self.by_client_token[room.client_token] = room
        self._look_later(room, self._idle_max)
        self.has_any = True
        return room

    async def _begin(self, order: SessionOrder) -> Room:
        try:
            terms = await self._grounds(order.upstream)
        except ValueError as problem:
            raise _invalid("upstream", str(problem)) from None
        check_fit(order.profile, str(terms.upstream), terms.upstream.is_opaque, terms.security, terms.fence)
        options = terms.options._replace(seed=order.seed)
        listen = Address(order.host, 0)
        stage = Stage(terms.upstream, listen, order.profile, options, terms.security, is_judged=True)
        room = Room(stage, terms.fence, token_urlsafe(16), token_hex(4), shelf=self.main.shelf)
        try:
            await stage.start()
            if self._is_closed:
                raise Refused(503, "the proxy is ending")
        except (OSError, UnicodeError) as error:
            await stage.stop()
            raise _invalid("listen", f"can't listen on {order.host}: {words(error)}") from None
        except BaseException:
            await stage.stop()
            raise
        return room

    async def _grounds_of_main(self, upstream: str | None) -> Terms:
        """Without other grounds sessions stand where the stage of `run` stands."""
        proxy = self.main.stage.proxy
        if upstream is not None:
            raise Refused(403, "sessions have the upstream of the proxy here")
        options = proxy.world.options
        scheme = "tcp" if options.is_opaque else "wss" if proxy.security.upstream else "ws"
        return Terms(Upstream(proxy.upstream, scheme), options, proxy.security, self.main.fence)

    # -- ending -----------------------------------------------------------------------------------------------------

    def take(self, session: str) -> Room:
        """Take a session out, for `end`: nobody else finds it any more. Raise Refused where there is none."""
        if not session or session not in self._rooms:
            raise Refused(404, "there is no session of this id; GET /api/sessions lists them")
        room = self._rooms.pop(session)
        del self.by_client_token[room.client_token]
        self._timers.pop(session).cancel()
        return room

    async def end(self, room: Room) -> None:
        """End what has been taken out, its connections by RST, even where who has asked for it is gone."""
        ending = asyncio.ensure_future(self._end(room))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        await asyncio.shield(ending)

    async def _end(self, room: Room) -> None:
        await room.close()
        await room.stage.stop()

    async def close(self) -> None:
        """End all, and let go who looks at the stage of `run`."""
        self._is_closed = True
        await self.main.close()
        await asyncio.gather(*(self.end(self.take(session)) for session in list(self._rooms)))
        await asyncio.gather(*self._ending)

    def _look_later(self, room: Room, after: int) -> None:
        loop = asyncio.get_running_loop()
        self._timers[room.session] = loop.call_later(after / SECOND, self._look, room)

    def _look(self, room: Room) -> None:
        """End a session that nobody has asked about for long: its test is gone."""
        left = self._idle_max - room.idle_for()
        if left > 0:
            self._look_later(room, left)
            return
        self.main.stage.journal.note("session_ended", session=room.session, reason=self._forgotten)
        ending = asyncio.ensure_future(self._end(self.take(room.session)))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    @property
    def _forgotten(self) -> str:
        return f"nobody has asked about it for {format_duration(self._idle_max)}"


def _invalid(path: str, message: str) -> Refused:
    return Refused(422, "the order is not valid", [{"path": path, "message": message}])
