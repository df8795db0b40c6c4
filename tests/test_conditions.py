"""Every condition of `when:`, alone and beside every other, on messages that come whole, in fragments or compressed."""

import json
import zlib
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import pytest

from chaosproxy.units import SECOND, Quoted

from .virtual import CLIENT, Network, frame, profile, read_messages

# For each condition, a value that takes the second of two messages, and one that does not.
CONDITIONS: dict[str, tuple[Any, Any]] = {
    "from": ("client", "server"),
    "connection": ("1-2", 2),
    "path": ("/app/*", "/other"),
    "header": ({"X-Tenant": "acme"}, {"X-Tenant": "other"}),
    "opcode": ("text", "binary"),
    "event": ("client-*", "pusher:*"),
    "channel": ("room-?", "lobby"),
    "text": ("h[aeiou]llo", "good ?bye"),
    "json": ({"/data/id": 7, "/event": "client-*"}, {"/data/id": Quoted("7")}),
    "size": ("> 20B", "< 20B"),
    "age": ("1s", "1h"),
    "chance": ("100%", "0%"),
    "nth": (2, 1),
    "every": (2, 3),
    "first": (2, 1),
}
PAIRS = list(combinations(CONDITIONS, 2))
MASK = b"\x01\x02\x03\x04"
MESSAGES = [
    json.dumps({"event": "client-typing", "channel": "room-1", "data": json.dumps({"id": 7, "n": n}), "x": "hallo"})
    for n in ("the first", "the second, and longer")
]
Send = Callable[[bytes], Sequence[bytes]]


def whole(payload: bytes) -> Sequence[bytes]:
    return [frame(payload, mask=MASK)]


def fragmented(payload: bytes) -> Sequence[bytes]:
    return [
        frame(payload[:5], mask=MASK, fin=False),
        frame(payload[5:40], 0, mask=MASK, fin=False),
        frame(b"", 9, mask=MASK),
        frame(payload[40:], 0, mask=MASK),
    ]


def compressing(*, in_fragments: bool) -> Send:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def send(payload: bytes) -> Sequence[bytes]:
        data = (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if not in_fragments:
            return [frame(data, mask=MASK, rsv1=True)]
        return [frame(data[:3], mask=MASK, fin=False, rsv1=True), frame(data[3:], 0, mask=MASK)]

    return send


FORMS: dict[str, Callable[[], Send]] = {
    "whole": lambda: whole,
    "in fragments": lambda: fragmented,
    "compressed": lambda: compressing(in_fragments=False),
    "compressed, in fragments": lambda: compressing(in_fragments=True),
}


def delivered(stream: bytes) -> list[str]:
    """What a receiver makes of a stream in which compressed messages use what came before."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    messages, rest = read_messages(stream)
    assert rest == b""
    texts = [
        inflate.decompress(seen.payload + b"\x00\x00\xff\xff") if seen.first & 0x40 else seen.payload
        for seen in messages
        if seen.opcode == 1
    ]
    return [text.decode() for text in texts]


def takes_the_second(form: str, **when: Any) -> bool:
    """Whether the second message is lost to a rule, and by its strike; everything else must arrive as it was."""
    network = Network(profile(rules=[{"drop": {}, "when": when}], protocol="pusher"))
    extension = "permessage-deflate" if form.startswith("compressed") else ""
    c = network.connect().open("/app/key", extension, ["X-Tenant: acme"])
    network.wait(2 * SECOND)
    send = FORMS[form]()
    for message in MESSAGES:
        c.send(CLIENT, *send(message.encode()))
    arrived = delivered(c.server.stream)
    assert arrived == [message for message in MESSAGES if message in arrived]
    return MESSAGES[1] not in arrived


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_alone(name: str, form: str) -> None:
    takes, does_not = CONDITIONS[name]
    assert takes_the_second(form, **{name: takes})
    assert not takes_the_second(form, **{name: does_not})


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_conditions_take_what_both_take(one: str, other: str) -> None:
    for form in FORMS:
        taken = {
            (is_one, is_other): takes_the_second(
                form, **{one: CONDITIONS[one][not is_one], other: CONDITIONS[other][not is_other]}
            )
            for is_one in (True, False)
            for is_other in (True, False)
        }
        assert taken == {(True, True): True, (True, False): False, (False, True): False, (False, False): False}, form


def test_all_conditions_at_once() -> None:
    every = {name: takes for name, (takes, _) in CONDITIONS.items()}
    for form in FORMS:
        assert takes_the_second(form, **every)
        for name, (_, does_not) in CONDITIONS.items():
            assert not takes_the_second(form, **{**every, name: does_not}), (form, name)


def test_what_can_not_be_read_is_not_taken() -> None:
    network = Network(profile(rules=[{"drop": {}, "when": {"text": "."}}, {"drop": {}, "when": {"json": {"/a": 1}}}]))
    c = network.open(extension="x-private")
    c.send(CLIENT, frame(b'{"a": 1}', mask=MASK))
    assert c.server.stream == frame(b'{"a": 1}', mask=MASK)
