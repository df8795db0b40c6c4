"""The lanes that a chunk can take, and what they depend on."""

from enum import Enum
from typing import NamedTuple

from .protocols import Protocol


class Lane(Enum):
    PASS = "pass"
    READ = "read"
    FLOW = "flow"
    JUDGED = "judged"


class Limits(NamedTuple):
    """Bytes that may be held per direction, and the size over which a message passes unjudged."""

    held_bytes_max: int
    judged_bytes_max: int


class Reading(NamedTuple):
    """What reading messages is for; with neither, idle directions are only scanned."""

    protocol: Protocol | None = None
    is_needed: bool = False  # a rule of the profile reads or changes messages, or the protocol is observed
    frames_journalled: bool = False
