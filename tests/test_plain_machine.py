"""Plain requests, upgrades behind them, half-opens, delays and ends of kept legs in random order, between honest peers.

The network asserts what every action must obey. Here: whatever the order, each byte of a request reaches the upstream
once, and each answer the client, in order; none is lost but to a peer that ends, and at the end nothing is left.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaosproxy.legs import State
from chaosproxy.units import SECOND
from chaosproxy.world import Options

from .test_plain_http import CHUNKED, answers, asks, chunked
from .virtual import CLIENT, MS, SERVER, Connection, Network, live_rule, profile, request, switching, text

HTTP = {"request": "http"}
RULES = st.one_of(
    st.builds(
        lambda whose, mode, hits: ("half_open", {**whose, "mode": mode, "hits": hits}, {}),
        st.sampled_from(
            [*({"leg": leg} for leg in ("client", "server", "both")), {"from": "client"}, {"from": "server"}]
        ),
        st.sampled_from(["freeze", "blackhole"]),
        st.sampled_from(["live", "new", "all"]),
    ),
    st.sampled_from(
        [
            ("latency", {"delay": "300ms"}, HTTP),
            ("latency", {"delay": "1s"}, {**HTTP, "every": 2}),
            ("latency", {"delay": "300ms", "at": "request"}, {}),
            ("latency", {"delay": "300ms", "at": "response"}, {}),
            ("latency", {"delay": "300ms"}, {}),
        ]
    ),
)
INDEX = st.integers(0, 3)
KINDS = st.sampled_from(["get", "head", "post", "chunked", "upgrade"])


class Talk:
    """What one client sends, and what its upstream answers."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.plan = b""  # of the client, to be sent yet
        self.asked: list[tuple[str, int, int]] = []  # each with the ends of its head and of its body
        self.planned = 0
        self.sent = b""
        self.answered: list[bytes] = []
        self.rest = b""  # of the answer begun
        self.has_client_ended = False

    def ask(self, kind: str) -> None:
        number = len(self.asked)
        match kind:
            case "post":
                raw = asks(f"/{number}", method="POST", body=b"hello" * 10)
            case "chunked":
                raw = asks(f"/{number}", CHUNKED, method="POST") + chunked(b"abc", b"defg", trailers=b"T: 1\r\n")
            case "upgrade":
                raw = request(f"/{number}")
            case _:
                raw = asks(f"/{number}", method=kind.upper())
        self.asked.append((kind, self.planned + raw.index(b"\r\n\r\n") + 4, self.planned + len(raw)))
        self.planned += len(raw)
        self.plan += raw

    @property
    def is_upgraded(self) -> bool:
        return bool(self.asked) and self.asked[-1][0] == "upgrade"

    @property
    def is_mid_head(self) -> bool:
        begins = [0, *(end for _, _, end in self.asked)]
        return any(begin <= len(self.sent) < head for begin, (_, head, _) in zip(begins, self.asked, strict=False))

    def send(self, keep: int = 0) -> None:
        cut = max(0, len(self.plan) - keep)
        data, self.plan = self.plan[:cut], self.plan[cut:]
        self.sent += data
        self.connection.send(CLIENT, data)

    @property
    def arrived(self) -> bytes:
        """At the upstream, over all legs."""
        legs = (*self.connection.past_servers, self.connection.server)
        return b"".join(leg.data for leg in legs)

    def answer(self, shape: int, keep: int) -> None:
        """The upstream goes on with its answer, or begins with the next as soon as it has the head of a request."""
        data, self.rest = self.rest, b""
        number = len(self.answered)
        if not data and number < len(self.asked) and len(self.arrived) >= self.asked[number][1]:
            data = self._answer_to(number, shape)
            self.answered.append(data)
        elif not data and self.is_open:
            data = text(b"%d" % shape)
            self.answered.append(data)
        cut = max(0, len(data) - keep)
        self.rest = data[cut:]
        self.connection.send(SERVER, data[:cut])

    def _answer_to(self, number: int, shape: int) -> bytes:
        kind = self.asked[number][0]
        if kind == "upgrade":
            return switching() + text("welcome")
        if kind == "head":
            return answers(b"", "Content-Length: 7", length=False)
        body = b"answer %d" % number
        shapes = [
            answers(body),
            answers(b"", CHUNKED, length=False) + chunked(body[:3], body[3:]),
            b"HTTP/1.1 100 Continue\r\n\r\n" + answers(body),
            answers(b"", status=204, length=False),
        ]
        return shapes[shape % len(shapes)]

    @property
    def is_open(self) -> bool:
        """Whether the upstream has accepted the upgrade."""
        return self.is_upgraded and len(self.answered) >= len(self.asked)

    @property
    def is_idle(self) -> bool:
        """Whether the upstream has answered all that came on this leg, and nothing is under way to the client."""
        c = self.connection
        if self.is_open or self.rest or not c.is_connected or not c.server.data:
            return False
        ends = [0, *(end for _, _, end in self.asked)]
        return len(self.arrived) == ends[len(self.answered)] and c.client.data == b"".join(self.answered)


