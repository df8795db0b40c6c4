"""What requests may say about connections: which ones, and what is done to them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..effects import Heal, Leg, Mode
from ..legs import State
from ..match import glob
from ..rule import Misuse, Model, misuse
from ..session import Session
from ..units import Count, Duration, Flag, Integer, Set
from .orders import Close

CONNECTIONS_SHOWN_MAX = 1000
CONNECTIONS_LISTED_MAX = 10_000

StateName = Literal["head", "asked", "exchange", "dialling", "answer", "refused", "hung", "tunnel", "ending"]
assert set(StateName.__args__) == {state.name.lower() for state in State} - {"over"}  # type: ignore[attr-defined]


class Choice(Model):
    """Which connections: those for which all that is given holds."""

    client: Annotated[str, Field(max_length=256)] | None = None
    """The key of their client, as `identify` finds it; empty text for those that have none."""
    path: Annotated[str, Field(max_length=1024)] | None = None
    """The path that was asked for; * and ? stand for any characters and one."""
    state: StateName | None = None
    """How far they have come: tunnel are those that are open."""
    silent: Flag | None = None
    """Whether a fault keeps them half-open."""
    older_than: Duration | None = None
    """They were accepted longer ago than this."""

    def take(self, sessions: list[Session], now: int) -> list[Session]:
        """Those of the connections that are meant."""
        path = None if self.path is None else glob(self.path)
        return [
            session
            for session in sessions
            if (self.client is None or session.client == self.client)
            and (self.state is None or session.state.name.lower() == self.state)
            and (self.silent is None or session.is_silent is self.silent)
            and (self.older_than is None or now - session.accepted_at > self.older_than)
            and (path is None or (session.request is not None and path.match(session.request.path) is not None))
        ]


class Listing(Choice):
    """Which connections to tell of, as a query."""

    limit: Annotated[Count, Field(le=CONNECTIONS_LISTED_MAX)] = CONNECTIONS_SHOWN_MAX
    """So many at most."""
    after: Integer = 0
    """Only those of later attempts than this one."""


class Many(Model):
    """Which connections something is done to."""

    match: Choice = Choice()
    """Those for which all of these conditions hold."""
    all: Set | None = None
    """All of them, which can't be left out where there is no condition; to freeze or heal, those that come as well."""

    @model_validator(mode="after")
    def _is_meant(self) -> "Many":
        has_conditions = self.match != Choice()
        if has_conditions and self.all:
            raise misuse(Misuse("expected match: or all:, got both", ("all",)))
        if not has_conditions and not self.all:
            message = "expected a condition, such as client: or path:, got none; all: true is for all connections"
            raise misuse(Misuse(message, ("match",)))
        return self


class CloseMany(Close, Many):
    """The code and reason of a close, and for whom."""


class Freeze(Model):
    """How connections fall silent: nothing comes through, and nobody is told."""

    leg: Leg = Leg.BOTH
    """The leg that falls silent: client, server or both."""
    mode: Mode = Mode.FREEZE
    """freeze stops reading, so that the peers' sending comes to a halt; blackhole reads and holds what they send."""
    heal: Heal = Heal.FLUSH
    """What becomes of them at the end: flush delivers what was held, discard loses it, reset ends them by RST."""
    lasts: Duration | None = None
    """After this time they are healed by themselves."""


class FreezeMany(Freeze, Many):
    """How connections fall silent, and which."""
