"""A rule is one fault and one match: a frozen model for each fault, made from the fault's own options."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from .effects import Hold, Silence
from .faults import FAULTS, OF_MESSAGES, OF_SINGLE_MESSAGES, Fault, Hits, Moment
from .match import Match
from .units import NOTHING, expected

NAME = r"^[A-Za-z0-9_.-]{1,64}$"

Path = tuple[str | int, ...]

_UNKNOWN_TO_HTTP = tuple(key for key in ("connection", *OF_MESSAGES) if key not in ("nth", "every", "first"))


class Misuse(NamedTuple):
    """Values that don't go together. `at` is the path, from the model that found it on, of what to change."""

    message: str
    at: Path = ()


def misuse(*found: Misuse) -> PydanticCustomError:
    """One error for all that a model found."""
    message = "; ".join(each.message for each in found)
    return PydanticCustomError("misuse", "{message}", {"message": message, "found": found})


class Model(BaseModel):
    """What all of a profile's own models have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rule(Model):
    """One fault and one match."""

    fault_name: ClassVar[str]

    id: Annotated[str, Field(pattern=NAME)] | None = None
    """A name for the rule. A rule with the same id in the next phase goes on there without healing or restarting."""
    when: Match = Match()
    """What the fault acts on; everything where it is left out."""

    @property
    def fault(self) -> Fault:
        fault: Fault = getattr(self, self.fault_name)
        return fault

    @model_validator(mode="after")
    def _fits_its_moments(self) -> "Rule":
        if found := list(self._misfits()):
            raise misuse(*found)
        return self

    def _misfits(self) -> Iterator[Misuse]:
        moments, when, at = self.fault.acts_at, self.when, getattr(self.fault, "at", None)
        name = f"{self.fault_name} at {at}" if at else self.fault_name
        if when.request is not None:
            yield from self._misfits_of_requests(when.request)
            return
        if getattr(self.fault, "over", 0) and when.names_messages:
            yield Misuse(
                "over: spreads one blow at all live connections; it can't be used with a condition on messages",
                (self.fault_name, "over"),
            )
        unfit = self.fault.unfit()
        if unfit is not None:
            for key in when.given(*unfit):
                field = "sender" if key == "from" else key
                yield Misuse(f"{key}: can't be used here: {unfit[field]}", ("when", key))
        elif moments == {Moment.LISTEN}:
            if when != Match():
                substitutes = "(to pick connections, use reset: {at: accept} or reject)"
                yield Misuse(f"{name} acts on the one listener and takes no when: {substitutes}", ("when",))
        elif moments == {Moment.ACCEPT}:
            if when.model_copy(update={"chance": None}) != Match():
                yield Misuse(f"{name} knows nothing of the request yet and takes only chance:", ("when",))
        elif self.fault.is_for_first:
            for key in when.given(*OF_SINGLE_MESSAGES):
                yield Misuse(
                    f"{name} acts on the first message of each direction, whatever it is; {key}: can't be used "
                    "(from:, connection:, path:, header: and chance: can)",
                    ("when", key),
                )
        elif Moment.MESSAGE not in moments:
            begin = next(moment.value for moment in Moment if moment in moments)
            for key in when.given(*OF_MESSAGES):
                yield Misuse(
                    f"{name} acts {begin}, before there are messages; {key}: can't be used "
                    "(connection:, path:, header: and chance: can)",
                    ("when", key),
                )
        elif self.fault.is_pacing:
            for key in when.given(*OF_SINGLE_MESSAGES):
                yield Misuse(
                    f"{name} acts on all bytes of a connection, not on single messages; {key}: can't be used "
                    "(from:, connection:, path:, header: and chance: can; to delay single messages use latency)",
                    ("when", key),
                )
        elif self.fault.recurs is not None and when.names_messages:
            for key in when.given(*OF_SINGLE_MESSAGES):
                yield Misuse(
                    f"interval: repeats {name} by time, {key}: by messages; leave one of them out", ("when", key)
                )
        elif Moment.PHASE in moments and not when.names_messages:
            for key in when.given("sender", "age"):
                yield Misuse(
                    f"{name} acts on whole connections here; {key}: needs a condition on messages beside it "
                    "(nth:, first:, opcode:, event: …)",
                    ("when", key),
                )

    def _misfits_of_requests(self, request: str) -> Iterator[Misuse]:
        if not self.fault.acts_on_http:
            able = ", ".join(name for name, fault in FAULTS.items() if fault.acts_on_http)
            message = f"{self.fault_name} acts on WebSockets only; request: {request} goes with {able}"
            yield Misuse(message, ("when", "request"))
            return
        if moment := getattr(self.fault, "at", None):
            message = f"at: {moment} is a moment of connections and upgrades; leave it out beside request: {request}"
            yield Misuse(message, (self.fault_name, "at"))
        if getattr(self.fault, "over", 0) and request == "http":
            message = "over: spreads one blow at all live connections; plain requests are hit one by one, as they come"
            yield Misuse(message, (self.fault_name, "over"))
        for key in self.when.given(*_UNKNOWN_TO_HTTP):
            remedy = "plain HTTP has none of that (path:, header:, chance:, nth:, every: and first: can be used)"
            yield Misuse(f"can't be used with request: {request}; {remedy}", ("when", key))
        if self.fault.room is not None:
            yield Misuse("quota: counts connections, so it needs upgrade requests", (self.fault_name, "quota"))
        if request == "any":
            for key in self.when.given("nth", "every", "first"):
                message = "counts plain requests only, so it needs request: http"
                yield Misuse(message + " (a rule without request: may count messages)", ("when", key))

    @property
    def harms_server(self) -> bool:
        """Whether it may do harm to a server that is not one's own."""
        return self.fault.harms_server or (self.fault.harms_receiver and self.when.sender != "server")

    @property
    def keeps_all_out(self) -> str:
        """The fault's name where no connection can open beside it, else nothing."""
        opens = (
            self.fault.is_timing or self.fault.room or self.fault.acts_at - {Moment.LISTEN, Moment.ACCEPT, Moment.ASK}
        )
        return "" if opens or not self.when.is_of_all else self.fault_name

    @property
    def hides_attempts(self) -> bool:
        """Whether no upgrade request reaches us beside it."""
        return bool(self.keeps_all_out) and Moment.ASK not in self.fault.moments


