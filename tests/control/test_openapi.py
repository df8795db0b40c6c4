"""The OpenAPI document tells of all that is served, and of nothing else; its schemas are those of what is answered."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from chaosproxy.cli.commands import cli
from chaosproxy.control.assets import ASSETS
from chaosproxy.control.routes import document
from tests.control.conftest import Run
from tests.control.stage import Stage, profile_of, staged

DOCUMENT: dict[str, Any] = json.loads(document(False))
METHODS = {"get", "post", "put", "patch", "delete"}


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema | {"components": DOCUMENT["components"]})


def answer_schema(method: str, path: str, status: int) -> dict[str, Any]:
    response = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
    schema: dict[str, Any] = response["content"]["application/json"]["schema"]
    return schema


def test_every_route_that_is_served_stands_in_it_and_no_other(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            served = {(each.method, each.resource.canonical) for each in stage.control.routes if each.method != "HEAD"}
        told = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item.keys() & METHODS}
        assert told == {(method, path) for method, path in served if path not in ASSETS}  # those are the page's files

    run(story())


def test_every_operation_has_a_name_of_its_own_and_tells_its_names_in_the_path() -> None:
    operations = [(path, each) for path, item in DOCUMENT["paths"].items() for each in item.values()]
    assert len({each["operationId"] for _, each in operations}) == len(operations)
    for path, each in operations:
        told = [parameter["name"] for parameter in each["parameters"] if parameter["in"] == "path"]
        assert told == re.findall(r"\{(\w+)\}", path)
        assert each["summary"].endswith(".")


def test_its_schemas_are_schemas_and_all_that_is_referred_to_is_there() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert names <= DOCUMENT["components"]["schemas"].keys()


def test_only_what_is_open_needs_no_token_where_there_is_one() -> None:
    paths = json.loads(document(True))["paths"]
    free = {path for path, item in paths.items() for each in item.values() if each.get("security") != [{"token": []}]}
    scripts = {path for path in paths if path.startswith("/client/")}
    assert free == {"/livez", "/readyz", "/metrics"} | scripts
    assert DOCUMENT["paths"]["/api/state"]["get"]["security"] == [{}, {"token": []}]


def test_it_is_served_and_printed(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert (await stage.ask("GET", "/api/openapi.json")).body == DOCUMENT
        async with staged(token="secret") as stage:
            answer = await stage.ask("GET", "/api/openapi.json", Authorization="Bearer secret")
            assert answer.body == json.loads(document(True))

    run(story())
    assert json.loads(CliRunner().invoke(cli, ["openapi"]).stdout) == DOCUMENT


async def told(stage: Stage, method: str, path: str, body: object, route: str = "", status: int = 200) -> Any:
    """Ask, and hold the answer against the document."""
    answer = await stage.ask(method, path, body)
    assert answer.status == status, answer
    validator(answer_schema(method, route or path.partition("?")[0], status)).validate(answer.body)
    return answer.body


def test_what_is_answered_is_what_is_told(run: Run) -> None:
    async def story() -> None:
        phases = [
            {"name": "a", "until": {"subscribed": ["x"]}, "rules": [{"drop": {}, "when": {"event": "y"}}]},
            {"name": "b", "lasts": "1h"},
        ]
        profile = profile_of(protocol="pusher", phases=phases, expect=["stays_connected"])
        async with staged(profile) as stage, stage.client():
            added = await told(stage, "POST", "/api/rules", {"rule": {"drop": {}, "id": "mine"}}, status=201)
            assert added == {"id": "mine", "connections": 1}
            state = await told(stage, "GET", "/api/state", None)
            assert [(rule["id"], rule["live"]) for rule in state["rules"]][1:] == [("mine", True)]
            verdict = await told(stage, "GET", "/api/verdict", None)
            assert verdict["rows"][0]["evidence"][0]["event"] == "asked"
            for order, path in (({"phase": "b"}, "/api/phase"), ({}, "/api/phase/next")):
                await told(stage, "POST", path, order)
            await told(stage, "GET", "/api/wait?for=opened", None)
            await told(stage, "GET", "/api/wait?for=closed&timeout=1ms", None, status=504)
            await told(stage, "POST", "/api/reports", {"state": "connected"})
            await told(stage, "DELETE", "/api/rules/mine", {}, "/api/rules/{id}")
            await told(stage, "POST", "/api/connections/1/reset", {}, "/api/connections/{attempt}/reset")
            session = await told(stage, "POST", "/api/sessions", {"profile": "brief-interruption"}, status=201)
            await told(stage, "GET", "/api/sessions", None)
            at = f"/api/sessions/{session['id']}"
            await told(stage, "GET", at, None, "/api/sessions/{session}")
            await told(stage, "DELETE", at, {}, "/api/sessions/{session}")
            await told(stage, "POST", "/api/rules", {"rule": {"rop": {}}}, status=422)

    run(story())


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("NewRule", {"rule": "drop", "lasts": "5s"}),
        ("NewRule", {"rule": {"close": 4200}}),
        ("NewRule", {"rule": {"close": "4200"}}),
        ("NewRule", {"rule": {"reset": None, "id": 7}}),
        ("NewSession", {"profile": "brief-interruption", "seed": "7"}),
        ("NewSession", {"profile": {"version": 1, "rules": ["reset"]}, "expect": ["stays_connected"]}),
        ("Close", {"code": "none"}),
        ("Report", {"state": "connected", "client": 7}),
    ],
)
def test_a_good_order_is_one_by_its_schema(name: str, order: object) -> None:
    validator({"$ref": f"#/components/schemas/{name}"}).validate(order)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("NewRule", {}),
        ("NewRule", {"rule": "drip"}),
        ("NewRule", {"rule": "drop", "lasts": 5}),
        ("NewRule", {"rule": "drop", "lasts": None}),
        ("NewSession", {"profile": {"rules": ["reset"]}}),
        ("NewSession", {"seed": -1}),
        ("Close", {"code": 65536}),
        ("Nothing", {"x": 1}),
    ],
)
def test_a_bad_order_is_none(name: str, order: object) -> None:
    assert not validator({"$ref": f"#/components/schemas/{name}"}).is_valid(order)


def test_a_rule_for_a_connection_that_is_not_there_is_refused_as_told(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            answer = await stage.ask("POST", "/api/rules", {"rule": "drop", "connections": [7]})
            validator(answer_schema("POST", "/api/rules", answer.status)).validate(answer.body)

    run(story())


@pytest.mark.parametrize(
    ("path", "is_needed"),
    [("/api/connections/freeze", True), ("/api/profile", True), ("/api/phase", True), ("/api/sessions", False)],
)
def test_a_body_is_needed_where_an_empty_one_is_refused(path: str, is_needed: bool, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert ((await stage.ask("POST", path, {})).status == 422) is is_needed
            assert DOCUMENT["paths"][path]["post"]["requestBody"]["required"] is is_needed

    run(story())
