"""An attempt of a client to have a connection, from its accept to its end, and the faults that keep clients out."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from .faults import FAULTS, Fault
from .faults.half_open import HalfOpen
from .faults.pusher import PusherError
from .wire.frames import Side

CUTTING = frozenset(
    name
    for name, fault in FAULTS.items()
    if (fault.family in ("opening", "half-open", "ending") or name in ("stall", "pusher_error"))
    and name != "slow_close"
)
"""Faults that keep clients from the server: by them a connection ends, falls silent, or can't be had."""
ENDING = frozenset(name for name in CUTTING if FAULTS[name].family == "ending") | {"pusher_error"}
"""Faults that a client learns of by themselves: its connection is ended."""
SILENCING = frozenset({"half_open", "silent", "stall"})


def spares(fault: Fault | None) -> bool:
    """Whether a fault that ends connections has been told not to."""
    return isinstance(fault, PusherError) and not fault.close


def lets_server_speak(fault: Fault | None) -> bool:
    """Whether a fault that silences connections lets through what the server says."""
    return isinstance(fault, HalfOpen) and fault.sender == Side.CLIENT.label


def cuts(fault: Fault) -> bool:
    """Whether a fault keeps clients from the server."""
    return fault.name in CUTTING and not spares(fault)


class Spot(NamedTuple):
    """When something happened, and the number of the journal's record that says so."""

    at: int
    seq: int


class Strike(NamedTuple):
    """A fault acted."""

    spot: Spot
    rule: str
    fault: str
    is_end: bool  # of the connection


class Hush(NamedTuple):
    """A fault kept all that a peer said from the other, until it healed."""

    rule: str
    began: Spot
    healed: Spot | None
    is_deaf: bool  # the client hears nothing
    is_kept: bool  # for it to hear at the heal


class Departure(NamedTuple):
    """A peer, or whoever ended the connection, went: by a close frame, FIN or RST."""

    spot: Spot
    how: str
    code: int | None = None


@dataclass
class Attempt:
    """A client's connection to the proxy, from its accept on. What has not happened is None."""

    number: int
    accepted: Spot
    client: str | None = None  # known with its upgrade request
    connection: int = 0
    is_plain: bool = False  # it asked for something else than an upgrade
    asked: Spot | None = None
    answer: tuple[Spot, int] | None = None  # other than 101
    opened: Spot | None = None
    established: Spot | None = None
    socket_id: str = ""
    asked_for: list[tuple[Spot, str, str]] = field(default_factory=list)  # subscriptions: channel, digest of the auth
    subscribed: list[tuple[Spot, str]] = field(default_factory=list)
    unsubscribed: list[tuple[Spot, str]] = field(default_factory=list)
    turned_down: list[tuple[Spot, str]] = field(default_factory=list)  # subscriptions that the server refused
    is_struck: bool = False  # by whatever fault
    strikes: list[Strike] = field(default_factory=list)  # by faults that cut, the first few
    hushes: list[Hush] = field(default_factory=list)
    closes: list[Departure] = field(default_factory=list)  # the client's close frame
    server_closes: list[Departure] = field(default_factory=list)
    ended: Departure | None = None  # the client's FIN or RST
    server_ended: Departure | None = None
    closed: Departure | None = None
    closed_by: str = ""
    is_retired: bool = False  # its client left it because the run was at its end

    def forget(self) -> None:
        """Something has happened on it: what was concluded from the rest holds no longer."""
        for concluded in ("left", "cut", "down"):
            self.__dict__.pop(concluded, None)

    @property
    def is_counted(self) -> bool:
        """Whether a client wanted a connection: it asked for one, or a fault kept it from asking."""
        return bool(self.asked or self.opened) or (self.is_struck and not self.is_plain)

    @cached_property
    def left(self) -> Departure | None:
        """The client's first act of ending it."""
        acts = [*self.closes, *([self.ended] if self.ended else [])]
        return min(acts, key=lambda act: act.spot, default=None)

    @cached_property
    def cut(self) -> Departure | None:
        """The first end of it that came from elsewhere: from a fault, the server, or the proxy."""
        ends = [Departure(strike.spot, strike.fault) for strike in self.strikes if strike.is_end]
        ends += [told for end in (*self.server_closes, self.server_ended) if end and (told := self.told(end))]
        ends += [self.closed] if self.closed and self.closed_by != Side.CLIENT.label else []
        return min(ends, key=lambda end: end.spot, default=None)

    @cached_property
    def down(self) -> Departure | None:
        """When it was of no use to its client any more, however that came."""
        if self.is_retired:
            return None
        ends = [end for end in (self.left, self.cut, self.closed) if end]
        return min(ends, key=lambda end: end.spot, default=None)

    @property
    def is_left_first(self) -> bool:
        """Whether the client ended it, and nobody before."""
        return self.left is not None and (self.cut is None or self.left.spot < self.cut.spot)

    def silenced(self, since: Spot) -> Spot | None:
        """When from then on a fault first keeps it from carrying anything."""
        spells = (hush for hush in self.hushes if hush.healed is None or hush.healed > since)
        return min((max(hush.began, since) for hush in spells), default=None)

    def told(self, end: Departure) -> Departure | None:
        """When its client learnt of an end that came from the server; None where a fault has kept that from it."""
        for hush in self.hushes:
            if hush.is_deaf and hush.began <= end.spot and (hush.healed is None or end.spot < hush.healed):
                if hush.healed is None or not hush.is_kept or (self.ended and self.ended.spot < hush.healed):
                    return None
                return end._replace(spot=hush.healed)
        return end

    @property
    def told_closes(self) -> list[Departure]:
        """The server's close frame, once its client was told."""
        return [told for end in self.server_closes if (told := self.told(end))]

    @property
    def codes(self) -> list[tuple[Spot, int]]:
        """The close codes that its client was told."""
        told = [(end.spot, end.code) for end in self.told_closes if end.code is not None]
        is_ours = self.closed_by not in (Side.CLIENT.label, Side.SERVER.label)
        if self.cut and self.closed and self.closed.code is not None and is_ours:
            told.append((self.cut.spot, self.closed.code))
        return told

    def channels_at(self, at: int) -> set[str]:
        """What it is subscribed to at a time."""
        changes = [(spot, True, channel) for spot, channel in self.subscribed]
        changes += [(spot, False, channel) for spot, channel in self.unsubscribed]
        channels: set[str] = set()
        for spot, is_on, channel in sorted(changes):
            if spot.at <= at:
                (channels.add if is_on else channels.discard)(channel)
        return channels
