"""What clients did, as data."""

from typing import Any

from chaosproxy.observations import tell_clients
from tests.expectations.trial import S, Trial

CALM: dict[str, Any] = {"name": "calm", "lasts": "1s"}
CUT: dict[str, Any] = {"name": "cut", "lasts": "2s", "rules": ["reset", {"reject": "503"}]}
WELL: dict[str, Any] = {"name": "well"}


def observed(trial: Trial) -> Any:
    trial.verdict()
    (told,) = tell_clients(trial.judge, trial.network.now)
    return told


def test_attempts_with_their_outcomes_and_outages_with_their_times() -> None:
    trial = Trial(CALM, CUT, WELL)
    trial.connect("news")
    trial.wait(2 * S)
    trial.fail()
    trial.wait(2 * S)
    trial.connect("sport")
    told = observed(trial)
    assert [(each["at"], each["outcome"]) for each in told["attempts"]] == [
        (0.0, "established"),
        (2.0, "refused with 503"),
        (4.0, "established"),
    ]
    first, _, last = told["attempts"]
    assert (first["ended"], first["ended_by"], first["how"]) == (1.0, "other", "reset")
    assert (last["ended"], last["subscribed"]) == (None, [{"at": 4.0, "channel": "sport"}])
    assert told["outages"] == [
        {"outage": "cut", "lost": 1.0, "detected": None, "detected_by": None, "healed": 3.0, "back": 4.0}
    ]


def test_what_was_noticed_and_by_what() -> None:
    silence = {"name": "silence", "lasts": "9s", "rules": [{"half_open": {"hits": "live"}}]}
    trial = Trial(CALM, silence, WELL)
    trial.connect()
    trial.wait(4 * S)
    trial.connect()
    (outage,) = observed(trial)["outages"]
    assert (outage["lost"], outage["detected"], outage["detected_by"]) == (1.0, 4.0, "it tried anew")


def test_what_was_missed_and_what_came_twice() -> None:
    rules = [{"drop": {}, "when": {"event": "tick", "nth": 1}}, {"duplicate": {}, "when": {"event": "tick", "nth": 3}}]
    trial = Trial(rules=rules, expect={"missed": "/id"})
    connection = trial.connect()
    for number in (1, 2, 3):
        trial.say(connection, {"event": "tick", "id": number})
    assert observed(trial)["messages"] == {"/id": {"missed": ["1"], "twice": ["3"]}}
