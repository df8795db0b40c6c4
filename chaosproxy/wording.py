"""Say what pydantic found in the words of people who write profiles, at the place where it stands.

Pydantic reports a location through the models (with tags and labels of unions in it), a type and the input. Here each
becomes one `expected …, got …` at a key or value of the YAML tree; the branches of one union become one sentence; known
slips get their remedy.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .expectations import EXPECTATIONS
from .faults import FAULTS
from .match import Match
from .problems import Place, Problem, nearest, one_of, show, show_kind, show_path
from .profile import PROFILE_NAME
from .rule import NAME, Path, Rule
from .units import NOTHING
from .words import EXPECTATION_WORDS, FAULT_WORDS, KEY_WORDS, VALUE_WORDS
from .yaml_tree import Entry, Node

Models = Sequence[type[BaseModel]]
ERRORS_MAX = 1000

_SENTENCE_END = re.compile(r"(?<=[\w)-])\.( |$)")
_PATTERNS = {
    NAME: "1 to 64 of letters, digits, _ . and -",
    PROFILE_NAME: "1 to 64 of letters, digits, _ . and -, not beginning with a dot",
}
_PHRASES: dict[str, Callable[[dict[str, Any]], str]] = {
    "expected": lambda ctx: str(ctx["what"]),
    "literal_error": lambda ctx: one_of(_literals(ctx)),
    "enum": lambda ctx: one_of(_literals(ctx)),
    "greater_than_equal": lambda ctx: f"at least {ctx['ge']}",
    "less_than_equal": lambda ctx: f"at most {ctx['le']}",
    "string_type": lambda ctx: "text",
    "string_pattern_mismatch": lambda ctx: _PATTERNS.get(ctx["pattern"], "a header's name"),
    "list_type": lambda ctx: "a list",
    "tuple_type": lambda ctx: "a list",
    "too_short": lambda ctx: f"a {'mapping' if ctx['field_type'] == 'Dictionary' else 'list'} of at least one",
    "dict_type": lambda ctx: "a mapping",
    "model_type": lambda ctx: "a mapping",
    "model_attributes_type": lambda ctx: "a mapping",
}


class _Finding(NamedTuple):
    path: Path
    place: Place
    phrase: str  # what was expected, where branches of a union may each have said something
    message: str  # the whole message, where not
    got: str
    hint: str = ""
    replaces: Path = ()  # the reason for other findings at this path and below


def problems_of(error: ValidationError, tree: Node, source: str, models: Models) -> list[Problem]:
    """Turn an error of validating the tree's data as one of the models into problems, at most ERRORS_MAX of them."""
    every = (finding for details in error.errors(include_url=False) for finding in _find(details, tree, models))
    findings = list(islice(every, ERRORS_MAX))
    replaced = {finding.replaces for finding in findings if finding.replaces}
    merged: dict[Path, list[_Finding]] = {}
    for finding in findings:
        if replaced.isdisjoint((*_above(finding.path), finding.path)):
            merged.setdefault(finding.path, []).append(finding)
    # A branch of a union that reached deeper knew better what the value was meant to be.
    shallow = {above for path in merged for above in _above(path)}
    return [
        _as_problem(path, same, source) for path, same in merged.items() if not (same[0].phrase and path in shallow)
    ]


def _above(path: Path) -> Iterator[Path]:
    return (path[:length] for length in range(len(path)))


def _as_problem(path: Path, same: list[_Finding], source: str) -> Problem:
    first = same[0]
    phrases = list(dict.fromkeys(finding.phrase for finding in same if finding.phrase))
    message = f"expected {' or '.join(phrases)}{first.got}" if phrases else first.message
    hint = next((finding.hint for finding in same if finding.hint), "")
    return Problem(source, *first.place, show_path(path), message, hint)


