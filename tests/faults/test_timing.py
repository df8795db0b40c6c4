"""Latency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaosproxy.faults import Delivery, Dice
from chaosproxy.faults.timing import Bandwidth, Latency, Slice, Stall

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


def test_a_normal_jitter_has_its_deviation_and_never_leaves_before_it_came() -> None:
    fault = Latency.model_validate({"delay": "300ms", "jitter": "100ms", "distribution": "normal"})
    dues = [due(fault, seed) - 1000 for seed in range(2000)]

    assert 295 <= sum(dues) / 2000 <= 305
    within_one = sum(200 <= each <= 400 for each in dues) / 2000
    assert 0.65 <= within_one <= 0.72  # of a normal distribution, 68 %
    assert min(dues) >= 0
    assert min(dues) < 100 < 500 < max(dues)


def test_a_bandwidth_has_one_rate_or_a_trace() -> None:
    assert Bandwidth.model_validate({"rate": "1Mbit/s"}).rate == 125_000
    trace = Bandwidth.model_validate({"trace": [{"rate": "0B/s", "lasts": "1s"}, {"rate": "1kB/s", "lasts": "1s"}]})
    assert [stretch.rate for stretch in trace.trace] == [0, 1000]
    for wrong in ({}, {"rate": "1kB/s", "trace": [{"rate": "1kB/s", "lasts": "1s"}]}):
        with pytest.raises(ValidationError, match="either rate: or trace:"):
            Bandwidth.model_validate(wrong)
    for nothing in ({"rate": "0B/s"}, {"trace": [{"rate": "0B/s", "lasts": "1s"}]}):
        with pytest.raises(ValidationError, match="stall"):
            Bandwidth.model_validate(nothing)


def test_a_bandwidth_is_shared_where_it_says_so() -> None:
    assert not Bandwidth.model_validate({"rate": "1kB/s"}).is_shared
    assert Bandwidth.model_validate({"rate": "1kB/s", "share": "all"}).is_shared


def test_a_slice_has_a_size_above_its_variation_and_a_gap() -> None:
    assert Slice.model_validate({"size": "10B", "variation": "9B"})
    for wrong in ({"size": "0B"}, {"size": "10B", "variation": "10B"}, {"size": "10B", "gap": "0s"}):
        with pytest.raises(ValidationError):
            Slice.model_validate(wrong)


def test_a_stall_changes_no_message_but_keeps_it() -> None:
    delivery = Delivery(1000 * MS, None)

    assert list(Stall().apply(delivery, Dice(0, ("rule",)))) == [delivery]
    assert Stall.keeps
