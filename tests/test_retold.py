"""What a journal tells of its run is what was seen of it live: the same rows, from the same records."""

import io
import json
from typing import Any

import pytest

from chaosproxy import library
from chaosproxy.expect_options import with_expectations
from chaosproxy.expectations import Outcome
from chaosproxy.journal import Journal, JournalError, Record, iter_journal
from chaosproxy.observations import tell_clients
from chaosproxy.picture import Picture
from chaosproxy.profile import Profile
from chaosproxy.report import as_json, head
from chaosproxy.retold import Retold, retell
from chaosproxy.simulate import story as stories
from chaosproxy.units import SECOND
from chaosproxy.verdict import Judge, Row
from chaosproxy.world import DEFAULTS, Told


class Witness(Judge):
    """A judge in virtual time, with a journal of all that it hears."""

    last: "Witness"

    def __init__(self, profile: Profile, started_at: int) -> None:
        super().__init__(profile, started_at)
        self.now = started_at
        self.file = io.BytesIO()
        self.journal = Journal(profile, 7, self.file, clock=lambda: self.now, on_record=self.see)
        self.picture = Picture(json.loads(self.journal.header), "live")
        self.ended: list[tuple[Row, ...]] = []
        self.clients: list[Any] = []
        Witness.last = self

    def see(self, record: Record) -> None:
        self.picture.hear(record)

    def hear(self, told: Told, seq: int) -> None:
        assert self.journal.tell(told) == seq
        super().hear(told, seq)

    def verdict(self, now: int, *, is_over: bool = False) -> Any:
        verdict = super().verdict(now, is_over=is_over)
        if is_over:
            self.clients = [*tell_clients(self, now)]
            self.journal.note("run_ended", now)
            self.ended.append(verdict.rows)
        return verdict


@pytest.fixture
def witnessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "Judge", Witness)


def retold(text: str | bytes, *expectations: str) -> Retold:
    lines = io.StringIO(text if isinstance(text, str) else text.decode())
    records = iter_journal(lines)
    return retell(next(records), records, lambda profile: with_expectations(profile, expectations))


@pytest.mark.usefixtures("witnessed")
@pytest.mark.parametrize("name", library.names())
def test_a_run_of_each_profile_is_judged_again_as_it_was_live(name: str) -> None:
    stories.simulate(library.load(name), DEFAULTS, clients=2)
    live = Witness.last
    told = retold(live.file.getvalue())

    assert told.judged.rows == live.ended[-1]
    assert told.judged.clients == live.clients
    assert told.is_ended
    assert told.judged.picture is not None
    for key in ("version", "bands", "spells", "lanes", "left_out", "profile", "digest", "seed", "started"):
        assert told.judged.picture[key] == live.picture.since()[key]


OUTAGE = """{"version": 1, "name": "outage", "phases": [
  {"name": "healthy", "lasts": "2s"}, {"name": "outage", "lasts": "5s", "rules": [{"half_open": {"heal": "reset"}}]}
]}"""


