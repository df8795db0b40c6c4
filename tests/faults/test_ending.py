"""Close, fin, reset, half_close, slow_close and cut_after."""

from typing import Any

import pytest
from pydantic import ValidationError

from chaosproxy.effects import Break, Close, CutLater, EndLater, Finish, HalfClose, Leg, Other, Then
from chaosproxy.faults import Fault, Hits
from chaosproxy.faults.ending import CloseFault, CutAfter, Fin, HalfCloseFault, Reset, SlowClose
from chaosproxy.rule import RULES


def test_close_carries_its_code_and_reason_to_the_client() -> None:
    fault = CloseFault.model_validate({"code": "4200", "reason": "späte"})

    assert fault.effect() == Close(Leg.CLIENT, 4200, "späte".encode(), after_held=False)


def test_close_without_a_code_has_no_status_at_all() -> None:
    assert CloseFault(code="none").effect() == Close(Leg.CLIENT, None, b"", after_held=False)
    with pytest.raises(ValidationError):
        CloseFault(code="none", reason="why")


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000, 65535])
def test_any_16_bit_code_may_be_sent(code: int) -> None:
    assert CloseFault(code=code).code == code


def test_a_reason_is_measured_in_bytes() -> None:
    assert CloseFault(code=1000, reason="é" * 61)
    with pytest.raises(ValidationError):
        CloseFault(code=1000, reason="é" * 62)


@pytest.mark.parametrize(
    ("to", "code", "harms"),
    [(Leg.SERVER, 4200, True), (Leg.BOTH, 4999, True), (Leg.CLIENT, 4200, False), (Leg.SERVER, 1001, False)],
)
def test_only_a_4xxx_to_the_server_harms_it(to: Leg, code: int, harms: bool) -> None:
    assert CloseFault(code=code, to=to).harms_server is harms


def test_fin_and_reset_end_both_legs_unless_told_otherwise() -> None:
    assert Fin().effect() == Finish(Leg.BOTH, Other.FIN)
    assert Reset().effect() == Break(Leg.BOTH, Other.FIN)
    assert Reset.model_validate({"leg": "client", "other": "keep"}).effect() == Break(Leg.CLIENT, Other.KEEP)


@pytest.mark.parametrize("then", Then)
def test_what_follows_a_close_is_said_by_then(then: Then) -> None:
    assert CloseFault.model_validate({"code": 1000, "then": then.value}).effect() == Close(
        Leg.CLIENT, 1000, b"", after_held=False, then=then
    )


class TestCloseReasons:
    def test_a_longer_one_needs_a_word_and_the_error_names_it(self) -> None:
        with pytest.raises(ValidationError, match="oversized: true"):
            CloseFault(code=1000, reason="x" * 124)
        assert CloseFault(code=1000, reason="x" * 124, oversized=True).effect() == Close(
            Leg.CLIENT, 1000, b"x" * 124, after_held=False
        )
        with pytest.raises(ValidationError, match="at most 65533 bytes"):
            CloseFault(code=1000, reason="x" * 65534, oversized=True)

    def test_bytes_that_are_no_utf8_are_given_in_hexadecimal(self) -> None:
        effect = CloseFault.model_validate({"code": 1000, "reason_hex": "ff fe"}).effect()
        assert effect == Close(Leg.CLIENT, 1000, b"\xff\xfe", after_held=False)

    @pytest.mark.parametrize(
        "options",
        [{"reason_hex": "xy"}, {"reason_hex": "f"}, {"reason": "a", "reason_hex": "62"}, {"reason_hex": "ff" * 124}],
    )
    def test_what_is_no_hexadecimal_or_said_twice_or_too_long_is_refused(self, options: dict[str, str]) -> None:
        with pytest.raises(ValidationError):
            CloseFault.model_validate({"code": 1000, **options})


@pytest.mark.parametrize(
    ("options", "harms"),
    [
        ({"code": 1000}, False),
        ({"code": 1014}, False),
        ({"code": 3000, "reason": "bye"}, False),
        ({"code": 3000, "reason_hex": "c3a4"}, False),
        ({"code": "none"}, False),
        ({"code": 0}, True),
        ({"code": 999}, True),
        ({"code": 1004}, True),
        ({"code": 1005}, True),
        ({"code": 1006}, True),
        ({"code": 1015}, True),
        ({"code": 2000}, True),
        ({"code": 4000}, True),
        ({"code": 5000}, True),
        ({"code": 1000, "reason_hex": "ff"}, True),
        ({"code": 1000, "reason": "x" * 124, "oversized": True}, True),
        ({"code": 1000, "oversized": True}, False),
    ],
)
@pytest.mark.parametrize("to", ["client", "server", "both"])
def test_what_an_endpoint_must_not_send_harms_a_server_that_gets_it(
    options: dict[str, object], harms: bool, to: str
) -> None:
    assert CloseFault.model_validate({**options, "to": to}).harms_server is (harms and to != "client")


