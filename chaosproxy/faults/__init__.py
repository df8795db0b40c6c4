"""The one list of faults."""

from .base import Delivery, Dice, Fault, Hits, Moment
from .ending import CloseFault, Fin, Reset
from .half_open import HalfOpen
from .handshake import Hang, Refuse, Reject
from .loss import Drop
from .timing import Latency
from .tls import BadCertificate, TlsStall

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (Refuse, Reject, Hang, BadCertificate, TlsStall, Latency, Drop, HalfOpen, CloseFault, Fin, Reset)
}

__all__ = ["FAULTS", "Delivery", "Dice", "Fault", "Hits", "Moment"]
