"""Whatever a fault has begun comes to an end: by a reset, by its own time, or with the connection; then all is well.

One story for all faults, with the options of their examples and some in which they are stuck. It looks at the journal
and at the wire: an end for each begin, and the first clean byte at once.
"""

import json
from typing import Any

import pytest

from chaosproxy.events import Closed, Healed, Listening, RuleChanged, Struck
from chaosproxy.faults import FAULTS
from chaosproxy.legs import State
from chaosproxy.match import Match
from chaosproxy.profile import RULES, BoundRule, bind
from chaosproxy.profile_yaml import example, load
from chaosproxy.units import SECOND

from .virtual import CLIENT, SERVER, Connection, Network, frame, payloads, profile, request, switching, text

M = b"mask"
LASTS = 20 * SECOND
PEERS = 10 * SECOND  # in which peers who do not answer are given up
STUCK: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f"half_open, {mode}, {heal}, {leg}": ("half_open", {"mode": mode, "heal": heal, "leg": leg})
        for mode in ("freeze", "blackhole")
        for heal in ("flush", "discard", "reset")
        for leg in ("client", "server", "both")
    },
    **{f"half_open, from {side}": ("half_open", {"from": side, "mode": "freeze"}) for side in ("client", "server")},
    "bandwidth, next to nothing": ("bandwidth", {"rate": "1B/s"}),
    "latency, beyond the end": ("latency", {"delay": "21s"}),
    "slow_close, beyond the end": ("slow_close", {"delay": "1h"}),
    "cut_after, at once": ("cut_after", {"bytes": "100B"}),
    "cut_after, never reached": ("cut_after", {"bytes": "1GiB"}),
    "latency, at accept": ("latency", {"delay": "5s", "at": "accept"}),
    "silent, unread": ("silent", {"mode": "freeze"}),
}


def example_of(fault: str) -> BoundRule:
    """The fault as its example has it, on whatever it can act on."""
    rules = load(example(FAULTS[fault]), fault).every_rule()
    (rule, *_) = [each for each in rules if each.fault_name == fault]
    return bind([("live", rule.model_copy(update={"id": "it", "when": Match()}))])[0]


CASES = {name: example_of(name) for name in FAULTS} | {
    words: bind([("live", RULES[fault].model_validate({fault: options, "id": "it"}))])[0]
    for words, (fault, options) in STUCK.items()
}
ENDINGS = ["a reset", "its time is up", "another profile", "it is healed"]


def told(event: str, **more: Any) -> bytes:
    return text(json.dumps({"event": event, "data": "{}", **more}))


def talk(c: Connection) -> None:
    """Say everything that some fault could act on, both ways."""
    ask = json.dumps({"event": "pusher:subscribe", "data": {"channel": "news"}})
    c.send(CLIENT, text(ask, M), text('{"event":"client-typing","channel":"news"}', M), frame(b"?", 9, mask=M))
    subscribed = told("pusher_internal:subscription_succeeded", channel="news")
    c.send(SERVER, told("pusher:connection_established"), subscribed)
    c.send(SERVER, frame(b"?", 9), frame(b"!", 10), *(told("news", channel="news", n=n) for n in range(12)))
    c.send(CLIENT, frame(b"!", 10, mask=M), *(text(f"{n}", M) for n in range(12)))


def end(network: Network, how: str) -> None:
    match how:
        case "a reset":
            network.reset()
        case "another profile":
            network.play(profile(protocol="pusher"))
        case "it is healed":
            network.heal("it")
        case _:
            network.wait_until(network.now + LASTS)


def open_ends(network: Network) -> set[tuple[int, str]]:
    """Strikes on attempts that have neither healed there nor ended with the attempt."""
    begun: set[tuple[int, str]] = set()
    for each in network.told:
        number = each.session.number if each.session else 0
        match each.event:
            case Struck(rule):
                begun.add((number, rule))
            case Healed(rule):
                begun.discard((number, rule))
            case Closed():
                begun = {each for each in begun if each[0] != number}
            case _:
                pass
    return begun


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("case", CASES)
def test_an_end_for_each_begin_and_then_a_clean_byte(case: str, how: str) -> None:
    network = Network(profile(protocol="pusher"))
    live, other = network.open(), network.open()
    talk(live)
    network.add(CASES[case], LASTS if how == "its time is up" else None)
    talk(live)
    new = network.connect() if network.world.is_listening else None
    if new:
        new.send(CLIENT, request())
        if new.is_connected:
            new.send(SERVER, switching())
            talk(new)
    other.fin(SERVER)  # while it is in force
    end(network, how)

    assert network.world.active_rules == [] and network.world.is_listening
    assert [event.change for event in network.events(RuleChanged)] in (["added", "healed"], ["added", "expired"])
    assert [event.is_open for event in network.events(Listening)][-1:] != [False]
    fresh = network.open()
    fresh.send(CLIENT, text("clean", M))
    fresh.send(SERVER, text("clean"))
    assert (fresh.server.stream, fresh.client.stream) == (text("clean", M), text("clean"))
    network.wait(PEERS)
    assert open_ends(network) == set()
    if live.session.state is State.TUNNEL and not live.session.legs[CLIENT].write_ended:
        for side, data in ((SERVER, text("clean")), (CLIENT, text("clean", M))):
            live.send(side, data)
            network.wait(LASTS + SECOND)  # behind what a latency has taken already, in order
            assert payloads(live.peer(side.other).stream)[-1:] == [b"clean"], side
    for c in (live, other, fresh, *([new] if new else [])):
        assert c.is_over or not any(leg.pauses for leg in c.session.legs), "a leg is left unread"


def test_all_faults_strike_in_it_but_those_that_wait() -> None:
    """Without this the one above could be about nothing."""
    idle: list[str] = []
    for name, rule in CASES.items():
        network = Network(profile(protocol="pusher"))
        live, other = network.open(), network.open()
        network.add(rule)
        talk(live)
        new = network.connect() if network.world.is_listening else None
        if new:
            new.send(CLIENT, request())
            if new.is_connected:
                new.send(SERVER, switching())
        other.fin(SERVER)
        if not network.world.tally.strikes:
            idle.append(name)
    assert idle == ["cut_after", "cut_after, never reached"]
