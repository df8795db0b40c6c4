import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.demo.messages import (
    ClientEvent,
    Malformed,
    Message,
    Ping,
    Signin,
    Subscribe,
    Unknown,
    Unsubscribe,
    read,
    read_user_id,
)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"event": "pusher:ping", "data": {}}, Ping()),
        ({"event": "pusher:ping"}, Ping()),
        ({"event": "pusher:subscribe", "data": {"auth": "", "channel": "pub"}}, Subscribe("pub", "", None)),
        (
            {"event": "pusher:subscribe", "data": {"auth": "k:s", "channel": "presence-a", "channel_data": "{}"}},
            Subscribe("presence-a", "k:s", "{}"),
        ),
        ({"event": "pusher:subscribe", "data": {"auth": 7, "channel": "a"}}, Subscribe("a", "", None)),
        ({"event": "pusher:unsubscribe", "data": {"channel": "pub"}}, Unsubscribe("pub")),
        ({"event": "pusher:signin", "data": {"auth": "k:s", "user_data": "{}"}}, Signin("k:s", "{}")),
        ({"event": "pusher:signin", "data": {"auth": "k:s"}}, Signin("", "")),
        ({"event": "pusher:signin"}, Signin("", "")),
        ({"event": "client-a", "channel": "private-a", "data": [1]}, ClientEvent("client-a", "private-a", [1])),
        ({"event": "client-a", "channel": "private-a"}, ClientEvent("client-a", "private-a", None)),
    ],
)
def test_what_the_protocol_knows_is_understood(frame: object, message: Message) -> None:
    assert read(json.dumps(frame)) == message
    assert read(json.dumps(frame).encode()) == message


@pytest.mark.parametrize(
    "frame",
    [
        {"event": "pusher:subscribe"},
        {"event": "pusher:subscribe", "data": '{"channel":"a"}'},
        {"event": "pusher:subscribe", "data": {"channel": 7}},
        {"event": "pusher:unsubscribe", "data": None},
        {"event": "client-a", "data": {}},
    ],
)
def test_a_known_event_without_what_it_needs_is_malformed(frame: object) -> None:
    assert isinstance(read(json.dumps(frame)), Malformed)


@pytest.mark.parametrize("frame", [[], 7, None, "text", {}, {"event": 7}, {"event": "pusher:other"}])
def test_everything_else_is_unknown(frame: object) -> None:
    assert read(json.dumps(frame)) == Unknown()


@pytest.mark.parametrize(
    ("user_data", "user_id"),
    [('{"id":"ann"}', "ann"), ('{"id":7}', "7"), ('{"id":""}', None), ("{}", None), ("[]", None), ("no JSON", None)],
)
def test_a_users_id_is_a_text_or_a_number(user_data: str, user_id: str | None) -> None:
    assert read_user_id(user_data) == user_id


@given(st.binary() | st.text())
def test_no_frame_is_too_odd_to_read(frame: str | bytes) -> None:
    assert read(frame) is not None
