"""bad_certificate and tls_stall: their options, and what they tell the session."""

import pytest
from pydantic import ValidationError

from chaosproxy.effects import HoldHandshake, Present
from chaosproxy.faults.tls import BadCertificate, TlsStall
from chaosproxy.profile import RULES


@pytest.mark.parametrize("kind", ["expired", "wrong_name", "unknown_ca"])
def test_bad_certificate_is_of_a_kind(kind: str) -> None:
    assert BadCertificate.model_validate({"kind": kind}).effect() == Present(kind)


@pytest.mark.parametrize("options", [{}, {"kind": "revoked"}, {"kind": "expired", "at": "accept"}])
def test_other_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BadCertificate.model_validate(options)


def test_tls_stall_holds_the_handshake() -> None:
    assert TlsStall().effect() == HoldHandshake()


@pytest.mark.parametrize(("fault", "options"), [("bad_certificate", "expired"), ("tls_stall", {})])
def test_before_there_is_a_request_only_chance_can_be_asked(fault: str, options: object) -> None:
    assert RULES[fault].model_validate({fault: options, "when": {"chance": "50%"}}).when.chance == 0.5
    with pytest.raises(ValidationError, match="knows nothing of the request yet and takes only chance:"):
        RULES[fault].model_validate({fault: options, "when": {"path": "/app"}})
