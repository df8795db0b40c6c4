from typing import Any

import pytest

from chaosproxy.expect_options import with_expectations
from chaosproxy.problems import BadProfile
from chaosproxy.profile import EMPTY, Profile
from chaosproxy.profile_yaml import load

OUTAGE = load(
    """
version: 1
protocol: pusher
held_bytes_max: 64KiB
phases:
  - {name: healthy, until: {opened: 1}}
  - {name: outage, lasts: 5s, rules: [half_open]}
  - {name: patchy, rules: [{latency: 10ms}]}
expect:
  - one_connection
""",
    "outage.yaml",
)


def test_they_are_added_to_those_of_the_profile() -> None:
    extended = with_expectations(OUTAGE, ["reconnected_within: 5s", "{attempts_at_most: 3, phase: outage}"])
    assert [each.words() for each in extended.expect] == [
        "one_connection: true",
        "reconnected_within: 5s",
        "attempts_at_most: 3",
    ]
    assert extended.model_copy(update={"expect": OUTAGE.expect}) == OUTAGE


@pytest.mark.parametrize("profile", [EMPTY, OUTAGE])
def test_none_change_nothing(profile: Profile) -> None:
    assert with_expectations(profile, []) == profile


@pytest.mark.parametrize(
    ("profile", "texts", "problems"),
    [
        (
            OUTAGE,
            ["one_connection", "reconnected_within: soon", "{attempts_at_most: 3, phase: outages}"],
            ["--expect:2:21: reconnected_within: expected a duration with a unit, such as 500ms, 1.5s or 2m, got soon"],
        ),
        (
            OUTAGE,
            ["one_connection", "{attempts_at_most: 3, phase: outages}"],
            ["--expect:2:1: phase: expected the name of a phase, got outages; did you mean outage?"],
        ),
        (
            load("{version: 1, rules: [half_open]}", "standing.yaml"),
            ["resubscribed: 5s"],
            [
                "--expect:1:1: resubscribed: nothing heals in a profile without phases, so resubscribed needs "
                "after: fault",
                "--expect:1:1: resubscribed: resubscribed needs protocol: at the top (one of pusher)",
            ],
        ),
    ],
)
def test_all_that_is_wrong_is_told_with_its_option(profile: Profile, texts: list[str], problems: list[Any]) -> None:
    with pytest.raises(BadProfile) as bad:
        with_expectations(profile, texts)
    assert sorted(map(str, bad.value.problems)) == problems