@pytest.mark.parametrize("fault", [Fin, Reset])
@pytest.mark.parametrize(
    "options",
    [
        {"keep_for": "3s"},
        {"keep_for": "3s", "leg": "client"},
        {"keep_for": "3s", "other": "keep"},
        {"keep_for": "3s", "other": "reset", "leg": "client"},
    ],
)
def test_a_time_to_keep_needs_a_leg_that_is_kept(fault: type[Fault], options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="other: keep beside keep_for:"):
        fault.model_validate(options)


def test_a_leg_may_be_kept_for_a_time() -> None:
    options = {"leg": "client", "other": "keep", "keep_for": "3s"}
    assert Reset.model_validate(options).effect() == Break(Leg.CLIENT, Other.KEEP, 3_000_000_000)
    assert Fin.model_validate(options).effect() == Finish(Leg.CLIENT, Other.KEEP, 3_000_000_000)


@pytest.mark.parametrize("options", [{"over": "2s", "hits": "new"}, {"over": "2s", "at": "accept"}])
def test_a_blow_is_spread_over_live_connections_only(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="no live connections are hit"):
        Reset.model_validate(options)


def test_a_half_close_needs_to_know_whom_it_tells() -> None:
    assert HalfCloseFault.model_validate({"leg": "server"}).effect() == HalfClose(Leg.SERVER)
    for options in ({}, {"leg": "both"}):
        with pytest.raises(ValidationError):
            HalfCloseFault.model_validate(options)


def test_slow_close_lets_every_fin_wait() -> None:
    fault = SlowClose.model_validate({"delay": "3s"})
    assert fault.effect() == EndLater(3_000_000_000)
    assert fault.strikes is Hits.ALL


class TestCutAfter:
    @pytest.mark.parametrize(
        ("measure", "after", "age"),
        [({"bytes": "10B"}, 10, None), ({"messages": 3}, 0, None), ({"age": "1s"}, None, 1_000_000_000)],
    )
    def test_one_measure_says_behind_what(self, measure: dict[str, object], after: int | None, age: int | None) -> None:
        cut = Break(Leg.BOTH, Other.FIN)
        assert CutAfter.model_validate(measure).effect() == CutLater(after, age, cut)
        assert CutAfter.model_validate({**measure, "by": "fin", "leg": "client", "other": "reset"}).effect() == (
            CutLater(after, age, Finish(Leg.CLIENT, Other.RESET))
        )

    @pytest.mark.parametrize("options", [{}, {"bytes": "1B", "messages": 1}, {"bytes": "1B", "age": "1s"}])
    def test_it_takes_exactly_one(self, options: dict[str, object]) -> None:
        with pytest.raises(ValidationError, match="exactly one of bytes, messages or age"):
            CutAfter.model_validate(options)

    @pytest.mark.parametrize("options", [{"bytes": "0B"}, {"messages": 0}, {"messages": 1, "hits": "new"}])
    def test_it_lets_something_through(self, options: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            CutAfter.model_validate(options)


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"cut_after": {"bytes": "1B"}, "when": {"event": "x"}}, "event"),
        ({"cut_after": {"bytes": "1B"}, "when": {"age": "1s"}}, "age"),
        ({"cut_after": {"age": "1s"}, "when": {"from": "client"}}, "from"),
        ({"cut_after": {"messages": 1}, "when": {"nth": 2}}, "nth"),
        ({"slow_close": "1s", "when": {"opcode": "close"}}, "opcode"),
    ],
)
def test_conditions_that_mean_nothing_here_are_refused_by_name(rule: dict[str, Any], key: str) -> None:
    name = next(iter(rule))
    with pytest.raises(ValidationError, match=f"{key}: can't be used here"):
        RULES[name].model_validate(rule)


@pytest.mark.parametrize(
    "rule",
    [
        {"cut_after": {"bytes": "1B"}, "when": {"from": "client", "path": "/app/*", "chance": "5%"}},
        {"cut_after": {"age": "1s"}, "when": {"connection": 2}},
        {"cut_after": {"messages": 1}, "when": {"from": "server", "event": "x", "age": "1s"}},
        {"slow_close": "1s", "when": {"from": "server"}},
    ],
)
def test_others_go_with_them(rule: dict[str, Any]) -> None:
    name = next(iter(rule))
    assert RULES[name].model_validate(rule).fault_name == name


def test_a_blow_caused_by_a_message_is_not_spread() -> None:
    with pytest.raises(ValidationError, match="over: spreads one blow"):
        RULES["reset"].model_validate({"reset": {"over": "2s"}, "when": {"nth": 2}})