def journalled(profile: str = OUTAGE) -> list[str]:
    """A run in virtual time, as lines."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stories, "Judge", Witness)
        stories.simulate(Profile.model_validate_json(profile), DEFAULTS)
    return Witness.last.file.getvalue().decode().splitlines(keepends=True)


def test_evidence_comes_as_the_records_that_it_names() -> None:
    lines = journalled()
    told = retold("".join(lines))

    named = {seq for row in told.judged.rows for seq in row.evidence}
    assert named
    assert {seq: json.loads(text) for seq, text in told.judged.evidence.items()} == {
        seq: json.loads(lines[seq]) for seq in named
    }


def test_expectations_can_be_added_afterwards() -> None:
    text = "".join(journalled())
    (row,) = [row for row in retold(text, "reconnected_within: 1s").judged.rows if row.is_expected]
    (other,) = [row for row in retold(text, "marked: banner-shown").judged.rows if row.is_expected]

    assert (row.name, other.outcome) == ("reconnected_within: 1s", Outcome.FAILED)


def test_one_that_was_cut_off_tells_what_there_is_and_leaves_open_what_was() -> None:
    lines = journalled()
    outage = next(index for index, line in enumerate(lines) if '"phase":"outage"' in line)
    told = retold("".join(lines[: outage + 1]) + lines[outage + 1][:20], "reconnected_within: 1s")

    assert not told.is_ended
    assert {row.name: row.outcome for row in told.judged.rows}["reconnected_within: 1s"] is Outcome.OPEN
    assert told.judged.picture is not None
    (lane,) = told.judged.picture["lanes"]
    assert lane["live"]


def test_what_follows_the_end_of_the_run_is_drawn_and_not_judged() -> None:
    lines = journalled()
    seq, at = len(lines), json.loads(lines[-1])["at"]
    after = {"seq": seq, "at": at + 1, "event": "accepted", "attempt": 99, "peer": "127.0.0.1:1"}
    asked = {"seq": seq + 1, "at": at + 1, "event": "asked", "attempt": 99, "client": "late", "connection": 1}
    asked |= {"path": "/", "headers": []}
    told = retold("".join(lines) + json.dumps(after) + "\n" + json.dumps(asked) + "\n")

    assert told.judged.rows == retold("".join(lines)).judged.rows
    assert told.judged.picture is not None
    assert [lane["client"] for lane in told.judged.picture["lanes"]] == ["", "late"]


def test_recorded_bytes_and_frames_lie_in_between_and_what_is_missing_is_said() -> None:
    lines = journalled()
    between = [
        {"event": "input", "input": 1, "now": 5, "what": "tick", "with": {}, "did": [], "digest": "d"},
        {"seq": 9, "at": 0.1, "event": "framed", "attempt": 1, "side": "client", "opcode": "text", "size": 1},
        {"event": "journal_lost", "records": 3},
        {"event": "recorded", "inputs": 1, "actions": 0, "digest": "d"},
        {"seq": 1000, "at": 0.1, "event": "follower_dropped", "reason": "it did not read for 30 s"},
    ]
    told = retold("".join([lines[0], *(json.dumps(each) + "\n" for each in between), *lines[1:]]))

    assert told.judged.rows == retold("".join(lines)).judged.rows
    assert told.lost == 3


def test_another_profile_is_a_run_of_its_own() -> None:
    lines = journalled()
    seq, at = len(lines), json.loads(lines[-1])["at"]
    profile = {"version": 1, "name": "second", "phases": [{"name": "only"}]}
    changed = {"seq": seq, "at": at, "event": "profile_changed", "profile": "second", "digest": "d2", "seed": 9}
    entered = {"seq": seq + 1, "at": at, "event": "phase_entered", "phase": "only", "visit": 1, "reason": "start"}
    kept = [line for line in lines if "run_ended" not in line]
    told = retold(
        "".join(kept) + "".join(json.dumps(each) + "\n" for each in (changed | {"profile_in_full": profile}, entered))
    )

    assert (told.judged.profile, told.judged.seed) == ("second", 9)
    assert (told.judged.began, told.judged.took) == (round(at * SECOND), 0), "what was before is not of this run"
    assert head(told.judged).startswith(f"second, 0.0 s from {at:.1f} s on, seed 9, ")
    assert as_json([told.judged])["runs"][0]["began_seconds"] == round(at, 3)
    assert {row.name: row.seen for row in told.judged.rows}["phases"] == "all 1 entered"
    assert told.judged.picture is not None
    assert (told.judged.picture["profile"], told.judged.picture["digest"]) == ("second", "d2")


def test_a_profile_that_asks_for_nothing_gives_no_verdict() -> None:
    assert not retold("".join(journalled('{"version": 1}'))).has_expectations
    assert retold("".join(journalled('{"version": 1}')), "one_connection").has_expectations


def _with(**fields: Any) -> str:
    record = {"seq": 1, "at": 0.5, "event": "asked", "attempt": 1, "client": "", "connection": 1}
    return json.dumps({**record, "path": "/", "headers": [], **fields}) + "\n"


WRONG = {
    "nothing": ("", "line 1: expected the header of a journal"),
    "something else": ("<html>\n<body>\n", "line 1: expected a JSON object"),
    "JSON that is no journal": ("{}\n", "line 1: expected the header of a journal"),
    "deep JSON": ("[" * 100_000, "line 1: expected the header of a journal"),
    "a header without the profile": ('{"journal": 1}\n', "line 1: the whole profile is missing"),
    "a profile that is none": (
        '{"journal": 1, "profile_in_full": {"version": 1, "phases": 5}}\n',
        "line 1: the profile can't be read",
    ),
    "no object": ("{header}[]\n{}\n", "line 2: expected a JSON object"),
    "no event": ("{header}{}\n", "line 2: expected a record with event:"),
    "no number": ("{header}" + _with(seq="1"), 'line 2: expected seq: to be a whole number, got "1"'),
    "no time": ("{header}" + _with(at=None), "line 2: expected at: to be a number, got null"),
    "an endless time": ("{header}" + _with(at=float("inf")), "line 2: expected at: to be a number, got Infinity"),
    "an attempt of another type": ("{header}" + _with(attempt=[]), "line 2: expected attempt: to be a whole number"),
    "a field of another type": ("{header}" + _with(path=5), "line 2: expected path: to be text, got 5"),
    "a side that is none": (
        "{header}" + _with(event="ended", side=1, how="", code=None, reason=""),
        "line 2: expected side: to be client or server, got 1",
    ),
    "headers that are none": ("{header}" + _with(headers=[1]), "line 2: expected headers: to be a list of texts"),
}


@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=list(WRONG))
def test_what_is_no_journal_is_said_with_its_place(text: str, problem: str) -> None:
    header = '{"journal": 1, "profile_in_full": {"version": 1}}\n'
    with pytest.raises(JournalError) as raised:
        retold(text.replace("{header}", header))

    assert str(raised.value).startswith(problem)


def test_it_goes_back_to_seconds_of_the_run() -> None:
    told = retold("".join(journalled()))

    assert told.judged.took == round(json.loads(journalled()[-1])["at"] * SECOND)
