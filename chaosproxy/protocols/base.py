"""What a protocol tells us about a message."""

from typing import NamedTuple
from typing import Protocol as Interface

from ..events import Observed
from ..wire.frames import Side


class Meaning(NamedTuple):
    """A message in its protocol's terms; a field is empty where the message has none."""

    event: str = ""
    channel: str = ""
    observed: Observed | None = None
    code: int | None = None  # of an error that it tells

    @property
    def events(self) -> tuple[Observed, ...]:
        """What it tells, for the journal."""
        return (self.observed,) if self.observed else ()


NOTHING = Meaning()


class Protocol(Interface):
    """Read messages. Whatever a peer sends, `read` returns a Meaning and never raises."""

    name: str

    def read(self, side: Side, payload: bytes) -> Meaning: ...
