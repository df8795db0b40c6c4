"""All connections and channels of the server, without a socket: what happened goes in, what to send comes out.

Each method returns the actions that follow, in order. Performing them, and making up socket ids, is the server's part.
Wording of errors is ours; codes, types and shapes are soketi's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from chaosproxy.demo import frames, messages
from chaosproxy.demo.auth import App, admits
from chaosproxy.demo.channels import NAME_LENGTH_MAX, Channels, Member, is_guarded, is_name, is_presence, read_member
from chaosproxy.demo.frames import Json

EVENT_NAME_LENGTH_MAX = 200
EVENT_BYTES_MAX = 100 * 1024
MEMBERS_MAX = 100
MEMBER_BYTES_MAX = 2 * 1024


class Send(NamedTuple):
    socket_id: str
    text: str


class Close(NamedTuple):
    """Send a close frame with this code and, like soketi, no reason."""

    socket_id: str
    code: int


Action = Send | Close


@dataclass
class _Connection:
    socket_id: str
    app: App
    channels: set[str] = field(default_factory=set)


@dataclass
class _Tenant:
    app: App
    channels: Channels = field(default_factory=Channels)
    connection_count: int = 0


class Hub:
    def __init__(self, apps: Iterable[App]) -> None:
        self._tenants = {app.key: _Tenant(app) for app in apps}
        self._connections: dict[str, _Connection] = {}

    def app_with_id(self, app_id: str) -> App | None:
        return next((tenant.app for tenant in self._tenants.values() if tenant.app.id == app_id), None)

    def app_with_key(self, key: str) -> App | None:
        return self._tenants[key].app if key in self._tenants else None

    def channels(self, app: App) -> Channels:
        return self._tenants[app.key].channels

    def connect(self, key: str, socket_id: str) -> list[Action]:
        """Welcome a connection, or refuse it: 4001 unknown key, 4003 disabled app, 4100 over quota."""
        tenant = self._tenants.get(key)
        if tenant is None:
            return _dismiss(socket_id, 4001, f"App key {key} does not exist.")
        if not tenant.app.enabled:
            return _dismiss(socket_id, 4003, "This app is switched off.")
        quota = tenant.app.max_connections
        if quota is not None and tenant.connection_count >= quota:
            return _dismiss(socket_id, 4100, f"This app has its {quota} connections already.")
        tenant.connection_count += 1
        self._connections[socket_id] = _Connection(socket_id, tenant.app)
        return [Send(socket_id, frames.connection_established(socket_id, tenant.app.activity_timeout))]

    def receive(self, socket_id: str, frame: str | bytes) -> list[Action]:
        """Answer a client's frame. Nothing a client can send raises or reaches those it has no business with."""
        connection = self._connections.get(socket_id)
        if connection is None:
            return []  # refused, and talking on before it has seen the close
        match messages.read(frame):
            case messages.Ping():
                return [Send(socket_id, frames.pong())]
            case messages.Subscribe() as wish:
                return self._subscribe(connection, wish)
            case messages.Unsubscribe(channel):
                return self._leave(connection, channel)
            case messages.ClientEvent() as event:
                return self._relay(connection, event)
            case messages.Malformed(problem):
                return [Send(socket_id, frames.error(4301, problem))]
            case messages.Unknown():
                return []
            case unreachable:
                assert_never(unreachable)

    def disconnect(self, socket_id: str) -> list[Action]:
        """Forget a connection that ended; harmless when it was refused or is forgotten already."""
        connection = self._connections.pop(socket_id, None)
        if connection is None:
            return []
        self._tenants[connection.app.key].connection_count -= 1
        return [action for channel in sorted(connection.channels) for action in self._leave(connection, channel)]

    def publish(self, app: App, channel: str, event: str, data: Json, but: str | None = None) -> list[Action]:
        """Send an event to a channel's subscribers, `but` (a socket id) excepted; a stale id excludes nobody."""
        return self._broadcast(app, channel, frames.channel_event(event, channel, data), but)

    def terminate(self, app: App, user_id: str) -> list[Action]:
        """End each connection with which this user is in a presence channel (code 4009).

        soketi goes by signed-in users instead; signing in is not part of this server.
        """
        ending = [
            connection.socket_id
            for connection in self._connections.values()
            if connection.app == app and self._is_user(connection, user_id)
        ]
        return self._dismiss_all(ending, 4009, "The app ended your connection.")

    def dismiss_everybody(self) -> list[Action]:
        """End all connections because the server stops (code 4200: come back at once)."""
        return self._dismiss_all(list(self._connections), 4200, "The server is stopping. Please reconnect.")

    def _subscribe(self, connection: _Connection, wish: messages.Subscribe) -> list[Action]:
        app, socket_id, channel = connection.app, connection.socket_id, wish.channel

        def refuse(kind: str, problem: str, status: int) -> list[Action]:
            return [Send(socket_id, frames.subscription_error(channel, kind, problem, status))]

        if len(channel) > NAME_LENGTH_MAX:
            return refuse("LimitReached", f"A channel's name has at most {NAME_LENGTH_MAX} characters.", 4009)
        if not is_name(channel):
            return refuse("InvalidName", "A channel's name is made of letters, digits and -_=@,.; only.", 4009)
        channel_data = wish.channel_data if is_presence(channel) else None
        if is_guarded(channel) and not admits(app, socket_id, channel, channel_data, wish.auth):
            return refuse("AuthError", "The connection is unauthorized.", 401)
        if not is_presence(channel):
            connection.channels.add(channel)
            self.channels(app).join(channel, socket_id, None)
            return [Send(socket_id, frames.subscription_succeeded(channel))]
        try:
            member = read_member(channel_data)
        except ValueError:
            return refuse("ServerError", "A presence channel needs channel_data with a user_id.", 4302)
        if frames.size_bytes(member.user_info) > MEMBER_BYTES_MAX:
            return refuse("LimitReached", f"A member's user_info has at most {MEMBER_BYTES_MAX} bytes.", 4301)
        present = self.channels(app).members(channel)
        if member.user_id not in present and len(present) >= MEMBERS_MAX:
            return refuse("LimitReached", f"A presence channel has at most {MEMBERS_MAX} members.", 4100)
        return self._enter(connection, channel, member)

    def _enter(self, connection: _Connection, channel: str, member: Member) -> list[Action]:
        app, socket_id = connection.app, connection.socket_id
        actions: list[Action] = []
        if self.channels(app).member(channel, socket_id) not in (None, member):
            actions += self._leave(connection, channel)  # the same connection comes back as somebody else
        connection.channels.add(channel)
        if self.channels(app).join(channel, socket_id, member):
            actions += self._broadcast(app, channel, frames.member_added(channel, *member), socket_id)
        return [*actions, Send(socket_id, frames.presence_succeeded(channel, self.channels(app).members(channel)))]

    def _leave(self, connection: _Connection, channel: str) -> list[Action]:
        connection.channels.discard(channel)
        gone = self.channels(connection.app).leave(channel, connection.socket_id)
        if gone is None:
            return []
        return self._broadcast(connection.app, channel, frames.member_removed(channel, gone.user_id), None)

    def _relay(self, connection: _Connection, message: messages.ClientEvent) -> list[Action]:
        event, channel, data = message
        socket_id, app = connection.socket_id, connection.app
        if problem := _objection(app, message):
            return [Send(socket_id, frames.error(4301, problem, channel))]
        if channel not in connection.channels:
            return []
        member = self.channels(app).member(channel, socket_id)
        text = frames.channel_event(event, channel, data, member.user_id if member else None)
        return self._broadcast(app, channel, text, socket_id)

    def _broadcast(self, app: App, channel: str, text: str, but: str | None) -> list[Action]:
        return [Send(socket_id, text) for socket_id in self.channels(app).subscribers(channel) if socket_id != but]

    def _is_user(self, connection: _Connection, user_id: str) -> bool:
        channels = self.channels(connection.app)
        members = (channels.member(channel, connection.socket_id) for channel in connection.channels)
        return any(member is not None and str(member.user_id) == user_id for member in members)

    def _dismiss_all(self, socket_ids: list[str], code: int, message: str) -> list[Action]:
        dismissals = [action for socket_id in socket_ids for action in _dismiss(socket_id, code, message)]
        return dismissals + [action for socket_id in socket_ids for action in self.disconnect(socket_id)]


def _dismiss(socket_id: str, code: int, message: str) -> list[Action]:
    return [Send(socket_id, frames.error(code, message)), Close(socket_id, code)]


def _objection(app: App, message: messages.ClientEvent) -> str | None:
    if not app.client_events:
        return "This app has client events switched off."
    if not is_guarded(message.channel):
        return "Client events are for private and presence channels only."
    if len(message.event) > EVENT_NAME_LENGTH_MAX:
        return f"An event's name has at most {EVENT_NAME_LENGTH_MAX} characters."
    if frames.size_bytes(message.data) > EVENT_BYTES_MAX:
        return f"An event's data has at most {EVENT_BYTES_MAX} bytes."
    return None
