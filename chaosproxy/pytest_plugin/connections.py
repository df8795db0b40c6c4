"""The connections of the proxy, as a test looks at them and does something to one."""

import json
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

from ..control import runs
from ..control.connection_orders import Choice
from ..control.orders import Close, OrderType, Refused, read_order
from ..control.profile_order import PlayOrder, read_play
from ..control.shelf import Shelf
from ..effects import Leg
from ..profile import Profile
from ..session import Session
from ..world import Step, World
from .running import Running, refuses
from .thread import Complaint

Decide = Callable[[World, int], list[Step]]


class Connection:
    """One connection, as it stood when it was asked for. What is done to it is in force when the call returns."""

    def __init__(self, session: Session, act: Callable[[int, Callable[[Session], Decide]], None]) -> None:
        self.attempt = session.number
        self.client = session.client
        self.path = session.request.path if session.request else ""
        self.state = session.state.name.lower()
        self.is_silent = session.is_silent
        self._act = act

    def __repr__(self) -> str:
        return f"<Connection of attempt {self.attempt}: {self.state}>"

    def close(self, code: int = 1001, reason: str = "") -> None:
        """End it by a close frame for the client."""
        __tracebackhide__ = True
        order = _read_close(code, reason)
        status = None if order.code == "none" else order.code
        self._act(
            self.attempt, lambda session: lambda _, now: [(session, session.close(Leg.CLIENT, status, reason, now))]
        )

    def reset(self) -> None:
        """End it by RST."""
        __tracebackhide__ = True
        self._act(self.attempt, lambda session: lambda _, now: [(session, session.reset(Leg.BOTH, now, "proxy"))])

    def heal(self) -> None:
        """End on it what was put in force by hand, and whatever else keeps it from carrying anything."""
        __tracebackhide__ = True
        attempts = frozenset({self.attempt})
        self._act(self.attempt, lambda session: lambda world, now: world.free(attempts, now))


def choose(world: World, conditions: Mapping[str, Any]) -> list[Session]:
    """The connections for which all of the conditions hold. Raise Complaint where they make no sense."""
    choice = _read(Choice, conditions)
    return choice.take([session for session in world.sessions.values() if not session.is_over], monotonic_ns())


def read_played(profile: str | Mapping[str, Any], seed: int | None) -> PlayOrder:
    """Read what shall be played: a shipped profile by its name, or a whole one. Raise Complaint."""
    order: dict[str, Any] = {"profile": profile if isinstance(profile, str) else dict(profile)}
    if seed is not None:
        order["seed"] = seed
    try:
        return read_play(json.dumps(order).encode(), Shelf())
    except TypeError as problem:
        raise Complaint(str(problem)) from None
    except Refused as refused:
        raise _complaint(refused) from None


def check_fit(profile: Profile, running: Running) -> None:
    """See that a profile can be played here. Raise Complaint where it can't."""
    proxy = running.stage.proxy
    refuses_here = refuses(running)
    try:
        runs.check_fit(profile, str(proxy.upstream), proxy.world.options.is_opaque, proxy.security, refuses_here)
    except Refused as refused:
        raise _complaint(refused) from None


def _read_close(code: int, reason: str) -> Close:
    return _read(Close, {"code": code, "reason": reason})


def _read(kind: type[OrderType], order: Mapping[str, Any]) -> OrderType:
    try:
        return read_order(kind, json.dumps(order).encode())
    except TypeError as problem:
        raise Complaint(str(problem)) from None
    except Refused as refused:
        raise _complaint(refused) from None


def _complaint(refused: Refused) -> Complaint:
    found = [f"{problem['path']}: {problem['message']}" for problem in refused.problems]
    return Complaint("\n".join(found) or refused.error)
