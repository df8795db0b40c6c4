"""What a profile means once it is read."""

from typing import Any

import pytest
from pydantic import ValidationError

from chaosproxy.faults import FAULTS
from chaosproxy.profile import EMPTY, RULES, Phase, Profile, Until, bind


def profile(**fields: Any) -> Profile:
    return Profile.model_validate({"version": 1, **fields})


def ids(made: Profile, phase: int | None = None) -> list[str]:
    return [bound.id for bound in made.bound_rules(None if phase is None else made.phases[phase])]


def test_the_empty_profile_has_no_rules() -> None:
    assert EMPTY.every_rule() == []
    assert EMPTY.bound_rules(None) == []


def test_every_fault_has_a_rule_of_its_own() -> None:
    assert list(RULES) == list(FAULTS)


def test_a_rule_is_a_name_a_short_form_or_a_mapping() -> None:
    made = profile(rules=["reset", {"close": 4200}, {"close": {"code": 4200}}, {"drop": None}])

    assert [rule.fault_name for rule in made.every_rule()] == ["reset", "close", "close", "drop"]
    assert made.every_rule()[1].fault == made.every_rule()[2].fault


def test_top_level_rules_act_in_every_phase_before_the_phases_own() -> None:
    made = profile(rules=["drop"], phases=[{"name": "a", "rules": [{"latency": "1s"}]}])

    assert [bound.fault.name for bound in made.bound_rules(made.phases[0])] == ["drop", "latency"]
    assert [bound.fault.name for bound in made.bound_rules(None)] == ["drop"]


def test_a_given_id_is_the_rules_name_and_holds_across_phases() -> None:
    phases = [{"name": name, "lasts": "1s", "rules": [{"latency": "1s", "id": "slow"}]} for name in ("a", "b")]

    made = profile(phases=phases)

    assert ids(made, 0) == ids(made, 1) == ["slow"]
    assert made.bound_rules(made.phases[0])[0].is_named


def test_without_an_id_the_same_rule_in_two_phases_is_two() -> None:
    phases = [{"name": name, "lasts": "1s", "rules": [{"latency": "1s"}]} for name in ("a", "b")]

    made = profile(phases=phases)

    assert ids(made, 0) != ids(made, 1)


def test_the_same_rule_twice_in_a_phase_gets_two_ids() -> None:
    made = profile(rules=["drop", "drop"])

    first, second = ids(made)
    assert second == f"{first}-2"


def test_an_id_does_not_depend_on_chance_nor_on_how_values_are_written() -> None:
    written = [{"chance": "5%"}, {"chance": "6%"}]
    ages = [{"age": "1s"}, {"age": "1000ms"}]

    assert len({ids(profile(rules=[{"drop": {}, "when": when}]))[0] for when in written}) == 1
    assert len({ids(profile(rules=[{"drop": {}, "when": when}]))[0] for when in ages}) == 1
    assert ids(profile(rules=[{"drop": {}, "when": {"nth": 1}}])) != ids(profile(rules=["drop"]))


def test_another_rule_before_it_does_not_change_a_rules_id() -> None:
    assert ids(profile(rules=["reset", "drop"]))[1] == ids(profile(rules=["drop"]))[0]


def test_bind_keeps_the_order() -> None:
    rules = profile(rules=["reset", "drop"]).every_rule()

    assert [bound.fault.name for bound in bind([("a", rule) for rule in rules])] == ["reset", "drop"]


def test_the_digest_is_about_what_a_profile_does() -> None:
    plain = profile(phases=[{"name": "a", "rules": ["drop"]}])
    told = profile(name="x", about="y", phases=[{"name": "a", "about": "z", "rules": [{"drop": {}}]}], seed=0)
    other = profile(phases=[{"name": "a", "rules": ["drop"]}], seed=1)

    assert plain.digest == told.digest
    assert plain.digest != other.digest


def test_the_digest_tells_options_of_faults_apart() -> None:
    assert profile(rules=[{"latency": "1s"}]).digest != profile(rules=[{"latency": "2s"}]).digest


