"""Stories of steering by hand: a timeline that is paused, rules on chosen connections, another run."""

import json
from typing import Any

import pytest

from chaosproxy.effects import Leg
from chaosproxy.events import (
    Established,
    Healed,
    PhaseEntered,
    PhasePaused,
    PhaseResumed,
    ProfileChanged,
    RuleChanged,
    Struck,
    TimelineReset,
)
from chaosproxy.units import SECOND

from .test_recording import Recorded
from .virtual import CLIENT, MS, SERVER, Connection, Network, frame, live_rule, payloads, profile, request, text

M = b"mask"
TWO = ({"name": "calm", "lasts": "10s"}, {"name": "rough", "lasts": "10s", "rules": [{"drop": {}}]})
OPENING = {"name": "opening", "until": {"opened": 1}}
ESTABLISHED = text(json.dumps({"event": "pusher:connection_established", "data": '{"socket_id":"1.1"}'}))


def healed(network: Network) -> list[tuple[int, str]]:
    """Which attempt was healed of which rule, in order."""
    return [
        (told.session.number, told.event.rule)
        for told in network.told
        if isinstance(told.event, Healed) and told.session
    ]


def struck(network: Network) -> list[tuple[int, str]]:
    return [
        (told.session.number, told.event.rule)
        for told in network.told
        if isinstance(told.event, Struck) and told.session
    ]


def hears(c: Connection) -> bool:
    """Whether what the server says now reaches the client."""
    before = len(payloads(c.client.stream))
    c.send(SERVER, text("hear this"))
    return payloads(c.client.stream)[before:] == [b"hear this"]


class TestPausing:
    def test_the_phase_goes_on_where_it_stopped(self) -> None:
        network = Network(profile(*TWO, starts="launch"))
        network.wait(4 * SECOND)
        network.pause()
        network.wait(60 * SECOND)
        assert network.phase == "calm"
        network.resume()
        network.wait(6 * SECOND - 1)
        assert network.phase == "calm"
        network.wait(1)
        assert network.phase == "rough"
        assert network.events(PhasePaused, PhaseResumed) == [PhasePaused("calm"), PhaseResumed("calm")]

    def test_it_is_told_once_however_often_it_is_asked_for(self) -> None:
        network = Network(profile(*TWO, starts="launch"))
        for _ in range(2):
            network.pause()
        for _ in range(2):
            network.resume()
        assert len(network.events(PhasePaused, PhaseResumed)) == 2

    def test_rules_act_meanwhile_and_steps_are_taken_and_it_stays_paused(self) -> None:
        network = Network(profile(*TWO, starts="launch"))
        c = network.open()
        network.pause()
        network.step()
        network.wait(60 * SECOND)
        assert network.phase == "rough"
        assert not hears(c)
        network.step("calm")
        network.wait(60 * SECOND)
        assert network.phase == "calm"
        network.resume()
        network.wait(10 * SECOND)
        assert network.phase == "rough"

    def test_what_has_come_true_meanwhile_ends_the_phase_when_it_goes_on(self) -> None:
        network = Network(profile({"name": "waiting", "until": {"opened": 1}}, {"name": "then"}, starts="launch"))
        network.pause()
        network.open()
        assert network.phase == "waiting"
        network.resume()
        assert network.phase == "then"

    def test_paused_before_its_start_it_stands_still_in_the_first_phase(self) -> None:
        network = Network(profile(*TWO))
        network.pause()
        network.open()
        network.wait(60 * SECOND)
        assert network.phase == "calm"
        network.resume()
        network.wait(10 * SECOND)
        assert network.phase == "rough"


