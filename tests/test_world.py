"""Stories of many connections: numbers, phases, which rules act on whom, live rules, the dial cap, draining."""

import json

import pytest

from chaosproxy.events import Asked, Closed, DialDelayed, End, Healed, Listening, PhaseEntered, RuleChanged, Struck
from chaosproxy.units import SECOND
from chaosproxy.world import Options

from .virtual import (
    CLIENT,
    MS,
    SERVER,
    START,
    Connection,
    Network,
    close_frame,
    live_rule,
    payloads,
    profile,
    request,
    switching,
    text,
)

M = b"mask"
QUIET = {"name": "quiet", "until": "step"}


def established(c: Connection) -> None:
    c.send(SERVER, text(json.dumps({"event": "pusher:connection_established", "data": '{"socket_id":"1.1"}'})))


def subscribed(c: Connection, channel: str) -> None:
    event = "pusher_internal:subscription_succeeded"
    c.send(SERVER, text(json.dumps({"event": event, "channel": channel, "data": "{}"})))


def struck(network: Network) -> list[tuple[int, str]]:
    """Which connection was struck by which fault, in order."""
    return [
        (told.session.connection, told.event.fault)
        for told in network.told
        if isinstance(told.event, Struck) and told.session
    ]


class TestNumbers:
    def test_connections_are_numbered_by_complete_heads_and_not_by_attempts(self) -> None:
        network = Network(profile())
        first, second = network.connect(), network.connect()
        second.send(CLIENT, request())
        first.send(CLIENT, request())
        assert (first.session.number, first.session.connection) == (1, 2)
        assert (second.session.number, second.session.connection) == (2, 1)

    def test_port_checks_and_garbage_eat_no_number(self) -> None:
        network = Network(profile())
        network.connect().fin(CLIENT)
        network.connect().send(CLIENT, b"\0garbage\r\n\r\n")
        network.connect().rst(CLIENT)
        assert network.open().session.connection == 1

    def test_by_address_it_is_the_one_from_which_it_connects_without_the_port(self) -> None:
        network = Network(profile(identify={"address": "true"}))
        numbers = []
        for peer in ("10.0.0.1:5", "10.0.0.2:5", "10.0.0.1:6", "[::1]:7"):
            session = network.world.accept(peer, network.now)
            session.receive(CLIENT, request(), network.now)
            network.world.settle(session, network.now)
            numbers.append((session.client, session.connection))
        assert numbers == [("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.1", 2), ("[::1]", 1)]

    @pytest.mark.parametrize("identify", [{"query": "me"}, {"header": "X-Me"}, {"path": "true"}])
    def test_each_client_has_numbers_of_its_own(self, identify: dict[str, str]) -> None:
        network = Network(profile(identify=identify))
        for name in "aba":
            network.connect().send(CLIENT, request(f"/{name}?me={name}", [f"X-Me: {name}"]))
        keys = [(event.client.strip("/"), event.connection) for event in network.events(Asked)]
        assert keys == [("a", 1), ("b", 1), ("a", 2)]


