"""Refuse, reject, hang, bad_accept and silent."""

import pytest
from pydantic import ValidationError

from chaosproxy.effects import Heal, Hold, Leg, Mode, Reply, Silence, Spoil
from chaosproxy.faults.handshake import BadAccept, Hang, Refuse, Reject, Silent
from chaosproxy.wire.flaws import Flaw


def test_reject_is_a_whole_answer() -> None:
    fault = Reject.model_validate({"status": "503", "headers": {"Retry-After": "5"}, "body": "later"})

    effect = fault.effect()

    assert isinstance(effect, Reply)
    head, _, body = effect.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5" in head
    assert body == b"later"


@pytest.mark.parametrize(
    "options",
    [
        {"status": 199},
        {"status": 1000},
        {"status": 503, "headers": {"A": "b\r\nC: d"}},
        {"status": 503, "headers": {"A\r\nB": "c"}},
        {"status": 503, "headers": {"": "c"}},
        {"status": 503, "headers": {"A": "\u2028"}},
    ],
)
def test_nothing_can_be_smuggled_into_the_answer(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Reject.model_validate(options)


def test_hang_holds_and_refuse_is_for_the_listener_only() -> None:
    assert Hang().effect() == Hold()
    assert Refuse().effect() is None


@pytest.mark.parametrize("status", [200, 204, 307, 599, 600, 999])
def test_reject_takes_any_status_that_can_be_final(status: int) -> None:
    effect = Reject(status=status).effect()

    assert isinstance(effect, Reply)
    assert effect.data.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_is_refused_where_none_can_be_sent(status: int) -> None:
    with pytest.raises(ValidationError, match="such an answer ends with its head"):
        Reject(status=status, body="x")


def test_bad_accept_is_a_wrong_hash_unless_told_otherwise() -> None:
    assert BadAccept().effect() == Spoil(Flaw.ACCEPT, b"x-chaos")
    assert BadAccept.model_validate({"kind": "subprotocol"}).effect() == Spoil(Flaw.SUBPROTOCOL, b"x-chaos")
    options = {"kind": "extension", "named": "permessage-deflate; server_max_window_bits=10"}
    assert BadAccept.model_validate(options).effect() == Spoil(
        Flaw.EXTENSION, b"permessage-deflate; server_max_window_bits=10"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "accept", "named": "x"},
        {"kind": "status", "named": "x-chaos"},
        {"kind": "extension", "named": ""},
        {"kind": "extension", "named": "a\r\nb: c"},
        {"kind": "extension", "named": "a, b"},
        {"kind": "extension", "named": "ä"},
        {"kind": "subprotocol", "named": "a; b"},
        {"kind": "subprotocol", "named": "a" * 201},
    ],
)
def test_bad_accept_names_only_what_can_be_chosen_and_fits_its_header(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        BadAccept.model_validate(options)


def test_silent_silences_both_legs_and_heals_as_told() -> None:
    assert Silent().effect() == Silence(Leg.BOTH, Mode.BLACKHOLE, Heal.FLUSH)
    assert Silent.model_validate({"mode": "freeze", "heal": "reset"}).effect() == Silence(
        Leg.BOTH, Mode.FREEZE, Heal.RESET
    )
    assert [Silent(heal=heal).is_loss for heal in Heal] == [False, True, False]