class TestRulesOnChosenConnections:
    def test_only_those_are_hit_and_no_later_ones(self) -> None:
        network = Network(profile())
        first, second = network.open(), network.open()
        network.add(live_rule("half_open"), only=[first])
        third = network.open()
        assert [hears(c) for c in (first, second, third)] == [False, True, True]
        network.heal("live")
        assert payloads(first.client.stream) == [b"hear this"]
        assert hears(first)

    def test_an_attempt_that_has_not_asked_yet_is_hit_as_it_asks(self) -> None:
        network = Network(profile())
        chosen, other = network.connect(), network.connect()
        network.add(live_rule("reject", {"status": 503}), only=[chosen])
        chosen.send(CLIENT, request())
        other.open()
        assert chosen.client.data.startswith(b"HTTP/1.1 503")
        assert other.session.opened_at is not None

    def test_a_head_that_is_still_coming_is_not_answered_on_them(self) -> None:
        network = Network(profile())
        chosen, other = network.connect(), network.connect()
        for c in (chosen, other):
            c.send(CLIENT, b"GET / HT")
        network.add(live_rule("half_open"), only=[chosen])
        network.wait(11 * SECOND)
        assert (chosen.client.data, other.client.data[:12]) == (b"", b"HTTP/1.1 408")

    def test_the_rule_ends_with_the_last_of_them(self) -> None:
        network = Network(profile())
        first, second = network.open(), network.open()
        network.add(live_rule("latency", {"delay": "1s"}), only=[first, second])
        for c in (first, second):
            assert [rule.id for rule in network.world.live_rules] == ["live"]
            c.rst(CLIENT)
        assert network.world.live_rules == []
        assert [event.change for event in network.events(RuleChanged)] == ["added", "healed"]

    def test_a_rule_for_those_that_are_gone_has_ended_as_it_begins(self) -> None:
        network = Network(profile())
        first = network.open()
        first.rst(CLIENT)
        network.add(live_rule("half_open"), only=[first])
        assert network.world.live_rules == network.world.active_rules == []
        assert [event.change for event in network.events(RuleChanged)] == ["added", "healed"]

    def test_it_expires_by_itself(self) -> None:
        network = Network(profile())
        first = network.open()
        network.add(live_rule("half_open"), lasts=SECOND, only=[first])
        assert not hears(first)
        network.wait(SECOND)
        assert payloads(first.client.stream) == [b"hear this"]
        assert network.events(RuleChanged)[-1].change == "expired"

    def test_with_the_same_id_it_leaves_those_it_had_before(self) -> None:
        network = Network(profile())
        first, second = network.open(), network.open()
        network.add(live_rule("half_open"), only=[first])
        network.add(live_rule("half_open"), only=[second])
        assert [hears(c) for c in (first, second)] == [True, False]


