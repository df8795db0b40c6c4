"""A profile is a timeline of phases, a phase is a list of rules, a rule is one fault and one match. Frozen models.

Data is checked here, once. `profile_yaml` reads files into these models and says where in the file a problem is.
"""

import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .faults import FAULTS, Fault, Moment
from .match import Match
from .protocols import PROTOCOLS
from .units import Duration, Integer, Size

HELD_BYTES_MAX = 1024 * 1024
JUDGED_BYTES_MAX = 16 * 1024 * 1024


def misuse(message: str, *at: str | int) -> PydanticCustomError:
    """An error about how values go together; `at` is the path, from the model on, of what to change."""
    return PydanticCustomError("misuse", "{message}", {"message": message, "at": at})


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rule(_Model):
    """One fault and one match."""

    fault_name: ClassVar[str]

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    """A name for the rule. A rule with the same id in the next phase goes on there without healing or restarting."""
    when: Match = Match()
    """What the fault acts on; everything where it is left out."""

    @property
    def fault(self) -> Fault:
        fault: Fault = getattr(self, self.fault_name)
        return fault

    @model_validator(mode="after")
    def _fits_its_moments(self) -> "Rule":
        moments, when, name = self.fault.moments, self.when, self.fault_name
        if moments == {Moment.LISTEN} and when != Match():
            raise misuse(
                f"{name} acts on the one listener and takes no when: "
                "(to pick connections, use reset: {at: accept} or reject)",
                "when",
            )
        if getattr(self.fault, "at", None) == "accept" and when.model_copy(update={"chance": None}) != Match():
            raise misuse(f"{name} at accept knows nothing of the request yet and takes only chance:", "when")
        if Moment.MESSAGE not in moments:
            for field in ("sender", "opcode", "event", "channel", "size", "nth", "every", "first", "age"):
                if getattr(when, field) is not None:
                    key = "from" if field == "sender" else field
                    raise misuse(
                        f"{name} acts on the upgrade request, before there are messages; {key}: can't be used "
                        "(connection:, path:, header: and chance: can)",
                        "when",
                        key,
                    )
        elif Moment.PHASE in moments and not when.names_messages:
            for field in ("sender", "age"):
                if getattr(when, field) is not None:
                    key = "from" if field == "sender" else field
                    raise misuse(
                        f"{name} acts on whole connections here; {key}: needs a condition on messages beside it "
                        "(nth:, first:, opcode:, event: …)",
                        "when",
                        key,
                    )
        return self


def _rule_type(fault: type[Fault]) -> type[Rule]:
    def expand(value: Any) -> Any:
        if value is None:
            return {}
        if fault.shorthand and not isinstance(value, dict | list | Fault):
            return {fault.shorthand: value}
        return value

    body: Any = Annotated[fault, BeforeValidator(expand)]
    fields: dict[str, Any] = {fault.name: (body, Field(description=fault.help()))}
    made: type[Rule] = create_model(f"{fault.__name__.removesuffix('Fault')}Rule", __base__=Rule, **fields)
    made.fault_name = fault.name
    made.__doc__ = fault.help()
    return made


RULES: dict[str, type[Rule]] = {name: _rule_type(fault) for name, fault in FAULTS.items()}


def _rule_tag(value: Any) -> str | None:
    if isinstance(value, Rule):
        return value.fault_name
    named = [key for key in value if key in RULES] if isinstance(value, dict) else []
    return named[0] if len(named) == 1 else None


def _expand_rule(value: Any) -> Any:
    if isinstance(value, str):
        value = {value: None}
    if isinstance(value, dict):
        names = [key for key in value if key not in ("when", "id")]
        if not names:
            raise misuse("expected a rule with one fault, such as `- reset: {}`")
        known = [name for name in names if name in RULES]
        if len(known) > 1:
            raise misuse(f"expected one fault per rule, got {' and '.join(known)}; begin a new `-` for each", known[1])
        if not known:
            raise PydanticCustomError("unknown_fault", "unknown fault", {"name": str(names[0]), "at": (names[0],)})
    elif not isinstance(value, Rule):
        raise misuse("expected a rule with one fault, such as `- reset: {}`")
    return value


if TYPE_CHECKING:
    AnyRule = Rule
else:
    AnyRule = Annotated[
        Union[tuple(Annotated[made, Tag(name)] for name, made in RULES.items())],  # noqa: UP007
        Discriminator(_rule_tag),
        BeforeValidator(_expand_rule),
    ]

Count = Annotated[Integer, Field(ge=1)]


class Until(_Model):
    """What ends a phase: one condition, and how long to wait for it."""

    opened: Count | None = None
    """So many connections have opened since the phase began."""
    closed: Count | None = None
    """So many connections have ended since the phase began."""
    established: Count | None = None
    """So many connections are established in their protocol's terms now (needs `protocol:`)."""
    subscribed: Annotated[Count | list[str], Field(union_mode="left_to_right")] | None = None
    """So many connections have a confirmed subscription now, or each of these channels has one (needs `protocol:`)."""
    seconds: Count | None = None
    """So many seconds have passed; the same as `lasts`."""
    step: Literal["true", True] | None = None
    """Only a step over the control API ends the phase."""
    within: Duration | None = None
    """Go on after this time even so; the run then counts as failed."""

    @model_validator(mode="before")
    @classmethod
    def _bare_step(cls, value: Any) -> Any:
        return {"step": True} if value == "step" else value

    @model_validator(mode="after")
    def _one_condition(self) -> "Until":
        if len(self._named) != 1:
            raise misuse("expected exactly one of opened, closed, established, subscribed, seconds, step")
        return self

    @property
    def _named(self) -> list[str]:
        return [name for name in type(self).model_fields if name != "within" and getattr(self, name) is not None]

    @property
    def condition(self) -> str:
        """The name of the one condition."""
        return self._named[0]


