"""Recorded runs: what was recorded replays to the same actions, whatever happened, and a change shows."""

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from chaosproxy import library
from chaosproxy.canonical import NotCanonical, dump_profile, dump_rule, load_profile, load_rule, mask_profile
from chaosproxy.effects import Leg
from chaosproxy.faults import FAULTS
from chaosproxy.journal import Journal, read_journal
from chaosproxy.profile import Profile
from chaosproxy.profile_yaml import load
from chaosproxy.proxy import Address, Proxy
from chaosproxy.recording import RecordedWorld, header_of
from chaosproxy.replay import BadRecording, Replayed, replay
from chaosproxy.world import Options, World

from .live import REQUEST, RESPONSE, Peer, Stage, Upstream, comes_true, run
from .virtual import CLIENT, MS, SECOND, SERVER, Network, live_rule, profile, text

Record = Mapping[str, JsonValue]


class Recorded(Network):
    """A virtual network whose world is recorded."""

    def __init__(self, played: Profile, options: Options = Options()) -> None:  # noqa: B008
        self.records: list[Record] = []
        self.header = header_of(played, options, played.seed)
        super().__init__(played, options)

    def make_world(self, played: Profile, options: Options, now: int) -> World:
        return RecordedWorld(played, options, now, self.write)

    def write(self, record: Record) -> None:
        self.records.append(json.loads(json.dumps(record)))

    def replayed(self) -> Replayed:
        assert isinstance(self.world, RecordedWorld)
        self.world.finish()
        return replay(self.header, self.records)


ROUGH = profile(
    {"name": "healthy", "until": {"opened": 2}},
    {
        "name": "lossy",
        "lasts": "2s",
        "rules": [
            {"latency": {"delay": "50ms", "jitter": "20ms"}, "when": {"from": "server"}},
            {"drop": {}, "when": {"chance": "50%"}},
        ],
    },
    {"name": "silent", "lasts": "3s", "rules": [{"half_open": {"heal": "flush"}}]},
    {"name": "closing", "lasts": "1s", "rules": [{"close": 4200}]},
    seed=11,
)


