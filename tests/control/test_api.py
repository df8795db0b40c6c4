import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import chaosproxy.control
from chaosproxy.control import ControlServer
from chaosproxy.control.client_door import REPORTS_MAX
from chaosproxy.control.room import REPORTS_AT_ONCE, Budget
from chaosproxy.live_rule import LIVE_RULES_MAX
from chaosproxy.proxy import Address
from chaosproxy.rule import Rule
from chaosproxy.stage import Stage
from chaosproxy.units import SECOND
from tests.control.conftest import Run
from tests.control.stage import JSON, profile_of, staged

CONTROL = Path(chaosproxy.control.__file__).parent
NOWHERE = Stage(Address("127.0.0.1", 1))
TWO_PHASES = profile_of(
    name="outage",
    seed=7,
    phases=[{"name": "healthy", "until": "step"}, {"name": "outage", "rules": [{"reject": {"status": 503}}]}],
)


PROBLEMS = {
    "no rule": ({}, [("rule", "expected rule:, got none; add rule: (one fault and its match, as in a profile)")]),
    "an unknown fault": ({"rule": {"rest": {}}}, [("rule.rest", "expected a fault, got rest; did you mean reset?")]),
    "an option out of place": (
        {"rule": {"drop": {"event": "x"}}},
        [("rule.drop.event", "expected no options, got event; matching goes under when:")],
    ),
    "a missing option": (
        {"rule": {"latency": {}}},
        [("rule.latency.delay", "expected delay:, got none; add delay: (how long each message waits)")],
    ),
    "a bare number": (
        {"rule": {"latency": {"delay": 5}}},
        [("rule.latency.delay", "expected a duration with a unit, such as 500ms, 1.5s or 2m, got 5")],
    ),
    "a time without a unit": (
        {"rule": "drop", "lasts": "10"},
        [("lasts", "expected a duration with a unit, such as 500ms, 1.5s or 2m, got 10")],
    ),
    "several problems": (
        {"rule": {"close": {"code": 70000}, "when": {"chance": "many"}}, "for": "1s"},
        [
            ("rule.when.chance", "expected a percentage from 0% to 100%, such as 5%, got many"),
            ("rule.close.code", "expected at most 65535 or none, got 70000"),
            ("for", "expected rule, lasts or connections, got for; did you mean lasts?"),
        ],
    ),
    "two faults": (
        {"rule": {"drop": {}, "hang": {}}},
        [("rule.hang", "expected one fault per rule, got drop and hang; begin a new - for each")],
    ),
    "a condition the fault can't use": (
        {"rule": {"reject": {"status": 503}, "when": {"nth": 1}}},
        [
            (
                "rule.when.nth",
                "reject acts on the upgrade request, before there are messages; nth: can't be used "
                "(connection:, path:, header: and chance: can)",
            )
        ],
    ),
    "an event without a protocol": (
        {"rule": {"drop": {}, "when": {"event": "x"}}},
        [("rule.when.event", "event: needs protocol: at the top of the profile (one of pusher)")],
    ),
    "a list": ([], []),
}