class TestFreeing:
    def test_one_is_freed_of_what_was_added_by_hand_and_the_others_are_not(self) -> None:
        network = Network(profile())
        first, second = network.open(), network.open()
        network.add(live_rule("half_open"))
        network.add(live_rule("drop", id="loss"))
        network.free(first)
        assert [hears(c) for c in (first, second)] == [True, False]
        assert sorted(rule.id for rule in network.world.live_rules) == ["live", "loss"]
        third = network.connect()
        third.send(CLIENT, request())
        assert third.client.data == b"", "new connections are hit by what goes on"

    @pytest.mark.parametrize("fault", ["half_open", "stall"])
    def test_it_is_freed_of_what_the_profile_keeps_back_until_a_later_phase(self, fault: str) -> None:
        both: dict[str, Any] = {"until": "step", "rules": [{fault: {}}, {"latency": {"delay": "50ms"}}]}
        calm = {"name": "calm", "until": "step"}
        network = Network(profile(calm, {"name": "a", **both}, {"name": "b", **both}, {"name": "end"}))
        first, second = network.open(), network.open()
        network.step()
        for c in (first, second):
            c.send(SERVER, text("kept"))
        network.free(first)
        network.wait(50 * MS)
        assert [payloads(c.client.stream) for c in (first, second)] == [[b"kept"], []]
        first.send(SERVER, text("late"))
        assert payloads(first.client.stream) == [b"kept"], "its latency is not lifted"
        network.wait(50 * MS)
        assert payloads(first.client.stream) == [b"kept", b"late"]
        network.step()
        first.send(SERVER, text("again"))
        network.wait(SECOND)
        assert payloads(first.client.stream) == [b"kept", b"late"]

    def test_a_rule_that_was_for_it_alone_ends(self) -> None:
        network = Network(profile())
        first, second = network.open(), network.open()
        network.add(live_rule("half_open", id="freeze-1"), only=[first])
        network.add(live_rule("half_open", id="freeze-2"), only=[first, second])
        network.free(first)
        assert [rule.id for rule in network.world.live_rules] == ["freeze-2"]
        assert [hears(c) for c in (first, second)] == [True, False]
        assert healed(network) == [(1, "freeze-1"), (1, "freeze-2")]
        network.free(second)
        assert network.world.live_rules == []

    def test_to_free_what_is_free_changes_nothing(self) -> None:
        network = Network(profile())
        c = network.open()
        network.free(c)
        network.free()
        assert hears(c) and network.events(Healed, RuleChanged) == []

    def test_a_request_that_was_kept_goes_on_to_the_server(self) -> None:
        network = Network(profile())
        network.add(live_rule("half_open"))
        first, second = network.connect(), network.connect()
        for c in (first, second):
            c.send(CLIENT, request())
        network.free(first)
        assert (first.is_dialled, second.is_dialled) == (True, False)

    def test_a_leg_that_was_not_read_is_read_again(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("half_open", {"mode": "freeze"}), only=[c])
        assert not c.client.is_read and not c.server.is_read
        c.send(SERVER, text("behind"))
        network.free(c)
        assert payloads(c.client.stream) == [b"behind"]


class TestReset:
    def test_it_heals_and_waits_for_the_next_connection(self) -> None:
        network = Network(profile(OPENING, {"name": "dead", "rules": ["half_open"]}))
        first = network.open()
        network.add(live_rule("stall"))
        network.pause()
        network.wait(SECOND)
        network.reset()
        assert network.phase == "" and not network.world.timeline.is_paused
        assert network.world.active_rules == network.world.live_rules == []
        assert hears(first)
        network.wait(60 * SECOND)
        assert network.phase == ""
        network.open()
        assert network.phase == "dead"
        assert not hears(first), "a connection that lived on is hit again"
        entered = [(event.phase, event.visit, event.reason) for event in network.events(PhaseEntered)]
        played = [("opening", 1, "start"), ("dead", 2, "opened")]
        assert entered == [*played, ("", 2, "reset"), *played]
        assert network.events(TimelineReset) == [TimelineReset("")]

    def test_at_launch_it_starts_at_once(self) -> None:
        network = Network(profile(*TWO, starts="launch"))
        network.wait(12 * SECOND)
        network.reset()
        assert network.phase == "calm"
        network.wait(10 * SECOND)
        assert network.phase == "rough"

    def test_twice_is_the_same_as_once(self) -> None:
        network = Network(profile(*TWO))
        c = network.open()
        for _ in range(2):
            network.reset()
            assert network.phase == "" and hears(c)
        assert len(network.events(TimelineReset)) == 2

    def test_the_same_messages_are_struck_on_connections_of_the_same_number(self) -> None:
        rules = [{"drop": {}, "when": {"from": "server", "chance": "50%"}}]
        network = Network(profile({"name": "lossy", "rules": rules}, starts="launch"))
        c = network.open()
        heard: list[list[bytes]] = []
        for _ in range(2):
            before = len(payloads(c.client.stream))
            for number in range(20):
                c.send(SERVER, text(str(number)))
            heard.append(payloads(c.client.stream)[before:])
            network.reset()
        assert heard[0] == heard[1] and 0 < len(heard[0]) < 20

    def test_rules_that_hold_all_the_time_begin_anew(self) -> None:
        network = Network(profile(rules=["half_open"], name="mute"))
        c = network.connect()
        c.send(CLIENT, request())
        network.reset()
        assert struck(network) == healed(network) * 2 and len(healed(network)) == 1