def rough_story(played: Profile = ROUGH) -> Recorded:
    """Two connections and a failed dial, through loss, silence, a rule by hand and a close."""
    network = Recorded(played)
    first, second = network.open(), network.open("/app/other")
    for number in range(8):
        first.send(CLIENT, text(f"question {number}", b"mask"))
        first.send(SERVER, text(f"answer {number}"), text("twice"))
        network.wait(100 * MS)
    network.wait(2 * SECOND)
    second.send(SERVER, text("held"))
    network.add(live_rule("reorder", when={"from": "client"}), lasts=SECOND)
    second.blocked(CLIENT, True)
    network.wait(4 * SECOND)
    network.accepts_dials = False
    late = network.connect()
    late.send(CLIENT, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    late.dial_answered("refused")
    network.step("lossy")
    network.add(live_rule("stall", id="mine"))
    network.heal("mine")
    network.world.report("anna", "connected", "", network.now)
    network.accepts_dials = True
    third, fourth = network.open(), network.open()
    network.steer(lambda world, now: [(third.session, third.session.close(Leg.CLIENT, 4000, "bye", now))])
    network.steer(lambda world, now: [(fourth.session, fourth.session.reset(Leg.BOTH, now, "proxy"))])
    network.drain()
    network.wait(10 * SECOND)
    return network


class TestReplay:
    def test_the_same_inputs_lead_to_the_same_actions(self) -> None:
        network = rough_story()
        replayed = network.replayed()
        assert replayed.difference is None and replayed.is_whole
        assert replayed.inputs == len(network.records) - 1
        assert replayed.actions == sum(len(record["did"]) for record in network.records[:-1])  # type: ignore[arg-type]
        assert replayed.actions >= len(network.log)
        told = {record["what"] for record in network.records[:-1]}
        by_hand = {"report", "step", "add_rule", "heal", "drain", "close", "reset"}
        assert told >= {*by_hand, "launch", "accept", "settle", "tick", "receive", "blocked", "dialled", "dial_failed"}

    def test_a_run_has_the_same_record_each_time(self) -> None:
        assert rough_story().records == rough_story().records

    def test_other_chance_leads_to_other_actions(self) -> None:
        network = rough_story()
        network.header["options"]["seed"] = 12  # type: ignore[index, call-overload]
        difference = network.replayed().difference
        assert difference and difference.then != difference.now

    def test_a_decision_that_has_changed_is_told_with_its_input(self) -> None:
        network = rough_story()
        index = next(at for at, record in enumerate(network.records) if record["did"] and record["what"] == "receive")
        was = network.records[index]
        network.records[index] = {**was, "did": ["reset client"]}
        difference = network.replayed().difference
        assert difference is not None
        assert (difference.line, difference.number) == (index + 2, was["input"])
        assert difference.then == ["reset client"]
        assert difference.now == was["did"]
        assert difference.what.startswith("receive (attempt 1, side server, ")

    @pytest.mark.parametrize("field", ["now", "with"])
    def test_a_changed_input_is_found(self, field: str) -> None:
        network = rough_story()
        index = next(at for at, record in enumerate(network.records) if record["what"] == "receive")
        was: Any = network.records[index]
        changed = was["now"] + 1 if field == "now" else {**was["with"], "data": "AAAA" + was["with"]["data"]}
        network.records[index] = {**was, field: changed}
        difference = network.replayed().difference
        assert difference and difference.number == was["input"]

    def test_missing_inputs_are_an_error(self) -> None:
        network = rough_story()
        del network.records[7]
        with pytest.raises(BadRecording, match="expected input 8, got 9"):
            network.replayed()

    def test_a_run_that_was_cut_short_is_not_whole(self) -> None:
        network = rough_story()
        replayed = replay(network.header, network.records)
        assert replayed.difference is None and not replayed.is_whole

    def test_another_end_is_an_error(self) -> None:
        network = rough_story()
        network.replayed()
        network.records[-1] = {**network.records[-1], "digest": "0" * 16}
        with pytest.raises(BadRecording, match="its end tells of"):
            replay(network.header, network.records)

    def test_lost_records_are_an_error(self) -> None:
        network = rough_story()
        network.records.insert(3, {"event": "journal_lost", "records": 2})
        with pytest.raises(BadRecording, match="missing behind input 3"):
            network.replayed()

    def test_an_error_of_our_own_is_recorded_and_replayed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: World, *given: object) -> None:
            raise RuntimeError

        network = Recorded(ROUGH)
        connection = network.open()
        with monkeypatch.context() as patched:
            patched.setattr(World, "_hear", fail)
            with pytest.raises(RuntimeError):
                connection.rst(CLIENT)
            assert network.records[-1]["did"] == ["raise RuntimeError"]
            wrong = network.records[:]
        difference = replay(network.header, wrong).difference
        assert difference and difference.then == ["raise RuntimeError"] != difference.now

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"what": "explode"}, "'explode' is no input"),
            ({"attempt": 99}, "there is no attempt 99"),
            ({"with": {"side": "nobody", "data": ""}}, "expected client or server"),
            ({"with": {"side": "client", "data": "%"}}, "input 4: "),
            ({"with": {"colour": 1}}, "'colour' is unknown"),
            ({"with": {"error": "x"}}, "receive takes no error"),
            ({"now": "soon"}, "expected now, what, with, did and digest"),
        ],
    )
    def test_what_is_no_input_is_an_error(self, change: dict[str, JsonValue], message: str) -> None:
        network = Recorded(ROUGH)
        network.open()
        index = next(at for at, record in enumerate(network.records) if record["what"] == "receive")
        network.records[index] = {**network.records[index], **change}
        with pytest.raises(BadRecording, match=message):
            network.replayed()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"profile_in_full": {"version": 1, "phases": 7}}, "the header: the profile can't be read: phases"),
            ({"options": {}}, "expected options.seed to be of type int"),
            ({"options": None}, "does not have the whole profile"),
        ],
    )
    def test_a_header_that_is_not_whole_is_an_error(self, change: dict[str, JsonValue], message: str) -> None:
        with pytest.raises(BadRecording, match=message):
            replay({**header_of(ROUGH, Options(), 0), **change}, [])

    def test_a_journal_without_inputs_is_an_error(self) -> None:
        with pytest.raises(BadRecording, match="--journal-bytes"):
            replay(header_of(ROUGH, Options(), 0), [{"event": "accepted"}])


class TestCanonical:
    @pytest.mark.parametrize("name", library.names())
    def test_a_profile_comes_back_as_it_was(self, name: str) -> None:
        played = library.load(name)
        assert load_profile(json.loads(json.dumps(dump_profile(played)))) == played

    @pytest.mark.parametrize("name", FAULTS)
    def test_a_fault_comes_back_as_it_was(self, name: str) -> None:
        example = FAULTS[name].example
        top = "version: 1\n" + ("" if "protocol:" in example else "protocol: pusher\n")
        played = load(top + example, name)
        rules = [rule for phase in (None, *played.phases) for rule in played.bound_rules(phase)]
        assert rules
        for rule in rules:
            assert load_rule(json.loads(json.dumps(dump_rule(rule)))) == rule

    def test_text_that_looks_like_a_number_stays_text(self) -> None:
        when = {"json": {"/a": "5", "/b": 5, "/c": None, "/d": True, "/e": "no"}, "size": "> 1KiB", "chance": "12.5%"}
        played = load(json.dumps({"version": 1, "rules": [{"drop": {}, "when": when}]}), "it")
        again = load_profile(json.loads(json.dumps(dump_profile(played))))
        assert again == played
        assert again.rules[0].when.json_values == played.rules[0].when.json_values

    @pytest.mark.parametrize(
        "value",
        [
            7,
            {},
            {"id": "a", "fault": "nonesuch", "options": {}, "when": {}, "is_named": True},
            {"id": "a", "fault": "latency", "options": {"delay": 3}, "when": {}, "is_named": True},
        ],
    )
    def test_what_is_no_rule_is_an_error(self, value: JsonValue) -> None:
        with pytest.raises(NotCanonical):
            load_rule(value)


