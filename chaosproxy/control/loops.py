"""Whether a proxy would call itself, or the control address, be it over other proxies of this process.

What a name stands for may change at any time, and what other processes do can't be seen: such loops are not found.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..addresses import leads_to
from ..sockets import Address


class Listener(NamedTuple):
    """Where a proxy listens, and where it calls."""

    listen: Address
    upstream: Address


def loop_in(here: Listener, others: Sequence[Listener], control: Address | None) -> str:
    """Say why a proxy must not call its upstream, if so. It looks names up where ports are equal, so it may block."""
    if control and leads_to(here.upstream, control):
        return f"{here.upstream} is the control address: clients would reach the control API"
    left, ways = list(others), [(here.upstream, "")]
    while ways:
        upstream, over = ways.pop()
        if leads_to(upstream, here.listen):
            return f"{here.upstream} leads to where it listens{over}: the proxy would call itself"
        met = [each for each in left if leads_to(upstream, each.listen)]
        left = [each for each in left if each not in met]
        ways += [(each.upstream, f", over the proxy on {each.listen}") for each in met]
    return ""
