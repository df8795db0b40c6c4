import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.demo import frames

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def test_the_welcome_carries_its_data_as_a_string() -> None:
    assert frames.connection_established("583302342.7530955689", 30) == (
        '{"event":"pusher:connection_established",'
        '"data":"{\\"socket_id\\":\\"583302342.7530955689\\",\\"activity_timeout\\":30}"}'
    )


def test_a_pong_carries_an_empty_object() -> None:
    assert frames.pong() == '{"event":"pusher:pong","data":{}}'


def test_an_error_carries_its_data_as_an_object() -> None:
    assert frames.error(4001, "App key nope does not exist.") == (
        '{"event":"pusher:error","data":{"code":4001,"message":"App key nope does not exist."}}'
    )


def test_an_error_about_a_channel_names_it() -> None:
    assert frames.error(4301, "No.", "room") == (
        '{"event":"pusher:error","channel":"room","data":{"code":4301,"message":"No."}}'
    )


def test_a_subscription_succeeds_without_data() -> None:
    assert frames.subscription_succeeded("room") == (
        '{"event":"pusher_internal:subscription_succeeded","channel":"room"}'
    )


def test_a_presence_subscription_succeeds_with_everybody_present_and_what_is_known_of_them() -> None:
    frame = json.loads(frames.presence_succeeded("presence-room", {"ann": {"name": "Ann"}, 7: None}))
    assert frame["data"] == '{"presence":{"ids":["ann",7],"hash":{"ann":{"name":"Ann"}},"count":2}}'


def test_a_refused_subscription_says_why_in_an_object() -> None:
    assert frames.subscription_error("private-room", "AuthError", "The connection is unauthorized.", 401) == (
        '{"event":"pusher:subscription_error","channel":"private-room",'
        '"data":{"type":"AuthError","error":"The connection is unauthorized.","status":401}}'
    )


def test_members_come_and_go_in_strings() -> None:
    assert frames.member_added("presence-room", "bob", {"name": "Bob"}) == (
        '{"event":"pusher_internal:member_added","channel":"presence-room",'
        '"data":"{\\"user_id\\":\\"bob\\",\\"user_info\\":{\\"name\\":\\"Bob\\"}}"}'
    )
    assert frames.member_removed("presence-room", "bob") == (
        '{"event":"pusher_internal:member_removed","channel":"presence-room","data":"{\\"user_id\\":\\"bob\\"}"}'
    )


@given(json_values)
def test_what_is_written_reads_back_the_same(value: frames.Json) -> None:
    assert frames.decode(frames.encode(value)) == value


def test_text_is_not_escaped_but_lone_surrogates_are() -> None:
    assert frames.encode("grün \ud83d") == '"grün \\ud83d"'


def test_an_infinite_number_becomes_null_as_in_a_browser() -> None:
    assert frames.decode("[1e999]") == [None]


@pytest.mark.parametrize(
    "text",
    ["", "{", "NaN", "[-Infinity]", b"\xff", "[" * 65 + "]" * 65, "[" * 100_000, "1" * 5000],
    ids=["empty", "cut", "NaN", "infinity", "not UTF-8", "deep", "very deep", "huge number"],
)
def test_what_could_not_be_written_again_is_not_read(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        frames.decode(text)
