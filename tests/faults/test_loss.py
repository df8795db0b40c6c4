"""Drop, duplicate and reorder."""

from chaosproxy.faults import Delivery, Dice
from chaosproxy.faults.loss import Drop, Duplicate, Reorder


def test_a_dropped_message_is_delivered_nowhere() -> None:
    assert list(Drop().apply(Delivery(0, None), Dice(0, ("rule",)))) == []


def test_copies_follow_the_original_each_a_gap_later() -> None:
    first, *copies = Duplicate.model_validate({"copies": 2, "gap": "1ms"}).apply(Delivery(0, None), Dice(0, ("rule",)))

    assert first == Delivery(0, None)
    assert [copy.lingers for copy in copies] == [1_000_000, 2_000_000]


def test_a_reordered_message_is_overtaken_by_one_to_the_window() -> None:
    overtakers = set()
    for seed in range(100):
        (delivery,) = Reorder.model_validate({"window": 3, "within": "1ms"}).apply(
            Delivery(0, None), Dice(seed, ("rule",))
        )
        overtakers.add(delivery.overtakers)
        assert delivery.lingers == 1_000_000

    assert overtakers == {1, 2, 3}
