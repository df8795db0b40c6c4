"""Faults that act every so often on an open connection: which is due when."""

from collections.abc import Iterable

from .link import Link


class Recurring:
    """The links of one connection that recur, each with the time at which it acts next."""

    def __init__(self) -> None:
        self._due: dict[Link, int] = {}

    @property
    def deadline(self) -> int | None:
        return min(self._due.values(), default=None)

    def set_links(self, links: Iterable[Link], now: int) -> None:
        """The rules in force have changed; those that go on keep their time."""
        self._due = {
            link: self._due.get(link, now + link.fault.recurs)
            for link in links
            if link.fault.recurs is not None and link.hits_connection()
        }

    def take(self, now: int) -> list[Link]:
        """Those that are due by now. What was missed, since nobody asked in time, is not made up for."""
        taken = [link for link, due in self._due.items() if due <= now]
        for link in taken:
            interval = link.fault.recurs
            assert interval is not None
            self._due[link] = now + interval - (now - self._due[link]) % interval
        return taken

    def clear(self) -> None:
        """The connection is over."""
        self._due.clear()
