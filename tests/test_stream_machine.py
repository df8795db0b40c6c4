"""Opaque connections, live rules, heals and ends from all sides, in random order, against the virtual network.

The network asserts what every action must obey. Here: what arrives is the beginning of what was sent, nothing is lost
while a connection lives, and at the end nothing is left in the world.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chaosproxy.effects import Heal
from chaosproxy.legs import State
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import SIDES, Side
from chaosproxy.world import Options
from tests.virtual import MS, SERVER, Connection, Network, live_rule, profile

SIDE = st.sampled_from(SIDES)
LEG = st.sampled_from(["client", "server", "both"])
OTHER = st.sampled_from(["fin", "reset", "keep"])
HITS = st.sampled_from(["live", "new", "all"])
FAULT = st.one_of(
    st.just(("latency", {"delay": "300ms", "jitter": "100ms"})),
    st.just(("bandwidth", {"rate": "100B/s"})),
    st.just(("slice", {"size": "7B", "variation": "3B", "gap": "20ms"})),
    st.just(("stall", {})),
    st.just(("latency", {"delay": "1s", "at": "accept"})),
    st.builds(lambda by: ("cut_after", {"bytes": "500B", "by": by}), st.sampled_from(["fin", "reset"])),
    st.just(("cut_after", {"age": "2s"})),
    st.builds(lambda leg: ("half_close", {"leg": leg}), st.sampled_from(["client", "server"])),
    st.just(("slow_close", "2s")),
    st.builds(
        lambda sender, hits: ("half_open", {"from": sender, "hits": hits}), st.sampled_from(["client", "server"]), HITS
    ),
    st.just(("hang", {})),
    st.just(("refuse", {})),
    st.just(("reset", {"at": "accept"})),
    st.builds(
        lambda leg, mode, heal, hits: ("half_open", {"leg": leg, "mode": mode, "heal": heal, "hits": hits}),
        LEG,
        st.sampled_from(["freeze", "blackhole"]),
        st.sampled_from(["flush", "reset"]),
        HITS,
    ),
    st.builds(
        lambda name, leg, other, hits: (name, {"leg": leg, "other": other, "hits": hits}),
        st.sampled_from(["fin", "reset"]),
        LEG,
        OTHER,
        HITS,
    ),
)
SENDER = st.sampled_from([None, "client", "server"])
INDEX = st.integers(0, 5)


class Machine(RuleBasedStateMachine):
    network: Network

    @initialize(cap=st.sampled_from([0, 1]), accepts=st.booleans())
    def start(self, cap: int, accepts: bool) -> None:
        options = Options(dials_per_second_max=cap, is_opaque=True)
        self.network = Network(profile(held_bytes_max="1KiB", seed=5), options, accepts_dials=accepts)
        self.sent: dict[tuple[int, Side], bytes] = {}

    def alive(self) -> list[Connection]:
        return [connection for connection in self.network.connections.values() if not connection.is_over]

    @rule()
    def connect(self) -> None:
        if len(self.network.connections) < 5 and self.network.world.is_listening:
            self.network.connect()

    @rule(index=INDEX, side=SIDE, chunks=st.lists(st.binary(min_size=1, max_size=700), min_size=1, max_size=3))
    def send(self, index: int, side: Side, chunks: list[bytes]) -> None:
        alive = self.alive()
        if not alive:
            return
        connection = alive[index % len(alive)]
        peer = connection.peer(side)
        if side is SERVER and not connection.is_connected:
            return
        if not peer.has_ended and not peer.is_gone:
            key = connection.session.number, side
            self.sent[key] = self.sent.get(key, b"") + b"".join(chunks)
            connection.send(side, *chunks)

    @rule(index=INDEX, side=SIDE, how=st.sampled_from(["fin", "fin", "rst"]))
    def end(self, index: int, side: Side, how: str) -> None:
        alive = self.alive()
        if alive:
            connection = alive[index % len(alive)]
            if connection.is_connected or side is not SERVER:
                (connection.fin if how == "fin" else connection.rst)(side)

    @rule(index=INDEX, side=SIDE, is_blocked=st.booleans())
    def block(self, index: int, side: Side, is_blocked: bool) -> None:
        alive = [each for each in self.alive() if each.peer(side).data]  # with nothing sent, nothing is blocked
        if alive:
            alive[index % len(alive)].blocked(side, is_blocked)

    @rule(index=INDEX, error=st.sampled_from(["", "", "connection refused"]))
    def answer_dial(self, index: int, error: str) -> None:
        waiting = [each for each in self.alive() if each.is_dialled and not each.is_answered]
        if waiting and not self.network.accepts_dials:
            waiting[index % len(waiting)].dial_answered(error)

    @rule(fault=FAULT, id=st.sampled_from(["a", "b"]), sender=SENDER)
    def add(self, fault: tuple[str, dict[str, str]], id: str, sender: str | None) -> None:
        name, options = fault
        when = {"from": sender} if sender and name in ("bandwidth", "slice", "stall") else {}
        self.network.add(live_rule(name, options, id=id, when=when))

    @rule(fault=FAULT, index=INDEX)
    def add_for_one(self, fault: tuple[str, dict[str, str]], index: int) -> None:
        if alive := self.alive():
            self.network.add(live_rule(*fault, id="one"), only=[alive[index % len(alive)]])

    @rule(index=INDEX)
    def free(self, index: int) -> None:
        if alive := self.alive():
            chosen = alive[index % len(alive)]
            self.network.free(chosen)
            assert not chosen.session.is_silent

    @rule()
    def reset(self) -> None:
        self.network.reset()

    @rule(id=st.sampled_from(["a", "b"]))
    def heal(self, id: str) -> None:
        if any(bound.id == id for bound in self.network.world.live_rules):
            self.network.heal(id)

    @rule(duration=st.sampled_from([10 * MS, 100 * MS, SECOND, 10 * SECOND]))
    def wait(self, duration: int) -> None:
        self.network.wait(duration)

    @invariant()
    def what_arrives_is_the_beginning_of_what_was_sent(self) -> None:
        for connection in self.network.connections.values():
            for side in SIDES:
                sent = self.sent.get((connection.session.number, side), b"")
                assert sent.startswith(connection.peer(side.other).data)

    @invariant()
    def nothing_is_lost_while_a_connection_lives(self) -> None:
        for connection in self.network.connections.values():
            session = connection.session
            for direction in session.directions if session.state is State.TUNNEL else ():
                arrived = len(connection.peer(direction.side.other).data)
                if direction.gate is not Heal.RESET and not session.legs[direction.side.other].write_ended:
                    assert direction.splitter.bytes == arrived + direction.held

    def teardown(self) -> None:
        for connection in self.alive():
            if connection.is_dialled and not connection.is_answered:
                connection.dial_answered()
        self.network.heal()
        self.network.end_all()


TestStreamMachine = Machine.TestCase
TestStreamMachine.settings = settings(max_examples=60, stateful_step_count=30)