class Phase(_Model):
    """A stretch of the timeline, with its rules."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    """Letters, digits, _ . and -."""
    about: str = ""
    """What it stands for."""
    lasts: Duration | None = None
    """How long it lasts."""
    until: Until | None = None
    """What ends it, in place of a time."""
    rules: tuple[AnyRule, ...] = ()
    """The rules in force."""

    @model_validator(mode="after")
    def _one_end(self) -> "Phase":
        if self.lasts is not None and self.until is not None:
            raise misuse("expected lasts: or until:, not both (until: takes a within:)", "until")
        return self


class Identify(_Model):
    """Where a request tells which client it comes from. Each client's connections are numbered on their own."""

    query: str | None = None
    """A query parameter."""
    header: str | None = None
    """A request header."""
    path: Literal["true", True] | None = None
    """The path itself."""

    @model_validator(mode="after")
    def _one_place(self) -> "Identify":
        if sum(place is not None for place in (self.query, self.header, self.path)) != 1:
            raise misuse("expected exactly one of query, header, path")
        return self


class BoundRule(NamedTuple):
    """A rule in its place in a profile."""

    id: str
    fault: Fault
    when: Match
    is_named: bool  # the id was given, so it may hold across phases


class Profile(_Model):
    """A whole profile."""

    version: Literal["1", 1]
    """The format's version: 1."""
    name: str = ""
    about: str = ""
    """What it reproduces, in a sentence or two."""
    protocol: Literal["pusher"] | None = None
    """Lets rules and until speak of events, channels and subscriptions."""
    seed: Integer = 0
    """What chance depends on."""
    starts: Literal["connection", "launch"] = "connection"
    """When the timeline starts: with the first upgrade request, or at once."""
    identify: Identify | None = None
    """How to tell clients apart; without it all connections count as one client's."""
    compression: Literal["pass", "strip"] = "pass"
    """strip removes the offer of extensions from requests, so that nothing is compressed."""
    held_bytes_max: Annotated[Size, Field(ge=1024)] = HELD_BYTES_MAX
    """How many bytes may be held per direction of a connection before reading from its sender pauses."""
    judged_bytes_max: Annotated[Size, Field(ge=1024)] = JUDGED_BYTES_MAX
    """Messages larger than this pass unjudged."""
    repeat: Annotated[Count | Literal["forever"], Field(union_mode="left_to_right")] = 1
    """How often to play the phases: a number, or forever."""
    rules: tuple[AnyRule, ...] = ()
    """Rules that hold in every phase; with no phases, all the time."""
    phases: tuple[Phase, ...] = ()
    """Played one after the other; after the last one there are no rules."""

    @model_validator(mode="after")
    def _hangs_together(self) -> "Profile":
        names: set[str] = set()
        for index, phase in enumerate(self.phases):
            if phase.name in names:
                raise misuse(f"expected each phase to have its own name, got a second {phase.name}", "phases", index)
            names.add(phase.name)
            is_last = index == len(self.phases) - 1 and self.repeat == 1
            if phase.lasts is None and phase.until is None and not is_last:
                raise misuse(
                    f"phase {phase.name} would never end: give it lasts: or until: (until: step to end it by hand)",
                    "phases",
                    index,
                )
            if phase.until and not self.protocol and phase.until.condition in ("established", "subscribed"):
                raise misuse(
                    f"until: {phase.until.condition} needs protocol: at the top (one of {', '.join(PROTOCOLS)})",
                    "phases",
                    index,
                    "until",
                )
        if not self.protocol:
            for at, rule in self._placed_rules():
                if rule.when.is_of_protocol:
                    key = "event" if rule.when.event is not None else "channel"
                    message = f"{key}: needs protocol: at the top (one of {', '.join(PROTOCOLS)})"
                    raise misuse(message, *at, "when", key)
        return self

    def _placed_rules(self) -> Iterator[tuple[tuple[str | int, ...], Rule]]:
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
    def digest(self) -> str:
        """The same for profiles that do the same."""
        content = self.model_dump(mode="json", exclude={"name", "about"}, exclude_defaults=True)
        return _digest(json.dumps(content, sort_keys=True))


def bind(placed: Sequence[tuple[str, Rule]]) -> list[BoundRule]:
    """Give each rule its id: its own, or a digest of its phase, fault and match without chance, and its occurrence."""
    bound: list[BoundRule] = []
    seen: dict[str, int] = {}
    for phase_name, rule in placed:
        if rule.id:
            bound.append(BoundRule(rule.id, rule.fault, rule.when, is_named=True))
            continue
        fault = rule.fault.model_dump(mode="json")
        when = rule.when.model_dump(mode="json", exclude={"chance"}, exclude_none=True)
        digest = _digest(json.dumps([phase_name, rule.fault_name, fault, when], sort_keys=True))
        seen[digest] = occurrence = seen.get(digest, 0) + 1
        suffix = f"-{occurrence}" if occurrence > 1 else ""
        bound.append(BoundRule(f"{rule.fault_name}-{digest}{suffix}", rule.fault, rule.when, is_named=False))
    return bound


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


EMPTY = Profile(version=1, name="none", about="No rules: every byte passes as it came.")
"""What runs where no profile is given."""
