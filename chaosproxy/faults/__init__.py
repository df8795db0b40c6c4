"""The one list of faults."""

from .base import BLOCK_BYTES, OF_MESSAGES, OF_SINGLE_MESSAGES, Delivery, Dice, Fault, Hits, Moment
from .damage import Corrupt, Replace, Rewrite, Truncate
from .ending import CloseFault, CutAfter, Fin, HalfCloseFault, Reset, SlowClose
from .half_open import HalfOpen, SwallowPing, SwallowPong
from .handshake import BadAccept, Hang, Refuse, Reject, Silent
from .injection import Fragment, Inject, Violate
from .loss import Drop, Duplicate, Reorder
from .pusher import Heartbeat, PusherError, SubscriptionError
from .timing import Bandwidth, Latency, Slice, Stall
from .tls import BadCertificate, TlsStall

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        *(Refuse, Reject, Hang, BadAccept, Silent, BadCertificate, TlsStall),
        *(Latency, Bandwidth, Slice, Stall),
        *(Drop, Duplicate, Reorder),
        *(Corrupt, Truncate, Replace, Rewrite, Fragment, Inject, Violate),
        *(HalfOpen, SwallowPong, SwallowPing),
        *(CloseFault, Fin, Reset, HalfCloseFault, SlowClose, CutAfter),
        *(PusherError, SubscriptionError, Heartbeat),
    )
}

__all__ = ["BLOCK_BYTES", "FAULTS", "OF_MESSAGES", "OF_SINGLE_MESSAGES", "Delivery", "Dice", "Fault", "Hits", "Moment"]
