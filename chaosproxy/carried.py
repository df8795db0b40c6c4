"""Connections that live on when another run begins, as that run's judge shall know them."""

from .attempt import Attempt, Spot
from .session import Session
from .world import World


def attempt_of(world: World, session: Session, seq: int) -> Attempt:
    """What is known of a connection; `seq` is the number of the record that began the run."""
    came = Spot(session.accepted_at, seq)
    attempt = Attempt(session.number, came)
    attempt.is_plain = not session.connection and bool(session.requests)
    if session.connection:
        attempt.client, attempt.connection = session.client, session.connection
        attempt.asked = came if session.request else None
    if session.opened_at is not None:
        opened = Spot(session.opened_at, seq)
        attempt.opened = opened
        if (socket_id := world.socket_id(session)) is not None:
            attempt.established, attempt.socket_id = opened, socket_id
        attempt.subscribed = [(opened, channel) for channel in sorted(world.channels(session))]
    return attempt