LIVE = profile(
    {"name": "healthy", "until": {"opened": 1}},
    {
        "name": "lossy",
        "lasts": "300ms",
        "rules": [
            {"latency": {"delay": "20ms", "jitter": "10ms"}, "when": {"from": "server"}},
            {"drop": {}, "when": {"from": "client", "chance": "40%"}},
        ],
    },
    {"name": "silent", "lasts": "200ms", "rules": [{"half_open": {"mode": "freeze", "heal": "flush"}}]},
    {"name": "closing", "lasts": "100ms", "rules": [{"close": 4200}]},
    seed=5,
)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_run_over_real_sockets_replays_to_the_same_digest(loop: str) -> None:
    file = io.BytesIO()

    async def story() -> None:
        upstream = Upstream()
        journal = Journal(LIVE, LIVE.seed, file)

        def make(played: Profile, options: Options, now: int) -> World:
            return RecordedWorld(played, options, now, journal.record)

        proxy = Proxy(Address("127.0.0.1", upstream.port), profile=LIVE, on_told=journal.tell, make_world=make)
        await proxy.start()
        try:
            stage = Stage(upstream, proxy, [])
            client, server = await stage.tunnel(REQUEST, RESPONSE)
            for number in range(10):
                await client.send(text(f"question {number}", b"mask"))
                await server.send(text(f"answer {number}") * 3)
            await client.until(b"answer 9")
            await comes_true(lambda: stage.proxy.world.timeline.visit == 3)
            await server.send(text("held" * 5000))
            await comes_true(lambda: stage.proxy.world.timeline.is_over)
            await client.until(b"\x88\x02\x10\x68")  # close, 4200
            client.end()
            await server.rest()
            server.end()
            await stage.is_empty()
        finally:
            await proxy.abort()
            upstream.close()
            while Peer.opened:
                Peer.opened.pop().close()
        assert isinstance(proxy.world, RecordedWorld)
        proxy.world.finish()

    run(loop, story())
    header, records = read_journal(file.getvalue().decode().splitlines())
    replayed = replay(header, records)
    assert replayed.difference is None and replayed.is_whole
    faults = {record["fault"] for record in records if record["event"] == "struck"}
    assert faults == {"latency", "drop", "half_open", "close"}
    # One byte of what was received is changed: the first difference is found, at that very input.
    index, record = next(
        (at, record)
        for at, record in enumerate(records)
        if record["event"] == "input" and record["what"] == "receive" and record["did"]
    )
    arguments: Any = record["with"]
    data = bytearray(b64decode(arguments["data"]))
    data[-1] ^= 1
    changed = {**record, "with": {**arguments, "data": b64encode(data).decode()}}
    difference = replay(header, [*records[:index], changed, *records[index + 1 :]]).difference
    assert difference and difference.number == record["input"]


def test_a_masked_profile_tells_no_header_and_its_rules_keep_their_ids() -> None:
    rules: list[Any] = [
        {"drop": {}, "when": {"header": {"Authorization": "Bearer canary"}}},
        {"drop": {}, "when": {"header": {"Authorization": "Bearer canary"}}},
        {"reject": {"status": 302, "headers": {"Set-Cookie": "canary", "Location": "/canary"}}},
        {"latency": "1ms"},
    ]
    phases = [
        {"name": "a", "rules": rules, "lasts": "1s"},
        {"name": "b", "rules": rules[2:], "lasts": "1s"},
        {"name": "c"},
    ]
    played = Profile.model_validate({"version": 1, "rules": rules[:2], "phases": phases})
    assert "canary" in json.dumps(dump_profile(played))
    masked = json.loads(json.dumps(mask_profile(played)))
    assert "canary" not in json.dumps(masked)
    again = load_profile(masked)
    for before, after in zip((None, *played.phases), (None, *again.phases), strict=True):
        names = [(rule.id, rule.is_named) for rule in played.bound_rules(before)]
        assert [(rule.id, rule.is_named) for rule in again.bound_rules(after)] == names
    assert masked["phases"][0]["rules"][3] == {"latency": {"delay": "1ms"}}
