"""What stands against a rule that is added to a running proxy by hand."""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import NamedTuple

from .faults import Hits, Moment
from .opaque import rule_misfits
from .profile import protocol_misfits
from .proxy import Proxy
from .rule import Path, Rule
from .world import World

NAMED_MAX = 20
LIVE_RULES_MAX = 250  # each is looked at for every connection


class Against(Enum):
    """Of what kind an objection is."""

    MISFIT = auto()
    """It can't act on this proxy."""
    TAKEN = auto()
    """Its id is another rule's, or there is no room for it."""
    FORBIDDEN = auto()
    """It could harm a server that is somebody else's."""


class Objection(NamedTuple):
    """Why a rule can't be added; `at` is the path, within the rule, of what to change."""

    kind: Against
    message: str
    at: Path = ()


def misfit_of_chosen(rule: Rule) -> str:
    """Why a rule can't act on chosen connections, which are there already; nothing where it can."""
    is_for_new = getattr(rule.fault, "hits", None) is Hits.NEW
    if is_for_new or not rule.fault.acts_at & {Moment.PHASE, Moment.MESSAGE}:
        return f"{rule.fault_name} acts on new connections, and these are there already; leave it out"
    return ""


def absent(only: Iterable[int], world: World) -> str:
    """Those of the attempts that have no connection, in words; nothing where each has."""
    there = world.sessions
    missing = [str(number) for number in sorted(only) if number not in there or there[number].is_over]
    return ", ".join(missing[:NAMED_MAX]) + (f" and {len(missing) - NAMED_MAX} more" if missing[NAMED_MAX:] else "")


def objections(rule: Rule, proxy: Proxy, refuses: Callable[[Rule], str | None]) -> list[Objection]:
    """All that stands against a rule, the worst first; `refuses` says why it must not act here, if so."""
    profile = proxy.world.profile
    misfits = list(rule_misfits(rule)) if proxy.world.options.is_opaque else []
    if not misfits and not profile.protocol:
        misfits = list(protocol_misfits(rule, "at the top of the profile"))
    found = [Objection(Against.MISFIT, misfit.message, misfit.at) for misfit in misfits]
    if lack := proxy.security.lacks(rule.fault):
        found.append(Objection(Against.MISFIT, lack, (rule.fault_name,)))
    if rule.id and rule.id in {other.id for other in profile.every_rule()}:
        found.append(Objection(Against.TAKEN, f"the profile has a rule {rule.id} of its own; choose another id"))
    live = {each.id for each in proxy.world.live_rules}
    if len(live) >= LIVE_RULES_MAX and rule.id not in live:
        found.append(Objection(Against.TAKEN, f"{LIVE_RULES_MAX} rules have been added already; heal some of them"))
    if forbidden := refuses(rule):
        found.append(Objection(Against.FORBIDDEN, forbidden))
    return found
