"""A profile is a timeline of phases, a phase is a list of rules, a rule is one fault and one match. Frozen models.

Data is checked here, once. `profile_yaml` reads files into these models and says where in the file a problem is.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from .attempt import ENDING, cuts
from .expectations import After, Carrying
from .expected import AnyExpected, Expected
from .problems import nearest, one_of
from .protocols import PROTOCOLS
from .rule import NAME, RULES, AnyRule, BoundRule, Misuse, Model, Path, Rule, bind, digest_of, misuse
from .units import Count, Integer, Set, Size, Span, expected, format_duration
from .wire.http import Request
from .wire.pointer import Pointer, parse_pointer

__all__ = ["EMPTY", "RULES", "BoundRule", "Identify", "Phase", "Profile", "Rule", "Until", "bind"]

HELD_BYTES_MAX = 1024 * 1024
JUDGED_BYTES_MAX = 16 * 1024 * 1024
_WORDS: Any = {"name": True, "about": True, "phases": {"__all__": {"about"}}, "expect": True}
PROFILE_NAME = r"^([A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})?$"


def _at_least_a_kibibyte(size: int) -> int:
    if size < 1024:
        raise expected("a size of at least 1KiB")
    return size


Room = Annotated[Size, AfterValidator(_at_least_a_kibibyte)]


class Until(Model):
    """What ends a phase: one condition, and how long to wait for it."""

    opened: Count | None = None
    """So many connections have opened since the phase began."""
    closed: Count | None = None
    """So many connections have ended since the phase began."""
    established: Count | None = None
    """So many connections are established in their protocol's terms now (needs `protocol:`)."""
    subscribed: (
        Annotated[Count | Annotated[list[str], Field(min_length=1)], Field(union_mode="left_to_right")] | None
    ) = None
    """So many connections have a confirmed subscription now, or each of these channels has one (needs `protocol:`)."""
    seconds: Count | None = None
    """So many seconds have passed; the same as `lasts`."""
    step: Set | None = None
    """Only a step over the control API ends the phase."""
    within: Span | None = None
    """Go on after this time even so; the run then counts as failed."""

    @model_validator(mode="before")
    @classmethod
    def _bare_step(cls, value: Any) -> Any:
        return {"step": True} if value == "step" else value

    @model_validator(mode="after")
    def _one_condition(self) -> "Until":
        if len(self._named) != 1:
            got = " and ".join(self._named) or "none"
            conditions = "opened, closed, established, subscribed, seconds or step"
            raise misuse(Misuse(f"expected exactly one of {conditions}, got {got}"))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), {"const": "step"}]}

    @property
    def _named(self) -> list[str]:
        return [name for name in type(self).model_fields if name != "within" and getattr(self, name) is not None]

    @property
    def condition(self) -> str:
        """The name of the one condition."""
        return self._named[0]


class Phase(Model):
    """A stretch of the timeline, with its rules."""

    name: Annotated[str, Field(pattern=NAME)]
    """Letters, digits, _ . and -."""
    about: str = ""
    """What it stands for."""
    lasts: Span | None = None
    """How long it lasts."""
    until: Until | None = None
    """What ends it, in place of a time."""
    rules: tuple[AnyRule, ...] = ()
    """The rules in force."""

    @model_validator(mode="after")
    def _one_end(self) -> "Phase":
        if self.lasts is not None and self.until is not None:
            raise misuse(Misuse("expected lasts: or until:, got both (until: takes a within:)", ("until",)))
        return self


class Identify(Model):
    """Where one can tell which client a request comes from. Each client's connections are numbered on their own."""

    query: str | None = None
    """A query parameter."""
    header: str | None = None
    """A request header."""
    path: Set | None = None
    """The path itself."""
    address: Set | None = None
    """The address from which it connects, without the port."""

    @model_validator(mode="after")
    def _one_place(self) -> "Identify":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise misuse(Misuse(f"expected exactly one of query, header, path or address, got {got}"))
        return self

    def client_of(self, request: Request | None, peer: str) -> str:
        """The client's key; empty where nothing says who it is."""
        if self.address:
            return peer.rpartition(":")[0]
        if request is None:
            return ""
        if self.query is not None:
            return (parse_qs(request.query).get(self.query) or [""])[0]
        if self.header is not None:
            return request.header(self.header) or ""
        return request.path


def protocol_misfits(rule: Rule, place: str = "at the top") -> Iterator[Misuse]:
    """All that a rule can't do where the profile names no protocol; `place` is where it would name one."""
    if rule.fault.protocol:
        yield Misuse(f"{rule.fault_name} needs protocol: {rule.fault.protocol} {place}", (rule.fault_name,))
    for key in rule.when.given("event", "channel"):
        yield Misuse(f"{key}: needs protocol: {place} (one of {', '.join(PROTOCOLS)})", ("when", key))


