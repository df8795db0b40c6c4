"""How a client ends its connections."""

from typing import ClassVar

from ..attempt import Attempt
from ..units import Set
from .attempts import Codes
from .base import SETTLING, Finding, OfClients, Scene, failed, holds

BY_FRAME = frozenset({"close", "pusher_error"})
"""Faults that end a connection by a close frame."""


def _ended_by_client(scene: Scene, client: str) -> list[Attempt]:
    """Those that the client ended first, in the phase that is named."""
    return [
        attempt
        for attempt in scene.attempts(client)
        if attempt.opened and attempt.left and attempt.is_left_first and scene.is_about(attempt.left.spot)
    ]


class CloseCode(OfClients):
    """The connections that a client ends, it ends by a close frame with one of these codes."""

    name = "close_code"
    shorthand = "codes"
    nothing: ClassVar[str] = "no client ended a connection"
    example = "close_code: 1000"

    codes: Codes
    """A close code, or a list of them."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        ended = _ended_by_client(scene, client)
        for attempt in ended:
            code = attempt.closes[0].code if attempt.closes else None
            if code not in self.codes:
                assert attempt.left
                how = "a close frame without a code" if attempt.closes else f"no close frame ({attempt.left.how})"
                return failed(how if code is None else f"the code {code}", attempt.left.spot)
        last = ended[-1].left if ended else None
        return holds(scene, False, f"{len(ended)} ended, each with such a code", last.spot) if last else None


class ClosesCleanly(OfClients):
    """Connections end by the closing handshake: a client sends a close frame, or answers one, before its FIN."""

    name = "closes_cleanly"
    shorthand = "cleanly"
    nothing: ClassVar[str] = "no connection ended by a client, or by a close frame"
    example = "closes_cleanly: true"

    cleanly: Set = True
    """Always true."""

    def judge_client(self, scene: Scene, client: str) -> Finding | None:
        clean: list[Attempt] = []
        for attempt in scene.attempts(client):
            asked = next((strike for strike in attempt.strikes if strike.is_end and strike.fault in BY_FRAME), None)
            told = asked.spot if asked else closes[0].spot if (closes := attempt.told_closes) else None
            is_concerned = attempt.opened and (attempt.is_left_first or told)
            if not is_concerned or not attempt.ended or (attempt.is_retired and not attempt.closes):
                continue
            if not attempt.closes:
                told = told if told and told < attempt.ended.spot else None
                what = "it did not answer the close frame" if told else "it sent no close frame"
                return failed(f"{what} ({attempt.ended.how})", told, attempt.ended.spot)
            if attempt.ended.how not in ("fin", "close"):
                settled = attempt.closes[0].spot.at + SETTLING
                if attempt.ended.spot.at < settled:
                    return failed(f"{attempt.ended.how} right behind its close frame", attempt.ended.spot)
            clean.append(attempt)
        last = clean[-1].ended if clean else None
        return holds(scene, False, f"{len(clean)} ended, each by the closing handshake", last.spot) if last else None
