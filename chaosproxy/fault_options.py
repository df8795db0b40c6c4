"""Faults on the command line: `--fault close=4200@5s` and what such options make of a timeline.

An option is NAME[=VALUE][@START[+LENGTH]]. VALUE is what may stand behind the fault in a profile: the short form, or a
mapping in braces. START counts from the beginning of the timeline, that is from the first connection.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from .faults import Hits
from .problems import BadProfile, Place, Problem, show
from .profile import Phase, Profile
from .rule import RULES, AnyRule, Rule
from .units import MILLISECOND, NOTHING, format_duration, parse_duration
from .wording import problems_of
from .yaml_tree import Entry, Node, read

SOURCE = "--fault"
_OPTION = re.compile(
    r"""(?P<name>[^=]*?)(=(?P<value>.*?))?(@(?P<start>[^@+{}"'\s]*)(\+(?P<length>[^@+{}"'\s]*))?)?""", re.DOTALL
)
_ANY_RULE: TypeAdapter[Rule] = TypeAdapter(AnyRule)


class FaultOption(NamedTuple):
    """A fault and when it holds, in nanoseconds from the start of the timeline."""

    rule: Rule
    start: int
    end: int | None


def parse_fault_option(text: str) -> FaultOption:
    """Read one option. Raises BadProfile, with the option's own columns."""
    match = _OPTION.fullmatch(text)
    assert match  # every part of the pattern may be empty, and what fits nowhere else belongs to the name or the value
    problems: list[Problem] = []
    start = _time(match, "start", 0, problems) if match["start"] is not None else 0
    length = _time(match, "length", MILLISECOND, problems) if match["length"] is not None else None
    rule = _rule(match, problems)
    if rule and not problems and not start and _strikes_only_live(rule):
        hint = f"say when, as in {match['name']}@5s, or which, as in {{hits: new}}"
        message = f"{match['name']} strikes live connections, and at the start there are none"
        problems.append(Problem(SOURCE, 1, 1, "", message, hint))
    if rule is None or problems:
        raise BadProfile(problems)
    return FaultOption(rule, start, None if length is None else start + length)


def _time(match: re.Match[str], part: str, at_least: int, problems: list[Problem]) -> int:
    try:
        nanoseconds = parse_duration(match[part])
    except PydanticCustomError as error:
        expected = error.message()
    else:
        if nanoseconds >= at_least and nanoseconds % MILLISECOND == 0:
            return nanoseconds
        expected = f"a duration of at least {format_duration(at_least)} in whole milliseconds"
    message = f"expected {expected}, got {show(match[part])}"
    problems.append(Problem(SOURCE, 1, match.start(part) + 1, part, message, "an option is NAME=VALUE@START+LENGTH"))
    return 0


def _rule(match: re.Match[str], problems: list[Problem]) -> Rule | None:
    name = match["name"].strip()
    place = Place(1, 1)
    value: Node | None = Node(place, NOTHING)
    if match["value"]:
        # The blanks keep the columns of the option.
        value, unreadable = read(" " * match.start("value") + match["value"], SOURCE)
        problems += unreadable
    if value is None:
        return None
    tree = Node(place, {name: Entry(place, value)})
    try:
        return _ANY_RULE.validate_python(tree.data(), by_alias=True, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, tree, SOURCE, list(RULES.values()))
        return None


def _strikes_only_live(rule: Rule) -> bool:
    return rule.fault.strikes is Hits.LIVE and not rule.keeps_all_out


def profile_from_faults(options: Sequence[str], seed: int = 0) -> Profile:
    """Compile options into a profile whose phases are cut where a fault begins or ends.

    Every rule has an id, so what goes on over an edge neither heals nor restarts. Raises BadProfile with the problems
    of all options, each option counting as a line.
    """
    faults: list[FaultOption] = []
    problems: list[Problem] = []
    for number, text in enumerate(options, 1):
        try:
            faults.append(parse_fault_option(text))
        except BadProfile as bad:
            problems += [problem._replace(line=number) for problem in bad.problems]
    if problems:
        raise BadProfile(problems)
    named = [
        (fault, fault.rule.model_copy(update={"id": f"{fault.rule.fault_name}-{number}"}))
        for number, fault in enumerate(faults, 1)
    ]
    about = "From the options --fault."
    protocol = next((fault.rule.fault.protocol for fault in faults if fault.rule.fault.protocol), None)
    if all(fault.start == 0 and fault.end is None for fault in faults):
        return Profile(
            version=1, name="options", about=about, protocol=protocol, seed=seed, rules=tuple(rule for _, rule in named)
        )
    phases = _phases(named)
    starts_at_once = any(rule.hides_attempts for rule in phases[0].rules)
    return Profile(
        version=1,
        name="options",
        about=about,
        protocol=protocol,
        seed=seed,
        starts="launch" if starts_at_once else "connection",
        phases=phases,
    )


def _phases(named: Sequence[tuple[FaultOption, Rule]]) -> tuple[Phase, ...]:
    edges = sorted({0, *(time for fault, _ in named for time in (fault.start, fault.end) if time is not None)})
    phases: list[Phase] = []
    for begin, end in zip(edges, [*edges[1:], None], strict=True):
        rules = tuple(
            rule for fault, rule in named if fault.start <= begin and (fault.end is None or begin < fault.end)
        )
        if end is not None or rules:
            lasts = None if end is None else format_duration(end - begin)
            phases.append(
                Phase.model_validate({"name": f"from-{format_duration(begin)}", "lasts": lasts, "rules": rules})
            )
    return tuple(phases)
