"""Whatever rules do to a permessage-deflate stream, every message that is delivered decodes, and decodes exactly.

The judge is the `websockets` library's own protocol with its own extension, fed with the bytes that left; it knows
nothing of the code under test. tests/interop/test_compression.py asks another judge, npm's `ws`, through real sockets.
"""

import zlib
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from chaosproxy.events import Struck, Suppressed, Unjudged
from chaosproxy.faults import FAULTS
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import SIDES, Side

from .hurts import MADE, OF_MESSAGES, OF_PACING, OF_TIMING, Rule, on_messages, rules
from .virtual import CLIENT, MS, SERVER, Connection, Network, frame, live_rule, profile

M = b"mask"
TAIL = b"\x00\x00\xff\xff"


class Terms(NamedTuple):
    """What one side's compression was agreed to be."""

    bits: int  # of its window
    takeover: bool

    def of(self, side: Side) -> str:
        name = side.label
        return f"; {name}_max_window_bits={self.bits}" + ("" if self.takeover else f"; {name}_no_context_takeover")

    def compressor(self) -> Any:
        # zlib can't make raw streams of a window of 256 bytes; runs of one byte need no window at all.
        strategy = zlib.Z_RLE if self.bits == 8 else zlib.Z_DEFAULT_STRATEGY
        return zlib.compressobj(wbits=-max(9, self.bits), strategy=strategy)


class Said(NamedTuple):
    """One message and how it is sent."""

    body: bytes
    is_compressed: bool
    fragments: int
    has_ping: bool  # behind each fragment