def test_a_profile_survives_being_written_and_read() -> None:
    made = profile(
        protocol="pusher",
        identify={"path": True},
        phases=[
            {"name": "a", "until": {"subscribed": ["x"], "within": "1.5s"}},
            {"name": "b", "until": "step", "rules": [{"drop": {}, "when": {"from": "client", "size": ">1KiB"}}]},
            {"name": "c", "rules": [{"close": {"code": "none"}}, {"reject": {"status": 503, "headers": {"A": "b"}}}]},
        ],
    )

    written = made.model_dump(mode="json", by_alias=True, exclude_none=True)

    assert Profile.model_validate(written).digest == made.digest


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError):
        EMPTY.seed = 1  # type: ignore[misc]


def test_until_has_one_condition() -> None:
    assert Until.model_validate({"opened": 2, "within": "5s"}).condition == "opened"
    assert Until.model_validate("step").condition == "step"


def test_the_last_phase_need_not_end_unless_it_repeats() -> None:
    assert profile(phases=[{"name": "a"}]).phases == (Phase(name="a"),)
    with pytest.raises(ValidationError, match="would never end"):
        profile(repeat="forever", phases=[{"name": "a"}])


@pytest.mark.parametrize(
    ("starts", "rules"),
    [
        ("launch", ["refuse"]),
        ("connection", [{"reset": {"at": "accept"}, "when": {"chance": "50%"}}]),
        ("connection", ["hang"]),
    ],
)
def test_a_timeline_may_begin_with_any_phase_that_lets_it_start(starts: str, rules: list[Any]) -> None:
    assert profile(starts=starts, phases=[{"name": "a", "lasts": "1s", "rules": rules}])


def test_what_shuts_everybody_out_at_the_top_does_so_in_the_first_phase() -> None:
    with pytest.raises(ValidationError, match="none can come in this phase"):
        profile(rules=["hang", "refuse"], phases=[{"name": "a"}])


def test_waiting_for_connections_is_fine_where_some_can_open() -> None:
    rules = [{"reject": 503, "when": {"connection": 1}}]

    assert profile(phases=[{"name": "a", "until": {"opened": 1}, "rules": rules}])
    assert profile(starts="launch", phases=[{"name": "a", "until": {"closed": 1}, "rules": ["refuse"]}])


def test_a_rule_at_the_top_may_not_share_its_id_with_one_in_a_phase() -> None:
    with pytest.raises(ValidationError, match="its own id"):
        profile(rules=[{"drop": {}, "id": "x"}], phases=[{"name": "a", "rules": [{"drop": {}, "id": "x"}]}])


def test_all_that_does_not_hang_together_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        profile(phases=[{"name": "a"}, {"name": "a", "until": {"established": 1}}])

    (error,) = caught.value.errors()
    assert [misuse.at for misuse in error["ctx"]["found"]] == [
        ("phases", 0),
        ("phases", 1, "name"),
        ("phases", 1, "until", "established"),
    ]


@pytest.mark.parametrize("fault", [{"reject": 503}, "hang", "reset", {"latency": "1s"}])
@pytest.mark.parametrize("request_kind", ["http", "any"])
def test_some_faults_can_act_on_plain_http(fault: Any, request_kind: str) -> None:
    named = fault if isinstance(fault, dict) else {fault: {}}
    when = {"request": request_kind, "path": "/apps/*", "header": {"a": "b"}, "chance": "5%"}

    assert profile(rules=[{**named, "when": when}])
    assert profile(rules=[{**named, "when": {"request": "http", "nth": [1, 3]}}])


@pytest.mark.parametrize("fault", ["refuse", "drop", "half_open", "fin", {"close": 4200}])
def test_others_act_on_websockets_only(fault: Any) -> None:
    named = fault if isinstance(fault, dict) else {fault: {}}

    with pytest.raises(ValidationError, match="acts on WebSockets only"):
        profile(rules=[{**named, "when": {"request": "http"}}])


def test_naming_websockets_changes_no_rules_id() -> None:
    rules = [{"drop": {}, "when": {"request": "websocket"}}]

    assert ids(profile(rules=rules)) == ids(profile(rules=["drop"]))


def test_what_acts_on_plain_http_only_lets_connections_open() -> None:
    rules = [{"hang": {}, "when": {"request": "http"}}]

    assert profile(phases=[{"name": "a", "until": {"opened": 1}, "rules": rules}])
    with pytest.raises(ValidationError, match="can't come true"):
        profile(phases=[{"name": "a", "until": {"opened": 1}, "rules": [{"hang": {}, "when": {"request": "any"}}]}])
