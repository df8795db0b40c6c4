"""The OpenAPI 3.1 document of what is served, made from the rows of the table of routes and the types they name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from .. import __version__
from ..profile_yaml import DIALECT, tidy
from .answers import Refusal
from .client_door import TOKEN_IN_PATH
from .guard import TOKEN_VARIABLE
from .route import Route, Text

Document = dict[str, JsonValue]
Served = Sequence[tuple[str, Route[Any]]]
"""Rows with their whole paths."""

ABOUT = """\
See and steer a running proxy.

No GET changes anything. Orders are checked whole before anything is done (a refused one has changed nothing), and are
in force once they are answered. They are JSON, and say so by Content-Type: application/json; one without a body may
carry a header X-Chaosproxy in its place, whatever it says. Numbers, true and false may be written as text, and the
reverse; durations, sizes and shares have their units, as in profiles.

Host must name this address, and no Origin or Sec-Fetch-Site another (403)."""

_MODE: Literal["validation"] = "validation"
_REFERENCE = "#/components/schemas/"
_IN_PATH = re.compile(r"\{(\w+)\}")
_OF_ORDERS = frozenset({400, 413, 415, 422})
_OF_CLIENTS = frozenset({400, 413})
_PARAMETERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "name": ("The name of a proxy.", {"type": "string"}),
    "profile": ("The name of a profile.", {"type": "string"}),
    "session": ("The id of a session.", {"type": "string"}),
    "id": ("The id of a rule.", {"type": "string"}),
    "attempt": ("The attempt number of a connection.", {"type": "integer", "minimum": 1}),
    TOKEN_IN_PATH: ("What the proxy says as it starts.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"}),
}
_REFUSALS = {
    400: "It can't be read.",
    401: f"It needs the token of {TOKEN_VARIABLE}.",
    403: "It must not be asked from there, or would do harm.",
    404: "There is no such thing.",
    409: "It can't be done as things stand.",
    410: "What was waited for has ended meanwhile.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "The order is not valid; all its problems are told.",
    429: "Too many come at a time.",
    503: "Too many do it already, or the proxy is ending.",
}


def document(served: Served, *, needs_token: bool) -> Document:
    """Describe rows; `needs_token` tells whether all that is not open needs one."""
    orders, of_orders = _schemas({row.order for _, row in served if row.order})
    kinds = {
        kind
        for _, row in served
        for answer in row.answers.values()
        for kind in _kinds(answer)
        if not isinstance(kind, Text)
    }
    answers, of_answers = _schemas({*kinds, Refusal})
    assert all(of_orders[name] == of_answers[name] for name in of_orders.keys() & of_answers)
    schemas = orders | answers
    paths: dict[str, Any] = {}
    for path, row in served:
        paths.setdefault(path, {})[row.method.lower()] = _operation(path, row, schemas, needs_token)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": "chaosproxy", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": {name: _as_read(schema) for name, schema in of_orders.items()} | of_answers,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(kinds: Iterable[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of each type, and those to which they refer by name."""
    ordered = list(kinds)
    adapters = [(number, _MODE, TypeAdapter(kind)) for number, kind in enumerate(ordered)]
    made, defined = TypeAdapter.json_schemas(adapters, by_alias=True, ref_template=_REFERENCE + "{model}")
    return {kind: made[number, _MODE] for number, kind in enumerate(ordered)}, tidy(defined["$defs"])


# -- one operation ----------------------------------------------------------------------------------------------------


def _operation(path: str, row: Route[Any], schemas: Mapping[Any, Any], needs_token: bool) -> dict[str, Any]:
    is_of_clients = TOKEN_IN_PATH in path
    names = _IN_PATH.findall(path)
    parameters = [_parameter(name, "path", *_PARAMETERS[name], is_required=True) for name in names]
    parameters += [
        _parameter(each.name, "query", each.about, each.schema, is_required=each.is_required) for each in row.query
    ]
    operation: dict[str, Any] = {
        "operationId": _operation_id(path, row),
        "summary": row.about,
        "parameters": parameters,
        "responses": {
            **{str(status): _response(kind, schemas) for status, kind in row.answers.items()},
            **{str(status): _refusal(status, schemas) for status in _refusals(row, is_of_clients, bool(names))},
        },
    }
    if row.order:
        operation["requestBody"] = _body(row.order, schemas)
    if not row.is_open and not is_of_clients:
        operation["security"] = [{"token": []}] if needs_token else [{}, {"token": []}]
    return operation


def _operation_id(path: str, row: Route[Any]) -> str:
    return "_".join([row.method.lower(), *re.findall(r"\w+", path)])


def _parameter(name: str, place: str, about: str, schema: Any, *, is_required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": is_required, "description": about, "schema": schema}


def _can_be_empty(order: type[BaseModel]) -> bool:
    try:
        order.model_validate({})
    except ValidationError:
        return False
    return True


def _body(order: type[BaseModel], schemas: Mapping[Any, Any]) -> dict[str, Any]:
    return {"required": not _can_be_empty(order), "content": {"application/json": {"schema": schemas[order]}}}


def _kinds(answer: object) -> tuple[Any, ...]:
    """The forms of an answer: of some there are several, and the query tells which."""
    return () if answer is None else answer if type(answer) is tuple else (answer,)


def _response(answer: object, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    if answer is None:
        return {"description": "Done."}
    content: dict[str, Any] = {}
    about = "Text."
    for kind in _kinds(answer):
        if isinstance(kind, Text):
            # A schema is about what is read: of YAML that is no text.
            content |= {name: {"schema": {} if "yaml" in name else {"type": "string"}} for name in kind.media_types}
        else:
            content["application/json"] = {"schema": schemas[kind]}
            about = (getattr(kind, "__doc__", None) or "An object.").partition("\n")[0]
    return {"description": about, "content": content}


def _refusals(row: Route[Any], is_of_clients: bool, has_names: bool) -> list[int]:
    found = {403} | row.refusals
    if not row.is_open and not is_of_clients:
        found.add(401)
    if row.order:
        found |= _OF_CLIENTS if is_of_clients else _OF_ORDERS
    if has_names:
        found.add(404)
    return sorted(found - row.answers.keys())


def _refusal(status: int, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schemas[Refusal]}}
    return {"description": _REFUSALS[status], "content": content}


# -- what is read as it is written ------------------------------------------------------------------------------------

_WRITTEN = ("1", "1.5", "true")
_DIGITS = "^[0-9]{1,15}$"


def _as_read(schema: Any) -> Any:
    """Say of what is taken by its source text that a number may be in quotes, and that text may be a number."""
    if isinstance(schema, list):
        return [_as_read(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: value if key in ("default", "enum", "const") else _as_read(value) for key, value in schema.items()}
    match read:
        case {"type": "string", "enum": _} | {"type": "string", "const": _}:
            pass
        case {"type": "string"} if any(re.search(read.get("pattern", ""), text) for text in _WRITTEN):
            read["type"] = ["string", "number", "boolean"]
        case {"type": "integer"}:
            read = {"minimum": 0} | read | {"type": ["integer", "string"], "pattern": _DIGITS}
        case {"type": "boolean", "const": value}:
            return {"enum": [value, str(value).lower()]}
        case {"type": "boolean"}:
            del read["type"]
            read["enum"] = [True, False, "true", "false"]
        case _:
            pass
    return read