class TestPhases:
    def test_the_timeline_starts_with_the_first_complete_head(self) -> None:
        network = Network(profile({"name": "one", "lasts": "1s"}))
        c = network.connect()
        network.wait(SECOND)
        assert network.phase == ""
        c.send(CLIENT, request())
        assert network.phase == "one"
        network.wait(SECOND - 1)
        assert network.phase == "one"
        network.wait(1)
        assert network.phase == ""

    def test_it_can_start_at_launch(self) -> None:
        network = Network(profile({"name": "one", "lasts": "1s"}, starts="launch"))
        assert network.phase == "one"

    def test_repeat_plays_all_phases_again_and_then_there_are_no_rules_for_ever(self) -> None:
        phases = [{"name": "a", "lasts": "1s"}, {"name": "b", "lasts": "1s", "rules": ["refuse"]}]
        network = Network(profile(*phases, repeat=2, starts="launch"))
        network.wait(10 * SECOND)
        assert [(event.phase, event.visit) for event in network.events(PhaseEntered)] == [
            ("a", 1),
            ("b", 2),
            ("a", 3),
            ("b", 4),
            ("", 4),
        ]
        assert network.world.is_listening and network.world.active_rules == []

    def test_a_phase_change_opens_the_listener_then_heals_then_acts(self) -> None:
        first = {"name": "a", "until": "step", "rules": ["refuse", {"half_open": {"heal": "flush"}}]}
        network = Network(profile(QUIET, first, {"name": "b", "rules": ["reset"]}))
        c = network.open()
        network.step()
        c.send(SERVER, text("a"))
        network.step()
        assert c.client.stream == text("a") and c.client.reset_at == network.now
        kinds = [type(event) for event in network.events(PhaseEntered, Listening, Healed, Struck)][1:]
        assert kinds == [PhaseEntered, Listening, Struck, PhaseEntered, Listening, Healed, Struck]

    def test_new_rules_act_by_strength_then_order_then_connection_number(self) -> None:
        late = {"close": {"code": 4200}, "when": {"connection": "1-2"}}
        network = Network(profile(QUIET, {"name": "b", "rules": [late, {"fin": {}, "when": {"connection": 3}}]}))
        second, first = network.connect(), network.connect()
        first.open()
        second.open()
        network.open()
        network.step()
        ends = [c.session.connection for c, action in network.log if isinstance(action, End) and action.side is SERVER]
        assert ends == [3, 1, 2]
        assert struck(network) == [(1, "close"), (2, "close"), (3, "fin")]

    def test_a_rule_with_the_same_id_in_the_next_phase_neither_heals_nor_restarts(self) -> None:
        rule = {"id": "x", "half_open": {"heal": "reset"}}
        network = Network(profile(QUIET, {"name": "b", "lasts": "1s", "rules": [rule]}, {"name": "c", "rules": [rule]}))
        c = network.open()
        network.step()
        network.wait(2 * SECOND)
        assert network.phase == "c"
        assert c.client.reset_at is None and len(network.events(Struck)) == 1

    def test_the_same_id_with_other_options_heals_and_starts_anew(self) -> None:
        first, second = ({"id": "x", "latency": "1s", "when": {"from": side}} for side in ("client", "server"))
        network = Network(
            profile(QUIET, {"name": "b", "until": "step", "rules": [first]}, {"name": "c", "rules": [second]})
        )
        c = network.open()
        network.step()
        network.step()
        c.send(SERVER, text("a"))
        c.send(CLIENT, text("a", M))
        assert (c.client.stream, c.server.stream) == (b"", text("a", M))

    def test_a_rule_at_the_top_holds_in_every_phase_without_healing(self) -> None:
        network = Network(
            profile(
                {"name": "a", "lasts": "1s"}, {"name": "b", "lasts": "1s"}, rules=[{"drop": {}, "when": {"nth": 2}}]
            )
        )
        c = network.open()
        c.send(SERVER, text("1"))
        network.wait(SECOND)
        c.send(SERVER, text("2"), text("3"))
        assert payloads(c.client.stream) == [b"1", b"3"]

    def test_counting_conditions_restart_with_each_visit_of_a_phase(self) -> None:
        drop = {"drop": {}, "when": {"nth": 1}}
        network = Network(profile({"name": "a", "until": "step", "rules": [drop]}, repeat="forever"))
        c = network.open()
        c.send(SERVER, text("1"), text("2"))
        network.step()
        c.send(SERVER, text("3"), text("4"))
        assert payloads(c.client.stream) == [b"2", b"4"]

    def test_conditions_that_hold_all_at_once_do_not_go_round_for_ever(self) -> None:
        phases = [{"name": name, "until": {"established": 1}} for name in "ab"]
        network = Network(profile(*phases, protocol="pusher", repeat="forever"))
        c = network.open()
        established(c)
        assert network.phase in "ab"


class TestUntil:
    def test_opened_and_closed_count_since_the_phase_began(self) -> None:
        network = Network(
            profile({"name": "a", "until": {"opened": 2}}, {"name": "b", "until": {"closed": 1}}, {"name": "c"})
        )
        first = network.open()
        assert network.phase == "a"
        network.open()
        assert network.phase == "b"
        first.rst(CLIENT)
        assert network.phase == "c"

    def test_established_and_subscribed_count_what_holds_now(self) -> None:
        network = Network(
            profile(
                {"name": "a", "until": {"established": 1}},
                {"name": "kicked", "lasts": "100ms", "rules": [{"close": "4200"}]},
                {"name": "b", "until": {"established": 1}},
                {"name": "c", "until": {"subscribed": ["x", "y"]}},
                {"name": "d"},
                protocol="pusher",
            )
        )
        established(network.open())
        assert network.phase == "kicked"
        network.wait(100 * MS)
        assert network.phase == "b"  # the first connection still awaits its reply, and carries nothing
        c = network.open()
        established(c)
        assert network.phase == "c"
        subscribed(c, "x")
        assert network.phase == "c"
        subscribed(c, "y")
        assert network.phase == "d"

    def test_a_client_knows_it_is_established_when_the_message_has_left(self) -> None:
        network = Network(
            profile(
                {"name": "a", "until": {"established": 1}, "rules": [{"latency": "1s"}]},
                {"name": "b"},
                protocol="pusher",
            )
        )
        c = network.open()
        established(c)
        assert network.phase == "a"
        network.wait(SECOND)
        assert network.phase == "b"

    def test_within_expired_goes_on_and_says_what_was_there(self) -> None:
        until = {"subscribed": 1, "within": "5s"}
        network = Network(profile({"name": "open", "until": until}, {"name": "b"}, protocol="pusher"))
        network.open()
        network.wait(5 * SECOND)
        assert network.phase == "b"
        assert network.world.timeline.failures == ["phase open did not end: 0 of 1 subscribed"]

    def test_a_session_that_ends_while_it_is_established_leaves_no_trace(self) -> None:
        network = Network(
            profile({"name": "a", "until": {"established": 1}}, {"name": "b", "rules": ["reset"]}, protocol="pusher")
        )
        established(network.open())
        assert network.world.standing.established == 0
        network.end_all()


