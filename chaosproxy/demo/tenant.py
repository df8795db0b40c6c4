"""One app's channels, and who is told of it when somebody comes or goes: the others there, and the app's webhooks.

Within the app's grace period nobody is told that a user or a channel's last subscriber has gone. Who is back by then
was never away: there is no coming to be told of either.
"""

from dataclasses import dataclass
from typing import assert_never

from chaosproxy.demo import frames
from chaosproxy.demo.actions import Action, Post, Send
from chaosproxy.demo.alarms import Alarms
from chaosproxy.demo.auth import App
from chaosproxy.demo.channels import Channels, Member
from chaosproxy.demo.frames import Json
from chaosproxy.units import SECOND


@dataclass(frozen=True)
class Missed:
    """A user has left a presence channel and may still come back."""

    app_key: str
    channel: str
    user_id: str | int


@dataclass(frozen=True)
class Vacant:
    """A channel's last subscriber has left and may still come back."""

    app_key: str
    channel: str


@dataclass(frozen=True)
class Silent:
    """Nothing was sent to a connection for too long."""

    socket_id: str


@dataclass(frozen=True)
class Unsigned:
    """A connection has not signed in."""

    socket_id: str


Absence = Missed | Vacant
Alarm = Absence | Silent | Unsigned


class Tenant:
    def __init__(self, app: App, alarms: Alarms[Alarm]) -> None:
        self.app = app
        self.channels = Channels()
        self.connection_count = 0
        self._alarms = alarms

    def enter(self, socket_id: str, channel: str, member: Member | None, now: int) -> list[Action]:
        """Add a subscriber, and tell the others of it; the member is None outside presence channels."""
        actions: list[Action] = []
        if self.channels.member(channel, socket_id) not in (None, member):
            actions += self.leave(socket_id, channel, now)  # the same connection comes back as somebody else
        if not self.channels.is_occupied(channel) and not self._alarms.cancel(Vacant(self.app.key, channel)):
            actions += self.post("channel_occupied", channel)
        is_new = self.channels.join(channel, socket_id, member)
        if member is not None and is_new and not self._is_back(channel, member):
            actions += self.post("member_added", channel, user_id=member.user_id)
            actions += self.broadcast(channel, frames.member_added(channel, *member), socket_id)
        return actions

    def leave(self, socket_id: str, channel: str, now: int) -> list[Action]:
        """Remove a subscriber, and tell the others, or let the grace period begin."""
        actions: list[Action] = []
        gone = self.channels.leave(channel, socket_id)
        if gone is not None:
            self.channels.miss(channel, gone)
            actions += self._wait(Missed(self.app.key, channel, gone.user_id), now)
        if not self.channels.is_occupied(channel):
            actions += self._wait(Vacant(self.app.key, channel), now)
        return actions

    def give_up(self, absence: Absence) -> list[Action]:
        """Wait no longer for who has left: tell the others."""
        match absence:
            case Missed(_, channel, user_id):
                self.channels.no_longer_miss(channel, user_id)
                told = self.post("member_removed", channel, user_id=user_id)
                return [*told, *self.broadcast(channel, frames.member_removed(channel, user_id), None)]
            case Vacant(_, channel):
                return self.post("channel_vacated", channel)
            case unreachable:
                assert_never(unreachable)

    def broadcast(self, channel: str, text: str, but: str | None) -> list[Action]:
        return [Send(socket_id, text) for socket_id in self.channels.subscribers(channel) if socket_id != but]

    def post(self, name: str, channel: str, **more: Json) -> list[Action]:
        """Tell the webhooks that want to know."""
        is_wanted = any(name in webhook.events for webhook in self.app.webhooks)
        return [Post(self.app, {"name": name, "channel": channel, **more})] if is_wanted else []

    def _wait(self, absence: Absence, now: int) -> list[Action]:
        if self.app.grace_s <= 0:
            return self.give_up(absence)
        self._alarms.set(absence, now + round(self.app.grace_s * SECOND))
        return []

    def _is_back(self, channel: str, member: Member) -> bool:
        self.channels.no_longer_miss(channel, member.user_id)
        return self._alarms.cancel(Missed(self.app.key, channel, member.user_id))
