"""The picture for those who draw it: what has changed behind what they know, as soon as there is anything."""

import asyncio
import re
from time import monotonic_ns

from ..meter import read_meter
from ..report import drawn
from ..stage import Stage
from ..units import SECOND, parse_duration
from .orders import Refused
from .state import Json, tell_phase

VIEWERS_MAX = 64  # that wait
WAIT_MAX = 30 * SECOND
_VERSION = re.compile(r"[0-9]{1,15}")


class Viewers:
    """All who wait for one stage's picture to change."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        return len(self._waiting)

    async def wait(self, version: int, patience: int) -> None:
        """Wait until the picture is newer than that, for so many nanoseconds at most."""
        if not patience or version != self._stage.picture.version:
            return
        if len(self._waiting) >= VIEWERS_MAX:
            raise Refused(503, f"{VIEWERS_MAX} others wait for the picture already")
        changing = asyncio.ensure_future(self._change(version))
        self._waiting.add(changing)
        try:
            await asyncio.wait([changing], timeout=patience / SECOND)
            if changing.cancelled():
                raise Refused(410, "it has ended meanwhile")
        finally:
            self._waiting.discard(changing)
            changing.cancel()

    def close(self) -> None:
        """The stage ends: who still waits is told so."""
        for changing in self._waiting:
            changing.cancel()

    async def _change(self, version: int) -> None:
        while self._stage.picture.version == version:
            await self._stage.journal.wait(self._stage.journal.last)


def tell_picture(stage: Stage, version: int = 0) -> Json:
    """The picture behind a version, with the numbers of now."""
    world = stage.proxy.world
    meter = read_meter(stage.proxy)
    meter |= {"phase": tell_phase(world, monotonic_ns()), "draining": world.is_draining}
    return stage.picture.since(version, stage.journal.now) | {"meter": meter}


def tell_run(stage: Stage) -> Json:
    """A run up to now as a report draws it; with a verdict where it is judged."""
    if stage.judge is None:
        return {"picture": stage.picture.since(0, stage.journal.now), "verdict": None, "records": {}}
    judged = stage.judged(stage.verdict().rows, round(stage.journal.now * SECOND))
    return drawn(judged)


def read_version(text: str) -> int:
    """Read a version. Raise ValueError where it is none."""
    if not _VERSION.fullmatch(text):
        raise ValueError("expected a version, as the picture has told it, or 0 for everything")
    return int(text)


def read_patience(text: str) -> int:
    """Read for how long somebody will wait. Raise ValueError where it is no such time."""
    try:
        patience = parse_duration(text)
    except ValueError as problem:
        raise ValueError(f"expected {problem}") from None
    if patience > WAIT_MAX:
        raise ValueError("expected a time of at most 30s; to wait for longer, ask again")
    return patience
