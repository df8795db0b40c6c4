"""The one list of faults."""

from .base import Delivery, Dice, Fault, Hits, Moment
from .ending import CloseFault, Fin, Reset
from .half_open import HalfOpen
from .handshake import BadAccept, Hang, Refuse, Reject, Silent
from .loss import Drop
from .timing import Latency

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (Refuse, Reject, Hang, BadAccept, Silent, Latency, Drop, HalfOpen, CloseFault, Fin, Reset)
}

__all__ = ["FAULTS", "Delivery", "Dice", "Fault", "Hits", "Moment"]