class TestPlayingAnotherProfile:
    def test_it_starts_at_once_where_a_connection_is_open(self) -> None:
        network = Network(profile(OPENING, {"name": "old", "rules": ["half_open"]}))
        c = network.open()
        played = profile({"name": "new", "lasts": "1s", "rules": ["stall"]}, {"name": "end"}, name="other", seed=4)
        network.play(played)
        assert network.phase == "new" and (network.world.seed, network.world.profile) == (4, played)
        assert not hears(c)
        network.wait(SECOND)
        assert payloads(c.client.stream) == [b"hear this"]
        (changed,) = network.events(ProfileChanged)
        assert (changed.profile, changed.seed, changed.digest) == ("other", 4, played.digest)

    def test_it_waits_for_the_first_one_where_there_is_none(self) -> None:
        network = Network(profile())
        network.connect()
        network.play(profile({"name": "new"}), seed=9)
        assert network.phase == "" and network.world.seed == 9
        network.open()
        assert network.phase == "new"

    @pytest.mark.parametrize("until_frame_ends", [0, 3, 20])
    def test_open_connections_are_read_in_the_terms_of_its_protocol(self, until_frame_ends: int) -> None:
        network = Network(profile())
        c = network.open()
        begun = text("in progress, and not to be taken for anything else")
        c.send(SERVER, *([begun[:until_frame_ends]] if until_frame_ends else []))
        dropping = {"name": "new", "rules": [{"drop": {}, "when": {"event": "shouted"}}]}
        network.play(profile(dropping, protocol="pusher"))
        c.send(SERVER, begun[until_frame_ends:], ESTABLISHED, text('{"event":"shouted"}'), text('{"event":"said"}'))
        assert network.events(Established) == [Established("1.1")]
        assert payloads(c.client.stream)[2:] == [b'{"event":"said"}']

    @pytest.mark.parametrize("head", [1, 2, 4])
    def test_a_ping_in_progress_is_passed_on_unread(self, head: int) -> None:
        network = Network(profile())
        c = network.open()
        ping = frame(b"abcd", 9)
        c.send(SERVER, ping[:head])
        network.play(profile(protocol="pusher"))
        c.send(SERVER, ping[head:], ESTABLISHED)
        assert network.events(Established) == [Established("1.1")]
        assert c.client.stream == ping + ESTABLISHED

    def test_a_fragment_in_progress_is_not_read(self) -> None:
        network = Network(profile())
        c = network.open()
        c.send(SERVER, frame(ESTABLISHED[2:10], 1, fin=False))
        network.play(profile(protocol="pusher"))
        c.send(SERVER, frame(b"}", 0), ESTABLISHED)
        assert network.events(Established) == [Established("1.1")]


def test_all_of_it_is_recorded_and_happens_again() -> None:
    network = Recorded(profile(*TWO))
    first, second = network.open(), network.open()
    network.pause()
    network.wait(20 * SECOND)
    network.step()
    network.add(live_rule("half_open"), lasts=9 * SECOND, only=[first, second])
    first.send(SERVER, text("kept"))
    network.free(first)
    network.resume()
    network.wait(3 * SECOND)
    network.reset()
    network.open()
    network.steer(lambda world, now: [(first.session, first.session.reset(Leg.BOTH, now, "proxy"))])
    network.play(profile({"name": "new", "rules": [{"latency": {"delay": "5ms", "jitter": "5ms"}}]}), seed=3)
    second.send(SERVER, text("late"))
    second.send(CLIENT, text("later", M))
    network.wait(SECOND)
    assert second.server.stream and network.phase == "new"
    replayed = network.replayed()
    assert replayed.difference is None and replayed.is_whole
    assert {record["what"] for record in network.records[:-1]} >= {"pause", "resume", "free", "clear", "play"}
