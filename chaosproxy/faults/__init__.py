"""The one list of faults."""

from .base import Delivery, Dice, Fault, Hits, Moment
from .ending import CloseFault, CutAfter, Fin, HalfCloseFault, Reset, SlowClose
from .half_open import HalfOpen, SwallowPing, SwallowPong
from .handshake import Hang, Refuse, Reject
from .loss import Drop
from .timing import Latency

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        *(Refuse, Reject, Hang),
        *(Latency,),
        *(Drop,),
        *(HalfOpen, SwallowPong, SwallowPing),
        *(CloseFault, Fin, Reset, HalfCloseFault, SlowClose, CutAfter),
    )
}

__all__ = ["FAULTS", "Delivery", "Dice", "Fault", "Hits", "Moment"]
