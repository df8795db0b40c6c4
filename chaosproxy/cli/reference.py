"""The reference of faults and expectations, made from their classes: for the terminal, and as the README's tables.

python -m chaosproxy.cli.reference README.md     writes the tables anew between their markers
"""

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue

from ..expectations import EXPECTATIONS, After, Expectation
from ..faults import FAULTS, Fault, Moment
from ..profile_yaml import example
from ..units import Duration, Hex, Rate, Share, Size, format_duration

COLUMNS = 80
_TABLES = ("faults", "expectations")


def overview() -> str:
    """One line per fault, by family."""
    lines: list[str] = []
    family = ""
    for name, fault in FAULTS.items():
        if fault.family != family:
            family = fault.family
            lines.append(f"{family}:")
        lines.append(f"  {name:<12} {fault.help()}")
    return "\n".join(lines)


def describe(fault: type[Fault]) -> str:
    """All there is to know about one fault."""
    text = (fault.__doc__ or "").strip()
    parts = [f"{fault.name} ({fault.family})", "", *(f"  {line.strip()}".rstrip() for line in text.splitlines()), ""]
    parts += [*_fact("acts", _moments(fault)), *_fact("heals", fault.heals)]
    if fault.acts_on_bytes:
        parts += _fact("tcp", "also on tcp:// upstreams")
    if fault.shorthand:
        parts.append(f"  short   `{fault.name}: VALUE` is `{fault.name}: {{{fault.shorthand}: VALUE}}`")
    parts += [
        *_options_table(fault),
        "",
        "  example:",
        *(f"    {line}" for line in example(fault).rstrip().splitlines()),
    ]
    return "\n".join(parts)


def expectations_overview() -> str:
    """One line per expectation."""
    width = max(map(len, EXPECTATIONS))
    return "\n".join(f"{name:<{width}}  {kind.help()}" for name, kind in EXPECTATIONS.items())


def describe_expectation(kind: type[Expectation]) -> str:
    """All there is to know about one expectation."""
    parts = [kind.name, "", *(f"  {line.strip()}".rstrip() for line in (kind.__doc__ or "").strip().splitlines()), ""]
    if kind.default_after:
        others = "" if kind.default_after is After.FAULT else "; after: fault, detected or heal chooses another moment"
        parts += _fact("time", f"runs from the {kind.default_after.moment}{others}")
    parts += _fact("about", "phase: NAME, the outage or the phase behind it; client: KEY; every one without them")
    if kind.needs_protocol:
        parts += _fact("needs", "protocol: at the top of the profile")
    if kind.shorthand:
        parts.append(f"  short   `{kind.name}: VALUE` is `{kind.name}: {{{kind.shorthand}: VALUE}}`")
    parts += [*_options_table(kind), "", "  example:", "    expect:", f"      - {kind.example}"]
    return "\n".join(parts)


def expectations_table() -> str:
    """The README's table of expectations."""
    rows = ["| expectation | what it says | options |", "|---|---|---|"]
    for name, kind in EXPECTATIONS.items():
        told = [option for option, field in kind.model_fields.items() if field.default is not True]
        rows.append(f"| `{name}` | {kind.help()} | {', '.join(f'`{option}`' for option in told) or 'none'} |")
    return "\n".join(rows)


def markdown_table() -> str:
    """The README's table of faults."""
    rows = ["| family | fault | what it does | options | heals |", "|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        options = ", ".join(f"`{field.alias or option}`" for option, field in fault.model_fields.items()) or "none"
        rows.append(f"| {fault.family} | `{name}` | {fault.help()} | {options} | {fault.heals} |")
    return "\n".join(rows)


def with_tables(readme: str) -> str:
    """The README with its tables as the classes have them now."""
    for name, table in zip(_TABLES, (markdown_table(), expectations_table()), strict=True):
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        assert rest and after, f"the README needs {begin} and {end}"
        readme = f"{before}{begin}\n{table}\n{end}{after}"
    return readme


def _options_table(model: type[BaseModel]) -> list[str]:
    options = list(_options(model))
    if not options:
        return []
    lines = ["", "  options:"]
    width = max(len(name) for name, _, _ in options)
    for name, kind, about in options:
        lines.append(f"    {name:<{width}}  {kind}")
        indent = " " * (width + 8)
        lines += wrap(about, COLUMNS, initial_indent=indent, subsequent_indent=indent)
    return lines


def _fact(name: str, value: str) -> list[str]:
    return wrap(value, COLUMNS, initial_indent=f"  {name:<8}", subsequent_indent=" " * 10)


def _moments(fault: type[Fault]) -> str:
    moments = [moment.value for moment in Moment if moment in fault.moments]
    return "; ".join([*moments, "on plain requests, with when: {request: http}"] if fault.acts_on_http else moments)


def _options(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Name, kind with default, and description of each option."""
    schema = model.model_json_schema()
    known = schema.get("$defs", {})
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for name, option in schema.get("properties", {}).items():
        field = fields[name]
        kind = _kind(option, known)
        yield name, f"{kind}; {_default(field, kind)}", " ".join((field.description or "").split())


def _kind(schema: JsonSchemaValue, known: JsonSchemaValue) -> str:
    """Name a type as users write its values."""
    match schema:
        case {"$ref": str(reference)}:
            return _kind(known[reference.rpartition("/")[2]], known)
        case {"anyOf": list(branches)}:
            kinds = [_kind(branch, known) for branch in branches]
            return " | ".join(kind for kind in kinds if kind != "null")
        case {"enum": list(values)}:
            return " | ".join(map(str, values))
        case {"const": value}:
            return str(value)
        case {"type": "integer", "ge": low, "le": high}:
            return f"{low} to {high}"
        case {"type": "integer"}:
            return "whole number"
        case {"type": "boolean"}:
            return "true | false"
        case {"pattern": str(pattern)} if pattern in _KINDS_BY_PATTERN:
            return _KINDS_BY_PATTERN[pattern]
        case {"type": "array", "items": dict(items)}:
            return f"list of {_kind(items, known)}"
        case {"type": "object", "properties": dict(fields)}:
            return "{" + ", ".join(f"{name}: {_kind(field, known)}" for name, field in fields.items()) + "}"
        case {"type": "object"}:
            return "mapping"
        case {"type": "string"}:
            return "text"
        case {"type": "array", "items": dict(items)}:
            return f"list of {_kind(items, known)}"
        case {"type": list(types)}:
            return "JSON" if "object" in types else "text"
        case _:
            return str(schema.get("type", "value"))


def _default(field: FieldInfo, kind: str) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ("", {}, ()):
        return "default none"
    if kind == "duration":
        return f"default {format_duration(default)}"
    if kind == "size":
        return f"default {default}B"
    return f"default {str(default).lower() if isinstance(default, bool) else default}"


def _pattern(kind: Any) -> str:
    return str(TypeAdapter(kind).json_schema()["pattern"])


_KINDS_BY_PATTERN = {
    _pattern(Duration): "duration",
    _pattern(Size): "size",
    _pattern(Rate): "rate",
    _pattern(Hex): "bytes in hexadecimal",
    _pattern(Share): "percentage",
}


def update(path: Path) -> None:
    """Write the tables of a README anew, between their markers."""
    path.write_text(with_tables(path.read_text()))
