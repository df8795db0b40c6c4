"""Latency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaosproxy.faults import Delivery, Dice, Moment
from chaosproxy.faults.timing import At, Latency

MS = 1_000_000


def due(fault: Latency, seed: int = 0) -> int:
    dice = Dice(seed, ("rule",))
    dice.turn()
    (delivery,) = fault.apply(Delivery(1000 * MS, None), dice)
    return delivery.due // MS


def test_latency_moves_the_due_time() -> None:
    assert due(Latency.model_validate({"delay": "300ms"})) == 1300


@given(st.integers(0, 1000))
def test_jitter_stays_within_its_bounds(seed: int) -> None:
    assert 1200 <= due(Latency.model_validate({"delay": "300ms", "jitter": "100ms"}), seed) <= 1400


def test_jitter_goes_both_ways() -> None:
    dues = [due(Latency.model_validate({"delay": "300ms", "jitter": "100ms"}), seed) for seed in range(50)]

    assert min(dues) < 1300 < max(dues)


def test_a_message_cannot_leave_before_it_came() -> None:
    with pytest.raises(ValidationError, match="before it came"):
        Latency.model_validate({"delay": "1s", "jitter": "1001ms"})


@pytest.mark.parametrize(
    ("at", "moment"),
    [
        (None, Moment.MESSAGE),
        ("accept", Moment.ACCEPT),
        ("request", Moment.ASK),
        ("response", Moment.ANSWER),
        ("first_frame", Moment.MESSAGE),
    ],
)
def test_latency_acts_at_one_moment(at: str | None, moment: Moment) -> None:
    fault = Latency.model_validate({"delay": "1s", **({"at": at} if at else {})})

    assert fault.acts_at == {moment}
    assert fault.is_for_first == (at == "first_frame")
    assert fault.effect() is None


@given(st.integers(0, 1000), st.sampled_from(At))
def test_a_handshake_waits_as_long_as_a_message_would(seed: int, at: At) -> None:
    fault = Latency.model_validate({"delay": "300ms", "jitter": "100ms", "at": at.value})
    dice = Dice(seed, ("rule",))
    dice.turn()

    assert fault.wait(dice) // MS == due(fault, seed) - 1000
