"""How a good client gets over a lost connection: what an ending means, when to try again, when silence is too long.

Pure: no clock, no chance, no socket. The rules are pusher-js's, with one improvement: attempts that keep failing are
spread out (exponential back-off), so that a crowd of clients neither hammers a server that is down nor returns in step.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum, auto


class Reaction(Enum):
    """What to do about a connection that ended."""

    AT_ONCE = auto()
    AFTER_PAUSE = auto()
    GIVE_UP = auto()


def reaction_to(code: int | None) -> Reaction:
    """Tell what the code of a close, or of a `pusher:error` in the handshake, asks for; None is no code at all."""
    if code is None or code < 4000:
        return Reaction.AFTER_PAUSE
    if 4100 <= code < 4200:
        return Reaction.AFTER_PAUSE
    if 4200 <= code < 4300:
        return Reaction.AT_ONCE
    return Reaction.GIVE_UP  # 4000 asks for TLS, which is for whoever chose the URL; the others for a human


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt."""

    pause_s: float = 1.0  # after a connection that worked
    first_s: float = 1.0  # after the first failed attempt; doubled after each further one
    limit_s: float = 30.0

    def delay_s(self, reaction: Reaction, failed_attempts: int, name: str) -> float:
        """Tell how long to wait; `failed_attempts` is how many in a row did not get as far as `connected`.

        The wait is spread over the upper half of its range by a hash of the client's name and the attempt's number:
        different for each client, and the same in each run.
        """
        if failed_attempts == 0:
            return 0.0 if reaction is Reaction.AT_ONCE else self.pause_s
        doublings = min(failed_attempts - 1, 32)
        longest_s = min(self.first_s * 2.0**doublings, self.limit_s)
        return longest_s * (0.5 + 0.5 * _fraction(f"{name}/{failed_attempts}"))


class Silence(Enum):
    """What to do when nothing was heard for too long."""

    ASK = auto()
    LOST = auto()


class Heartbeat:
    """Notices a link that has gone silent: after the activity timeout it asks, after the pong timeout it is lost.

    Anything heard counts as a sign of life, not the pong alone. Times are seconds of any one clock.
    """

    def __init__(self, activity_timeout_s: float, pong_timeout_s: float, now_s: float) -> None:
        self._activity_timeout_s = activity_timeout_s
        self._pong_timeout_s = pong_timeout_s
        self._asked = False
        self.deadline_s = now_s + activity_timeout_s

    def heard(self, now_s: float) -> None:
        self._asked = False
        self.deadline_s = now_s + self._activity_timeout_s

    def expire(self, now_s: float) -> Silence:
        """Tell what to do now that the deadline has passed."""
        if self._asked:
            return Silence.LOST
        self._asked = True
        self.deadline_s = now_s + self._pong_timeout_s
        return Silence.ASK


def _fraction(key: str) -> float:
    """Map a text to a number in [0, 1), evenly and always the same."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=6).digest()) / 2**48
