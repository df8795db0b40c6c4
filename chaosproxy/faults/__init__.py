"""The one list of faults."""

from .base import BLOCK_BYTES, Delivery, Dice, Fault, Hits, Moment
from .ending import CloseFault, Fin, Reset
from .half_open import HalfOpen
from .handshake import Hang, Refuse, Reject
from .injection import Fragment, Inject, Violate
from .loss import Drop, Duplicate, Reorder
from .timing import Bandwidth, Latency, Slice, Stall

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        # opening
        Refuse,
        Reject,
        Hang,
        # timing
        Latency,
        Bandwidth,
        Slice,
        Stall,
        # loss
        Drop,
        Duplicate,
        Reorder,
        # damage
        Fragment,
        Inject,
        Violate,
        # half-open
        HalfOpen,
        # ending
        CloseFault,
        Fin,
        Reset,
    )
}

__all__ = ["BLOCK_BYTES", "FAULTS", "Delivery", "Dice", "Fault", "Hits", "Moment"]
