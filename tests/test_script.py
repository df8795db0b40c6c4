"""Recorded faults on new traffic: they strike where they struck, whatever chance would say now."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from chaosproxy.events import Struck
from chaosproxy.journal import Journal, read_journal
from chaosproxy.profile import Profile
from chaosproxy.replay import BadRecording, setting_of
from chaosproxy.script import Outcome, Script, ScriptedWorld
from chaosproxy.world import Options, World

from .virtual import CLIENT, MS, SECOND, SERVER, Connection, Network, frame, live_rule, payloads, profile, text

Record = Mapping[str, JsonValue]
OTHER = Options(seed=99)


class Scripted(Network):
    """A virtual network whose faults strike by a script."""

    def __init__(self, played: Profile, script: Script, options: Options = OTHER) -> None:
        self.script = script
        super().__init__(played, options)

    def make_world(self, played: Profile, options: Options, now: int) -> World:
        return ScriptedWorld(played, options, now, self.script)

    @property
    def outcome(self) -> Outcome:
        assert isinstance(self.world, ScriptedWorld)
        return self.world.outcome


def records_of(network: Network) -> list[Record]:
    """What a journal has of a run."""
    file = io.BytesIO()
    journal = Journal(network.world.profile, network.world.seed, file)
    for told in network.told:
        journal.tell(told)
    header, records = read_journal(file.getvalue().decode().splitlines())
    assert setting_of(header)[0] == network.world.profile
    return records


def script_of(network: Network) -> Script:
    return Script(records_of(network))


def talk(connection: Connection, count: int = 20) -> None:
    for number in range(count):
        connection.send(CLIENT, text(f"question {number}", b"mask"))
        connection.send(SERVER, text(f"answer {number}"))


def struck(network: Network) -> list[tuple[object, ...]]:
    return [(event.fault, event.side, event.message) for event in network.events(Struck)]


DROP = profile(rules=[{"drop": {}, "when": {"chance": "30%"}}], seed=3)


class TestMessages:
    def test_the_recorded_ones_are_struck_whatever_the_seed(self) -> None:
        first = Network(DROP)
        talk(first.open())
        other = Network(DROP, OTHER)
        talk(other.open())
        assert struck(other) != struck(first) != []
        again = Scripted(DROP, script_of(first))
        talk(again.open())
        assert struck(again) == struck(first)
        assert again.outcome == Outcome(len(struck(first)), [], 0)

    def test_counting_is_replaced_by_the_record(self) -> None:
        played = profile(rules=[{"drop": {}, "when": {"from": "client", "text": "hello", "nth": 2}}])
        first = Network(played)
        connection = first.open()
        connection.send(CLIENT, *(text(word, b"mask") for word in ("hello 1", "hello 2", "hello 3")))
        again = Scripted(played, script_of(first))
        connection = again.open()
        connection.send(CLIENT, *(text(word, b"mask") for word in ("aside", "hello 1", "hello 2", "hello 3")))
        assert payloads(connection.server.stream) == [b"aside", b"hello 2", b"hello 3"]
        assert again.outcome.lost == []

    def test_the_other_conditions_still_hold(self) -> None:
        played = profile(rules=[{"drop": {}, "when": {"from": "client", "text": "hello", "nth": 1}}])
        first = Network(played)
        first.open().send(CLIENT, text("aside", b"mask"), text("hello", b"mask"))
        again = Scripted(played, script_of(first))
        connection = again.open()
        connection.send(CLIENT, text("hello", b"mask"), text("aside", b"mask"))
        assert payloads(connection.server.stream) == [b"hello", b"aside"]
        assert [str(strike) for strike in again.outcome.lost] == [
            f"drop (rule {played.bound_rules(None)[0].id}) at connection 1, message 2 from the client"
        ]

    def test_control_frames_are_known_by_their_turn(self) -> None:
        played = profile(rules=[{"drop": {}, "when": {"from": "client", "opcode": "ping", "chance": "50%"}}])
        first, again = Network(played), None
        connection = first.open()
        connection.send(CLIENT, *(frame(bytes([number]), 9, mask=b"mask") for number in range(20)))
        again = Scripted(played, script_of(first))
        repeated = again.open()
        repeated.send(CLIENT, *(frame(bytes([number]), 9, mask=b"mask") for number in range(20)))
        assert repeated.server.stream == connection.server.stream != b""
        assert 0 < len(struck(again)) < 20

    def test_damage_is_the_same_bit_for_bit(self) -> None:
        played = profile(rules=[{"corrupt": "bits", "when": {"from": "server", "chance": "30%"}}], seed=8)
        first = Network(played)
        connection = first.open()
        talk(connection)
        again = Scripted(played, script_of(first), Options(seed=8))
        repeated = again.open()
        talk(repeated)
        assert repeated.client.stream == connection.client.stream
        assert struck(again) != []

    def test_those_delayed_are_left_to_the_same_seed(self) -> None:
        latency = {"latency": {"delay": "50ms", "jitter": "20ms"}, "when": {"from": "server", "chance": "50%"}}
        played = profile(rules=[latency], seed=8)
        stories = []
        for network in (first := Network(played), Scripted(played, Script([]), Options(seed=8))):
            connection = network.open()
            for number in range(10):
                connection.send(SERVER, text(str(number)))
                network.wait(100 * MS)
            stories.append(connection.client.arrivals)
        assert stories[0] == stories[1]
        assert script_of(first).compare([]).recorded == 1


class TestConnections:
    RESET = profile({"name": "calm", "until": {"opened": 8}}, {"name": "storm", "rules": [{"reset": {}, "when": {}}]})

    def story(self, network: Network) -> list[bool]:
        connections = [network.open() for _ in range(8)]
        return [connection.client.reset_at is not None for connection in connections]

    def test_those_chosen_by_chance_are_chosen_again(self) -> None:
        played = profile(
            {"name": "calm", "until": {"opened": 8}},
            {"name": "storm", "rules": [{"reset": {}, "when": {"chance": "50%"}}]},
        )
        first, other = Network(played), Network(played, OTHER)
        hit = self.story(first)
        assert self.story(other) != hit
        again = Scripted(played, script_of(first))
        assert self.story(again) == hit
        assert again.outcome == Outcome(sum(hit), [], 0)

    def test_attempts_are_chosen_by_their_number(self) -> None:
        played = profile(rules=[{"reset": {"at": "accept"}, "when": {"chance": "50%"}}])

        def story(network: Network) -> list[bool]:
            return [network.connect().client.reset_at is not None for _ in range(12)]

        first, other = Network(played), Network(played, OTHER)
        hit = story(first)
        assert story(other) != hit
        again = Scripted(played, script_of(first))
        assert story(again) == hit
        assert again.outcome.lost == []

    def test_a_rule_without_choice_strikes_whoever_comes(self) -> None:
        first = Network(self.RESET)
        self.story(first)
        again = Scripted(self.RESET, Script([]))
        assert self.story(again) == [True] * 8
        assert again.outcome == Outcome(0, [], 8)

    def test_strikes_at_connections_that_never_came_are_lost(self) -> None:
        first = Network(self.RESET)
        self.story(first)
        again = Scripted(self.RESET, script_of(first))
        again.open()
        again.step()
        again.wait(SECOND)
        outcome = again.outcome
        assert (outcome.recorded, outcome.added) == (8, 0)
        assert [strike.connection for strike in outcome.lost] == [2, 3, 4, 5, 6, 7, 8]

    def test_rules_added_by_hand_are_known(self) -> None:
        network = Network(DROP)
        network.open()
        network.add(live_rule("reset", {"hits": "live"}, id="mine"))
        script = script_of(network)
        assert script.by_hand == {"mine"}
        assert [str(strike) for strike in script.strikes] == ["reset (rule mine) at connection 1"]


@pytest.mark.parametrize(
    ("change", "message"), [({"rule": 5}, "expected rule to be of type str"), ({"message": "x"}, "expected message")]
)
def test_what_is_no_strike_is_an_error(change: dict[str, Any], message: str) -> None:
    record = {"seq": 4, "event": "struck", "rule": "a", "fault": "drop", "attempt": 1, "side": "client", "message": 1}
    with pytest.raises(BadRecording, match=message):
        Script([{**record, **change}])
