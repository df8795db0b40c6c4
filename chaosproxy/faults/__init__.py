"""The one list of faults."""

from .base import Delivery, Dice, Fault, Hits, Moment
from .damage import Corrupt, Replace, Rewrite, Truncate
from .ending import CloseFault, Fin, Reset
from .half_open import HalfOpen
from .handshake import Hang, Refuse, Reject
from .loss import Drop
from .timing import Latency

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        Refuse,
        Reject,
        Hang,
        Latency,
        Drop,
        Corrupt,
        Truncate,
        Replace,
        Rewrite,
        HalfOpen,
        CloseFault,
        Fin,
        Reset,
    )
}

__all__ = ["FAULTS", "Delivery", "Dice", "Fault", "Hits", "Moment"]
