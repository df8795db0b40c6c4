"""Close, fin and reset."""

import pytest
from pydantic import ValidationError

from chaosproxy.events import Break, Close, Finish, Leg, Other
from chaosproxy.faults.ending import CloseFault, Fin, Reset


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
