"""Rules that a test puts in force and heals by hand."""

import json
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from ..control.orders import NewRule, Refused, read_order
from ..live_rule import absent, misfit_of_chosen, objections
from ..proxy import Proxy
from ..rule import BoundRule, Rule, bind
from ..world import World
from .thread import Complaint


class Fault:
    """A fault in force. `heal` ends it, as does the end of a `with` block."""

    def __init__(self, rule: BoundRule, heal: Callable[[str], None]) -> None:
        self.id = rule.id
        self.name = rule.fault.name
        self._heal = heal

    def __repr__(self) -> str:
        return f"<Fault {self.id}>"

    def heal(self) -> None:
        """End it, if it has not ended by itself (`lasts`), and return once it is healed."""
        __tracebackhide__ = True
        self._heal(self.id)

    def __enter__(self) -> "Fault":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.heal()


def read_fault(
    fault: str,
    options: Mapping[str, Any],
    when: Mapping[str, Any] | None,
    lasts: str | None,
    rule_id: str | None,
    connections: Iterable[int] | None = None,
) -> NewRule:
    """Read a rule given as arguments, by the words of profiles. Raise Complaint with all that is wrong with it."""
    rule = {fault: dict(options), **({"when": when} if when else {}), **({"id": rule_id} if rule_id else {})}
    order: dict[str, Any] = {"rule": rule, **({"lasts": lasts} if lasts else {})}
    if connections is not None:
        order["connections"] = [*connections]
    try:
        return read_order(NewRule, json.dumps(order).encode())
    except TypeError as problem:
        raise Complaint(f"fault {fault}: {problem}") from None
    except Refused as refused:
        found = [f"{str(problem['path']).removeprefix('rule.')}: {problem['message']}" for problem in refused.problems]
        raise Complaint("\n".join(found) or refused.error) from None


def check_chosen(rule: Rule, only: frozenset[int] | None, world: World) -> None:
    """See that a rule can act on the connections that are named. Raise Complaint where it can't."""
    if only is None:
        return
    if misfit := misfit_of_chosen(rule):
        raise Complaint(misfit)
    if missing := absent(only, world):
        raise Complaint(f"there is no connection of attempt {missing}")


def check_fault(rule: Rule, proxy: Proxy, refuses: Callable[[Rule], str | None]) -> None:
    """See that a rule can act on this proxy. Raise Complaint where it can't."""
    if found := objections(rule, proxy, refuses):
        raise Complaint("\n".join(objection.message for objection in found))


def bind_fault(rule: Rule, taken: set[str]) -> BoundRule:
    """Give a rule an id that no other has: two faults that are alike are two, each of which heals by itself."""
    number = 1
    while rule.id is None and f"{rule.fault_name}-{number}" in taken:
        number += 1
    named = rule if rule.id else rule.model_copy(update={"id": f"{rule.fault_name}-{number}"})
    return bind([("live", named)])[0]