class TestHits:
    @pytest.mark.parametrize("fault", ["reset", "fin", "close"])
    @pytest.mark.parametrize(("hits", "live", "new"), [("live", 1, 0), ("new", 0, 1), ("all", 1, 1)])
    def test_an_ending_fault_hits_whom_it_says(self, fault: str, hits: str, live: int, new: int) -> None:
        options = {"hits": hits, **({"code": 4200} if fault == "close" else {})}
        network = Network(profile(QUIET, {"name": "b", "rules": [{fault: options}]}))
        network.open()
        network.step()
        assert len(struck(network)) == live
        network.open()
        assert len(struck(network)) == live + new
        network.end_all()

    def test_a_connection_that_opens_while_all_are_hit_is_hit_once(self) -> None:
        network = Network(profile(QUIET, {"name": "b", "rules": [{"close": {"code": 4200, "hits": "all"}}]}))
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        c.send(SERVER, switching())
        assert c.client.close_code == 4200
        assert len(struck(network)) == 1

    def test_a_chance_is_thrown_once_per_connection(self) -> None:
        rule = {"reset": {"hits": "all"}, "when": {"chance": "50%"}}
        hit: dict[str, list[bool]] = {}
        for state in ("live", "new"):
            network = Network(profile(QUIET, {"name": "b", "rules": [rule]}, seed=5))
            connections = []
            for _ in range(20):
                if state == "new":
                    network.step("b") if network.phase == "quiet" else None
                connections.append(network.open())
            if state == "live":
                network.step()
            hit[state] = [c.is_over for c in connections]
        assert hit["live"] == hit["new"] or hit["live"][1:] == hit["new"][1:]
        assert 0 < sum(hit["live"]) < 20

    def test_conditions_on_the_request_choose_connections(self) -> None:
        when = {"path": "/a*", "header": {"x-kind": "b?d"}}
        network = Network(profile(rules=[{"reject": 503, "when": when}]))
        kinds = [("/app", "bad"), ("/app", "good"), ("/x", "bad")]
        answers = []
        for path, kind in kinds:
            c = network.connect()
            c.send(CLIENT, request(path, [f"X-Kind: {kind}"]))
            answers.append(c.is_dialled)
        assert answers == [False, True, True]

    def test_ranges_choose_connections_by_number(self) -> None:
        network = Network(profile(rules=[{"reject": 503, "when": {"connection": "2-3"}}]))
        dialled = []
        for _ in range(4):
            c = network.connect()
            c.send(CLIENT, request())
            dialled.append(c.is_dialled)
        assert dialled == [True, False, False, True]


class TestRefuse:
    def test_the_listener_closes_and_opens_with_the_phase_and_live_connections_live(self) -> None:
        network = Network(profile(QUIET, {"name": "down", "lasts": "20s", "rules": ["refuse"]}, {"name": "up"}))
        c = network.open()
        network.step()
        assert not network.world.is_listening
        c.send(SERVER, text("a"))
        assert c.client.stream == text("a")
        network.wait(20 * SECOND)
        assert network.world.is_listening
        assert [event.is_open for event in network.events(Listening)] == [False, True]