class Machine(RuleBasedStateMachine):
    network: Network

    @initialize(cap=st.sampled_from([0, 2]), accepts=st.booleans())
    def start(self, cap: int, accepts: bool) -> None:
        self.network = Network(profile(), Options(dials_per_second_max=cap), accepts_dials=accepts)
        self.talks: list[Talk] = []
        self.blocked: set[tuple[int, Any]] = set()

    def pick(self, index: int) -> Talk | None:
        return self.talks[index % len(self.talks)] if self.talks else None

    @rule(kind=KINDS, keep=st.integers(0, 30))
    def connect(self, kind: str, keep: int) -> None:
        if len(self.talks) < 4:
            self.talks.append(Talk(self.network.connect()))
            self.ask(len(self.talks) - 1, kind, keep)

    @rule(index=INDEX, kind=KINDS, keep=st.integers(0, 30))
    def ask(self, index: int, kind: str, keep: int) -> None:
        talk = self.pick(index)
        if talk and not talk.has_client_ended and not talk.is_upgraded:
            talk.ask(kind)
            talk.send(keep)

    @rule(index=INDEX, size=st.integers(1, 40), keep=st.integers(0, 9))
    def say(self, index: int, size: int, keep: int) -> None:
        """The client goes on: with its request, or with messages, if it has asked for a tunnel."""
        if talk := self.pick(index):
            if talk.is_upgraded and not talk.has_client_ended:
                talk.plan += text(b"x" * size, b"mask")
            talk.send(keep)

    @rule(index=INDEX, shape=st.integers(0, 3), keep=st.integers(0, 30))
    def answer(self, index: int, shape: int, keep: int) -> None:
        talk = self.pick(index)
        if talk and talk.connection.is_connected:
            talk.answer(shape, keep)

    @rule(index=INDEX, how=st.sampled_from(["fin", "rst", "say"]))
    def end_kept(self, index: int, how: str) -> None:
        """The upstream ends a leg on which it has answered everything, or says why it is about to."""
        talk = self.pick(index)
        if talk and talk.is_idle and talk.connection.server.is_read:
            match how:
                case "fin":
                    talk.connection.fin(SERVER)
                case "rst":
                    talk.connection.rst(SERVER)
                case _:
                    talk.connection.send(SERVER, answers(b"", status=408))

    @rule(index=INDEX)
    def end_client(self, index: int) -> None:
        """The client has nothing more to ask, and waits for its answers."""
        talk = self.pick(index)
        if talk and not talk.plan and not talk.is_upgraded:
            talk.has_client_ended = True
            talk.connection.fin(CLIENT)

    @precondition(lambda self: not self.network.accepts_dials)
    @rule()
    def dial_answered(self) -> None:
        for talk in self.talks:
            if talk.connection.is_dialled and not talk.connection.is_answered:
                talk.connection.dial_answered()
                return

    @rule(index=INDEX, side=st.sampled_from([CLIENT, SERVER]))
    def block(self, index: int, side: Any) -> None:
        if talk := self.pick(index):
            talk.connection.blocked(side, True)
            self.blocked.add((self.talks.index(talk), side))

    def _unblock(self) -> None:
        for index, side in self.blocked:
            self.talks[index].connection.blocked(side, False)
        self.blocked.clear()

    @rule()
    def unblock(self) -> None:
        self._unblock()

    @rule(made=RULES, name=st.sampled_from("abc"), lasts=st.sampled_from([None, SECOND]))
    def hurt(self, made: tuple[str, dict[str, Any], dict[str, Any]], name: str, lasts: int | None) -> None:
        fault, options, when = made
        self.network.add(live_rule(fault, options, id=name, when=when), lasts)

    @rule(made=RULES, index=INDEX)
    def hurt_one(self, made: tuple[str, dict[str, Any], dict[str, Any]], index: int) -> None:
        if talk := self.pick(index):
            self.network.add(live_rule(made[0], made[1], id="d", when=made[2]), only=[talk.connection])

    @rule(index=INDEX)
    def free(self, index: int) -> None:
        if talk := self.pick(index):
            self.network.free(talk.connection)
            assert not talk.connection.session.is_silent

    @rule()
    def reset(self) -> None:
        self.network.reset()

    @rule(name=st.sampled_from(["a", "b", "c", None]))
    def heal(self, name: str | None) -> None:
        if name is None or name in {rule.id for rule in self.network.world.live_rules}:
            self.network.heal(name)

    @rule(duration=st.sampled_from([100 * MS, SECOND]))
    def wait(self, duration: int) -> None:
        for talk in self.talks:
            if talk.is_mid_head:
                talk.send()  # within its ten seconds
        self.network.wait(duration)

    @invariant()
    def each_byte_once_and_in_order(self) -> None:
        for talk in getattr(self, "talks", []):
            assert talk.sent.startswith(talk.arrived)
            assert b"".join(talk.answered).startswith(talk.connection.client.data)

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        network = self.network
        network.accepts_dials = True
        network.run()
        network.heal()
        self._unblock()
        for _ in range(3 + max((len(talk.asked) for talk in self.talks), default=0)):
            for talk in self.talks:
                talk.send()
                if talk.connection.is_connected:
                    talk.answer(0, 0)
            network.wait(SECOND)
        for talk in self.talks:
            assert len(talk.answered) >= len(talk.asked)
            assert talk.arrived == talk.sent
            assert talk.connection.client.data == b"".join(talk.answered)
            assert not talk.is_upgraded or talk.connection.session.state is State.TUNNEL
        network.end_all()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=40)
TestMachine.pytestmark = [pytest.mark.timeout(600)]  # it takes its time on a busy machine
