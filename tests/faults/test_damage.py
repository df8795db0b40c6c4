"""Corrupt, truncate, replace and rewrite: what becomes of one message."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaosproxy.faults import Delivery, Dice, Fault
from chaosproxy.faults.damage import COUNT_MAX, Corrupt, Replace, Rewrite, Truncate
from chaosproxy.units import Quoted
from chaosproxy.wire.frames import Opcode, build_frame
from chaosproxy.wire.messages import Message
from chaosproxy.wire.pointer import JSON_BYTES_MAX

TEXT, BINARY, PING = Opcode.TEXT, Opcode.BINARY, Opcode.PING


def thrown(seed: int = 0, ordinal: int = 1) -> Dice:
    dice = Dice(seed, ("rule",))
    dice.ordinal = ordinal
    return dice


def delivery(content: bytes | None, opcode: int = TEXT) -> Delivery:
    return Delivery(5, Message([build_frame(opcode, content or b"?")]), content)


def changed(fault: Fault, content: bytes | None, opcode: int = TEXT, seed: int = 0) -> tuple[bytes, int] | None:
    """The payload and opcode that a message leaves with; None where it leaves as it came."""
    before = delivery(content, opcode)
    (after,) = fault.apply(before, thrown(seed))
    if after == before:
        return None
    assert (after.due, after.message, after.content) == (before.due, before.message, before.content)
    assert after.payload is not None
    return after.payload, opcode if after.opcode is None else after.opcode


def said(fault: Fault, content: bytes, opcode: int = TEXT, seed: int = 0) -> bytes:
    """What a message says that must have been changed, and kept its opcode."""
    after = changed(fault, content, opcode, seed)
    assert after is not None and after[1] == opcode
    return after[0]


def corrupt(kind: str, count: int = 1) -> Corrupt:
    return Corrupt.model_validate({"kind": kind, "count": count})


def bits_that_differ(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@pytest.mark.parametrize(
    "fault",
    [
        *(corrupt(kind) for kind in ("bits", "bytes", "json", "utf8")),
        Truncate.model_validate({"keep": "0%"}),
        Replace(text="x"),
        Rewrite.model_validate({"remove": "/a"}),
    ],
    ids=repr,
)
class TestAny:
    def test_what_can_not_be_read_passes_as_it_came(self, fault: Fault) -> None:
        assert changed(fault, None) is None

    def test_what_an_earlier_rule_has_made_is_what_is_changed(self, fault: Fault) -> None:
        before = delivery(b"\xff" * 10, BINARY)._replace(payload=b'{"a": 1, "b": 2}', opcode=TEXT)
        (after,) = fault.apply(before, thrown())
        assert after.payload == said(fault, b'{"a": 1, "b": 2}')
        assert after.opcode == TEXT

    def test_a_control_frame_stays_one(self, fault: Fault) -> None:
        after = changed(fault, b'{"a": 1}', PING)
        assert after is None or (after[1] == PING and len(after[0]) <= 125)

    def test_only_a_change_counts_as_a_strike(self, fault: Fault) -> None:
        assert fault.may_miss


class TestCorrupt:
    @given(st.binary(min_size=1), st.integers(1, 50), st.integers(0, 99))
    def test_so_many_bits_are_flipped(self, content: bytes, count: int, seed: int) -> None:
        after = said(corrupt("bits", count), content, BINARY, seed)
        assert bits_that_differ(after, content) == min(count, 8 * len(content))

    @given(st.binary(min_size=1), st.integers(1, 50), st.integers(0, 99))
    def test_so_many_bytes_become_others(self, content: bytes, count: int, seed: int) -> None:
        after = said(corrupt("bytes", count), content, BINARY, seed)
        assert len(after) == len(content)
        assert sum(one != other for one, other in zip(after, content, strict=True)) == min(count, len(content))

    @given(st.text(min_size=1), st.integers(1, 50), st.integers(0, 99))
    def test_text_is_no_utf8_any_more(self, content: str, count: int, seed: int) -> None:
        after = said(corrupt("utf8", count), content.encode(), TEXT, seed)
        with pytest.raises(UnicodeDecodeError):
            after.decode()

    @given(st.binary(min_size=1), st.integers(0, 99))
    def test_text_that_was_no_utf8_becomes_another_that_is_none(self, content: bytes, seed: int) -> None:
        after = said(corrupt("utf8"), content, TEXT, seed)
        assert bits_that_differ(after, content) > 0
        with pytest.raises(UnicodeDecodeError):
            after.decode()

    def test_only_text_has_utf8_to_break(self) -> None:
        assert changed(corrupt("utf8"), b"abc", BINARY) is None
        assert changed(corrupt("utf8"), b"abc", PING) is None

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(alphabet='{}[],:"\\ab', max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        ),
        st.integers(1, 20),
        st.integers(0, 99),
        st.booleans(),
    )
    def test_json_can_not_be_parsed_any_more(self, value: object, count: int, seed: int, is_ascii: bool) -> None:
        after = said(corrupt("json", count), json.dumps(value, ensure_ascii=is_ascii).encode(), TEXT, seed)
        with pytest.raises(ValueError):
            json.loads(after)

    @given(st.integers(0, 99))
    def test_a_sign_that_goes_from_within_a_string_does_not_save_it(self, seed: int) -> None:
        after = said(corrupt("json"), b'"{},[]:,:,:,:,:,:,:,:,:,:,:"', TEXT, seed)
        with pytest.raises(ValueError):
            json.loads(after)

    def test_its_text_stays_text(self) -> None:
        for seed in range(50):
            said(corrupt("json", 5), '{"é": ["ü", {"😀": 1}]}'.encode(), TEXT, seed).decode()

    @pytest.mark.parametrize("content", [b"", b"hello", b"{", b"\xff{}", b"{}" + b" " * JSON_BYTES_MAX])
    def test_what_is_no_json_has_none_to_break(self, content: bytes) -> None:
        assert changed(corrupt("json"), content) is None

    @pytest.mark.parametrize("kind", ["bits", "bytes", "json", "utf8"])
    def test_an_empty_message_has_nothing_to_corrupt(self, kind: str) -> None:
        assert changed(corrupt(kind), b"") is None

    def test_a_full_control_frame_does_not_grow(self) -> None:
        content = b"[" + b"1" * 123 + b"]"
        assert all(len(said(corrupt("json"), content, PING, seed)) < 125 for seed in range(9))
        assert changed(corrupt("json"), b"1" * 125, PING) is None

    @given(st.binary(min_size=1), st.sampled_from(["bits", "bytes", "utf8"]), st.integers(1, 9), st.integers(0, 9))
    def test_the_same_place_of_chance_gives_the_same(self, content: bytes, kind: str, count: int, seed: int) -> None:
        assert said(corrupt(kind, count), content, seed=seed) == said(corrupt(kind, count), content, seed=seed)

    def test_every_bit_may_be_hit_and_none_much_more_than_others(self) -> None:
        hits = [0] * 64
        for seed in range(6400):
            after = int.from_bytes(said(corrupt("bits"), bytes(8), BINARY, seed))
            hits[after.bit_length() - 1] += 1
        assert min(hits) > 50 and max(hits) < 150  # 100 each on average, with a deviation of 10

    def test_more_than_there_is_is_all_of_it(self) -> None:
        assert said(corrupt("bits", COUNT_MAX), b"\x00\xff", BINARY) == b"\xff\x00"

    @pytest.mark.parametrize("options", [{"count": 0}, {"count": COUNT_MAX + 1}, {"kind": "frames"}])
    def test_what_makes_no_sense_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Corrupt.model_validate(options)


class TestTruncate:
    @pytest.mark.parametrize(
        ("options", "size"),
        [
            *(({"to": "4B"}, 4), ({"to": "0B"}, 0), ({"by": "1B"}, 9), ({"by": "10B"}, 0), ({"by": "1KiB"}, 0)),
            *(({"keep": "50%"}, 5), ({"keep": "99%"}, 9), ({"keep": "0%"}, 0), ({"keep": "9.9%"}, 0)),
        ],
    )
    def test_the_beginning_is_kept(self, options: dict[str, Any], size: int) -> None:
        assert said(Truncate.model_validate(options), b"0123456789", BINARY) == b"0123456789"[:size]

    @pytest.mark.parametrize("options", [{"to": "10B"}, {"to": "1KiB"}, {"by": "0B"}, {"keep": "100%"}])
    def test_what_is_short_enough_passes_as_it_came(self, options: dict[str, Any]) -> None:
        assert changed(Truncate.model_validate(options), b"0123456789") is None

    @pytest.mark.parametrize("options", [{"to": "0B"}, {"by": "1B"}, {"keep": "1%"}])
    def test_of_an_empty_message_nothing_can_be_cut(self, options: dict[str, Any]) -> None:
        assert changed(Truncate.model_validate(options), b"") is None

    @given(st.binary(), st.integers(0, 100))
    def test_a_share_is_a_beginning_of_that_length(self, content: bytes, percent: int) -> None:
        after = changed(Truncate.model_validate({"keep": f"{percent}%"}), content)
        kept = content if after is None else after[0]
        assert content.startswith(kept)
        assert len(kept) * 100 <= len(content) * percent < (len(kept) + 1) * 100

    @pytest.mark.parametrize("options", [{}, {"to": "1B", "by": "1B"}, {"to": "1B", "keep": "1%"}])
    def test_one_measure_is_needed(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="exactly one of to:, by: and keep:"):
            Truncate.model_validate(options)


class TestReplace:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"text": "é"}, ("é".encode(), TEXT)),
            ({"text": ""}, (b"", TEXT)),
            ({"binary": "00 ff"}, (b"\x00\xff", BINARY)),
            ({"binary": ""}, (b"", BINARY)),
            (
                {"json": {"b": "1", "a": [Quoted("1"), "true", None, "é"]}},
                ('{"b":1,"a":["1",true,null,"é"]}'.encode(), TEXT),
            ),
            ({"json": "false"}, (b"false", TEXT)),
        ],
    )
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_what_comes_in_place_has_an_opcode_of_its_own(
        self, options: dict[str, Any], expected: tuple[bytes, int], opcode: int
    ) -> None:
        assert changed(Replace.model_validate(options), b"before", opcode) == expected

    def test_the_very_same_message_is_no_change(self) -> None:
        assert changed(Replace(text="x"), b"x", TEXT) is None
        assert changed(Replace(text="x"), b"x", BINARY) == (b"x", TEXT)

    def test_in_a_control_frame_the_payload_is_replaced_where_it_fits(self) -> None:
        assert changed(Replace(text="x"), b"ping", PING) == (b"x", PING)
        assert changed(Replace(text="x" * 125), b"ping", PING) == (b"x" * 125, PING)
        assert changed(Replace(text="x" * 126), b"ping", PING) is None

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"text": "x", "binary": "00"},
            {"text": "x", "json": "1"},
            {"json": None},
            {"binary": "0"},
            {"binary": "xy"},
        ],
    )
    def test_one_content_is_needed(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Replace.model_validate(options)


class TestRewrite:
    def rewritten(self, content: str, **options: Any) -> str | None:
        after = changed(Rewrite.model_validate(options), content.encode())
        return None if after is None else after[0].decode()

    def test_values_are_set_also_in_strings_that_are_json(self) -> None:
        content = json.dumps(
            {"event": "pusher:connection_established", "data": '{"socket_id":"1.2","activity_timeout":30}'}
        )
        after = self.rewritten(content, set={"/data/activity_timeout": "1"})
        assert after is not None
        assert json.loads(json.loads(after)["data"]) == {"socket_id": "1.2", "activity_timeout": 1}

    @pytest.mark.parametrize(
        ("written", "value"),
        [("1", 1), ("2.50", 2.5), ("true", True), ("null", None), ("text", "text"), (Quoted("1"), "1"), ([], [])],
    )
    def test_plain_values_are_those_of_json_and_quoted_ones_text(self, written: object, value: object) -> None:
        after = self.rewritten('{"a": "before"}', set={"/a": written})
        assert after is not None
        got = json.loads(after)["a"]
        assert (type(got), got) == (type(value), value)

    def test_fields_are_removed_once_all_is_set(self) -> None:
        assert self.rewritten('{"a": 1, "b": 2}', set={"/c": "3"}, remove=["/a", "/none"]) == '{"b":2,"c":3}'
        assert self.rewritten('{"a": 1, "b": 2}', remove="/a") == '{"b":2}'

    @pytest.mark.parametrize("content", ["", "hello", "{", '{"b": 1}', "[]", '{"a": {"x": 1}}'])
    def test_where_there_is_nothing_to_do_it_passes_as_it_came(self, content: str) -> None:
        assert self.rewritten(content, set={"/a/x": "1"}, remove="/n") is None

    def test_one_message_does_not_leave_its_traces_in_the_next(self) -> None:
        fault = Rewrite.model_validate({"set": {"/list": ["1"], "/list/-": "2"}})
        assert said(fault, b"{}") == said(fault, b"{}") == b'{"list":[1,2]}'

    @given(st.binary() | st.text().map(str.encode))
    def test_no_content_raises(self, content: bytes) -> None:
        assume(not content.lstrip().startswith((b"{", b"[")))
        assert changed(Rewrite.model_validate({"set": {"/a": "1"}}), content) is None

    @pytest.mark.parametrize(
        "options",
        [{}, {"set": {}}, {"remove": []}, {"set": {"a": "1"}}, {"remove": "a"}, {"remove": ""}, {"set": {"/a": "yes"}}],
    )
    def test_what_makes_no_sense_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Rewrite.model_validate(options)
