"""Who is in which channel of one app, and when a user comes and goes.

A channel is occupied as long as it has a subscriber. A user of a presence channel may hold several connections:
joining with the first and leaving with the last is what the others are told. A user who is missed is still a member: it
has no connection any more, but nobody has been told yet, as it may come back.
"""

import re
from typing import NamedTuple

from chaosproxy.demo.frames import Json, decode

NAME_LENGTH_MAX = 200
_NAME = re.compile(r"#?[-a-zA-Z0-9_=@,.;]+")


class Member(NamedTuple):
    user_id: str | int
    user_info: Json


def is_name(channel: str) -> bool:
    return _NAME.fullmatch(channel) is not None


def is_presence(channel: str) -> bool:
    return channel.startswith("presence-")


def is_guarded(channel: str) -> bool:
    """Tell whether subscribing needs a signature, and clients may send events of their own."""
    return channel.startswith(("private-", "presence-"))


def read_member(channel_data: str | None) -> Member:
    """Take the user out of signed channel data. Raises ValueError when there is none."""
    value = decode(channel_data or "")
    user_id = value.get("user_id") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(user_id, str | int) or isinstance(user_id, bool) or user_id == "":
        raise ValueError("channel_data names no user_id")
    return Member(user_id, value.get("user_info"))


class Channels:
    def __init__(self) -> None:
        # By channel and socket id; the member is None outside presence channels.
        self._subscribers: dict[str, dict[str, Member | None]] = {}
        self._missed: dict[str, dict[str | int, Member]] = {}

    def join(self, channel: str, socket_id: str, member: Member | None) -> bool:
        """Add a subscriber; return whether it brings a user who was not there."""
        subscribers = self._subscribers.setdefault(channel, {})
        is_new = member is not None and not _has_user(subscribers, member)
        subscribers[socket_id] = member
        return is_new

    def leave(self, channel: str, socket_id: str) -> Member | None:
        """Remove a subscriber; return its user if that was the user's last connection."""
        subscribers = self._subscribers.get(channel, {})
        member = subscribers.pop(socket_id, None)
        if not subscribers:
            self._subscribers.pop(channel, None)
        return None if member is None or _has_user(subscribers, member) else member

    def miss(self, channel: str, member: Member) -> None:
        """Keep a user whose last connection left as a member."""
        self._missed.setdefault(channel, {})[member.user_id] = member

    def no_longer_miss(self, channel: str, user_id: str | int) -> None:
        missed = self._missed.get(channel, {})
        missed.pop(user_id, None)
        if not missed:
            self._missed.pop(channel, None)

    def is_occupied(self, channel: str) -> bool:
        return channel in self._subscribers

    def member(self, channel: str, socket_id: str) -> Member | None:
        return self._subscribers.get(channel, {}).get(socket_id)

    def subscribers(self, channel: str) -> list[str]:
        return list(self._subscribers.get(channel, {}))

    def members(self, channel: str) -> dict[str | int, Json]:
        """Return each user of a presence channel with what is known of it, in order of arrival."""
        users = [*self._missed.get(channel, {}).values(), *self._subscribers.get(channel, {}).values()]
        return {member.user_id: member.user_info for member in users if member is not None}

    def sizes(self) -> dict[str, int]:
        """Return how many connections each channel has."""
        return {channel: len(subscribers) for channel, subscribers in self._subscribers.items()}


def _has_user(subscribers: dict[str, Member | None], member: Member) -> bool:
    return any(other is not None and other.user_id == member.user_id for other in subscribers.values())
