"""JSON Pointers: what they find, what they change, and what they leave alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.wire.messages import Message
from chaosproxy.wire.pointer import (
    JSON_BYTES_MAX,
    MISSING,
    Document,
    Number,
    Pointer,
    is_equal,
    parse_pointer,
    read,
    remove_at,
    rewrite,
    set_at,
    write,
)

# RFC 6901, section 5.
EXAMPLE = json.dumps(
    {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
).encode()


def at(text: str) -> Pointer:
    pointer = parse_pointer(text)
    assert pointer is not None
    return pointer


def found(content: bytes | str, pointer: str) -> Any:
    return Document(content.encode() if isinstance(content, str) else content).get(at(pointer))


def rewritten(content: str, values: dict[str, Any] | None = None, gone: tuple[str, ...] = ()) -> str | None:
    changed = rewrite(
        content.encode(), {at(text): value for text, value in (values or {}).items()}, [at(text) for text in gone]
    )
    return None if changed is None else changed.decode()


class TestFinding:
    @pytest.mark.parametrize(
        ("pointer", "value"),
        [
            ("", json.loads(EXAMPLE)),
            ("/foo", ["bar", "baz"]),
            ("/foo/0", "bar"),
            ("/", 0),
            ("/a~1b", 1),
            ("/c%d", 2),
            ("/e^f", 3),
            ("/g|h", 4),
            ("/i\\j", 5),
            ('/k"l', 6),
            ("/ ", 7),
            ("/m~0n", 8),
        ],
    )
    def test_the_examples_of_the_rfc(self, pointer: str, value: object) -> None:
        assert found(EXAMPLE, pointer) == value

    def test_an_escaped_tilde_does_not_begin_an_escape(self) -> None:
        assert found('{"~1": "here", "/": "there"}', "/~01") == "here"

    @pytest.mark.parametrize("text", ["foo", "#/foo", "/~", "/~2", "/a~", " /a"])
    def test_what_is_no_pointer(self, text: str) -> None:
        assert parse_pointer(text) is None

    @pytest.mark.parametrize(
        "pointer",
        [
            *("/none", "/foo/2", "/foo/-", "/foo/01", "/foo/-1", "/foo/+1", "/foo/ 1", "/foo/x", "/foo/0/x"),
            *("/foo/99999999999999999999", "/a~1b/0"),
        ],
    )
    def test_where_there_is_nothing(self, pointer: str) -> None:
        assert found(EXAMPLE, pointer) is MISSING

    def test_null_is_something(self) -> None:
        assert found('{"a": null}', "/a") is None

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"{", b"{'a': 1}", b'{"a": 1,}', b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1} {}', b'\xff{"a": 1}'),
            *(b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16"), b'{"a": "\n"}', b"[" * 100_000),
        ],
    )
    def test_in_what_is_no_json_there_is_nothing(self, content: bytes) -> None:
        assert found(content, "/a") is MISSING
        assert found(content, "") is MISSING
        assert rewrite(content, {at("/a"): Number("2")}, []) is None

    def test_what_is_too_large_is_not_even_parsed(self) -> None:
        fits = b'{"a": 1}'.ljust(JSON_BYTES_MAX)
        assert found(fits, "/a") == 1
        assert found(fits + b" ", "/a") is MISSING
        assert rewrite(fits + b" ", {at("/a"): Number("2")}, []) is None

    def test_a_message_is_parsed_once_for_all_who_ask(self) -> None:
        message = Message([b"\x81\x00"])
        assert message.document(b"[1]") is message.document(b"[1]")
        assert message.document(b"[1]").value is message.document(b"[1]").value


class TestLookingInside:
    def test_a_string_that_is_an_object_or_an_array_is_looked_into(self) -> None:
        content = json.dumps({"data": json.dumps({"user": {"id": 7}, "list": json.dumps([1, [2]])})})
        assert found(content, "/data/user/id") == 7
        assert found(content, "/data/list/1/0") == 2

    def test_a_pointer_that_ends_at_the_string_finds_the_string(self) -> None:
        assert found(json.dumps({"data": "{}"}), "/data") == "{}"

    def test_the_whole_may_be_such_a_string(self) -> None:
        assert found(json.dumps(json.dumps([5])), "/0") == 5

    @pytest.mark.parametrize("text", ["", "x", "5", '"5"', "{", "[1", "null", "{]"])
    def test_other_strings_have_no_inside(self, text: str) -> None:
        assert found(json.dumps({"data": text}), "/data/0") is MISSING

    def test_changes_in_there_are_written_back_as_a_string(self) -> None:
        content = json.dumps({"event": "e", "data": json.dumps({"activity_timeout": 120, "socket_id": "1.2"})})
        changed = rewritten(content, {"/data/activity_timeout": Number("1")})
        assert changed == '{"event":"e","data":"{\\"activity_timeout\\":1,\\"socket_id\\":\\"1.2\\"}"}'

    def test_and_two_strings_deep(self) -> None:
        content = json.dumps([json.dumps([json.dumps([1])])])
        changed = rewritten(content, {"/0/0/0": True})
        assert changed is not None
        assert json.loads(json.loads(json.loads(changed)[0])[0]) == [True]

    def test_a_string_in_which_nothing_changes_stays_as_it_is(self) -> None:
        content = '{"data": "{ \\"a\\" : 1 }", "b": 2}'
        assert rewritten(content, {"/data/a/x": "new", "/b": Number("3")}) == '{"data":"{ \\"a\\" : 1 }","b":3}'


class TestSetting:
    @pytest.mark.parametrize(
        ("content", "pointer", "value", "expected"),
        [
            ('{"a": 1}', "/a", Number("2"), '{"a":2}'),
            ('{"a": 1}', "/b", "new", '{"a":1,"b":"new"}'),
            ("[1, 2]", "/0", None, "[null,2]"),
            ("[1, 2]", "/-", Number("3"), "[1,2,3]"),
            ("[1, 2]", "/2", Number("3"), "[1,2,3]"),
            ('{"a": {"b": []}}', "/a/b", {"c": [True, Number("1.50")]}, '{"a":{"b":{"c":[true,1.50]}}}'),
            ("[1]", "", {"whole": "new"}, '{"whole":"new"}'),
            ('{"a": 1}', "/a", "1", '{"a":"1"}'),
            ('{"a": 1}', "/a", True, '{"a":true}'),
        ],
    )
    def test_a_value_gets_its_place(self, content: str, pointer: str, value: object, expected: str) -> None:
        assert rewritten(content, {pointer: value}) == expected

    @pytest.mark.parametrize(
        ("content", "pointer"),
        [
            *(("[1]", "/2"), ("[1]", "/x"), ("[1]", "/01"), ('{"a": 1}', "/b/c"), ('{"a": 1}', "/a/b"), ("5", "/a")),
            *(('"text"', "/a"), ('{"a": 7}', "/a")),
        ],
    )
    def test_where_there_is_no_place_or_it_stands_already_nothing_changes(self, content: str, pointer: str) -> None:
        content = content.replace("7", '"new"')
        assert rewritten(content, {pointer: "new"}) is None

    def test_each_value_is_set_where_it_can_be(self) -> None:
        assert rewritten("{}", {"/a/b": "no", "/c": "yes"}) == '{"c":"yes"}'

    def test_the_rest_keeps_its_order_its_characters_and_its_fractions(self) -> None:
        content = '{"z": 1.50, "é\\u00e9": "\\ud83d\\ude00", "a": 1e400, "n": 12345678901234567890123, "x": 0}'
        assert (
            rewritten(content, {"/x": Number("1")})
            == '{"z":1.50,"éé":"😀","a":1e400,"n":12345678901234567890123,"x":1}'
        )

    def test_half_a_surrogate_pair_stays_an_escape(self) -> None:
        content = '{"a": "\\ud800", "data": "{\\"b\\": \\"\\\\udc00\\"}"}'
        changed = rewritten(content, {"/data/c": Number("1")})
        assert changed == '{"a":"\\ud800","data":"{\\"b\\":\\"\\\\udc00\\",\\"c\\":1}"}'


class TestRemoving:
    @pytest.mark.parametrize(
        ("content", "pointer", "expected"),
        [
            ('{"a": 1, "b": 2}', "/a", '{"b":2}'),
            ("[1, 2, 3]", "/1", "[1,3]"),
            ('{"a": "[1, 2]"}', "/a/0", '{"a":"[2]"}'),
            ('{"a": null}', "/a", "{}"),
        ],
    )
    def test_it_is_gone(self, content: str, pointer: str, expected: str) -> None:
        assert rewritten(content, gone=(pointer,)) == expected

    @pytest.mark.parametrize("pointer", ["/b", "/a/b", "/a/0", ""])
    def test_what_is_not_there_can_not_be_removed(self, pointer: str) -> None:
        assert rewritten('{"a": 1}', gone=(pointer,)) is None

    def test_values_are_set_before_others_are_removed(self) -> None:
        assert rewritten('{"a": 1}', {"/b": "new"}, ("/a",)) == '{"b":"new"}'


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, Number("1"), True),
        (1.0, Number("1"), True),
        (1, Number("1.0"), True),
        (0.1, Number("0.1"), True),
        (1, Number("2"), False),
        ("1", Number("1"), False),
        (True, Number("1"), False),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        (None, None, True),
        ("", None, False),
        (MISSING, None, False),
        (True, True, True),
        ("a", "a", True),
    ],
)
def test_scalars_are_equal_by_the_rules_of_json(one: object, other: object, same: bool) -> None:
    assert is_equal(one, other) is same


# --- laws ---

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def escaped(parts: list[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


@given(_JSON)
def test_what_is_written_reads_as_what_was_read(value: Any) -> None:
    assert json.loads(write(read(json.dumps(value).encode()))) == value


@given(_JSON, st.lists(st.text(max_size=3), max_size=3))
def test_every_sequence_of_names_has_a_pointer_that_finds_what_a_walk_finds(value: Any, names: list[str]) -> None:
    whole: Any = value
    for name in reversed(names):
        whole = {name: whole}
    assert found(json.dumps(whole), escaped(names)) == value


@given(_JSON, st.lists(st.text(max_size=3), min_size=1, max_size=3), _SCALARS)
def test_what_was_set_is_found_and_what_was_removed_is_not(value: Any, names: list[str], new: Any) -> None:
    whole: Any = {names[-1]: value}
    for name in reversed(names[:-1]):
        whole = {name: json.dumps(whole)}
    pointer = at(escaped(names))
    wanted = read(json.dumps(new).encode())
    changed, _ = set_at(read(json.dumps(whole).encode()), pointer, wanted)
    written = write(changed).encode()
    assert Document(written).get(pointer) == new
    gone, is_changed = remove_at(read(written), pointer)
    assert is_changed
    assert Document(write(gone).encode()).get(pointer) is MISSING


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()), st.text(alphabet="/~01ab-", max_size=6))
def test_no_bytes_and_no_pointer_raise(content: bytes, text: str) -> None:
    pointer = parse_pointer(text)
    if pointer is not None:
        Document(content).get(pointer)
        rewrite(content, {pointer: "new"}, [pointer])