class Profile(Model):
    """A whole profile."""

    version: Annotated[Literal[1], BeforeValidator(lambda version: 1 if version == "1" else version)]
    """The format's version: 1."""
    name: Annotated[str, Field(pattern=PROFILE_NAME)] = ""
    """Letters, digits, _ . and -."""
    about: str = ""
    """What it reproduces, in a sentence or two."""
    protocol: Literal["pusher"] | None = None
    """Lets rules and until speak of events, channels and subscriptions."""
    seed: Integer = 0
    """What chance depends on."""
    starts: Literal["connection", "launch"] = "connection"
    """When the timeline starts: with the first upgrade request (tcp://: the first connection), or at once."""
    identify: Identify | None = None
    """How to tell clients apart; without it all connections count as one client's."""
    compression: Literal["pass", "strip"] = "pass"
    """strip removes the offer of extensions from requests, so that nothing is compressed."""
    held_bytes_max: Room = HELD_BYTES_MAX
    """How many bytes may be held per direction of a connection before reading from its sender pauses."""
    judged_bytes_max: Room = JUDGED_BYTES_MAX
    """Messages larger than this pass unjudged."""
    repeat: Annotated[Count | Literal["forever"], Field(union_mode="left_to_right")] = 1
    """How often to play the phases: a number, or forever."""
    rules: tuple[AnyRule, ...] = ()
    """Rules that hold in every phase; with no phases, all the time."""
    phases: tuple[Phase, ...] = ()
    """Played one after the other; after the last one there are no rules."""
    expect: tuple[AnyExpected, ...] = ()
    """What clients are to do about it; `chaosproxy verify` judges them."""

    @model_validator(mode="after")
    def _hangs_together(self) -> "Profile":
        if found := self.misfits():
            raise misuse(*found)
        return self

    def misfits(self) -> list[Misuse]:
        """All that does not go together, with where it stands."""
        found = [*self._misused_ends(), *self._misused_openings(), *self._misused_ids(), *self._misused_expectations()]
        return found if self.protocol else [*found, *self._misused_protocol()]

    def changed(self, **fields: Any) -> "Profile":
        """The same with other fields, each checked already. Raise misuse where they don't go with the rest."""
        made = self.model_copy(update=fields)
        if found := made.misfits():
            raise misuse(*found)
        return made

    def _misused_ends(self) -> Iterator[Misuse]:
        names: set[str] = set()
        for index, phase in enumerate(self.phases):
            at = ("phases", index)
            if phase.name in names:
                yield Misuse(f"expected each phase to have its own name, got a second {phase.name}", (*at, "name"))
            names.add(phase.name)
            is_last = index == len(self.phases) - 1 and self.repeat == 1
            if phase.lasts is None and phase.until is None and not is_last:
                yield Misuse(
                    f"phase {phase.name} would never end: give it lasts: or until: (until: step to end it by hand)", at
                )

    def _misused_openings(self) -> Iterator[Misuse]:
        everywhere = {rule.fault_name: rule for rule in self.rules if rule.keeps_all_out}
        for index, phase in enumerate(self.phases):
            rules = [*everywhere.values(), *(rule for rule in phase.rules if rule.keeps_all_out)]
            closers = [rule.keeps_all_out for rule in rules]
            if closers and phase.until and phase.until.opened:
                remedy = "end the phase by lasts:"
                if "refuse" in closers:
                    remedy += " (refused attempts can't be seen at all; with reset: {at: accept} they can)"
                message = f"no connection can open beside {closers[0]}, so opened: can't come true; {remedy}"
                yield Misuse(message, ("phases", index, "until", "opened"))
            if index == 0 and self.starts == "connection" and any(rule.hides_attempts for rule in rules):
                yield Misuse(
                    "the timeline starts with the first upgrade request, and none can come in this phase: "
                    "say starts: launch at the top, or put a phase before it",
                    ("phases", index),
                )

    def _misused_ids(self) -> Iterator[Misuse]:
        faults: dict[str, str] = {}
        taken: set[tuple[Path, str]] = set()
        for at, rule in self._placed_rules():
            if not rule.id:
                continue
            for scope in {at[:-1], ("rules",)}:
                if (scope, rule.id) in taken:
                    yield Misuse(f"expected each rule in force to have its own id, got a second {rule.id}", (*at, "id"))
                    break
            taken.add((at[:-1], rule.id))
            if (before := faults.setdefault(rule.id, rule.fault_name)) != rule.fault_name:
                yield Misuse(f"expected the id {rule.id} to mean one fault, got {before} and here another", (*at, "id"))

    def _misused_protocol(self) -> Iterator[Misuse]:
        remedy = f"needs protocol: at the top (one of {', '.join(PROTOCOLS)})"
        for index, phase in enumerate(self.phases):
            if phase.until and (condition := phase.until.condition) in ("established", "subscribed"):
                yield Misuse(f"until: {condition} {remedy}", ("phases", index, "until", condition))
        for at, rule in self._placed_rules():
            for misfit in protocol_misfits(rule):
                yield misfit._replace(at=(*at, *misfit.at))

    def _misused_expectations(self) -> Iterator[Misuse]:
        for index, each in enumerate(self.expect):
            for found in self._misfits_of(each):
                yield found._replace(at=("expect", index, *found.at))

    def _misfits_of(self, each: Expected) -> Iterator[Misuse]:
        name, expectation = each.expectation_name, each.expectation
        names = [phase.name for phase in self.phases]
        if each.phase is not None and each.phase not in names:
            near = nearest(each.phase, names)
            hint = f"did you mean {one_of(near)}?" if near else f"there are: {', '.join(names) or 'none'}"
            yield Misuse(f"expected the name of a phase, got {each.phase}; {hint}", ("phase",))
            return
        if expectation.needs_protocol and not self.protocol:
            yield Misuse(f"{name} needs protocol: at the top (one of {', '.join(PROTOCOLS)})", (name,))
        if not self.phases and self.rules and each.starts_after is After.HEAL:  # without rules, all are added by hand
            yield Misuse(f"nothing heals in a profile without phases, so {name} needs after: fault", (name,))
        if expectation.counts_attempts and (closed := self._phase_that_refuses(each.phase)):
            yield Misuse(
                f"{name} counts attempts, and in phase {closed} they can't be seen since the listener is closed; "
                "use reject: 503 or reset: {at: accept} in place of refuse, or name another phase",
                (name,),
            )
        if each.starts_after is After.FAULT and expectation.longest is not None:
            yield from self._misfits_of_detection(each, expectation.longest)

    def _phase_that_refuses(self, named: str | None) -> str:
        """A phase in which the listener is closed, of those that an expectation is about."""
        everywhere = any(rule.keeps_all_out == "refuse" for rule in self.rules)
        for phase in self.phases:
            if named in (None, phase.name) and (everywhere or any(rule.fault_name == "refuse" for rule in phase.rules)):
                return phase.name
        return ""

    def _misfits_of_detection(self, each: Expected, within: int) -> Iterator[Misuse]:
        """Within the outage a client must be able to notice, and not because it is told."""
        for outage in self._outages():
            if each.phase not in (None, *(phase.name for phase in outage)):
                continue
            lasts = [phase.lasts for phase in outage if each.phase in (None, phase.name)]
            whole = None if None in lasts else sum(time or 0 for time in lasts)
            where = each.phase or "+".join(phase.name for phase in outage)
            if whole is not None and within > whole:
                words = f"{format_duration(within)} is longer than {where} ({format_duration(whole)})"
                yield Misuse(
                    f"{words}: what is noticed behind its end is noticed by the heal", (each.expectation_name,)
                )
            faults = [rule.fault for phase in outage for rule in (*self.rules, *phase.rules)]
            cutting = [fault.name for fault in faults if cuts(fault) and fault.family != "opening"]
            if cutting and all(name in ENDING for name in cutting) and each.phase is not None:
                words = f"{cutting[0]} tells the client itself, so there is nothing to notice in {where}"
                yield Misuse(f"{words}; half_open does not", (each.expectation_name,))

    def _outages(self) -> list[list[Phase]]:
        """Consecutive phases with rules that keep clients from the server."""
        outages: list[list[Phase]] = []
        is_in_one = False
        for phase in self.phases:
            cuts = phase.name in self.cutting_phases
            if cuts and is_in_one:
                outages[-1].append(phase)
            elif cuts:
                outages.append([phase])
            is_in_one = cuts
        return outages

    @property
    def cutting_phases(self) -> frozenset[str]:
        """Phases with a rule that keeps clients from the server; empty text stands for a profile without phases."""
        if not self.phases:
            return frozenset({""} if any(cuts(rule.fault) for rule in self.rules) else ())
        return frozenset(
            phase.name for phase in self.phases if any(cuts(rule.fault) for rule in (*self.rules, *phase.rules))
        )

    def _placed_rules(self) -> Iterator[tuple[Path, Rule]]:
        for index, rule in enumerate(self.rules):
            yield ("rules", index), rule
        for number, phase in enumerate(self.phases):
            for index, rule in enumerate(phase.rules):
                yield ("phases", number, "rules", index), rule

    def every_rule(self) -> list[Rule]:
        return [rule for _, rule in self._placed_rules()]

    def bound_rules(self, phase: Phase | None) -> list[BoundRule]:
        """The rules in force in a phase (or with no phases at all), with their ids, in the order in which they act."""
        placed = [("", rule) for rule in self.rules]
        placed += [(phase.name, rule) for rule in phase.rules] if phase else []
        return bind(placed)

    @property
    def tracked(self) -> tuple[Pointer, ...]:
        """The fields by which expectations tell messages apart."""
        texts = dict.fromkeys(each.expectation.field for each in self.expect if isinstance(each.expectation, Carrying))
        return tuple(pointer for text in texts if (pointer := parse_pointer(text)))

    @property
    def digest(self) -> str:
        """The same for profiles that do the same."""
        content = self.model_dump(mode="json", exclude=_WORDS, exclude_defaults=True)
        return digest_of(json.dumps(content, sort_keys=True))


EMPTY = Profile(version=1, name="none", about="No rules: every byte passes as it came.")
"""What runs where no profile is given."""