TERMS = st.builds(Terms, st.integers(8, 15), st.booleans())
AGREED = st.tuples(TERMS, TERMS)
BODIES = st.lists(
    st.sampled_from(["alpha ", "alpha beta ", "gamma" * 9, "", "delta alpha ", "x" * 300, "0123456789" * 70]),
    max_size=4,
).map("".join)
SPEECH = st.lists(
    st.tuples(BODIES, st.sampled_from([True, True, True, False]), st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=12,
).map(lambda said: [Said(f"{at}:{body}".encode(), *how) for at, (body, *how) in enumerate(said)])  # no two are equal
WHENS = st.sampled_from(
    [{}, {"chance": "20%"}, {"chance": "60%"}, {"every": 3}, {"nth": [1, 4]}, {"size": "> 40B"}, {"from": "client"}]
)
MIX = st.lists(
    st.builds(on_messages, st.sampled_from(rules(OF_MESSAGES, OF_TIMING)), WHENS)
    | (st.sampled_from(paced) if (paced := rules(OF_PACING)) else st.nothing()),
    min_size=1,
    max_size=4,
)


def speak(side: Side, said: list[Said], terms: Terms) -> list[bytes]:
    """The frames of each message, as a peer sends them."""
    mask = M if side is CLIENT else b""
    compressor = terms.compressor()
    spoken = []
    for message in said:
        body = message.body
        if message.is_compressed:
            compressor = compressor if terms.takeover else terms.compressor()
            body = (compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        size = len(body) // message.fragments + 1
        parts = [body[at * size : at * size + size] for at in range(message.fragments)]
        frames = b""
        for at, part in enumerate(parts):
            is_last = at == message.fragments - 1
            frames += frame(part, 0 if at else 1, mask=mask, fin=is_last, rsv1=message.is_compressed and not at)
            frames += frame(b"ping", 9, mask=mask) if message.has_ping else b""
        spoken.append(frames)
    return spoken


def understood(stream: bytes, sender: Side, agreed: tuple[Terms, Terms]) -> list[bytes]:
    """The messages in a stream as the receiving side of the library has them."""
    other = agreed[sender.other]
    deflate = PerMessageDeflate(
        remote_no_context_takeover=not agreed[sender].takeover,
        local_no_context_takeover=not other.takeover,
        remote_max_window_bits=agreed[sender].bits,
        local_max_window_bits=max(9, other.bits),  # unused here
    )
    protocol: ClientProtocol | ServerProtocol
    if sender is SERVER:
        protocol = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    else:
        protocol = ServerProtocol(state=OPEN, max_size=None)
    protocol.extensions = [deflate]
    protocol.receive_data(stream)
    assert protocol.parser_exc is None, protocol.parser_exc
    messages: list[bytes] = []
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.CONT:
            messages[-1] += event.data
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY):
            messages.append(bytes(event.data))
    return messages


def opened(network: Network, agreed: tuple[Terms, Terms]) -> Connection:
    terms = "".join(agreed[side].of(side) for side in SIDES)
    return network.open(extension=f"permessage-deflate{terms}")


def chopped(stream: bytes, places: list[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(cuts)]


def is_part_of(part: list[bytes], whole: list[bytes]) -> bool:
    """Whether the one is left when messages are taken out of the other."""
    rest = iter(whole)
    return all(message in rest for message in part)


def check(c: Connection, said: tuple[list[Said], list[Said]], agreed: tuple[Terms, Terms], faults: set[str]) -> None:
    """Every message that was delivered is one that was sent, or made up by a rule; and the accounts are right."""
    struck = c.network.events(Struck)
    for side in SIDES:
        heard = understood(c.peer(side.other).stream, side, agreed)
        bodies = [message.body for message in said[side]]
        made = [body for body in heard if body == MADE.encode()]
        assert set(heard) <= {*bodies, MADE.encode()}
        assert not made or faults & {"inject", "replace"}
        rest = [body for body in heard if body != MADE.encode()]
        if not faults & {"duplicate", "reorder"}:
            assert is_part_of(rest, bodies)
        if not faults & {"duplicate"}:
            assert len(set(rest)) == len(rest)
        if faults <= {"drop", *OF_TIMING, *OF_PACING}:
            lost = {event.message for event in struck if event.fault == "drop" and event.side is side}
            assert heard == [body for at, body in enumerate(bodies, 1) if at not in lost]


class TestAnyMix:
    @given(
        said=st.tuples(SPEECH, SPEECH),
        agreed=AGREED,
        mix=MIX,
        seed=st.integers(0, 9),
        places=st.lists(st.integers(0, 3000), max_size=6),
    )
    @settings(max_examples=300)
    def test_every_message_that_is_delivered_decodes_exactly(
        self,
        said: tuple[list[Said], list[Said]],
        agreed: tuple[Terms, Terms],
        mix: list[Rule],
        seed: int,
        places: list[int],
    ) -> None:
        network = Network(profile(rules=mix, seed=seed))
        c = opened(network, agreed)
        chunks = {side: chopped(b"".join(speak(side, said[side], agreed[side])), places) for side in SIDES}
        for at in range(len(places) + 1):
            for side in SIDES:
                c.send(side, chunks[side][at])
            network.wait(7 * MS)
        network.wait(20 * SECOND)
        check(c, said, agreed, {name for rule in mix for name in rule} - {"when"})

    @given(said=SPEECH, agreed=AGREED, side=st.sampled_from(SIDES), places=st.lists(st.integers(0, 3000), max_size=6))
    def test_an_untouched_stream_is_the_same_to_the_last_byte(
        self, said: list[Said], agreed: tuple[Terms, Terms], side: Side, places: list[int]
    ) -> None:
        """Beside rules that read every message, that strike the other side, or none, or only delay."""
        aside = [on_messages(rule, {"from": side.other.label}) for rule in rules(OF_MESSAGES) if "inject" not in rule]
        idle = [on_messages(rule, {"size": "> 40B", "chance": "0%"}) for rule in rules(OF_MESSAGES)]
        network = Network(profile(rules=[*aside, *idle, {"latency": "5ms", "when": {"size": "> 40B"}}]))
        c = opened(network, agreed)
        # A ping between fragments goes before the message that it interrupts, where messages are put together.
        stream = b"".join(speak(side, [message._replace(has_ping=False) for message in said], agreed[side]))
        c.send(side.other, *speak(side.other, said, agreed[side.other]))
        c.send(side, *chopped(stream, places))
        network.wait(SECOND)
        assert c.peer(side.other).stream == stream


# --- Rules that come and go ----------------------------------------------------------------------------------------

PASSING: list[tuple[str, Any, dict[str, Any]]] = [
    *(
        (name, rule[name], on_messages(rule, when)["when"])
        for rule in rules(OF_MESSAGES)
        for name in rule
        for when in ({}, {"every": 2})
    ),
    ("half_open", {"heal": "discard"}, {}),
    ("half_open", {"heal": "discard", "mode": "freeze", "leg": "client"}, {}),
    ("half_open", {"heal": "flush"}, {}),
    ("latency", "20ms", {"size": "> 0B"}),
]
TRACKED = {"drop": {}, "when": {"opcode": "text", "nth": 1000}}


class TestLive:
    @given(
        said=st.tuples(SPEECH, SPEECH),
        agreed=AGREED,
        passing=st.lists(
            st.tuples(st.sampled_from(PASSING), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=3
        ),
        places=st.lists(st.integers(0, 3000), min_size=6, max_size=6),
        is_tracked=st.booleans(),
    )
    @settings(max_examples=300)
    def test_rules_that_come_and_go_inside_messages_leave_only_what_decodes_exactly(
        self,
        said: tuple[list[Said], list[Said]],
        agreed: tuple[Terms, Terms],
        passing: list[tuple[tuple[str, Any, dict[str, Any]], int, int]],
        places: list[int],
        is_tracked: bool,
    ) -> None:
        network = Network(profile(rules=[TRACKED] if is_tracked else []))
        c = opened(network, agreed)
        chunks = {side: chopped(b"".join(speak(side, said[side], agreed[side])), places) for side in SIDES}
        for at in range(7):
            for number, ((fault, options, when), begin, length) in enumerate(passing):
                if begin + length == at and any(rule.id == f"r{number}" for rule in network.world.live_rules):
                    network.heal(f"r{number}")
                if begin == at and length:
                    network.add(live_rule(fault, options, id=f"r{number}", when=when))
            for side in SIDES:
                c.send(side, chunks[side][at])
            network.wait(7 * MS)
        network.heal()
        network.wait(20 * SECOND)
        faults = {fault for (fault, _, _), _, _ in passing}
        check(c, said, agreed, faults)

    @pytest.mark.parametrize("fault", [name for name in OF_MESSAGES if name in FAULTS and FAULTS[name].is_loss])
    @pytest.mark.parametrize("side", SIDES)
    def test_a_live_rule_can_not_touch_a_stream_that_was_not_followed_and_that_is_said(
        self, fault: str, side: Side
    ) -> None:
        agreed = (Terms(15, True), Terms(15, True))
        said = [Said(f"{at}: alpha beta".encode() * at, True, 1, False) for at in range(9)]
        network = Network(profile())
        c = opened(network, agreed)
        spoken = speak(side, said, agreed[side])
        c.send(side, *spoken[:4])
        network.add(live_rule(fault, OF_MESSAGES[fault][0]))
        c.send(side, *spoken[4:])
        network.wait(SECOND)
        assert c.peer(side.other).stream == b"".join(spoken)
        assert [event.fault for event in network.events(Suppressed)] == [fault]
        assert network.events(Struck) == []
        again = opened(network, agreed)  # new connections are followed
        again.send(side, *spoken)
        network.wait(SECOND)
        assert network.events(Struck) != []
        understood(again.peer(side.other).stream, side, agreed)

    @pytest.mark.parametrize("side", SIDES)
    def test_without_takeover_a_live_rule_acts_on_any_stream(self, side: Side) -> None:
        agreed = (Terms(9, False), Terms(9, False))
        said = [Said(f"{at}: alpha beta".encode() * 9, True, 2, False) for at in range(6)]
        network = Network(profile())
        c = opened(network, agreed)
        spoken = speak(side, said, agreed[side])
        c.send(side, *spoken[:2])
        network.add(live_rule("drop", when={"nth": 2}))
        c.send(side, *spoken[2:])
        heard = understood(c.peer(side.other).stream, side, agreed)
        assert heard == [message.body for at, message in enumerate(said) if at != 3]

    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.parametrize("is_held", [True, False])
    def test_a_message_begun_before_the_rule_passes_whole_and_what_follows_still_decodes(
        self, side: Side, is_held: bool
    ) -> None:
        """Where another rule judges messages all the time, none has begun to leave before it is complete."""
        agreed = (Terms(15, True), Terms(12, True))
        said = [Said(b"alpha beta gamma", True, 3, False), Said(b"alpha beta", True, 1, False)]
        said += [Said(b"alpha beta gamma delta", True, 2, False), Said(b"alpha", True, 1, False)]
        bodies = [message.body for message in said]
        first, *_ = spoken = speak(side, said, agreed[side])
        stream = b"".join(spoken)
        standing = [TRACKED] if is_held else []
        phases = [{"name": "a", "until": "step"}, {"name": "b", "rules": [{"drop": {}, "when": {"nth": 1}}]}]
        for begun in range(len(first) + 1):
            network = Network(profile(*phases, rules=standing))
            c = opened(network, agreed)
            c.send(side, stream[:begun])
            network.step()
            c.send(side, stream[begun:])
            is_judged = not begun or (is_held and begun < len(first))
            heard = understood(c.peer(side.other).stream, side, agreed)
            assert heard == (bodies[1:] if is_judged else [bodies[0], *bodies[2:]]), begun
            is_passed_over = not is_held and 0 < begun < len(first)
            assert network.events(Unjudged) == ([Unjudged(side, 1)] if is_passed_over else []), begun


def test_every_fault_of_loss_is_in_the_mix() -> None:
    assert {name for name, fault in FAULTS.items() if fault.family == "loss"} <= set(OF_MESSAGES)
