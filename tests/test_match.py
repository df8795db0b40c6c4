"""What a rule's conditions take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaosproxy.match import Match
from chaosproxy.protocols import Meaning
from chaosproxy.wire.frames import Opcode, Side, build_frame
from chaosproxy.wire.http import parse_request
from chaosproxy.wire.messages import Message

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


def test_events_and_channels_are_those_of_the_protocol() -> None:
    meaning = Meaning("client-typing", "room-1")

    assert takes(match(event="client-*"), b"{}", meaning)
    assert takes(match(channel="room-?"), b"{}", meaning)
    assert not takes(match(event="client-*", channel="lobby"), b"{}", meaning)
    assert match(event="x").is_of_protocol
    assert not match(opcode="text").is_of_protocol


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
        {"header": {"a": None}},
        {"x": 1},
    ],
)
def test_conditions_that_say_nothing_are_refused(conditions: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        match(**conditions)


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
