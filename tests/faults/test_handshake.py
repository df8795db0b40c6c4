"""Refuse, reject and hang."""

import pytest
from pydantic import ValidationError

from chaosproxy.events import Hold, Reply
from chaosproxy.faults.handshake import Hang, Refuse, Reject


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
