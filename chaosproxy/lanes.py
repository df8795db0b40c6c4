"""The lanes that a chunk can take, and what they depend on."""

from enum import Enum
from typing import NamedTuple


class Lane(Enum):
    PASS = "pass"
    READ = "read"
    FLOW = "flow"
    JUDGED = "judged"


class Limits(NamedTuple):
    """Bytes that may be held per direction, and the size over which a message passes unjudged."""

    held_bytes_max: int
    judged_bytes_max: int
