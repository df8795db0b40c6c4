"""Expectations as they stand in profiles and on the command line."""

from typing import Any

import pytest
import yaml

from chaosproxy.expect_options import with_expectations
from chaosproxy.expectations import EXPECTATIONS
from chaosproxy.expected import EXPECTED
from chaosproxy.problems import BadProfile
from chaosproxy.profile import Profile
from chaosproxy.profile_yaml import load
from tests.test_profile_yaml import VALIDATOR

OUTAGE = """\
version: 1
protocol: pusher
identify: {query: client}
phases:
  - {name: healthy, until: {subscribed: 1}}
  - name: outage
    lasts: 90s
    rules:
      - half_open
  - {name: well}
expect:
  - """


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_its_example_is_one_and_its_words_are_those_that_one_would_write(name: str) -> None:
    example = EXPECTATIONS[name].example
    made = load(OUTAGE + example, "example.yaml").expect[0]
    assert list(VALIDATOR.iter_errors(yaml.safe_load(OUTAGE + example))) == []
    assert made.expectation_name == name
    again = load(OUTAGE + made.words(), "again.yaml").expect[0]
    assert again == made


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_its_reference_is_complete(name: str) -> None:
    kind = EXPECTATIONS[name]
    assert kind.help().endswith(".") and len(kind.help()) <= 120
    assert all(field.description for field in kind.model_fields.values())
    assert EXPECTED[name].__doc__ == kind.help()


@pytest.mark.parametrize(
    ("written", "conditions"),
    [
        ("detected_within: 5s", "from the fault"),
        ("{reconnected_within: 5s, phase: outage}", "phase outage, from the heal"),
        ("{resubscribed: 5s, client: anna, after: detected}", "client anna, from the detection"),
        ("one_connection", ""),
    ],
)
def test_where_to_whom_and_from_when_it_holds(written: str, conditions: str) -> None:
    assert load(OUTAGE + written, "x").expect[0].conditions() == conditions


def test_expectations_do_not_change_what_a_profile_does() -> None:
    assert load(OUTAGE + "one_connection", "x").digest == load(OUTAGE + "subscribes_once", "x").digest


class TestOptions:
    PROFILE = Profile.model_validate({"version": 1, "phases": [{"name": "a"}], "expect": [{"marked": "x"}]})

    def test_they_are_added_to_those_of_the_profile(self) -> None:
        made = with_expectations(self.PROFILE, ["reconnected_within: 5s", "{attempts_at_most: 3, phase: a}"])
        assert [each.words() for each in made.expect] == ["marked: x", "reconnected_within: 5s", "attempts_at_most: 3"]
        assert made.phases == self.PROFILE.phases

    @pytest.mark.parametrize(
        ("option", "problem"),
        [
            ("", "expected"),
            ("reconnects_within: 5s", "did you mean reconnected_within?"),
            ("{reconnected_within: 5}", "expected a duration with a unit"),
            ("{attempts_at_most: 3, phase: b}", "expected the name of a phase, got b; there are: a"),
            ("subscribes_once", "subscribes_once needs protocol: at the top"),
            ("{reconnected_within: 5s", "expected a comma or }"),
        ],
    )
    def test_each_mistake_is_told_with_the_option_that_has_it(self, option: str, problem: str) -> None:
        with pytest.raises(BadProfile) as bad:
            with_expectations(self.PROFILE, ["marked: y", option] if option else [option])
        (found,) = bad.value.problems
        assert (found.source, found.line) == ("--expect", 2 if option else 1)
        assert problem in str(found)

    def test_the_problems_of_all_come_at_once(self) -> None:
        with pytest.raises(BadProfile) as bad:
            with_expectations(self.PROFILE, ["foo: 1", "bar: 2"])
        assert [problem.line for problem in bad.value.problems] == [1, 2]


def test_a_profile_knows_the_fields_that_its_expectations_follow() -> None:
    expect: list[dict[str, Any]] = [{"missed": "/data/id"}, {"no_gap_on_the_wire": "/data/id"}, {"missed": "/id"}]
    made = Profile.model_validate({"version": 1, "expect": expect})
    assert [pointer.text for pointer in made.tracked] == ["/data/id", "/id"]
