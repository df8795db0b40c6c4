"""Connections, phases, live rules, heals, closes and ends from all sides, in random order, against the virtual network.

The network asserts what every action must obey; at the end everything ends and nothing is left in the world.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from chaosproxy.profile import RULES, BoundRule, Profile, bind
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import SIDES
from chaosproxy.world import Options

from .virtual import CLIENT, MS, SERVER, Connection, Network, close_frame, frame, profile, request, switching

LEGS = st.sampled_from(["client", "server", "both"])
MATCHES = st.sampled_from(
    [
        {},
        {"from": "client", "nth": 2},
        {"from": "server", "every": 2},
        {"opcode": "ping"},
        {"chance": "50%"},
        {"first": 1},
        {"size": "> 3B"},
    ]
)
HITS = st.sampled_from(["live", "new", "all"])
PEERS = st.sampled_from(["client", "server"])
BLOWS = st.sampled_from(
    [{"hits": "live"}, {"hits": "new"}, {"hits": "all"}, {"hits": "live", "over": "3s"}, {"hits": "all", "over": "1s"}]
)
ENDS = st.one_of(
    st.builds(lambda leg, other: {"leg": leg, "other": other}, LEGS, st.sampled_from(["fin", "reset", "keep"])),
    st.builds(lambda leg: {"leg": leg, "other": "keep", "keep_for": "7s"}, PEERS),
)
FAULTS = st.one_of(
    st.builds(lambda jitter: {"latency": {"delay": "300ms", "jitter": jitter}}, st.sampled_from(["0s", "100ms"])),
    st.sampled_from(
        [
            {"drop": {}},
            {"bandwidth": {"rate": "100B/s"}},
            {"bandwidth": {"rate": "1kB/s", "burst": "50B", "share": "all"}},
            {"slice": {"size": "3B", "variation": "2B", "gap": "100ms"}},
            {"stall": {}},
            {"duplicate": {"copies": 2, "gap": "300ms"}},
            {"duplicate": {}},
            {"reorder": {"window": 2, "within": "1s"}},
            {"fragment": {"size": "2B"}},
        ]
    ),
    st.builds(
        lambda at, delay: {"latency": {"delay": delay, "at": at}},
        st.sampled_from(["accept", "request", "response", "first_frame"]),
        st.sampled_from(["300ms", "11s"]),
    ),
    st.builds(
        lambda content, to, when: {"inject": {**content, **when, "to": to}},
        st.sampled_from([{"text": "x"}, {"ping": "p"}, {"binary": "00"}]),
        LEGS,
        st.sampled_from([{"hits": "live"}, {"hits": "new"}, {"hits": "all"}, {"interval": "300ms"}]),
    ),
    st.builds(
        lambda whose, mode, heal, hits: {"half_open": {**whose, "mode": mode, "heal": heal, "hits": hits}},
        st.one_of(st.builds(lambda leg: {"leg": leg}, LEGS), st.builds(lambda side: {"from": side}, PEERS)),
        st.sampled_from(["freeze", "blackhole"]),
        st.sampled_from(["flush", "discard", "reset"]),
        HITS,
    ),
    st.sampled_from([{"swallow_ping": {}}, {"swallow_pong": {}}]),
    st.builds(
        lambda to, then, after, hits: {"close": {"code": 3000, "to": to, "then": then, "after_held": after, **hits}},
        LEGS,
        st.sampled_from(["reply", "fin", "reset", "nothing"]),
        st.booleans(),
        BLOWS,
    ),
    st.builds(lambda ends, hits: {"reset": {**ends, **hits}}, ENDS, BLOWS),
    st.builds(lambda ends, hits: {"fin": {**ends, **hits}}, ENDS, BLOWS),
    st.builds(lambda leg, hits: {"half_close": {"leg": leg, **hits}}, PEERS, BLOWS),
    st.builds(lambda hits: {"slow_close": {"delay": "3s", "hits": hits}}, HITS),
    st.builds(
        lambda measure, by, ends: {"cut_after": {**measure, "by": by, **ends}},
        st.sampled_from(
            [{"bytes": "1B"}, {"bytes": "7B"}, {"bytes": "1KiB"}, {"messages": 1}, {"messages": 2}, {"age": "2s"}]
        ),
        st.sampled_from(["reset", "fin"]),
        ENDS,
    ),
)
OPENING = st.sampled_from(
    [
        {"hang": {}},
        {"reject": {"status": 503}},
        {"reset": {"at": "accept"}},
        {"refuse": {}},
        {"bad_accept": {}},
        *({"silent": {"mode": mode, "heal": heal}} for mode in ("freeze", "blackhole") for heal in ("flush", "reset")),
        {"silent": {"heal": "discard"}},
    ]
)
EXTENSIONS = st.sampled_from(["", "permessage-deflate", "x-unknown"])


def _matched(fault: dict[str, object], when: dict[str, object]) -> dict[str, object]:
    made = {**fault, "when": when}
    try:
        RULES[next(iter(fault))].model_validate(made)
    except ValidationError:
        return fault  # they don't go together
    return made


RULE = st.one_of(st.builds(_matched, FAULTS, MATCHES), OPENING)
PHASE = st.builds(
    lambda rules, ends: {**ends, "rules": rules},
    st.lists(RULE, max_size=3),
    st.sampled_from([{"lasts": "1s"}, {"until": "step"}, {"until": {"opened": 1, "within": "2s"}}]),
)
PAYLOADS = st.binary(max_size=6)
TRAFFIC = st.lists(
    st.one_of(
        st.builds(lambda data, fin: (data, 1, fin), PAYLOADS, st.booleans()),
        st.builds(lambda data: (data, 9, True), PAYLOADS),
        st.builds(lambda data: (data, 2, True), st.binary(min_size=200, max_size=300)),
    ),
    min_size=1,
    max_size=3,
)


class Machine(RuleBasedStateMachine):
    network: Network

    @initialize(
        phases=st.lists(PHASE, max_size=3),
        repeat=st.sampled_from([1, "forever"]),
        protocol=st.sampled_from([None, "pusher"]),
        cap=st.sampled_from([0, 2]),
        accepts=st.booleans(),
    )
    def start(self, phases: list[dict[str, object]], repeat: object, protocol: object, cap: int, accepts: bool) -> None:
        for phase in phases:
            if "opened" in str(phase) and any(name in str(phase) for name in ("refuse", "hang", "reject", "accept")):
                phase.update(until="step")  # none can open beside them, and the profile says so
        named = [{"name": f"p{index}", **phase} for index, phase in enumerate(phases)]
        limits = {"held_bytes_max": "1KiB", "judged_bytes_max": "1KiB"}
        starts = "launch" if "refuse" in str(phases) or "accept" in str(phases) else "connection"
        made: Profile = profile(*named, repeat=repeat, protocol=protocol, starts=starts, **limits)
        self.network = Network(made, Options(dials_per_second_max=cap), accepts_dials=accepts)
        self.rests: dict[tuple[int, int], bytes] = {}
        self.is_fragmented: dict[tuple[int, int], bool] = {}
        self.has_drained = False

    def pick(self, index: int) -> Connection | None:
        alive = [c for c in self.network.connections.values() if not c.is_over]
        return alive[index % len(alive)] if alive else None

    @rule()
    def connect(self) -> None:
        if len(self.network.connections) < 6:
            self.network.connect()

    @rule(extension=EXTENSIONS)
    def open(self, extension: str) -> None:
        """A whole handshake, as far as the rules in force let it come."""
        if len(self.network.connections) < 6:
            c = self.network.connect()
            c.send(CLIENT, request())
            if c.is_connected and c.server.data:
                self.rests[c.session.number, 9] = b""
                c.send(SERVER, switching(extension))

    @rule(data=st.data(), extension=EXTENSIONS, made=RULE, traffic=TRAFFIC, keep=st.integers(0, 9))
    def hurt(self, data: st.DataObject, extension: str, made: dict[str, object], traffic: list[Any], keep: int) -> None:
        """Someone talks, a rule comes, and the talk goes on."""
        self.open(extension)
        index, side = data.draw(st.integers(0, 5)), data.draw(st.sampled_from(SIDES))
        self.talk(index, side, traffic, keep)
        self.add_rule(made, "c", None)
        self.talk(index, side, traffic, 0)
        self.talk(index, side.other, traffic, keep)

    @rule(index=st.integers(0, 5), cut=st.integers(0, 200))
    def ask(self, index: int, cut: int) -> None:
        c = self.pick(index)
        if c and not c.session.request:
            head = request()
            c.send(CLIENT, head[:cut])
            if not c.session.request:
                c.send(CLIENT, head[cut:])

    @rule(index=st.integers(0, 5), extension=EXTENSIONS, cut=st.integers(0, 200))
    def answer(self, index: int, extension: str, cut: int) -> None:
        c = self.pick(index)
        if c and c.is_connected and c.server.data != b"" and (c.session.number, 9) not in self.rests:
            self.rests[c.session.number, 9] = b""
            head = switching(extension)
            c.send(SERVER, head[:cut], head[cut:])

    @rule(index=st.integers(0, 5))
    def refuse(self, index: int) -> None:
        c = self.pick(index)
        if c and c.is_connected and c.server.data and (c.session.number, 9) not in self.rests:
            self.rests[c.session.number, 9] = b""
            c.send(SERVER, b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nbo")

    @precondition(lambda self: not self.network.accepts_dials)
    @rule(index=st.integers(0, 5), error=st.sampled_from(["", "", "refused"]))
    def dial_answered(self, index: int, error: str) -> None:
        waiting = [c for c in self.network.connections.values() if c.is_dialled and not c.is_answered]
        if waiting:
            waiting[index % len(waiting)].dial_answered(error)

    @rule(index=st.integers(0, 5), side=st.sampled_from(SIDES), traffic=TRAFFIC, keep=st.integers(0, 9))
    def talk(self, index: int, side: int, traffic: list[tuple[bytes, int, bool]], keep: int) -> None:
        """Frames, of which the last `keep` bytes come later."""
        c = self.pick(index)
        if not c or (side is SERVER and (c.session.number, 9) not in self.rests) or not c.session.request:
            return
        key = (c.session.number, side)
        data = self.rests.get(key, b"")
        for payload, opcode, fin in traffic:
            if opcode != 9 and self.is_fragmented.get(key):
                opcode = 0
            if opcode != 9:
                self.is_fragmented[key] = not fin
            data += frame(payload, opcode, mask=b"mask" if side is CLIENT else b"", fin=fin)
        cut = max(0, len(data) - keep)
        self.rests[key] = data[cut:]
        c.send(SIDES[side], data[:cut])

    @rule(index=st.integers(0, 5), side=st.sampled_from(SIDES))
    def close(self, index: int, side: int) -> None:
        c = self.pick(index)
        if c and c.session.request and not self.rests.get((c.session.number, side)):
            if side is CLIENT or (c.session.number, 9) in self.rests:
                c.send(SIDES[side], close_frame(1000, mask=b"mask" if side is CLIENT else b""))

    @rule(index=st.integers(0, 5), side=st.sampled_from(SIDES))
    def fin(self, index: int, side: int) -> None:
        c = self.pick(index)
        if c and (side is CLIENT or c.is_connected):
            c.fin(SIDES[side])

    @rule(index=st.integers(0, 5), side=st.sampled_from(SIDES))
    def rst(self, index: int, side: int) -> None:
        if c := self.pick(index):
            c.rst(SIDES[side])

    @rule(index=st.integers(0, 5), side=st.sampled_from(SIDES))
    def sweep(self, index: int, side: int) -> None:
        """A leg that is not read is looked at, as the proxy does every now and then."""
        c = self.pick(index)
        peer = c.peer(SIDES[side]) if c else None
        if c and peer and not peer.is_read and peer.outbox and peer.outbox[-1] is None:
            self.network.happen(c, lambda now: c.session.found_ended(SIDES[side], now))
            self.network.run()

    @rule(index=st.integers(0, 5), side=st.sampled_from(SIDES), is_blocked=st.booleans())
    def block(self, index: int, side: int, is_blocked: bool) -> None:
        if c := self.pick(index):
            c.blocked(SIDES[side], is_blocked)

    @rule(made=RULE, name=st.sampled_from("ab"), lasts=st.sampled_from([None, SECOND, 0]))
    def add_rule(self, made: dict[str, object], name: str, lasts: int | None) -> None:
        fault = next(key for key in made if key in RULES)
        bound: BoundRule = bind([("", RULES[fault].model_validate({**made, "id": name}))])[0]
        self.network.add(bound, lasts)

    @rule(made=RULE, name=st.sampled_from("abd"), index=st.integers(0, 5), lasts=st.sampled_from([None, SECOND]))
    def add_rule_for_one(self, made: dict[str, object], name: str, index: int, lasts: int | None) -> None:
        fault = next(key for key in made if key in RULES)
        c = self.pick(index)
        if c and fault != "refuse":
            bound: BoundRule = bind([("", RULES[fault].model_validate({**made, "id": name}))])[0]
            self.network.add(bound, lasts, only=[c])

    @rule()
    def heal(self) -> None:
        self.network.heal()

    @rule(index=st.integers(0, 5))
    def free(self, index: int) -> None:
        if c := self.pick(index):
            self.network.free(c)
            assert not c.session.is_silent, "freed, and still silent"

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        if is_paused:
            self.network.pause()
        else:
            self.network.resume()

    @rule(is_same=st.booleans(), made=RULE)
    def play(self, is_same: bool, made: dict[str, object]) -> None:
        """The profile anew, or another one."""
        if is_same:
            self.network.reset()
        elif "refuse" not in made:
            self.network.play(profile({"name": "other", "rules": [made]}, protocol="pusher", starts="launch"))

    @rule()
    def step(self) -> None:
        self.network.step()

    @rule(duration=st.sampled_from([0, 1, 100 * MS, SECOND, 5 * SECOND, 11 * SECOND]))
    def wait(self, duration: int) -> None:
        self.network.wait(duration)

    @precondition(lambda self: len(self.network.connections) > 3)
    @rule()
    def drain(self) -> None:
        self.network.drain()

    @invariant()
    def what_is_over_is_forgotten(self) -> None:
        over = [c.session.number for c in self.network.connections.values() if c.is_over]
        assert not set(over) & set(self.network.world.sessions)

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        self.network.accepts_dials = True
        self.network.run()
        self.network.end_all()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=30)
TestMachine.pytestmark = [pytest.mark.timeout(600)]  # it takes its time on a busy machine
