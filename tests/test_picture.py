"""Stories told by records, and the pictures that are made of them."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosproxy import swimlanes as bounds
from chaosproxy.picture import VOICES_MAX, Picture

HEADER = {"journal": 1, "started": "2026-11-25T16:00:00.000+00:00", "profile": "outage", "digest": "d1", "seed": 7}
Told = dict[str, Any]


class Run:
    """A run as its journal tells it."""

    def __init__(self, **header: Any) -> None:
        self.seq = 0
        self.at = 0.0
        self.picture = Picture({**HEADER, **header}, "run-1")
        self.whose: dict[int, str] = {}

    def tell(self, event: str, **fields: Any) -> int:
        self.seq += 1
        self.picture.hear({"seq": self.seq, "at": self.at, "event": event, **fields})
        return self.seq

    def on(self, attempt: int, event: str, **fields: Any) -> int:
        known = {"client": self.whose[attempt], "connection": 1} if attempt in self.whose else {}
        return self.tell(event, **{"attempt": attempt, **known, **fields})

    def accept(self, attempt: int) -> int:
        return self.on(attempt, "accepted", peer="127.0.0.1:9")

    def ask(self, attempt: int, client: str = "", path: str = "/app/key") -> int:
        self.whose[attempt] = client
        return self.on(attempt, "asked", path=path, headers=["host"])

    def open(self, attempt: int, client: str = "") -> int:
        """Accepted, asked, opened: three records."""
        self.accept(attempt)
        self.ask(attempt, client)
        self.on(attempt, "answered", status=101, by="server", reason="")
        return self.on(attempt, "opened", extension="")

    def strike(
        self, attempt: int, fault: str, rule: str = "r1", side: str | None = None, message: int | None = None
    ) -> int:
        return self.on(attempt, "struck", rule=rule, fault=fault, side=side, message=message, turn=None)

    def heal(self, attempt: int, fault: str, rule: str = "r1") -> int:
        return self.on(attempt, "healed", rule=rule, fault=fault)

    def close(self, attempt: int, by: str = "client", how: str = "close", code: int | None = 1000) -> int:
        return self.on(attempt, "closed", by=by, how=how, code=code)

    def state(
        self,
        client: str,
        state: str,
        source: str = "reported",
        is_late: bool = False,
        attempt: int | None = None,
    ) -> int:
        return self.tell("client_state", client=client, state=state, source=source, is_late=is_late, attempt=attempt)

    def say(self, client: str, what: str, detail: str = "", code: int | None = None) -> int:
        return self.tell("client_said", client=client, what=what, detail=detail, code=code, attempt=None)

    def enter(self, phase: str, visit: int = 1, reason: str = "time") -> int:
        return self.tell("phase_entered", phase=phase, visit=visit, reason=reason)

    @property
    def told(self) -> Told:
        return self.picture.since()

    @property
    def lanes(self) -> list[Told]:
        lanes: list[Told] = self.told["lanes"]
        return lanes

    @property
    def lane(self) -> Told:
        (lane,) = self.lanes
        return lane

    @property
    def rows(self) -> list[tuple[str, int, int | None, bool]]:
        return [(lane["client"], lane["row"], lane["attempt"], lane["live"]) for lane in self.lanes]


def wire(lane: Told) -> list[tuple[str, float, float | None]]:
    return [(stretch["what"], stretch["from"], stretch["to"]) for stretch in lane["wire"]]


class TestAConnection:
    def test_nothing_has_happened_yet(self) -> None:
        assert Picture(HEADER, "run-1").since() == {
            "run": "run-1",
            "version": 1,
            "complete": True,
            "now": 0.0,
            "started": "2026-11-25T16:00:00.000+00:00",
            "profile": "outage",
            "digest": "d1",
            "seed": 7,
            "bands": [],
            "spells": [],
            "lanes": [],
            "left_out": {"lanes": 0, "items": 0},
        }

    def test_it_dials_opens_is_established_and_ends(self) -> None:
        run = Run()
        run.at = 1.0
        accepted = run.accept(12)
        run.at = 1.1
        run.ask(12, path="/app/key")
        run.at = 1.5
        opened = run.on(12, "opened", extension="")
        run.at = 2.0
        established = run.on(12, "established", socket_id="1.2")
        run.at = 9.0
        run.on(12, "close_received", side="client", code=1000, reason="bye")
        closed = run.close(12)

        assert run.lane == {
            "id": 1,
            "client": "",
            "voice": "",
            "row": 0,
            "attempt": 12,
            "live": False,
            "path": "/app/key",
            "socket_id": "1.2",
            "wire": [
                {"seq": accepted, "from": 1.0, "to": 1.5, "what": "dialling", "attempt": 12},
                {"seq": opened, "from": 1.5, "to": 2.0, "what": "open", "attempt": 12},
                {"seq": established, "from": 2.0, "to": 9.0, "what": "established", "attempt": 12},
            ],
            "ends": [
                {
                    "seq": closed,
                    "at": 9.0,
                    "attempt": 12,
                    "by": "client",
                    "how": "close",
                    "code": 1000,
                    "status": None,
                    "reason": "bye",
                }
            ],
            "states": [],
            "marks": [],
        }

    def test_the_reason_of_an_end_is_that_of_who_began_it(self) -> None:
        run = Run()
        run.open(1)
        run.on(1, "close_received", side="server", code=4200, reason="please reconnect")
        run.on(1, "close_received", side="client", code=1000, reason="as you like")
        run.close(1, "server", code=4200)

        assert [end["reason"] for end in run.lane["ends"]] == ["please reconnect"]

    def test_a_refusal_ends_it_with_a_status_and_its_lane_is_free_once_it_is_closed(self) -> None:
        run = Run()
        run.accept(1)
        run.ask(1)
        run.at = 1.0
        answered = run.on(1, "answered", status=503, by="rule", reason="Service Unavailable")
        assert run.lane["live"]
        run.at = 2.0
        run.close(1, "rule", "answered 503", None)

        end = {"seq": answered, "at": 1.0, "attempt": 1, "by": "rule", "how": "answered", "code": None}
        assert run.lane["ends"] == [end | {"status": 503, "reason": "Service Unavailable"}]
        assert wire(run.lane) == [("dialling", 0.0, 1.0)]
        assert not run.lane["live"]

    def test_a_stream_opens_without_a_request(self) -> None:
        run = Run()
        run.whose[1] = "127.0.0.1"
        run.accept(1)
        run.at = 1.0
        run.on(1, "dialled", error="")
        run.on(1, "opened", extension="")

        assert (run.lane["client"], run.lane["path"]) == ("127.0.0.1", "")
        assert wire(run.lane) == [("dialling", 0.0, 1.0), ("open", 1.0, None)]

    @pytest.mark.parametrize("fault", ["half_open", "silent", "stall"])
    def test_it_is_silent_from_a_strike_to_its_heal(self, fault: str) -> None:
        run = Run()
        run.open(1)
        run.on(1, "established", socket_id="1.2")
        run.at = 3.0
        run.strike(1, fault)
        run.at = 5.0
        run.heal(1, fault)

        assert wire(run.lane)[-3:] == [("established", 0.0, 3.0), ("silent", 3.0, 5.0), ("established", 5.0, None)]

    def test_it_is_silent_until_the_last_of_several_faults_heals(self) -> None:
        run = Run()
        run.open(1)
        run.at = 1.0
        run.strike(1, "half_open", "r1")
        run.at = 2.0
        run.strike(1, "stall", "r2", "server", 4)
        run.heal(1, "half_open", "r1")
        run.on(1, "established", socket_id="1.2")
        run.at = 3.0
        run.heal(1, "stall", "r2")

        assert wire(run.lane)[1:] == [("open", 0.0, 1.0), ("silent", 1.0, 3.0), ("established", 3.0, None)]

    def test_other_faults_leave_the_wire_as_it_is(self) -> None:
        run = Run()
        run.open(1)
        run.strike(1, "latency", side="client", message=1)
        run.heal(1, "latency")

        assert [what for what, _, _ in wire(run.lane)] == ["dialling", "open"]


class TestWhoseLane:
    def test_a_probe_that_goes_without_a_word_has_none(self) -> None:
        run = Run()
        run.accept(1)
        run.close(1, how="fin", code=None)

        assert run.lanes == []

    def test_a_plain_request_has_none_whatever_befalls_it(self) -> None:
        run = Run()
        run.accept(1)
        run.on(1, "requested", client="anna", method="GET", path="/auth", headers=[])
        run.strike(1, "reject")
        run.on(1, "responded", status=503, by="rule", reason="")
        run.close(1, "rule", "fin", None)

        assert run.lanes == []

    def test_an_upgrade_behind_plain_requests_begins_where_it_is_asked_for(self) -> None:
        run = Run()
        run.accept(1)
        run.on(1, "requested", client="", method="GET", path="/", headers=[])
        run.at = 4.0
        asked = run.ask(1)

        assert run.lane["wire"] == [{"seq": asked, "from": 4.0, "to": None, "what": "dialling", "attempt": 1}]

    def test_one_that_a_fault_keeps_from_asking_is_the_only_clients(self) -> None:
        run = Run()
        run.open(1, "anna")
        run.close(1)
        run.at = 5.0
        run.accept(2)
        run.strike(2, "reset")
        run.close(2, "rule", "reset", None)

        assert run.rows == [("anna", 0, 2, False)]
        assert [(end["attempt"], end["how"]) for end in run.lane["ends"]] == [(1, "close"), (2, "reset")]

    def test_with_several_clients_it_is_nobodys(self) -> None:
        run = Run()
        run.open(1, "anna")
        run.open(2, "ben")
        run.accept(3)
        run.strike(3, "hang")

        assert run.rows == [("anna", 0, 1, True), ("ben", 0, 2, True), ("", 0, 3, True)]

    def test_one_that_turns_out_to_be_somebodys_moves_there(self) -> None:
        run = Run()
        run.open(1, "anna")
        run.open(2, "ben")
        run.at = 1.0
        run.accept(3)
        run.strike(3, "latency")
        run.at = 2.0
        run.ask(3, "ben")

        assert run.rows[2:] == [("", 0, 3, False), ("ben", 1, 3, True)]
        assert [wire(lane) for lane in run.lanes[2:]] == [[("dialling", 1.0, 2.0)], [("dialling", 1.0, None)]]

    def test_one_whose_tls_handshake_failed_is_shown(self) -> None:
        run = Run()
        run.accept(1)
        run.on(1, "secured", side="client", version="", error="unknown ca")
        run.close(1, "client", "fin", None)

        assert wire(run.lane) == [("dialling", 0.0, 0.0)]

    def test_one_that_never_asks_and_is_turned_away_is_shown(self) -> None:
        run = Run()
        run.accept(1)
        run.at = 10.0
        run.on(1, "answered", status=408, by="proxy", reason="no request came")
        run.close(1, "proxy", "answered 408", None)

        assert [end["status"] for end in run.lane["ends"]] == [408]

    def test_each_of_a_clients_connections_has_a_lane_and_the_next_takes_the_first_that_is_free(self) -> None:
        run = Run()
        for attempt in (1, 2, 3):
            run.open(attempt, "anna")
        run.at = 1.0
        run.close(3)
        run.close(2)
        run.at = 2.0
        run.open(4, "anna")
        run.open(5, "anna")
        run.open(6, "anna")

        assert run.rows == [("anna", 0, 1, True), ("anna", 1, 4, True), ("anna", 2, 5, True), ("anna", 3, 6, True)]

    def test_one_that_came_while_the_lane_was_taken_has_another(self) -> None:
        run = Run()
        run.open(1)
        run.at = 1.0
        run.accept(2)
        run.at = 2.0
        run.close(1)
        run.ask(2)

        assert [(lane["row"], wire(lane)[-1]) for lane in run.lanes] == [
            (0, ("open", 0.0, 2.0)),
            (1, ("dialling", 1.0, None)),
        ]


class TestMarks:
    def test_a_strike_says_what_struck_whom(self) -> None:
        run = Run()
        run.open(1)
        run.at = 3.0
        seq = run.strike(1, "drop", "drop-1", "server", 7)

        assert run.lane["marks"] == [
            {
                "seq": seq,
                "at": 3.0,
                "to": 3.0,
                "count": 1,
                "kind": "struck",
                "fault": "drop",
                "rule": "drop-1",
                "side": "server",
                "message": 7,
                "detail": "",
            }
        ]

    def test_strikes_of_one_rule_that_are_close_to_each_other_are_one_mark(self) -> None:
        run = Run()
        run.open(1)
        for at, side in ((1.0, "server"), (1.2, "client"), (1.4, "server"), (1.65, "server")):
            run.at = at
            run.strike(1, "latency", "slow", side, 1)
        run.strike(1, "drop", "lossy", "server", 1)

        marks = [(mark["rule"], mark["at"], mark["to"], mark["count"], mark["side"]) for mark in run.lane["marks"]]
        assert marks == [
            ("slow", 1.0, 1.4, 3, None),
            ("slow", 1.65, 1.65, 1, "server"),
            ("lossy", 1.65, 1.65, 1, "server"),
        ]

    def test_what_else_befalls_a_connection_is_marked_too(self) -> None:
        run = Run()
        run.open(1)
        run.on(1, "suppressed", rule="r1", fault="close", reason="the leg is silent")
        run.on(1, "limited", side="server", held=1024)
        run.heal(1, "drop")
        run.say("", "mark", "banner-shown")
        run.say("", "error", "WebSocketError", 4200)
        run.say("", "connecting_in", "3")

        assert [(mark["kind"], mark["fault"], mark["detail"]) for mark in run.lane["marks"]] == [
            ("suppressed", "close", "the leg is silent"),
            ("limited", "", "1024 bytes held"),
            ("healed", "drop", ""),
            ("said", "", "banner-shown"),
            ("said", "", "error WebSocketError 4200"),
        ]


class TestStates:
    def test_they_follow_each_other_in_the_clients_first_lane(self) -> None:
        run = Run()
        run.state("anna", "connecting", "inferred")
        run.open(1, "anna")
        run.at = 1.0
        run.state("anna", "connected", "inferred")
        run.at = 2.0
        run.state("anna", "connected")
        run.state("anna", "connected")
        run.at = 3.0
        run.state("anna", "unavailable", is_late=True)
        run.tell("reported", client="anna", state="unavailable", detail="")

        assert [(each["state"], each["source"], each["from"], each["to"]) for each in run.lane["states"]] == [
            ("connecting", "inferred", 0.0, 1.0),
            ("connected", "inferred", 1.0, 2.0),
            ("connected", "reported", 2.0, 3.0),
            ("unavailable", "reported", 3.0, None),
        ]
        assert run.rows == [("anna", 0, 1, True)]

    def test_a_client_that_is_gone_is_in_none(self) -> None:
        run = Run()
        run.state("anna", "connected")
        run.at = 4.0
        run.say("anna", "gone")

        assert [(each["state"], each["to"]) for each in run.lane["states"]] == [("connected", 4.0)]
        assert run.rows == [("anna", 0, None, False)]


def states(lane: Told) -> list[tuple[str, float, float | None]]:
    return [(each["state"], each["from"], each["to"]) for each in lane["states"]]


class TestVoices:
    """Clients with names, on connections that nothing tells apart."""

    def test_what_a_client_says_is_drawn_in_the_lane_of_its_connection(self) -> None:
        run = Run(profile_in_full={})
        run.state("anna", "connecting")
        run.open(1)
        run.at = 1.0
        run.state("anna", "connected", attempt=1)
        run.say("anna", "mark", "ready")
        run.close(1)
        run.at = 2.0
        run.state("anna", "connecting", attempt=1)

        assert [(lane["client"], lane["voice"], lane["row"]) for lane in run.lanes] == [("", "anna", 0)]
        assert states(run.lane) == [("connecting", 0.0, 1.0), ("connected", 1.0, 2.0), ("connecting", 2.0, None)]
        assert [mark["detail"] for mark in run.lane["marks"]] == ["ready"]

    def test_each_of_several_speaks_in_its_own_once_it_is_known_which(self) -> None:
        run = Run(profile_in_full={})
        run.state("anna", "connecting")
        run.state("bert", "connecting")
        run.open(1)
        run.open(2)
        run.at = 1.0
        run.state("bert", "connected", attempt=2)
        run.state("anna", "connected", attempt=1)

        found = {(lane["client"], lane["row"]): (lane["voice"], states(lane)) for lane in run.lanes}
        assert found == {
            ("", 0): ("anna", [("connecting", 0.0, 1.0), ("connected", 1.0, None)]),
            ("", 1): ("bert", [("connected", 1.0, None)]),
            ("bert", 0): ("bert", [("connecting", 0.0, 1.0)]),
        }

    def test_where_connections_have_keys_a_name_is_one(self) -> None:
        run = Run(profile_in_full={"identify": {"query": "user"}})
        run.state("anna", "connecting")
        run.open(1, "bert")
        run.state("anna", "connected", attempt=1)

        assert {lane["client"]: (lane["voice"], len(lane["states"])) for lane in run.lanes} == {
            "anna": ("", 2),
            "bert": ("", 0),
        }

    def test_names_without_end_are_not_all_kept(self) -> None:
        run = Run(profile_in_full={})
        for number in range(VOICES_MAX + 10):
            run.state(f"client-{number}", "connecting")

        assert sum(1 for lane in run.lanes if lane["voice"]) == VOICES_MAX


class TestBesideTheLanes:
    def test_phases_are_bands(self) -> None:
        run = Run()
        first = run.enter("healthy", 1, "start")
        run.at = 5.0
        second = run.enter("outage", 2, "time")
        run.at = 9.0
        run.enter("", 3, "time")

        assert run.told["bands"] == [
            {"seq": first, "phase": "healthy", "visit": 1, "from": 0.0, "to": 5.0, "reason": "start"},
            {"seq": second, "phase": "outage", "visit": 2, "from": 5.0, "to": 9.0, "reason": "time"},
        ]

    def test_rules_by_hand_and_the_closed_listener_are_spells(self) -> None:
        run = Run()
        run.tell("rule_changed", rule="freeze-1", fault="half_open", change="added")
        run.at = 2.0
        run.tell("listening", is_open=False, reason="phase outage")
        run.tell("rule_changed", rule="freeze-1", fault="half_open", change="expired")
        run.at = 3.0
        run.tell("listening", is_open=True, reason="phase recovery")
        run.tell("listening", is_open=False, reason="draining")

        spells = [(each["rule"], each["fault"], each["from"], each["to"], each["end"]) for each in run.told["spells"]]
        assert spells == [("freeze-1", "half_open", 0.0, 2.0, "expired"), ("", "refuse", 2.0, 3.0, "healed")]

    def test_another_profile_is_told(self) -> None:
        run = Run()
        run.tell("profile_changed", profile="storm", digest="d2", seed=8)
        told = run.picture.since(0)

        assert (told["profile"], told["digest"], told["seed"], told["version"]) == ("storm", "d2", 8, 2)


class TestBounds:
    def test_the_lane_that_has_been_over_for_longest_goes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds, "LANES_MAX", 2)
        run = Run()
        run.open(1, "anna")
        run.open(2, "ben")
        run.open(3, "carl")
        assert [row[0] for row in run.rows] == ["anna", "ben"], "all are live: there is no room"
        run.close(2)
        run.close(1)
        run.open(4, "dora")

        assert [row[0] for row in run.rows] == ["anna", "dora"]
        assert run.told["left_out"] == {"lanes": 2, "items": 3}

    def test_of_a_list_the_oldest_goes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds, "LIST_MAX", 3)
        run = Run()
        for attempt in range(1, 6):
            run.accept(attempt)
            run.ask(attempt)
            run.close(attempt)
            run.enter("a")

        assert [end["attempt"] for end in run.lane["ends"]] == [3, 4, 5]
        assert len(run.told["bands"]) == 3
        assert run.told["left_out"]["items"] == 2 + 2 + 2

    def test_all_items_together_have_a_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds, "ITEMS_MAX", 20)
        run = Run()
        for attempt in range(1, 5):
            run.open(attempt, f"client {attempt}")
        run.close(1)
        for number in range(40):
            run.strike(2, "drop", f"rule {number}")

        assert [lane["client"] for lane in run.lanes] == ["client 2", "client 3", "client 4"]
        assert sum(len(lane[key]) for lane in run.lanes for key in LISTS) == 20

    def test_what_is_under_way_is_let_go_at_its_end(self) -> None:
        run = Run()
        for attempt in range(1, 100):
            run.accept(attempt)
            run.close(attempt)

        assert run.picture._attempts == {}


# -- laws -----------------------------------------------------------------------------------------------------------

LISTS = ("wire", "ends", "states", "marks")


def merged(known: Told | None, told: Told) -> Told:
    """What somebody who draws knows, once told; as the contract has it."""
    if known is None or told["complete"] or told["run"] != known["run"]:
        return told
    lanes = {lane["id"]: lane for lane in known["lanes"]}
    for lane in told["lanes"]:
        before = lanes.get(lane["id"], dict.fromkeys(LISTS, ()))
        lanes[lane["id"]] = lane | {key: _by_seq(before[key], lane[key]) for key in LISTS}
    beside = {key: _by_seq(known[key], told[key]) for key in ("bands", "spells")}
    return told | beside | {"lanes": list(lanes.values()), "complete": True}


def _by_seq(before: Iterable[Told], changed: Iterable[Told]) -> list[Told]:
    items = {item["seq"]: item for item in (*before, *changed)}
    return [items[seq] for seq in sorted(items)]


ATTEMPTS = st.integers(1, 6)
CLIENTS = st.sampled_from(["", "anna", "ben"])
FAULTS = st.sampled_from(["half_open", "drop", "stall"])
RULES = st.sampled_from(["r1", "r2"])
STEPS = st.one_of(
    st.tuples(st.just("accept"), ATTEMPTS),
    st.tuples(st.just("ask"), ATTEMPTS, CLIENTS),
    st.tuples(st.just("open"), ATTEMPTS, CLIENTS),
    st.tuples(st.just("strike"), ATTEMPTS, FAULTS, RULES),
    st.tuples(st.just("heal"), ATTEMPTS, FAULTS, RULES),
    st.tuples(st.just("close"), ATTEMPTS, st.sampled_from(["client", "proxy"])),
    st.tuples(st.just("state"), CLIENTS, st.sampled_from(["connected", "lost"])),
    st.tuples(st.just("say"), CLIENTS, st.sampled_from(["mark", "gone"])),
    st.tuples(st.just("enter"), st.sampled_from(["a", "b", ""])),
)
STORIES = st.lists(st.tuples(STEPS, st.floats(0, 1, allow_nan=False), st.booleans()), max_size=60)
Story = list[tuple[tuple[Any, ...], float, bool]]


@given(STORIES)
@settings(max_examples=200)
def test_changes_told_one_after_the_other_make_the_whole(story: Story) -> None:
    run = Run()
    known = run.picture.since()
    for (verb, *told), pause, looks in story:
        run.at += pause
        if verb == "ask":
            run.whose.setdefault(told[0], told[1])
            told[1] = run.whose[told[0]]
        getattr(run, verb)(*told)
        if looks:
            known = merged(known, run.picture.since(known["version"]))
    known = merged(known, run.picture.since(known["version"]))

    assert known == run.picture.since()


@given(STORIES)
def test_in_a_lane_nothing_overlaps_and_only_what_is_live_has_no_end(story: Story) -> None:
    run = Run()
    for (verb, *told), pause, _ in story:
        run.at += pause
        getattr(run, verb)(*told)

    for lane in run.lanes:
        for key in ("wire", "states"):
            for one, next_one in zip(lane[key], lane[key][1:], strict=False):
                assert one["to"] is not None and one["from"] <= one["to"] <= next_one["from"]
        is_open = bool(lane["wire"]) and lane["wire"][-1]["to"] is None
        assert lane["live"] or not is_open
    assert len({(lane["client"], lane["row"]) for lane in run.lanes}) == len(run.lanes)


@given(STORIES)
def test_with_little_room_what_is_told_is_what_one_knows_but_for_what_was_let_go(story: Story) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, most in (("LANES_MAX", 2), ("LIST_MAX", 3), ("ITEMS_MAX", 8)):
            patched.setattr(bounds, name, most)
        run = Run()
        known = run.picture.since()
        for (verb, *told), pause, _ in story:
            run.at += pause
            getattr(run, verb)(*told)
            known = merged(known, run.picture.since(known["version"]))
        whole = run.picture.since()

    lanes = {lane["id"]: lane for lane in known["lanes"]}
    assert len(whole["lanes"]) <= 2
    assert sum(len(lane[key]) for lane in whole["lanes"] for key in LISTS) <= 8 + 2 * len(LISTS)
    for lane in whole["lanes"]:
        for key in LISTS:
            assert all(item in lanes[lane["id"]][key] for item in lane[key])


def test_what_is_told_costs_in_proportion_to_what_has_changed() -> None:
    run = Run()
    for attempt in range(1, 2001):
        run.open(attempt, f"client {attempt}")
    version = run.picture.version
    run.strike(77, "drop")
    run.enter("outage")

    told = run.picture.since(version)
    assert [(lane["client"], len(lane["wire"]), len(lane["marks"])) for lane in told["lanes"]] == [("client 77", 0, 1)]
    assert len(told["bands"]) == 1 and not told["complete"]
