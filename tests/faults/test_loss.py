"""Drop."""

from chaosproxy.faults import Delivery, Dice
from chaosproxy.faults.loss import Drop


def test_a_dropped_message_is_delivered_nowhere() -> None:
    assert list(Drop().apply(Delivery(0, None), Dice(0, ("rule",)))) == []