def _find(details: ErrorDetails, tree: Node, roots: Models) -> list[_Finding]:
    path, models, field = _follow(details["loc"], roots)
    ctx: dict[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "misuse":
            return [_misuse(tree, path + misuse.at, misuse.message) for misuse in ctx["found"]]
        case "unknown_fault":
            return [_unknown_fault(tree, path, ctx["name"])]
        case "unknown_expectation":
            return [_unknown_expectation(tree, path, ctx["name"])]
        case "missing":
            return [_missing(tree, path, field)]
        case "extra_forbidden":
            return [_unknown_key(tree, path, models)]
        case kind:
            return [_wrong_value(tree, path, kind, ctx, details)]


def _follow(loc: Sequence[str | int], roots: Models) -> tuple[Path, Models, FieldInfo | None]:
    """Walk the models: the path without the tags of unions, the models around its last part, and that part's field."""
    path: list[str | int] = []
    models, around, field = roots, roots, None
    for part in loc:
        if isinstance(part, int):
            path.append(part)
        elif len(models) > 1:
            models = [model for model in models if part in model.model_fields]
        else:
            path.append(part)
            around = models or around
            found = [
                each for model in models for name, each in model.model_fields.items() if part in (name, each.alias)
            ]
            field = found[0] if found else None
            models = _models_in(field.annotation) if field else []
    return tuple(path), around, field


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _keys(models: Models) -> list[str]:
    """The keys that users may write, the fault of a rule, or the expectation, first."""
    fields = [(name, field) for model in models for name, field in model.model_fields.items()]
    keys = [field.alias or name for name, field in fields]
    return sorted(keys, key=lambda key: key not in FAULTS and key not in EXPECTATIONS)


# --- One kind of mistake each --------------------------------------------------------------------------------------


def _misuse(tree: Node, path: Path, message: str) -> _Finding:
    found, entry = tree.find(path)
    return _Finding(found, entry.key, "", message, "")


def _unknown_fault(tree: Node, path: Path, name: str) -> _Finding:
    found, entry = tree.find((*path, name))
    word, _, rest = name.replace(":", " ").partition(" ")
    if word in FAULTS and rest:
        hint = f"did you mean {word}: {show(rest.strip()).strip(chr(34))}?"
    elif name in _keys([Match]):
        hint = "matching goes under when:, beside a fault"
    else:
        spelt = name.lower().replace("-", "_")
        near = FAULT_WORDS.get(spelt) or ([spelt] if spelt in FAULTS else nearest(name, FAULTS))
        hint = f"did you mean {one_of(near)}?" if near else "chaosproxy faults lists them"
    return _Finding(found, entry.key, "", f"expected a fault, got {show(name)}", "", hint)


def _unknown_expectation(tree: Node, path: Path, name: str) -> _Finding:
    found, entry = tree.find((*path, name))
    spelt = name.lower().replace("-", "_")
    near = EXPECTATION_WORDS.get(spelt) or ([spelt] if spelt in EXPECTATIONS else nearest(name, EXPECTATIONS))
    hint = f"did you mean {one_of(near)}?" if near else "chaosproxy expectations lists them"
    return _Finding(found, entry.key, "", f"expected an expectation, got {show(name)}", "", hint)


def _missing(tree: Node, path: Path, field: FieldInfo | None) -> _Finding:
    found, entry = tree.find(path[:-1])
    about = (field.description or "") if field else ""
    about = _SENTENCE_END.split(about.replace("\n", " "))[0]
    about = about[:1].lower() + about[1:]
    place = entry.key if entry.node.value is NOTHING else entry.node.place
    return _Finding((*found, path[-1]), place, "", f"expected {path[-1]}:, got none", "", f"add {path[-1]}: ({about})")


def _unknown_key(tree: Node, path: Path, models: Models) -> _Finding:
    key = str(path[-1])
    found, entry = tree.find(path)
    parent, around = tree.find(path[:-1])
    keys = _keys(models)
    hint, replaces = _belongs_elsewhere(tree, parent, around, key, models)
    if not hint:
        meant = [word for word in KEY_WORDS.get(key.lower(), ()) if word in keys][:1] or nearest(key, keys)
        hint = f"did you mean {one_of(meant)}?" if meant else ""
        replaces = (*parent, meant[0]) if meant and tree.find((*parent, meant[0]))[0] == parent else ()
    message = f"expected {one_of(keys) if keys else 'no options'}, got {show(key)}"
    return _Finding(found, entry.key, "", message, "", hint, replaces)


def _belongs_elsewhere(tree: Node, parent: Path, around: Entry, key: str, models: Models) -> tuple[str, Path]:
    siblings = around.node.value if isinstance(around.node.value, dict) else {}
    for name in _keys(models):
        sibling = siblings.get(name)
        if sibling is None:
            continue
        below = [model for each in models for model in _models_below(each, name)]
        if key in _keys(below):
            if sibling.node.value is NOTHING:
                return f"indent it under {name}:", (*parent, name)
            if name in FAULTS:
                return f"it belongs under {name}:", ()
    faults = [fault for fault in FAULTS.values() if fault in models]
    if key == "code" and any(fault.family == "ending" for fault in faults):
        return "close sends a code", ()
    if key in _keys([Match]) and (faults or any(issubclass(model, Rule) for model in models)):
        return "matching goes under when:", ()
    if list(models) == [Match]:
        _, rule = tree.find(parent[:-1])
        names = rule.node.value if isinstance(rule.node.value, dict) else {}
        for name, fault in FAULTS.items():
            if name in names and key in _keys([fault]):
                return f"it belongs under {name}:", ()
    return "", ()


def _models_below(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    fields = [field for name, field in model.model_fields.items() if key in (name, field.alias)]
    return [each for field in fields for each in _models_in(field.annotation)]


def _wrong_value(tree: Node, path: Path, kind: str, ctx: dict[str, Any], details: ErrorDetails) -> _Finding:
    found, entry = tree.find(path)
    if path[-1:] == ("[key]",):
        return _Finding(found, entry.key, _phrase(kind, ctx, details), "", f", got {show(str(found[-1]))}")
    value = entry.node.value
    got = f", got {show(value)}" if isinstance(value, str) else f", got {show_kind(value)}"
    if isinstance(value, dict) and kind == "expected":
        got = ""  # it is about how the options go together
    place = entry.key if value is NOTHING else entry.node.place
    return _Finding(found, place, _phrase(kind, ctx, details), "", got, _value_hint(kind, ctx, value, found))


def _phrase(kind: str, ctx: dict[str, Any], details: ErrorDetails) -> str:
    if kind in _PHRASES:
        return _PHRASES[kind](ctx)
    return details["msg"][:1].lower() + details["msg"][1:]  # none is known to come here; then pydantic's own words


def _literals(ctx: dict[str, Any]) -> list[str]:
    words = ctx["expected"].replace(" or ", ", ").split(", ")
    return [word.strip("'") for word in words]


def _value_hint(kind: str, ctx: dict[str, Any], value: Any, path: Path) -> str:
    if kind in ("literal_error", "enum") and isinstance(value, str):
        words = _literals(ctx)
        meant = [word for word in VALUE_WORDS.get(value.lower().replace(" ", ""), ()) if word in words]
        meant = meant or nearest(value, words)
        return f"did you mean {one_of(meant)}?" if meant else ""
    if kind.startswith("model") and path[-1:] == ("drop",):
        return "matching, as in when: {chance: 5%}, goes beside it"
    return ""
