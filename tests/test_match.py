"""What a rule's conditions take."""

import gc
from collections.abc import Callable
from hashlib import shake_128
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaosproxy.match import SEARCHED_BYTES_MAX, Match
from chaosproxy.protocols import Meaning
from chaosproxy.units import Quoted
from chaosproxy.wire.frames import Opcode, Side, build_frame
from chaosproxy.wire.http import parse_request
from chaosproxy.wire.messages import Message
from chaosproxy.wire.pointer import JSON_BYTES_MAX

REQUEST = parse_request(
    b"GET /app/key?token=x HTTP/1.1\r\nHost: h\r\nX-Tenant: acme-7\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
NOTHING = Meaning()


def match(**conditions: object) -> Match:
    return Match.model_validate(conditions)


def text(payload: bytes, opcode: int = Opcode.TEXT) -> Message:
    return Message([build_frame(opcode, payload)])


def takes(when: Match, payload: bytes | None, meaning: Meaning = NOTHING, opcode: int = Opcode.TEXT) -> bool:
    return when.takes_content(text(payload or b"", opcode), payload, meaning)


def test_no_conditions_take_every_connection_and_every_data_message() -> None:
    assert match().takes_connection(1, REQUEST)
    assert takes(match(), b"hello")
    assert takes(match(), None)
    assert not match().reads_content
    assert not match().names_messages


def test_control_frames_are_taken_only_where_they_are_named() -> None:
    assert not takes(match(), b"", opcode=Opcode.PING)
    assert takes(match(opcode="ping"), b"", opcode=Opcode.PING)
    assert not takes(match(opcode=["ping", "pong"]), b"hello")


def test_a_sender_is_a_side() -> None:
    assert match(**{"from": "client"}).takes_side(Side.CLIENT)
    assert not match(**{"from": "client"}).takes_side(Side.SERVER)
    assert match().takes_side(Side.SERVER)


def test_connections_are_picked_by_number() -> None:
    picked = [number for number in range(1, 6) if match(connection="2-3").takes_connection(number, REQUEST)]
    onwards = [number for number in range(1, 6) if match(connection="4-").takes_connection(number, REQUEST)]

    assert (picked, onwards) == ([2, 3], [4, 5])


def test_headers_are_found_in_any_case_and_all_must_fit() -> None:
    assert match(header={"x-tenant": "acme-*"}).takes_connection(1, REQUEST)
    assert not match(header={"x-tenant": "acme-*", "host": "other"}).takes_connection(1, REQUEST)
    assert not match(header={"x-missing": "*"}).takes_connection(1, REQUEST)


def test_paths_take_wildcards_and_nothing_else() -> None:
    assert match(path="/app/*").takes_connection(1, REQUEST)
    assert not match(path="/app/").takes_connection(1, REQUEST)
    assert not match(path="/app/[k]ey*").takes_connection(1, REQUEST)


def test_sizes_are_compared() -> None:
    sizes = {
        rule: [size for size in (1, 2, 3) if takes(match(size=rule), b"x" * size)] for rule in ("2B", "<2B", ">= 2B")
    }

    assert sizes == {"2B": [2], "<2B": [1], ">= 2B": [2, 3]}


def test_what_cannot_be_read_has_no_size() -> None:
    assert not takes(match(size=">= 0B"), None)


def test_a_text_is_searched_in_text_messages_only() -> None:
    assert takes(match(text="b+c$"), b"abbc")
    assert not takes(match(text="b+c$"), b"abbcd")
    assert takes(match(text="(?i)É|x"), "école é".encode())
    assert not takes(match(text="b"), b"abc", opcode=Opcode.BINARY)
    assert not takes(match(text="b", opcode="ping"), b"abc", opcode=Opcode.PING)
    assert not takes(match(text="b"), None)


def test_a_text_that_is_not_utf8_is_searched_all_the_same() -> None:
    assert takes(match(text="b"), b"\xffb\xfe")
    assert not takes(match(text="^.b"), b"\xffb")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(?=a)", r"as RE2 has it, without look-around or back-references \(invalid perl operator: \(\?="),
        (r"(a)\1", r"back-references \(invalid escape sequence"),
        ("(", "missing \\)"),
        ("\ud800", "half a surrogate pair"),
        ("", "not an empty one"),
        ("a{150}", "at most 150 steps"),
        (r"\pL", "at most 150 steps"),
        ("(((a{99}){99}){99}){99}", "RE2"),
    ],
)
def test_a_pattern_that_can_not_be_searched_in_bounded_time_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        match(text=text)


def test_the_longer_a_pattern_the_shorter_the_messages_it_is_searched_in() -> None:
    def takes_size(pattern: str, size: int) -> bool:
        return takes(match(text=pattern), b"x" * size)

    assert takes_size("x" * 145, 32 * 1024)
    assert not takes_size("x" * 145, 35 * 1024)
    assert takes_size("x", SEARCHED_BYTES_MAX)
    assert not takes_size("x", SEARCHED_BYTES_MAX + 1)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|b)*a(a|b){130}c", "[ab]*a[ab]{140}c", "(a{0,25})*a{0,40}c", ".*a.{16}c", "(a?){70}c"]
)
@pytest.mark.parametrize("letters", ["a", "ab", "aab"])
def test_no_pattern_holds_the_loop_for_long_whatever_the_text(pattern: str, letters: str) -> None:
    # Letters by a hash: nothing repeats, so that a search can profit from nothing it has seen.
    size = 64 * 1024
    bits = "".join(letters[byte % len(letters)] for byte in shake_128(b"seed").digest(size))
    when = match(text=pattern)
    for text in (bits[: 32 * 1024], bits, bits[: size // 2] + "!", "a" * size + "b"):
        content = text.encode()
        took = min(cpu_seconds(lambda: takes(when, content)) for _ in range(3))  # noqa: B023
        assert took < 0.1


def cpu_seconds(act: Callable[[], object]) -> float:
    """How long it keeps a processor busy, whatever else the machine does."""
    gc.freeze()  # what other tests have left behind is not to be looked through for garbage
    try:
        began = thread_time()
        act()
        return thread_time() - began
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("item", ["[]", "{}", "1", "1.5", '{"id":1,"name":"x"}', '"[1,2]"'])
def test_no_json_holds_the_loop_for_long_whatever_its_size(item: str) -> None:
    when = match(json={"/0/id": "7"})
    for size in (JSON_BYTES_MAX, 16 * 1024 * 1024):
        content = ("[" + ",".join([item] * ((size - 2) // (len(item) + 1))) + "]").encode()
        assert min(cpu_seconds(lambda: takes(when, content)) for _ in range(3)) < 0.1  # noqa: B023


def test_json_is_compared_by_its_own_rules_and_texts_by_wildcards() -> None:
    content = (
        b'{"id": 7, "name": "room-1", "data": "{\\"ok\\": true, \\"none\\": null, \\"list\\": [1, 2.5]}", "n": "7"}'
    )

    def found(**conditions: object) -> bool:
        return takes(match(json={pointer.replace("_", "/"): value for pointer, value in conditions.items()}), content)

    assert found(_id="7", _name="room-*")
    assert found(_id="7.0")
    assert found(_data_ok="true", _data_none=None, _data_list_1="2.5")
    assert found(_n=Quoted("7"))
    assert found(_data="*ok*")
    assert not found(_id=Quoted("7"))
    assert not found(_n="7")
    assert not found(_id="*")
    assert not found(_id="7", _name="lobby")
    assert not found(_missing=None)
    assert not found(_data_ok=Quoted("true"))


def test_json_is_looked_for_in_binary_messages_too_and_in_nothing_unreadable() -> None:
    assert takes(match(json={"/a": "1"}), b'{"a": 1}', opcode=Opcode.BINARY)
    assert not takes(match(json={"/a": "1"}), None)
    assert not takes(match(json={"/a": "1"}), b'{"a": 1')


def test_a_literal_wildcard_character_takes_any_and_a_bracket_itself() -> None:
    assert takes(match(json={"/a": "a?c[d]"}), b'{"a": "abc[d]"}')
    assert not takes(match(json={"/a": "a[b]"}), b'{"a": "ab"}')


@pytest.mark.parametrize("key", ["event", "channel", "text", "json", "size"])
def test_conditions_on_what_a_message_says_need_its_content(key: str) -> None:
    value: object = {"/a": "1"} if key == "json" else "1B"

    assert match(**{key: value}).needs_content
    assert match(**{key: value}).reads_content
    assert match(**{key: value}).names_messages


def test_an_opcode_needs_no_content_but_a_whole_message() -> None:
    assert not match(opcode="text").needs_content
    assert match(opcode="text").reads_content


def test_events_and_channels_are_those_of_the_protocol() -> None:
    meaning = Meaning("client-typing", "room-1")

    assert takes(match(event="client-*"), b"{}", meaning)
    assert takes(match(channel="room-?"), b"{}", meaning)
    assert not takes(match(event="client-*", channel="lobby"), b"{}", meaning)
    assert match(event="x").given("event", "channel") == ["event"]
    assert not match(opcode="text").given("event", "channel")


def test_ordinals_are_picked_by_nth_every_and_first() -> None:
    def picked(**conditions: object) -> list[int]:
        return [ordinal for ordinal in range(1, 8) if match(**conditions).takes_ordinal(ordinal)]

    assert picked(nth=3) == [3]
    assert picked(nth=[2, 5]) == [2, 5]
    assert picked(every=3) == [3, 6]
    assert picked(first=2) == [1, 2]
    assert picked(every=2, first=4) == [2, 4]


def test_the_keys_that_are_given_are_those_that_users_write() -> None:
    assert match(**{"from": "client", "nth": 1}).given("sender", "age", "nth") == ["from", "nth"]


@given(st.text(alphabet="ab*?[]", max_size=12), st.text(alphabet="ab[]", max_size=12))
def test_a_pattern_takes_what_a_simple_walk_takes(pattern: str, name: str) -> None:
    def walk(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return walk(pattern[1:], name) or bool(name and walk(pattern, name[1:]))
        return bool(name) and pattern[0] in ("?", name[0]) and walk(pattern[1:], name[1:])

    assert takes(match(event=pattern), b"", Meaning(name)) == walk(pattern, name)


@pytest.mark.parametrize(
    "conditions",
    [
        {"opcode": []},
        {"nth": []},
        {"nth": 0},
        {"every": 0},
        {"first": 0},
        {"size": "big"},
        {"json": {}},
        {"json": {"a": "1"}},
        {"json": {"/a": []}},
        {"json": {"/a": "yes"}},
        {"text": 1},
        {"header": {"a": None}},
        {"x": 1},
    ],
)
def test_conditions_that_say_nothing_are_refused(conditions: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        match(**conditions)


class TestConditionsOfAFault:
    def test_they_are_added_where_none_are_given(self) -> None:
        plain = Match.model_validate({"from": "client"})
        assert not plain.reads_content
        joined = plain.joined_by({"opcode": ("pong",)})
        assert joined == Match.model_validate({"from": "client", "opcode": "pong"})
        assert joined.reads_content and joined.takes_opcode(10) and not joined.takes_opcode(1)

    def test_what_a_rule_says_itself_holds(self) -> None:
        given = Match.model_validate({"nth": 2})
        assert given.joined_by({"nth": (3,)}) is given
        assert given.joined_by({}) is given


PLAIN = parse_request(b"POST /apps/1/events HTTP/1.1\r\nHost: h\r\nX-Tenant: acme-7\r\n\r\n")


@pytest.mark.parametrize(
    ("conditions", "takes_upgrades", "takes_plain"),
    [
        ({}, True, False),
        ({"request": "websocket"}, True, False),
        ({"request": "http"}, False, True),
        ({"request": "any"}, True, True),
    ],
)
def test_a_kind_of_request_is_named_or_it_is_an_upgrade(
    conditions: dict[str, str], takes_upgrades: bool, takes_plain: bool
) -> None:
    when = match(**conditions)

    assert (when.takes_connection(1, REQUEST), when.takes_request(PLAIN)) == (takes_upgrades, takes_plain)


def test_plain_requests_are_picked_by_path_and_header() -> None:
    assert match(request="http", path="/apps/*", header={"x-tenant": "acme-*"}).takes_request(PLAIN)
    assert not match(request="http", path="/auth").takes_request(PLAIN)
    assert not match(request="any", header={"x-tenant": "other"}).takes_request(PLAIN)


def test_naming_what_holds_anyway_changes_nothing() -> None:
    assert match(request="websocket") == match()
    assert match(request="any").is_of_all
    assert not match(request="http").is_of_all
