"""Blows at live connections that do not fall all at once."""

from collections.abc import Sequence
from typing import NamedTuple

from .link import Link
from .session import Session


class Blow(NamedTuple):
    """A rule's act on one connection, to come."""

    due: int
    session: Session
    link: Link


class Blows:
    """What is to fall, by time. A blow whose rule has ended by then, or whose connection, does not fall."""

    def __init__(self) -> None:
        self._planned: list[Blow] = []

    def plan(self, hit: Sequence[tuple[Session, Link]], over: int, now: int) -> None:
        """Spread blows evenly over a time, in the order given: the first falls at once, the last before its end."""
        self._planned += [
            Blow(now + index * over // len(hit), session, link) for index, (session, link) in enumerate(hit)
        ]
        self._planned.sort(key=lambda blow: blow.due)

    @property
    def deadline(self) -> int | None:
        return self._planned[0].due if self._planned else None

    def take(self, now: int) -> list[Blow]:
        """Those that are due and still mean something."""
        due = [blow for blow in self._planned if blow.due <= now]
        del self._planned[: len(due)]
        return [
            blow for blow in due if not blow.session.is_over and blow.session.links.get(blow.link.rule.id) is blow.link
        ]
