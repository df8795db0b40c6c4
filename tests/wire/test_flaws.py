"""Flaws in a 101: each is one change, and the rest stays as it came."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.wire.flaws import Flaw, is_offered, spoil
from chaosproxy.wire.http import accept_for, parse_request

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
START = b"HTTP/1.1 101 Switching  Protocols"
LINES = [
    b"upGRADE:WebSocket",
    b"Connection:\tkeep-alive, Upgrade ",
    b"X-Odd:  kept ",
    b"Sec-Websocket-Accept:  " + accept_for(KEY) + b"\t",
]
CHOICE = b"sec-websocket-protocol:  graphql-ws "


def head(*lines: bytes, start: bytes = START) -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


@pytest.mark.parametrize(
    ("flaw", "came", "goes"),
    [
        (Flaw.SUBPROTOCOL, LINES, [*LINES, b"Sec-WebSocket-Protocol: x-chaos"]),
        (Flaw.SUBPROTOCOL, [CHOICE, *LINES], [b"sec-websocket-protocol:  x-chaos ", *LINES]),
        (Flaw.EXTENSION, LINES, [*LINES, b"Sec-WebSocket-Extensions: x-chaos"]),
        (Flaw.NO_UPGRADE, LINES, LINES[1:]),
        (Flaw.NO_CONNECTION, LINES, [LINES[0], *LINES[2:]]),
    ],
)
def test_a_flaw_changes_one_line(flaw: Flaw, came: list[bytes], goes: list[bytes]) -> None:
    assert spoil(head(*came), flaw, b"x-chaos") == head(*goes)


def test_a_wrong_accept_has_the_right_length_and_the_same_padding() -> None:
    *before, accept = spoil(head(*LINES), Flaw.ACCEPT, b"").removesuffix(b"\r\n\r\n").split(b"\r\n")

    assert before == [START, *LINES[:-1]]
    assert accept.startswith(b"Sec-Websocket-Accept:  ") and accept.endswith(b"\t")
    value = accept.partition(b":")[2].strip()
    assert value != accept_for(KEY) and len(b64decode(value, validate=True)) == 20


def test_a_wrong_status_keeps_all_headers() -> None:
    assert spoil(head(*LINES), Flaw.STATUS, b"") == head(*LINES, start=b"HTTP/1.1 200 OK")


def test_an_empty_choice_is_filled_in() -> None:
    came = head(b"Sec-WebSocket-Protocol:", *LINES)

    assert spoil(came, Flaw.SUBPROTOCOL, b"x-chaos") == head(b"Sec-WebSocket-Protocol: x-chaos", *LINES)


@given(flaw=st.sampled_from(Flaw), extra=st.lists(st.from_regex(rb"X-[a-z]{1,9}: ?[ -~]{0,20}", fullmatch=True)))
def test_headers_that_a_flaw_does_not_name_stay_whatever_they_are(flaw: Flaw, extra: list[bytes]) -> None:
    spoilt = spoil(head(*extra, *LINES), flaw, b"x-chaos")

    assert spoilt.split(b"\r\n")[1 : len(extra) + 1] == extra
    assert spoilt != head(*extra, *LINES)


@pytest.mark.parametrize(
    ("flaw", "named", "offered"),
    [
        (Flaw.SUBPROTOCOL, b"chat", True),
        (Flaw.SUBPROTOCOL, b"superchat", True),
        (Flaw.SUBPROTOCOL, b"Chat", False),
        (Flaw.SUBPROTOCOL, b"x-chaos", False),
        (Flaw.EXTENSION, b"permessage-deflate; client_no_context_takeover", True),
        (Flaw.EXTENSION, b"Permessage-Deflate", True),
        (Flaw.EXTENSION, b"x-chaos", False),
        (Flaw.ACCEPT, b"x-chaos", False),
    ],
)
def test_what_the_client_has_offered_would_be_no_flaw(flaw: Flaw, named: bytes, offered: bool) -> None:
    request = parse_request(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Protocol: mqtt\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )

    assert is_offered(request, flaw, named) is offered