class _MadeRule(Rule):
    """Base of the models made below. They have no source in which docstrings could be looked for, which takes long."""

    model_config = ConfigDict(use_attribute_docstrings=False)


class _Shorthand(NamedTuple):
    """Tell the JSON Schema of the short ways to write options."""

    options: type[BaseModel]
    field: str | None

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        ways = [schema]
        if self.field:
            ways.append(handler.resolve_ref_schema(schema)["properties"][self.field])
        if _needs_no_options(self.options):
            ways.append({"type": "null"})
        return {"anyOf": ways}


class BareName(NamedTuple):
    """Tell the JSON Schema that a rule may be just the name of a fault, or an item just one of these."""

    known: Mapping[str, type[BaseModel]]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names = [name for name, options in self.known.items() if _needs_no_options(options)]
        return {"anyOf": [handler(core), {"enum": names}]}


def _needs_no_options(options: type[BaseModel]) -> bool:
    return not any(field.is_required() for field in options.model_fields.values())


def shorthand(options: type[BaseModel], field: str | None) -> Any:
    """The type of options that may be left out, or be one value in place of a mapping: that of `field`."""
    takes_list = bool(field) and _is_list(options.model_fields[field or ""].annotation)

    def expand(value: Any) -> Any:
        if value is None or value is NOTHING:
            return {}
        if field and not isinstance(value, dict | BaseModel) and (takes_list or not isinstance(value, list)):
            return {field: value}
        return value

    return Annotated[options, BeforeValidator(expand), _Shorthand(options, field)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(_is_list(part) for part in get_args(annotation))


def _rule_type(fault: type[Fault]) -> type[Rule]:
    body = shorthand(fault, fault.shorthand)
    fields: dict[str, Any] = {fault.name: (body, Field(description=fault.help()))}
    made: type[Rule] = create_model(f"{fault.__name__.removesuffix('Fault')}Rule", __base__=_MadeRule, **fields)
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
        known = [name for name in names if name in RULES]
        if len(known) > 1:
            message = f"expected one fault per rule, got {' and '.join(known)}; begin a new - for each"
            raise misuse(Misuse(message, (known[1],)))
        if names and not known:
            raise PydanticCustomError("unknown_fault", "unknown fault", {"name": str(names[0])})
        if known:
            return value
    elif isinstance(value, Rule):
        return value
    raise expected("a rule with one fault, such as - reset")


if TYPE_CHECKING:
    AnyRule = Rule
else:
    AnyRule = Annotated[
        Union[tuple(Annotated[made, Tag(name)] for name, made in RULES.items())],  # noqa: UP007
        Discriminator(_rule_tag),
        BeforeValidator(_expand_rule),
        BareName(FAULTS),
    ]


class BoundRule(NamedTuple):
    """A rule in its place in a profile."""

    id: str
    fault: Fault
    when: Match
    is_named: bool  # the id was given, so it may hold across phases

    @property
    def acts_on_messages(self) -> bool:
        """Whether it acts on single messages of WebSockets, which those who poll do not have."""
        is_of_messages = self.fault.effect() is None or self.when.names_messages
        return Moment.MESSAGE in self.fault.acts_at and is_of_messages and self.when.request != "http"

    @property
    def keeps_all_waiting(self) -> bool:
        """Whether no new connection is answered while it is in force."""
        is_for_new = Moment.ASK in self.fault.moments and self.fault.strikes in (Hits.NEW, Hits.ALL)
        return isinstance(self.fault.effect(), Hold | Silence) and is_for_new and self.when.is_of_all


def reads_messages(rule: Rule | BoundRule) -> bool:
    """Whether it has to read messages, or changes them."""
    changes = rule.fault.is_loss and bool(rule.fault.moments & {Moment.OPEN, Moment.MESSAGE})
    return rule.when.reads_content or changes


_OF_DIGEST = re.compile(r"-[0-9a-f]{8}(-\d+)?")


def bind(placed: Sequence[tuple[str, Rule]]) -> list[BoundRule]:
    """Give each rule its id: its own, or a digest of its phase, fault and match without chance, and its occurrence."""
    bound: list[BoundRule] = []
    seen: dict[str, int] = {}
    for phase_name, rule in placed:
        if rule.id:
            # One that was written down with the id that it has by itself, as in a masked profile, has no name by that.
            is_named = not _OF_DIGEST.fullmatch(rule.id.removeprefix(rule.fault_name))
            bound.append(BoundRule(rule.id, rule.fault, rule.when, is_named))
            continue
        fault = rule.fault.model_dump(mode="json")
        when = rule.when.model_dump(mode="json", exclude={"chance"}, exclude_none=True)
        digest = digest_of(json.dumps([phase_name, rule.fault_name, fault, when], sort_keys=True))
        seen[digest] = occurrence = seen.get(digest, 0) + 1
        suffix = f"-{occurrence}" if occurrence > 1 else ""
        bound.append(BoundRule(f"{rule.fault_name}-{digest}{suffix}", rule.fault, rule.when, is_named=False))
    return bound


def digest_of(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()
