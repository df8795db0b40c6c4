"""`chaosproxy simulate` as users call it."""

import json
from pathlib import Path

import pytest

from chaosproxy.cli.commands import cli
from chaosproxy.cli.trouble import Trouble

from .test_commands import chaosproxy


def test_the_story_is_told_with_its_times_and_the_same_by_every_process() -> None:
    rans = [chaosproxy("simulate", "extended-outage", env={"PYTHONHASHSEED": seed}) for seed in ("1", "2")]
    assert [(ran.code, ran.err) for ran in rans] == [(0, "")] * 2
    assert rans[0].out == rans[1].out
    lines = rans[0].out.splitlines()
    assert lines[0] == ("    0.004  timeline  phase healthy begins (start), until subscribed 1, 1m at most: no rules")
    assert "   60.020  client 1  notices the silence: no pong within 30s" in lines
    (end,) = [line for line in lines if line.startswith("client 1: ")]
    assert end.startswith("client 1: connected, subscribed to 3 channels; 5 attempts, 1 connections lost, ")
    noticed = (
        "expected: detected_within: 65s (phase silence, from the fault): after 60.0 s from the fault: it tried anew"
    )
    assert noticed in lines
    assert lines[-1] == "note: 1 attempts were refused by the closed listener"


def test_json_has_the_same_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nname: mine\nphases:\n  - {name: down, lasts: 2s, rules: [{reject: 503}]}\n")
    options = ["--json", "--clients", "2", "--seed", "9", "--at-most", "2s"]
    assert cli.main(["simulate", str(file), *options], standalone_mode=False) == 0
    story = json.loads(capsys.readouterr().out)
    assert (story["profile"], story["seed"], story["seconds"]) == ("mine", 9, 2.0)
    first = {"at": 0.004, "who": "timeline", "what": "phase down begins (start), for 2s: reject"}
    assert story["events"][0] == first
    assert [client["name"] for client in story["clients"]] == ["client 1", "client 2"]
    assert all(client["attempts"] > 1 for client in story["clients"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["close-4200", "--tcp"], "can't be used with a tcp:// upstream:\n  phases[2].rules[0].close: close needs"),
        (["extended-outtage"], "nearest: extended-outage"),
    ],
)
def test_what_can_not_be_played_is_told_with_its_remedy(arguments: list[str], message: str) -> None:
    with pytest.raises(Trouble) as caught:
        cli.main(["simulate", *arguments], standalone_mode=False)
    assert message in str(caught.value)
    assert caught.value.code == 2
