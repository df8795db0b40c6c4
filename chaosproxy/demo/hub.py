"""All connections and channels of the server, without a socket: what happened goes in, what to do comes out.

Each method returns the actions that follow, in order. Performing them, calling `tick` when `deadline` has come, and
making up socket ids, is the server's part. `now` is integer nanoseconds of any clock that never goes back.
Wording of errors is ours; codes, types and shapes are soketi's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from chaosproxy.demo import frames, messages
from chaosproxy.demo.actions import Action, Close, Send
from chaosproxy.demo.alarms import Alarms
from chaosproxy.demo.auth import App, is_user
from chaosproxy.demo.channels import Channels, is_guarded, is_presence
from chaosproxy.demo.frames import Json
from chaosproxy.demo.limits import Refusal, decide, objection
from chaosproxy.demo.tenant import Alarm, Missed, Silent, Tenant, Unsigned, Vacant
from chaosproxy.units import SECOND

TO_USER = "#server-to-user-"  # begins the channel of a user: to all connections signed in as that user, none excepted


@dataclass
class _Connection:
    socket_id: str
    tenant: Tenant
    channels: set[str] = field(default_factory=set)
    user_id: str | None = None  # who has signed in
    counting_since: int | None = None
    client_events: int = 0  # in the second since then

    @property
    def app(self) -> App:
        return self.tenant.app


class Hub:
    def __init__(self, apps: Iterable[App]) -> None:
        self._alarms: Alarms[Alarm] = Alarms()
        self._tenants = {app.key: Tenant(app, self._alarms) for app in apps}
        self._connections: dict[str, _Connection] = {}
        self._is_stopping = False

    def app_with_id(self, app_id: str) -> App | None:
        return next((tenant.app for tenant in self._tenants.values() if tenant.app.id == app_id), None)

    def app_with_key(self, key: str) -> App | None:
        return self._tenants[key].app if key in self._tenants else None

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def channels(self, app: App) -> Channels:
        return self._tenants[app.key].channels

    @property
    def deadline(self) -> int | None:
        """When to call `tick`."""
        return self._alarms.deadline

    def connect(self, key: str, socket_id: str, now: int) -> list[Action]:
        """Welcome a connection, or refuse it: 4200 stopping, 4001 unknown key, 4003 disabled app, 4100 over quota."""
        if self._is_stopping:
            return dismiss(socket_id, 4200, "The server is stopping. Please reconnect.")
        tenant = self._tenants.get(key)
        if tenant is None:
            return dismiss(socket_id, 4001, f"App key {key} does not exist.")
        app = tenant.app
        if not app.enabled:
            return dismiss(socket_id, 4003, "This app is switched off.")
        quota = app.max_connections
        if quota is not None and tenant.connection_count >= quota:
            return dismiss(socket_id, app.quota_code, f"This app has its {quota} connections already.")
        tenant.connection_count += 1
        self._connections[socket_id] = _Connection(socket_id, tenant)
        if app.signin_within_s is not None:
            self._alarms.set(Unsigned(socket_id), now + round(app.signin_within_s * SECOND))
        return self._sent([Send(socket_id, frames.connection_established(socket_id, app.activity_timeout))], now)

    def receive(self, socket_id: str, frame: str | bytes, now: int) -> list[Action]:
        """Answer a client's frame. Nothing a client can send raises or reaches those it has no business with."""
        connection = self._connections.get(socket_id)
        if connection is None:
            return []  # refused, and talking on before it has seen the close
        return self._sent(self._answer(connection, messages.read(frame), now), now)

    def disconnect(self, socket_id: str, now: int) -> list[Action]:
        """Forget a connection that ended; harmless when it was refused or is forgotten already."""
        return self._sent(self._forget(socket_id, now), now)

    def publish(self, app: App, channel: str, event: str, data: Json, now: int, but: str | None = None) -> list[Action]:
        """Send an event to a channel's subscribers, `but` (a socket id) excepted; a stale id excludes nobody."""
        text = frames.channel_event(event, channel, data)
        if channel.startswith(TO_USER):
            user_id = channel.removeprefix(TO_USER)
            signed_in = [each for each in self._connections.values() if each.app == app and each.user_id == user_id]
            return self._sent([Send(each.socket_id, text) for each in signed_in], now)
        return self._sent(self._tenants[app.key].broadcast(channel, text, but), now)

    def terminate(self, app: App, user_id: str, now: int) -> list[Action]:
        """End each connection that has signed in as this user, or is it in a presence channel (code 4009).

        soketi goes by signing in alone, which not every page does.
        """
        ending = [
            connection.socket_id
            for connection in self._connections.values()
            if connection.app == app and _is_user(connection, user_id)
        ]
        return self._sent(self._dismiss_all(ending, 4009, "The app ended your connection.", now), now)

    def stop(self, now: int) -> list[Action]:
        """End all connections, and refuse those that come (code 4200: come back at once). Nobody is waited for."""
        self._is_stopping = True
        actions = self._dismiss_all(list(self._connections), 4200, "The server is stopping. Please reconnect.", now)
        while (deadline := self._alarms.deadline) is not None:
            actions += self.tick(deadline)
        return actions

    def tick(self, now: int) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        while (alarm := self._alarms.pop(now)) is not None:
            actions += self._sent(self._ring(alarm, now), now)  # which may put off the next alarm
        return actions

    def _ring(self, alarm: Alarm, now: int) -> list[Action]:
        match alarm:
            case Silent(socket_id):
                return [Close(socket_id, 4201), *self._forget(socket_id, now)]
            case Unsigned(socket_id):
                return self._dismiss_all([socket_id], 4009, "The connection did not sign in in time.", now)
            case Missed() | Vacant():
                return self._tenants[alarm.app_key].give_up(alarm)
            case unreachable:
                assert_never(unreachable)

    def _sent(self, actions: list[Action], now: int) -> list[Action]:
        """Take note to whom something is being sent: a connection's silence begins anew."""
        for action in actions:
            if isinstance(action, Send) and (connection := self._connections.get(action.socket_id)):
                timeout_s = connection.app.silence_timeout_s
                if timeout_s is not None:
                    self._alarms.set(Silent(action.socket_id), now + round(timeout_s * SECOND))
        return actions

    def _forget(self, socket_id: str, now: int) -> list[Action]:
        connection = self._connections.pop(socket_id, None)
        if connection is None:
            return []
        self._alarms.cancel(Silent(socket_id))
        self._alarms.cancel(Unsigned(socket_id))
        connection.tenant.connection_count -= 1
        return [
            action
            for channel in sorted(connection.channels)
            for action in connection.tenant.leave(socket_id, channel, now)
        ]

    def _answer(self, connection: _Connection, message: messages.Message, now: int) -> list[Action]:
        socket_id = connection.socket_id
        match message:
            case messages.Ping():
                return [Send(socket_id, frames.pong())]
            case messages.Subscribe():
                return self._subscribe(connection, message, now)
            case messages.Unsubscribe(channel):
                if channel not in connection.channels:
                    return []
                connection.channels.discard(channel)
                return connection.tenant.leave(socket_id, channel, now)
            case messages.Signin():
                return self._sign_in(connection, message, now)
            case messages.ClientEvent():
                return self._relay(connection, message, now)
            case messages.Malformed(problem):
                return [Send(socket_id, frames.error(4301, problem))]
            case messages.Unknown():
                return []
            case unreachable:
                assert_never(unreachable)

    def _subscribe(self, connection: _Connection, wish: messages.Subscribe, now: int) -> list[Action]:
        tenant, socket_id, channel = connection.tenant, connection.socket_id, wish.channel
        decision = decide(tenant.app, tenant.channels, socket_id, wish)
        if isinstance(decision, Refusal):
            return [Send(socket_id, frames.subscription_error(channel, *decision))]
        if is_guarded(channel):
            self._alarms.cancel(Unsigned(socket_id))  # a signature vouches for the connection here as well
        connection.channels.add(channel)
        arrival = tenant.enter(socket_id, channel, decision, now)
        if not is_presence(channel):
            return [*arrival, Send(socket_id, frames.subscription_succeeded(channel))]
        return [*arrival, Send(socket_id, frames.presence_succeeded(channel, tenant.channels.members(channel)))]

    def _sign_in(self, connection: _Connection, wish: messages.Signin, now: int) -> list[Action]:
        app, socket_id = connection.app, connection.socket_id
        if app.signin_within_s is None:
            return []
        if not is_user(app, socket_id, wish.user_data, wish.auth):
            return self._dismiss_all([socket_id], 4009, "The connection is unauthorized.", now)
        user_id = messages.read_user_id(wish.user_data)
        if user_id is None:
            return self._dismiss_all([socket_id], 4009, "The user data has no id.", now)
        connection.user_id = user_id
        self._alarms.cancel(Unsigned(socket_id))
        return [Send(socket_id, frames.signin_success(wish.auth, wish.user_data))]

    def _relay(self, connection: _Connection, message: messages.ClientEvent, now: int) -> list[Action]:
        event, channel, data = message
        socket_id, tenant = connection.socket_id, connection.tenant
        if problem := objection(tenant.app, message):
            return [Send(socket_id, frames.error(4301, problem, channel))]
        if channel not in connection.channels:
            return []
        if _is_too_much(connection, now):
            return [Send(socket_id, frames.error(4301, "Too many client events in a second.", channel))]
        member = tenant.channels.member(channel, socket_id)
        sender: dict[str, Json] = {"user_id": member.user_id} if member else {}
        text = frames.channel_event(event, channel, data, member.user_id if member else None)
        posts = tenant.post("client_event", channel, event=event, data=data, socket_id=socket_id, **sender)
        return [*tenant.broadcast(channel, text, socket_id), *posts]

    def _dismiss_all(self, socket_ids: list[str], code: int, message: str, now: int) -> list[Action]:
        dismissals = [action for socket_id in socket_ids for action in dismiss(socket_id, code, message)]
        return dismissals + [action for socket_id in socket_ids for action in self._forget(socket_id, now)]


def dismiss(socket_id: str, code: int, message: str) -> list[Action]:
    """Say why, and close."""
    return [Send(socket_id, frames.error(code, message)), Close(socket_id, code)]


def _is_user(connection: _Connection, user_id: str) -> bool:
    channels = connection.tenant.channels
    members = (channels.member(channel, connection.socket_id) for channel in connection.channels)
    return connection.user_id == user_id or any(
        member is not None and str(member.user_id) == user_id for member in members
    )


def _is_too_much(connection: _Connection, now: int) -> bool:
    """Count a client event; as with soketi, a second begins with the first event that comes after the one before."""
    limit, since = connection.app.client_events_per_second, connection.counting_since
    if limit is None:
        return False
    if since is None or now - since >= SECOND:
        connection.counting_since, connection.client_events = now, 0
    connection.client_events += 1
    return connection.client_events > limit