class TestLiveRules:
    def test_one_acts_at_once_and_heals_by_itself(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("half_open", {"heal": "flush"}), lasts=3 * SECOND)
        c.send(SERVER, text("a"))
        network.wait(3 * SECOND - 1)
        assert c.client.stream == b""
        network.wait(1)
        assert c.client.stream == text("a")
        assert [event.change for event in network.events(RuleChanged)] == ["added", "expired"]

    def test_it_outlives_phases_without_restarting(self) -> None:
        network = Network(profile({"name": "a", "lasts": "1s"}, {"name": "b"}))
        c = network.open()
        network.add(live_rule("drop", when={"nth": 2}))
        c.send(SERVER, text("1"))
        network.wait(SECOND)
        c.send(SERVER, text("2"), text("3"))
        assert payloads(c.client.stream) == [b"1", b"3"]

    def test_the_same_id_replaces_it(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "5s"))
        network.add(live_rule("latency", "1s"))
        c.send(SERVER, text("a"))
        network.wait(SECOND)
        assert c.client.stream == text("a")

    def test_a_rule_of_the_profile_is_replaced_by_its_namesake_and_returns(self) -> None:
        network = Network(profile(rules=[{"id": "x", "latency": "5s"}]))
        c = network.open()
        network.add(live_rule("close", {"code": 4200, "hits": "live"}, id="x"))
        network.add(live_rule("latency", "1s", id="y"))
        assert len(struck(network)) == 1
        network.heal("x")
        d = network.open()
        d.send(SERVER, text("a"))
        network.wait(6 * SECOND)
        assert d.client.arrivals == [(6000, b"a")] and c.client.close_code == 4200

    def test_an_ending_rule_added_by_hand_hits_who_is_there(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("reset"))
        assert c.is_over
        assert not network.open().is_over

    def test_a_heal_of_an_unknown_rule_is_none(self) -> None:
        network = Network(profile())
        assert network.world.heal("x", START) is None


class TestDials:
    def test_more_than_the_cap_in_a_second_wait_and_it_is_told(self) -> None:
        network = Network(profile(), Options(dials_per_second_max=2))
        connections = [network.connect() for _ in range(3)]
        for c in connections:
            c.send(CLIENT, request())
        assert [c.is_dialled for c in connections] == [True, True, False]
        assert len(network.events(DialDelayed)) == 1
        network.wait(SECOND - 1)
        assert not connections[2].is_dialled
        network.wait(1)
        assert connections[2].is_dialled

    def test_each_that_waits_is_told_once_whatever_rules_come_and_go(self) -> None:
        network = Network(profile(), Options(dials_per_second_max=1))
        connections = [network.connect() for _ in range(4)]
        for c in connections:
            c.send(CLIENT, request())
        for _ in range(3):
            network.add(live_rule("half_open", {"heal": "flush"}))
            network.heal()
        assert [told.session for told in network.told if isinstance(told.event, DialDelayed)] == [
            c.session for c in connections[1:]
        ]
        assert network.world.totals.dials_delayed == 3
        network.wait(3 * SECOND)
        assert all(c.is_dialled for c in connections)

    def test_one_that_waits_and_falls_silent_is_not_dialled_before_its_heal(self) -> None:
        network = Network(profile(), Options(dials_per_second_max=1))
        network.connect().send(CLIENT, request())
        c = network.connect()
        c.send(CLIENT, request())
        network.add(live_rule("half_open", {"heal": "flush"}))
        network.wait(10 * SECOND)
        assert not c.is_dialled
        network.heal()
        assert c.is_dialled

    def test_one_that_heals_into_another_silence_is_not_dialled_between(self) -> None:
        rules = [{"half_open": {"heal": "flush", "leg": leg}} for leg in ("both", "client")]
        network = Network(
            profile(
                {"name": "a", "lasts": "1s", "rules": rules[:1]},
                {"name": "b", "lasts": "1s", "rules": rules[1:]},
                {"name": "c"},
            )
        )
        c = network.connect()
        c.send(CLIENT, request())
        network.wait(2 * SECOND - 1)
        assert not c.is_dialled
        network.wait(1)
        assert c.is_dialled

    def test_one_whose_client_gave_up_is_not_dialled(self) -> None:
        network = Network(profile(), Options(dials_per_second_max=1))
        network.connect().send(CLIENT, request())
        c = network.connect()
        c.send(CLIENT, request())
        c.rst(CLIENT)
        network.wait(10 * SECOND)
        assert not c.is_dialled


