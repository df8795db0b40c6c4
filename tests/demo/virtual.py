"""A hub in virtual time: a clock that a test moves, and what the hub wants done, told as short as it can be."""

import json
from typing import Any

from chaosproxy.demo.actions import Action, Close, Post, Send
from chaosproxy.demo.auth import App, Webhook, authorise
from chaosproxy.demo.hub import Hub
from chaosproxy.units import SECOND

ANN, BOB, EVE = "1.1", "2.2", "3.3"
ROOM = "presence-room"


class Stage:
    """A hub with one app, whose webhooks want to know everything, and some connections."""

    def __init__(self, *socket_ids: str, **options: Any) -> None:
        self.app = App("app-id", "app-key", "app-secret", **{"webhooks": (Webhook("http://hooks/"),), **options})
        self.hub = Hub([self.app])
        self.now = 1000 * SECOND
        for socket_id in socket_ids:
            self.hub.connect(self.app.key, socket_id, self.now)

    def enter(self, socket_id: str, channel: str = ROOM, user_id: str | None = None) -> list[Any]:
        grant = {} if channel == "news" else authorise(self.app, socket_id, channel, user_id)
        return self.say(socket_id, "pusher:subscribe", data={**grant, "channel": channel})

    def leave(self, socket_id: str, channel: str = ROOM) -> list[Any]:
        return self.say(socket_id, "pusher:unsubscribe", data={"channel": channel})

    def say(self, socket_id: str, event: str, **fields: Any) -> list[Any]:
        return told(self.hub.receive(socket_id, json.dumps({"event": event, **fields}), self.now))

    def lose(self, socket_id: str) -> list[Any]:
        return told(self.hub.disconnect(socket_id, self.now))

    def come_back(self, socket_id: str) -> None:
        self.hub.connect(self.app.key, socket_id, self.now)

    def wait(self, nanoseconds: int) -> list[Any]:
        """Let time pass, calling the hub exactly when it wants to be."""
        end = self.now + nanoseconds
        actions: list[Action] = []
        while (deadline := self.hub.deadline) is not None and deadline <= end:
            assert deadline >= self.now
            self.now = deadline
            actions += self.hub.tick(deadline)
        self.now = end
        return told(actions)


def told(actions: list[Action]) -> list[Any]:
    """Return (socket id, event) for a frame, the event for a webhook; subscription_succeeded is left out."""
    events: list[Any] = []
    for action in actions:
        match action:
            case Send(socket_id, text):
                event = json.loads(text)["event"]
                if event != "pusher_internal:subscription_succeeded":
                    events.append((socket_id, event.removeprefix("pusher_internal:")))
            case Post(_, event):
                events.append(dict(event))
            case Close():
                events.append(action)
    return events
