"""Which rules act on a plain HTTP request: those that name plain requests, one by one, as others act on messages."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from .effects import Silence
from .link import Link
from .plain_http import Delay
from .rule import BoundRule
from .wire.frames import Side
from .wire.http import Request


class InForce(Protocol):
    """A rule, and the visit of its phase that its dice know."""

    @property
    def rule(self) -> BoundRule: ...
    @property
    def visit_of_phase(self) -> int: ...


class PlainRules:
    """Count the requests of each client that satisfy a rule's other conditions, in the order in which they come."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: dict[str, dict[str, int]] = {}  # by rule, then by client

    def forget(self, rule_id: str) -> None:
        """A rule has ended: where it begins again, it counts from one."""
        self._counts.pop(rule_id, None)

    def links(self, active: Iterable[InForce], client: str, request: Request) -> list[Link]:
        """The rules that hit this request, each with dice of its own."""
        found: list[Link] = []
        for rule, visit in ((each.rule, each.visit_of_phase) for each in active):
            if rule.when.takes_request(request):
                counts = self._counts.setdefault(rule.id, {})
                link = Link(rule, self._seed, (visit, client, "http"))
                link.dice[Side.CLIENT].ordinal = counts.get(client, 0)
                counts[client] = counts.get(client, 0) + 1
                if link.takes_turn(Side.CLIENT):
                    found.append(link)
        return found

    def silencers(self, active: Iterable[InForce], links: Mapping[str, Link]) -> list[Link]:
        """The rules that make plain HTTP half-open, those that make everything so; by the links there are already."""
        rules = [each.rule for each in active if isinstance(each.rule.fault.effect(), Silence)]
        found = [(rule, links.get(rule.id)) for rule in rules if rule.when.is_of_all]
        return [
            link if link and link.rule is rule else Link(rule, self._seed, ("half-open http",)) for rule, link in found
        ]


def delays_of(links: Iterable[Link]) -> list[Delay]:
    """What those of the links that are about timing do to the response's head."""
    return [Delay(link, link.fault.wait(link.dice[Side.CLIENT])) for link in links if link.fault.is_timing]
