"""The reference of faults, made from their classes: for the terminal, and as the README's table.

python -m chaosproxy.cli.reference README.md     writes the table anew between its markers
"""

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue

from ..faults import FAULTS, Fault, Moment
from ..profile_yaml import example
from ..units import Duration, Hex, Rate, Share, Size, format_duration

COLUMNS = 80
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"


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
    options = list(_options(fault))
    if options:
        parts += ["", "  options:"]
        width = max(len(name) for name, _, _ in options)
        for name, kind, about in options:
            parts.append(f"    {name:<{width}}  {kind}")
            indent = " " * (width + 8)
            parts += wrap(about, COLUMNS, initial_indent=indent, subsequent_indent=indent)
    parts += ["", "  example:", *(f"    {line}" for line in example(fault).rstrip().splitlines())]
    return "\n".join(parts)


def markdown_table() -> str:
    """The README's table."""
    rows = ["| family | fault | what it does | options | heals |", "|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        options = ", ".join(f"`{field.alias or option}`" for option, field in fault.model_fields.items()) or "none"
        rows.append(f"| {fault.family} | `{name}` | {fault.help()} | {options} | {fault.heals} |")
    return "\n".join(rows)


def with_table(readme: str) -> str:
    """The README with its table as the classes have it now."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest and after, f"the README needs {BEGIN} and {END}"
    return f"{before}{BEGIN}\n{markdown_table()}\n{END}{after}"


def _fact(name: str, value: str) -> list[str]:
    return wrap(value, COLUMNS, initial_indent=f"  {name:<8}", subsequent_indent=" " * 10)


def _moments(fault: type[Fault]) -> str:
    moments = [moment.value for moment in Moment if moment in fault.moments]
    return "; ".join([*moments, "on plain requests, with when: {request: http}"] if fault.acts_on_http else moments)


def _options(fault: type[Fault]) -> Iterator[tuple[str, str, str]]:
    """Name, kind with default, and description of each option."""
    schema = fault.model_json_schema()
    known = schema.get("$defs", {})
    fields = {field.alias or name: field for name, field in fault.model_fields.items()}
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
    """Write the table of a README anew, between its markers."""
    path.write_text(with_table(path.read_text()))