class TestDrain:
    def test_every_connection_gets_1001_and_the_listener_closes(self) -> None:
        network = Network(profile())
        c = network.open()
        network.drain()
        assert not network.world.is_listening
        assert (c.client.close_code, c.server.close_code) == (1001, 1001)
        c.send(CLIENT, close_frame(1001, mask=M))
        c.send(SERVER, close_frame(1001))
        c.fin(CLIENT)
        c.fin(SERVER)
        assert network.events(Closed) == [Closed("proxy", "close", 1001)]
        assert network.world.sessions == {}

    def test_silent_legs_get_rst(self) -> None:
        network = Network(profile(QUIET, {"name": "b", "rules": [{"half_open": {"heal": "flush"}}]}))
        c = network.open()
        network.step()
        network.drain()
        assert c.client.reset_at == c.server.reset_at == network.now

    def test_a_kept_leg_gets_rst(self) -> None:
        network = Network(profile(QUIET, {"name": "b", "rules": [{"reset": {"leg": "server", "other": "keep"}}]}))
        c = network.open()
        network.step()
        network.drain()
        assert c.client.reset_at == network.now

    def test_a_close_that_awaits_its_reply_may_have_it(self) -> None:
        network = Network(profile(QUIET, {"name": "b", "rules": [{"close": "4200"}]}))
        c = network.open()
        network.step()
        network.drain()
        assert c.client.reset_at is None
        c.send(CLIENT, close_frame(4200, mask=M))
        assert c.client.fin_at == network.now

    def test_who_was_still_in_the_queue_is_let_go_too(self) -> None:
        network = Network(profile())
        network.drain()
        c = network.connect()
        network.wait(5 * SECOND)
        assert c.is_over


def strikes(network: Network, rule: str) -> list[int | None]:
    return [event.message for event in network.events(Struck) if event.rule == rule]


class TestChance:
    def test_the_same_seed_strikes_the_same_connections_and_another_seed_others(self) -> None:
        def hit(seed: int) -> list[bool]:
            network = Network(profile(rules=[{"reject": 503, "when": {"chance": "50%"}}], seed=seed))
            connections = [network.connect() for _ in range(32)]
            for c in connections:
                c.send(CLIENT, request())
            return [c.is_dialled for c in connections]

        assert hit(1) == hit(1) != hit(2)

    def test_a_phase_put_before_does_not_move_the_strikes_of_a_phase(self) -> None:
        lossy = {"name": "lossy", "rules": [{"drop": {}, "when": {"chance": "50%"}}]}
        delivered = []
        for before in ([], [{"name": "calm", "lasts": "1s"}]):
            network = Network(profile(*before, lossy))
            c = network.open()
            network.wait(SECOND)
            c.send(SERVER, *(text(str(number)) for number in range(40)))
            delivered.append(payloads(c.client.stream))
        assert delivered[0] == delivered[1] and 0 < len(delivered[0]) < 40


class TestCounts:
    def test_every_strike_counts_also_where_only_the_first_is_told(self) -> None:
        network = Network(
            profile(rules=[{"latency": "1ms", "when": {"from": "server"}}, {"drop": {}, "when": {"nth": 2}}])
        )
        c = network.open()
        for number in range(3):
            c.send(SERVER, text(str(number)))
            c.send(CLIENT, text(str(number), b"mask"))
        network.wait(SECOND)
        assert network.world.tally.strikes == {"latency": 3, "drop": 2}
        assert [(event.fault, event.message, event.turn) for event in network.events(Struck)] == [
            ("latency", 1, 1),
            ("drop", 2, 2),
            ("drop", 2, 2),
        ]

    def test_a_rule_that_has_acted_is_told_as_healed_and_another_is_not(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("drop", id="acts"))
        network.add(live_rule("drop", id="waits", when={"opcode": "binary"}))
        c.send(SERVER, text("lost"))
        network.heal()
        assert [event.rule for event in network.events(Healed)] == ["acts"]

    @pytest.mark.parametrize(
        ("rules", "outcome"), [(["reject: 429"], "refused_4xx"), (["reject: 503"], "refused_5xx"), ([], "opened")]
    )
    def test_what_becomes_of_attempts_is_counted(self, rules: list[str], outcome: str) -> None:
        network = Network(profile(rules=[{"reject": rule.split()[1]} for rule in rules]))
        c = network.connect()
        c.send(CLIENT, request())
        if not rules:
            c.send(SERVER, switching())
        assert network.world.totals.outcomes == {outcome: 1}

    def test_an_upstream_that_is_down_counts_as_failed(self) -> None:
        network = Network(profile(), accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        c.dial_answered("connection refused")
        network.wait(10 * SECOND)
        assert network.world.totals.outcomes == {"failed": 1}

    def test_rules_at_the_top_hold_before_the_timeline_starts(self) -> None:
        chance = {"reset": {"at": "accept"}, "when": {"chance": "100%"}}
        network = Network(profile({"name": "only", "until": {"opened": 1}}, rules=[chance]))
        assert network.connect().client.reset_at is not None
        network = Network(profile({"name": "only", "lasts": "10s"}, rules=["refuse"], starts="launch"))
        assert not network.world.is_listening
        network.wait(10 * SECOND)
        assert network.world.is_listening