class TestSeeing:
    def test_it_is_live_and_ready_whatever_the_profile_does(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(rules=["refuse"])) as stage:
                assert (await stage.ask("GET", "/livez")).status == 200
                answer = await stage.ask("GET", "/readyz")
                assert (answer.status, answer.body) == (200, {"status": "ready", "journal_lost": 0})

        run(story())

    def test_it_is_not_ready_while_draining(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                stage.proxy.steer(lambda world, now: world.drain(now))
                assert (await stage.ask("GET", "/readyz")).status == 503
                assert (await stage.ask("GET", "/livez")).status == 200

        run(story())

    def test_metrics_are_in_the_format_that_is_asked_for(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                await client.send("hello")
                await client.recv()
                page = await stage.ask("GET", "/metrics")
                assert page.headers["Content-Type"].startswith("text/plain; version=")
                assert 'chaosproxy_frames_total{direction="client",opcode="text"} 1.0' in page.body
                page = await stage.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
                assert page.headers["Content-Type"].startswith("application/openmetrics-text")

        run(story())

    def test_the_state_tells_profile_phase_rules_and_connections(self, run: Run) -> None:
        async def story() -> None:
            async with staged(TWO_PHASES) as stage, stage.client("/app/key?secret=1"):
                state = await stage.state()
                (connection,) = state.pop("connections")
                phase = state.pop("phase")
                assert connection.pop("age_seconds") > 0
                assert connection == {
                    "attempt": 1,
                    "client": "",
                    "connection": 1,
                    "path": "/app/key",
                    "state": "tunnel",
                    "silent": False,
                    "rules": [],
                }
                (client,) = state.pop("clients")
                assert client.pop("seconds") > 0
                assert client == {
                    "client": "",
                    "instance": "",
                    "state": "connected",
                    "source": "inferred",
                    "socket_id": "",
                    "attempt": 1,
                }
                assert phase.pop("seconds") > 0
                assert phase == {
                    "name": "healthy",
                    "visit": 1,
                    "running": True,
                    "over": False,
                    "paused": False,
                    "ends_in_seconds": None,
                    "until": {"condition": "step", "wanted": True, "there": None},
                    "failures": [],
                }
                assert state == {
                    "profile": {"name": "outage", "digest": TWO_PHASES.digest},
                    "seed": 7,
                    "address": str(stage.proxy.address),
                    "upstream": str(stage.proxy.upstream),
                    "listening": True,
                    "draining": False,
                    "judged": False,
                    "rules": [],
                    "connections_left_out": 0,
                    "counters": {
                        "attempts": 1,
                        "connections": 1,
                        "open": 1,
                        "opened": 1,
                        "dials_delayed": 0,
                        "faults": {},
                        "paused_legs": 0,
                    },
                }

        run(story())

    def test_the_state_tells_what_the_phase_waits_for_and_what_is_there(self, run: Run) -> None:
        async def story() -> None:
            phases = [{"name": "filling", "until": {"opened": 2, "within": "1h"}}]
            async with staged(profile_of(phases=phases)) as stage, stage.client():
                phase = (await stage.state())["phase"]
                assert phase["until"] == {"condition": "opened", "wanted": 2, "there": 1}
                assert 3590 < phase["ends_in_seconds"] <= 3600

        run(story())


class TestPhases:
    def test_a_step_goes_to_the_next_phase_and_is_in_force_at_once(self, run: Run) -> None:
        async def story() -> None:
            async with staged(TWO_PHASES) as stage:
                async with stage.client():
                    pass
                answer = await stage.ask("POST", "/api/phase/next")
                assert (answer.status, answer.body["name"], answer.body["visit"]) == (200, "outage", 2)
                with pytest.raises(InvalidStatus, match="503"):
                    async with stage.client():
                        pass

        run(story())

    def test_a_step_by_name_goes_back(self, run: Run) -> None:
        async def story() -> None:
            async with staged(TWO_PHASES) as stage:
                await stage.ask("POST", "/api/phase", {"phase": "outage"})
                answer = await stage.ask("POST", "/api/phase", {"phase": "healthy"})
                assert answer.body["name"] == "healthy"
                async with stage.client():
                    pass

        run(story())

    def test_an_unknown_phase_is_not_found_and_nothing_changes(self, run: Run) -> None:
        async def story() -> None:
            async with staged(TWO_PHASES) as stage:
                answer = await stage.ask("POST", "/api/phase", {"phase": "lunch"})
                assert answer.status == 404
                assert answer.body == {"error": "there is no phase of this name; there are: healthy, outage"}
                assert stage.told("phase_entered") == []

        run(story())

    def test_there_is_no_step_behind_the_last_phase_nor_without_phases(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                assert (await stage.ask("POST", "/api/phase/next")).status == 409
            async with staged(TWO_PHASES) as stage:
                for status in (200, 200, 200, 409):
                    assert (await stage.ask("POST", "/api/phase/next")).status == status

        run(story())


class TestRules:
    @pytest.mark.parametrize("rule", [{"bad_certificate": "expired"}, {"tls_stall": {}}])
    def test_a_fault_of_tls_is_refused_where_no_tls_is_spoken(self, run: Run, rule: dict[str, object]) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/rules", {"rule": rule})
                assert answer.status == 422
                (problem,) = answer.body["problems"]
                assert problem["path"] == f"rule.{next(iter(rule))}"
                assert "needs TLS with the clients: start with --tls dev" in problem["message"]
                assert (await stage.state())["rules"] == []

        run(story())

    def test_a_rule_acts_on_open_connections_at_once_until_it_is_healed(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                rule = {"drop": {}, "when": {"from": "client"}, "id": "lossy"}
                answer = await stage.ask("POST", "/api/rules", {"rule": rule})
                assert (answer.status, answer.body) == (201, {"id": "lossy", "connections": 1})
                await client.send("dropped")
                await stage.until_told("struck")
                assert (await stage.ask("DELETE", "/api/rules/lossy")).body == {"healed": ["lossy"]}
                await client.send("passes")
                assert await client.recv() == "passes"

        run(story())

    def test_a_reset_has_struck_when_the_call_returns(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                assert (await stage.ask("POST", "/api/rules", {"rule": "reset"})).status == 201
                assert [record["rule"] for record in stage.told("struck")] != []
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert stage.told("closed")[0]["by"] == "rule"

        run(story())

    def test_refuse_closes_the_door_before_the_call_returns_and_healing_opens_it(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                await stage.ask("POST", "/api/rules", {"rule": {"refuse": {}}})
                assert not (await stage.state())["listening"]
                with pytest.raises(ConnectionRefusedError):
                    async with stage.client():
                        pass
                await stage.ask("DELETE", "/api/rules")
                async with stage.client():
                    pass

        run(story())

    def test_a_rule_with_a_time_heals_by_itself(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                order = {"rule": {"half_open": {"leg": "both"}}, "lasts": "50ms"}
                await stage.ask("POST", "/api/rules", order)
                assert (await stage.state())["connections"][0]["silent"]
                await client.send("late")
                assert await client.recv() == "late"
                assert [record["change"] for record in stage.told("rule_changed")] == ["added", "expired"]

        run(story())

    def test_rules_in_force_are_listed_as_one_writes_them(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(rules=[{"latency": "10ms", "id": "slow"}])) as stage:
                rule = {"drop": {}, "when": {"from": "server", "chance": "5%"}, "id": "lossy"}
                await stage.ask("POST", "/api/rules", {"rule": rule})
                assert (await stage.state())["rules"] == [
                    {"id": "slow", "latency": {"delay": "10ms"}, "when": {}, "live": False},
                    {"id": "lossy", "drop": {}, "when": {"from": "server", "chance": "5%"}, "live": True},
                ]

        run(story())

    def test_healing_all_is_idempotent_and_leaves_the_rules_of_the_profile(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(rules=[{"latency": "1ms", "id": "slow"}])) as stage:
                ids = [(await stage.ask("POST", "/api/rules", {"rule": rule})).body["id"] for rule in ("hang", "drop")]
                assert (await stage.ask("DELETE", "/api/rules")).body == {"healed": ids}
                answer = await stage.ask("DELETE", "/api/rules")
                assert (answer.status, answer.body) == (200, {"healed": []})
                assert [rule["id"] for rule in (await stage.state())["rules"]] == ["slow"]

        run(story())

    def test_one_heals_only_what_is_live(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(rules=[{"latency": "1ms", "id": "slow"}])) as stage:
                assert (await stage.ask("DELETE", "/api/rules/nothing")).status == 404
                assert (await stage.ask("DELETE", "/api/rules/slow")).status == 409

        run(story())

    def test_a_rule_that_can_not_read_what_is_open_says_that_it_is_for_new_connections(self, run: Run) -> None:
        async def story() -> None:
            async with (
                staged() as stage,
                stage.client(compression="deflate"),
                stage.client(compression="deflate"),
                stage.client(),
            ):
                answer = await stage.ask("POST", "/api/rules", {"rule": "drop"})
                assert answer.body["connections"] == 1
                assert answer.body["note"].startswith("new connections only: 2 ")
                answer = await stage.ask("POST", "/api/rules", {"rule": {"latency": "1ms"}})
                assert (answer.body["connections"], "note" in answer.body) == (3, False)

        run(story())

    def test_a_connection_that_was_read_from_its_first_byte_needs_no_note(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(protocol="pusher")) as stage, stage.client(compression="deflate"):
                answer = await stage.ask("POST", "/api/rules", {"rule": "drop"})
                assert (answer.body["connections"], "note" in answer.body) == (1, False)

        run(story())

    @pytest.mark.parametrize("what", PROBLEMS)
    def test_a_wrong_rule_is_answered_with_all_its_problems_and_changes_nothing(self, run: Run, what: str) -> None:
        order, expected = PROBLEMS[what]

        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/rules", order)
                assert answer.status == 422
                problems = answer.body.get("problems", [])
                assert [(problem["path"], problem["message"]) for problem in problems] == expected
                assert stage.journal.last == 0

        run(story())

    def test_an_id_of_the_profile_is_taken(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(rules=[{"latency": "1ms", "id": "slow"}])) as stage:
                answer = await stage.ask("POST", "/api/rules", {"rule": {"drop": {}, "id": "slow"}})
                assert answer.status == 409
                assert stage.told("rule_changed") == []

        run(story())

    def test_a_fence_may_forbid_a_rule(self, run: Run) -> None:
        def fence(rule: Rule) -> str | None:
            return "this server is not yours" if rule.harms_server else None

        async def story() -> None:
            async with staged(fence=fence) as stage:
                answer = await stage.ask("POST", "/api/rules", {"rule": {"close": {"code": 4200, "to": "server"}}})
                assert (answer.status, answer.body) == (403, {"error": "this server is not yours"})
                assert (await stage.ask("POST", "/api/rules", {"rule": {"close": 4200}})).status == 201

        run(story())

    def test_there_are_so_many_rules_at_most_and_each_may_still_be_replaced(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                statuses = [
                    (await stage.ask("POST", "/api/rules", {"rule": {"drop": {}, "id": f"r{number}"}})).status
                    for number in range(LIVE_RULES_MAX + 1)
                ]
                assert statuses == [201] * LIVE_RULES_MAX + [409]
                assert len((await stage.state())["rules"]) == LIVE_RULES_MAX
                assert (await stage.ask("POST", "/api/rules", {"rule": {"drop": {}, "id": "r7"}})).status == 201
                assert len((await stage.ask("DELETE", "/api/rules")).body["healed"]) == LIVE_RULES_MAX

        run(story())


class TestConnections:
    def test_a_close_reaches_the_client_with_its_code_and_reason(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client, stage.client() as other:
                answer = await stage.ask("POST", "/api/connections/1/close", {"code": 4200, "reason": "come back"})
                assert (answer.status, answer.body) == (200, {"attempt": 1})
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4200, "come back")
                await other.send("still here")
                assert await other.recv() == "still here"

        run(story())

    def test_a_close_without_a_code_says_going_away(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                await stage.ask("POST", "/api/connections/1/close")
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert closed.value.rcvd.code == 1001

        run(story())

    def test_a_reset_is_a_reset(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                reader, writer = await asyncio.open_connection("127.0.0.1", stage.proxy.port)
                await stage.until_told("accepted")
                assert (await stage.ask("POST", "/api/connections/1/reset")).status == 200
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()
                assert stage.told("closed")[0]["how"] == "reset"

        run(story())

    @pytest.mark.parametrize("attempt", ["2", "0", "x", "%31%20", "9" * 30, "-1", "²"])
    def test_what_is_not_there_is_not_found(self, run: Run, attempt: str) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                for order in ("close", "reset"):
                    assert (await stage.ask("POST", f"/api/connections/{attempt}/{order}")).status == 404
                await client.send("still here")
                assert await client.recv() == "still here"

        run(story())

    @pytest.mark.parametrize(
        "order", [{"code": 70000}, {"code": "1000x"}, {"reason": "x" * 200}, {"to": "server"}, {"code": True}]
    )
    def test_a_wrong_close_closes_nothing(self, run: Run, order: dict[str, Any]) -> None:
        async def story() -> None:
            async with staged() as stage, stage.client() as client:
                answer = await stage.ask("POST", "/api/connections/1/close", order)
                assert (answer.status, bool(answer.body["problems"])) == (422, True)
                await client.send("still here")
                assert await client.recv() == "still here"

        run(story())


class TestReports:
    def test_a_client_reports_its_state(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                report = {"client": "anna", "state": "unavailable", "detail": "no \x1b[31m answer"}
                assert (await stage.ask("POST", "/api/reports", report)).status == 200
                (record,) = stage.told("reported")
                assert {name: record[name] for name in report} == report

        run(story())

    @pytest.mark.parametrize("name", ["client", "state", "detail"])
    def test_a_report_is_bounded(self, run: Run, name: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("POST", "/api/reports", {"state": "x", name: "x" * 2000})
                assert answer.status == 422
                assert len(answer.body["problems"][0]["message"]) < 200
                assert stage.journal.last == 0

        run(story())


REPORT = {"n": 1, "ms": 12.5, "what": "state", "state": "connecting"}


def body_of(*reports: dict[str, object], **fields: object) -> str:
    return json.dumps({"client": "anna", "instance": "i1", "reports": [*reports], **fields})


class TestClientDoor:
    def test_the_script_is_for_pages_of_any_origin(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                for name, exports in (("chaosproxy.js", False), ("chaosproxy.mjs", True)):
                    answer = await stage.ask("GET", f"{stage.control.client_path}/{name}", Origin="http://app.example")
                    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
                    assert answer.headers["Access-Control-Allow-Origin"] == "*"
                    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert "globalThis.chaosproxy =" in answer.body
                    assert ("\nexport {" in answer.body) == exports

        run(story())

    def test_a_report_is_taken_and_nothing_is_answered(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                path = f"{stage.control.client_path}/reports"
                mark = {"n": 2, "ms": 20, "what": "mark", "detail": "banner shown"}
                headers = {"Content-Type": "text/plain;charset=UTF-8", "Origin": "http://app.example"}
                answer = await stage.send("POST", path, body_of(mark, REPORT), headers)
                assert (answer.status, answer.body) == (204, "")
                assert "Access-Control-Allow-Origin" not in answer.headers
                assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
                (said,), (state,) = stage.told("client_said"), stage.told("client_state")
                told = {name: state[name] for name in ("client", "state", "previous", "source", "ordinal", "client_ms")}
                assert told == {
                    "client": "anna",
                    "state": "connecting",
                    "previous": "",
                    "source": "reported",
                    "ordinal": 1,
                    "client_ms": 12.5,
                }
                assert (said["what"], said["detail"], said["ordinal"]) == ("mark", "banner shown", 2)
                assert state["seq"] < said["seq"]
                (seen,) = (await stage.state())["clients"]
                assert (seen["client"], seen["state"], seen["source"]) == ("anna", "connecting", "reported")

        run(story())

    def test_a_report_stands_beside_the_connection_of_its_socket_id(self, run: Run) -> None:
        async def story() -> None:
            async with staged(profile_of(protocol="pusher")) as stage, stage.client() as client:
                established = {"event": "pusher:connection_established", "data": json.dumps({"socket_id": "1.2"})}
                await client.send(json.dumps(established))  # our upstream is an echo
                await client.recv()
                report = REPORT | {"state": "connected", "socket_id": "1.2"}
                await stage.send("POST", f"{stage.control.client_path}/reports", body_of(report, client=""), {})
                (record,) = [each for each in stage.told("client_state") if each["source"] == "reported"]
                assert (record["attempt"], record["client"]) == (1, "")
                assert [each["state"] for each in stage.told("client_state")] == [
                    "connecting",
                    "connected",
                    "connected",
                ]
                (seen,) = (await stage.state())["clients"]
                assert (seen["source"], seen["attempt"], seen["socket_id"]) == ("reported", 1, "1.2")

        run(story())

    @pytest.mark.parametrize(
        "report",
        [
            {"n": 0},
            {"n": 2**60},
            {"n": "1"},
            {"n": True},
            {"ms": -1},
            {"ms": None},
            {"what": "close"},
            {"what": None},
            {"what": "mark"},  # of which a state is no part
            {"state": ""},
            {"state": "x" * 65},
            {"previous": "x" * 65},
            {"socket_id": "x" * 65},
            {"detail": "x" * 65},
            {"code": 2**40},
            {"code": "4001"},
            {"path": "elsewhere"},
        ],
        ids=str,
    )
    def test_a_report_that_does_not_fit_is_dropped_and_counted_and_the_others_are_not(
        self, run: Run, report: dict[str, object]
    ) -> None:
        async def story() -> None:
            async with staged() as stage:
                body = body_of(REPORT | report, REPORT | {"n": 7})
                answer = await stage.send("POST", f"{stage.control.client_path}/reports", body, {})
                assert answer.status == 204
                assert [record["ordinal"] for record in stage.told("client_state")] == [7]
                page = (await stage.ask("GET", "/metrics")).body
                assert 'chaosproxy_client_reports_dropped_total{reason="malformed"} 1.0' in page

        run(story())

    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            (b"", 400, "malformed"),
            (b"[]", 400, "malformed"),
            (b"\xff", 400, "malformed"),
            (b"[" * 60_000, 400, "malformed"),
            (body_of(REPORT, client="x" * 257).encode(), 400, "malformed"),
            (body_of(REPORT, instance="").encode(), 400, "malformed"),
            (body_of(*[REPORT] * 65).encode(), 400, "malformed"),
            (bytes(65537), 413, "too_large"),
        ],
        ids=lambda value: value[:12] if isinstance(value, bytes) else str(value),
    )
    def test_a_body_that_is_not_the_scripts_is_refused_and_counted(
        self, run: Run, body: bytes, status: int, reason: str
    ) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.send("POST", f"{stage.control.client_path}/reports", io.BytesIO(body), {})
                assert (answer.status, stage.journal.last) == (status, 0)
                page = (await stage.ask("GET", "/metrics")).body
                assert f'chaosproxy_client_reports_dropped_total{{reason="{reason}"}} 1.0' in page

        run(story())

    def test_reports_over_the_rate_are_refused_and_counted(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                path, sent, statuses = f"{stage.control.client_path}/reports", 0, []
                while 429 not in statuses:
                    reports = [REPORT | {"n": sent + each} for each in range(1, REPORTS_MAX + 1)]
                    sent += len(reports)
                    assert sent < 20 * REPORTS_AT_ONCE
                    statuses.append((await stage.send("POST", path, body_of(*reports), {})).status)
                assert set(statuses) == {204, 429}
                assert len(stage.told("client_state")) == sent - REPORTS_MAX >= REPORTS_AT_ONCE - REPORTS_MAX
                page = (await stage.ask("GET", "/metrics")).body
                assert f'chaosproxy_client_reports_dropped_total{{reason="rate"}} {float(REPORTS_MAX)}' in page

        run(story())

    def test_the_budget_fills_by_time_up_to_its_brim(self) -> None:
        budget = Budget(per_second=10, at_once=20)
        assert [budget.take(20, SECOND), budget.take(1, SECOND)] == [True, False]
        assert [budget.take(5, SECOND * 3 // 2), budget.take(1, SECOND * 3 // 2)] == [True, False]
        assert [budget.take(21, 100 * SECOND), budget.take(20, 100 * SECOND)] == [False, True]


class TestScripts:
    def test_who_has_no_copy_of_the_client_in_javascript_gets_it_here(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                for form, kind in (
                    ("mjs", "javascript"),
                    ("cjs", "javascript"),
                    ("d.mts", "plain"),
                    ("d.cts", "plain"),
                ):
                    answer = await stage.ask("GET", f"/chaosproxy-control.{form}")
                    assert (answer.status, answer.headers["Content-Type"]) == (200, f"text/{kind}; charset=utf-8")
                    assert "Access-Control-Allow-Origin" not in answer.headers
                    source = (CONTROL / f"chaosproxy-control.{form.replace('c', 'm')}").read_text()
                    last = "export { ChaosError, connect };"
                    if form == "cjs":
                        assert last in source
                        source = source.replace(last, "module.exports = { ChaosError, connect };")
                    assert answer.body == source

        run(story())


class TestServer:
    def test_a_busy_port_is_an_error_and_a_failed_server_can_be_stopped(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                address = Address("127.0.0.1", stage.control.port)
                second = ControlServer(stage.control.rooms.main.stage, None, address)
                with pytest.raises(OSError):
                    await second.start()
                await second.stop()

        run(story())

    @pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.0.1", "chaos.example", "127.evil.example"])
    def test_an_address_that_others_can_reach_needs_a_token(self, host: str) -> None:
        with pytest.raises(ValueError, match="set CHAOSPROXY_CONTROL_TOKEN, or listen on"):
            ControlServer(NOWHERE, None, Address(host, 0))
        ControlServer(NOWHERE, None, Address(host, 0), token="secret")

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
    def test_a_loopback_address_needs_none(self, host: str) -> None:
        ControlServer(NOWHERE, None, Address(host, 0))

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            ("{", 400),
            ("[" * 60_000, 400),
            ("\xff", 400),
            ('{"state": "a", "state": "b"}', 400),
            ('{"state": ' * 70 + "1" + "}" * 70, 400),
            ('{"state": ' * 900 + "1" + "}" * 900, 400),
            ('{"state": "\\ud800"}', 400),
            ('{"\\ud800": 1}', 400),
            ("1" * 10_000, 422),
            ("null", 422),
            ('"x"', 422),
        ],
    )
    def test_a_body_that_is_no_json_object_is_refused(self, run: Run, data: str, status: int) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.send("POST", "/api/reports", data.encode("latin-1"), JSON)
                assert (answer.status, list(answer.body)) == (status, ["error"])

        run(story())

    def test_a_body_over_the_cap_is_refused(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.send("POST", "/api/reports", io.BytesIO(bytes(65537)), JSON)
                assert (answer.status, answer.body) == (413, {"error": "the body is larger than 65536 bytes"})

        run(story())

    def test_what_is_not_there_is_told_in_json(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("GET", "/nothing")
                assert (answer.status, answer.body) == (
                    404,
                    {"error": "there is nothing here; begin with GET /api/state, /api/journal or /metrics"},
                )
                answer = await stage.ask("PUT", "/api/rules")
                assert (answer.status, answer.body) == (405, {"error": "this takes DELETE, POST"})
                assert answer.headers["Allow"] == "DELETE,POST"

        run(story())

    def test_a_whole_story_on_uvloop(self, run_on_uvloop: Run) -> None:
        async def story() -> None:
            async with staged(TWO_PHASES) as stage, stage.client() as client:
                await stage.ask("POST", "/api/rules", {"rule": {"drop": {}, "when": {"from": "client"}, "id": "lossy"}})
                await client.send("dropped")
                await stage.until_told("struck")
                await stage.ask("DELETE", "/api/rules")
                await client.send("passes")
                assert await client.recv() == "passes"
                assert (await stage.ask("POST", "/api/phase/next")).body["name"] == "outage"
                assert 'loop="uvloop"' in (await stage.ask("GET", "/metrics")).body
                await stage.ask("POST", "/api/connections/1/close", {"code": 4000})
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert (await stage.ask("GET", "/api/state", Host="evil.example")).status == 403

        run_on_uvloop(story())


class TestOpaque:
    """With a tcp:// upstream; a WebSocket through it is bytes like any other."""

    def test_a_rule_that_needs_messages_is_refused_with_all_its_problems(self, run: Run) -> None:
        async def story() -> None:
            async with staged(scheme="tcp") as stage:
                order = {"rule": {"close": 4200, "when": {"opcode": "text", "nth": 2}}}
                answer = await stage.ask("POST", "/api/rules", order)
                assert answer.status == 422
                assert [problem["path"] for problem in answer.body["problems"]] == [
                    "rule.close",
                    "rule.when.opcode",
                    "rule.when.nth",
                ]
                assert "use fin or reset" in answer.body["problems"][0]["message"]
                assert (await stage.state())["rules"] == []

        run(story())

    def test_a_rule_on_bytes_acts_at_once_and_connections_are_listed(self, run: Run) -> None:
        async def story() -> None:
            async with staged(scheme="tcp") as stage, stage.client() as client:
                assert (await stage.ask("POST", "/api/rules", {"rule": {"latency": "50ms"}})).status == 201
                await client.send("late")
                assert await client.recv() == "late"
                state = await stage.state()
                assert state["counters"]["faults"] == {"latency": 2}
                (connection,) = state["connections"]
                assert (connection["connection"], connection["path"], connection["state"]) == (1, "", "tunnel")
                page = (await stage.ask("GET", "/metrics")).body
                assert 'chaosproxy_connections_total{outcome="opened"} 1.0' in page
                assert 'chaosproxy_frames_total{direction="client",opcode="text"} 0.0' in page

        run(story())

    def test_a_close_is_refused_and_a_reset_is_a_reset(self, run: Run) -> None:
        async def story() -> None:
            async with staged(scheme="tcp") as stage, stage.client() as client:
                (connection,) = (await stage.state())["connections"]
                where = f"/api/connections/{connection['attempt']}"
                answer = await stage.ask("POST", f"{where}/close", {"code": 4200})
                assert answer.status == 409
                assert "carries no frames" in answer.body["error"]
                assert (await stage.ask("POST", f"{where}/reset")).status == 200
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert end.value.rcvd is None

        run(story())
