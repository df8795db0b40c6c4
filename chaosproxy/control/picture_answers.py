"""The types of what is told of a picture: see picture.py. All times are seconds, as in the journal.

`seq` is the number of the journal's record that began an item, and its key within its list: an item of a known number
takes that one's place, and what is told of a known lane is added to it. (`from` is a word of Python's, hence the form.)
"""

from typing import Literal

from typing_extensions import TypedDict

from .answers import PhaseTold

BandTold = TypedDict(
    "BandTold",
    {"seq": int, "phase": str, "visit": int, "from": float, "to": float | None, "reason": str},
)
"""A phase, and why it began."""

SpellTold = TypedDict(
    "SpellTold",
    {
        "seq": int,
        "rule": str,
        "fault": str,
        "from": float,
        "to": float | None,
        "end": Literal["", "healed", "expired"],
    },
)
"""A rule that was added by hand; or, without one, the listener refused."""

StretchTold = TypedDict(
    "StretchTold",
    {
        "seq": int,
        "from": float,
        "to": float | None,
        "what": Literal["dialling", "open", "established", "silent"],
        "attempt": int,
    },
)
"""What the wire was like; silent is that a half-open fault keeps it dead."""

StateSpanTold = TypedDict(
    "StateSpanTold",
    {"seq": int, "from": float, "to": float | None, "state": str, "source": Literal["reported", "inferred"]},
)
"""A state of the client."""


class EndTold(TypedDict):
    """A connection is over, or was refused with a status."""

    seq: int
    at: float
    attempt: int
    by: str
    how: str
    code: int | None
    status: int | None
    reason: str


class MarkTold(TypedDict):
    """What a fault did, or a client said; strikes of one rule close to each other are one mark."""

    seq: int
    at: float
    to: float
    count: int
    kind: Literal["struck", "healed", "suppressed", "said", "limited"]
    fault: str
    rule: str
    side: str | None
    message: int | None
    detail: str


class LaneTold(TypedDict):
    """One of a client's connections at a time, and those that it had there before; `voice` is what it calls itself."""

    id: int
    client: str
    voice: str
    row: int
    attempt: int | None
    live: bool
    path: str
    socket_id: str
    wire: list[StretchTold]
    ends: list[EndTold]
    states: list[StateSpanTold]
    marks: list[MarkTold]


class LeftOutTold(TypedDict):
    """How much was let go, since there was too much."""

    lanes: int
    items: int


class DelaysTold(TypedDict):
    """Delays that rules have added: how many, and how much in all."""

    count: int
    seconds: float


class MeterTold(TypedDict):
    """Numbers of now."""

    open: int
    attempts: int
    frames: dict[str, int]
    bytes: dict[str, int]
    held_bytes: int
    paused_legs: int
    delays: DelaysTold
    strikes: dict[str, int]
    phase: PhaseTold
    draining: bool


class PictureTold(TypedDict):
    """What has changed behind a version; `run` is another one for each picture made."""

    run: str
    version: int
    complete: bool
    now: float
    started: str
    profile: str
    digest: str
    seed: int
    bands: list[BandTold]
    spells: list[SpellTold]
    lanes: list[LaneTold]
    left_out: LeftOutTold
    meter: MeterTold
