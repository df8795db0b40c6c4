"""Our demo server beside real soketi: the same dialogue with both, frame by frame and webhook by webhook.

Left out of the comparison: socket ids, times, and the words of errors, which are ours. And the handbooks' grace period,
which soketi does not have, as the real pusher-js sees it.
"""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from chaosproxy.demo.auth import WEBHOOK_EVENTS, App, Webhook, authorise, authorise_user, sign_request
from tests.demo.hooks import BackEnd, back_end
from tests.interop.demo_server import Demo
from tests.interop.proxy import Proxy
from tests.interop.pusher_client import PusherClient
from tests.interop.soketi import App as SoketiApp
from tests.interop.soketi import Soketi

PATIENCE_S = 10
ROOM = "presence-room"
OURS = ("message", "error")  # fields with words in them
ONE_RESET = """\
version: 1
protocol: pusher
phases:
  - name: healthy
    until: {subscribed: [presence-room], within: 60s}
  - name: interruption
    rules:
      - reset
"""


def apps(url: str) -> tuple[App, ...]:
    """Return the apps of both servers; everything of the first is told to `url`."""
    return (
        App("app-id", "app-key", "app-secret", signin_within_s=30, webhooks=(Webhook(url),)),
        App("off", "key-off", "s", enabled=False),
        App("one", "key-one", "s", max_connections=1),
        App("rare", "key-rare", "app-secret", client_events_per_second=1),
    )


class ConfiguredSoketi(Soketi):
    """Soketi with these apps."""

    def __init__(self, directory: Path, *apps: App) -> None:
        super().__init__(directory)
        path = directory / "soketi.json"
        config = json.loads(path.read_text())
        config["appManager.array.apps"] = [_describe(app) for app in apps]
        path.write_text(json.dumps(config))


def _describe(app: App) -> dict[str, object]:
    def or_none(number: float | None) -> float:
        return -1 if number is None else number

    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        "enabled": app.enabled,
        "maxConnections": or_none(app.max_connections),
        "maxClientEventsPerSecond": or_none(app.client_events_per_second),
        "enableClientMessages": app.client_events,
        "enableUserAuthentication": app.signin_within_s is not None,
        "webhooks": [{"url": webhook.url, "event_types": list(webhook.events)} for webhook in app.webhooks],
    }


class Peer:
    """A client that knows the protocol's frames and nothing else, and notes what it hears."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self.heard: list[dict[str, Any]] = []
        welcome = self.hear()
        self.socket_id = ""
        if welcome["event"] == "pusher:connection_established":
            self.socket_id = json.loads(welcome["data"])["socket_id"]
            welcome["data"] = welcome["data"].replace(self.socket_id, "SOCKET")

    def hear(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self._link.recv(PATIENCE_S))
        self.heard.append(frame)
        return frame

    def hear_end(self) -> None:
        """Note with which code the server closes, and that it says nothing before."""
        with pytest.raises(ConnectionClosed) as ending:
            self.hear()
        assert ending.value.rcvd is not None
        self.heard.append({"closed": ending.value.rcvd.code, "reason": ending.value.rcvd.reason})

    def say(self, event: str, **fields: Any) -> None:
        self._link.send(json.dumps({"event": event, **fields}))

    def enter(self, app: App, channel: str, user_id: str | None = None) -> None:
        grant = authorise(app, self.socket_id, channel, user_id) if "-" in channel else {}
        self.say("pusher:subscribe", data={**grant, "channel": channel})
        self.hear()

    def crash(self) -> None:
        """End the connection without a close frame."""
        self._link.socket.shutdown(socket.SHUT_RDWR)


@contextmanager
def peer(port: int, key: str = "app-key") -> Iterator[Peer]:
    url = f"ws://127.0.0.1:{port}/app/{key}?protocol=7&client=test&version=1"
    with connect(url, proxy=None, compression=None, close_timeout=1) as link:
        yield Peer(link)


def refusals(port: int, app: App) -> list[Any]:
    heard: list[Any] = []
    with peer(port, "key-one"):
        for key in ("unknown", "key-off", "key-one"):
            with peer(port, key) as refused:
                refused.hear_end()
            heard.append(refused.heard)
    return heard


def presence(port: int, app: App) -> list[Any]:
    with peer(port) as ann, peer(port) as bob:
        ann.enter(app, ROOM, "ann")
        bob.enter(app, ROOM, "bob")
        ann.hear()
        bob.say("client-wave", channel=ROOM, data={"x": [1, "ö"]})
        ann.hear()
        bob.say("pusher:unsubscribe", data={"channel": ROOM})
        ann.hear()
        # Signed as a user of whom nothing is known: a private channel's signature covers the same text.
        channel_data = '{"user_id":"eve"}'
        auth = authorise(app, f"{bob.socket_id}:{ROOM}", channel_data)["auth"]
        bob.say("pusher:subscribe", data={"channel": ROOM, "auth": auth, "channel_data": channel_data})
        bob.hear()
        ann.hear()
        bob.crash()
        ann.hear()
        return [ann.heard, bob.heard]


def subscribing(port: int, app: App) -> list[Any]:
    with peer(port) as ann:
        ann.enter(app, "news")
        ann.enter(app, "private-room")
        for data in (
            {"channel": "private-room", "auth": "app-key:00"},
            {"channel": "x" * 201},
        ):
            ann.say("pusher:subscribe", data=data)
            ann.hear()
        ann.say("pusher:ping", data={})
        ann.hear()
        ann.say("client-" + "x" * 200, channel="private-room", data={})
        ann.hear()
        return ann.heard


def too_many_events(port: int, app: App) -> list[Any]:
    rare = App("rare", "key-rare", "app-secret")
    with peer(port, rare.key) as ann, peer(port, rare.key) as bob:
        ann.enter(rare, "private-room")
        bob.enter(rare, "private-room")
        for _ in range(2):
            ann.say("client-wave", channel="private-room", data={})
        bob.hear()
        ann.hear()
        return [ann.heard, bob.heard]


def signing_in(port: int, app: App) -> list[Any]:
    with peer(port) as ann, peer(port) as bob:
        grant = authorise_user(app, ann.socket_id, "ann")
        ann.say("pusher:signin", data=grant)
        assert ann.hear().pop("data") == grant
        bob.say("pusher:signin", data=grant)
        bob.hear()
        bob.hear_end()
        for path, content in (
            ("events", {"name": "hello", "channels": ["#server-to-user-ann"], "data": "{}"}),
            ("users/ann/terminate_connections", {}),
        ):
            post(port, app, f"/apps/{app.id}/{path}", json.dumps(content).encode())
            ann.hear()
        ann.hear_end()
        return [ann.heard, bob.heard]


def post(port: int, app: App, path: str, body: bytes) -> None:
    query = sign_request(app, "POST", path, body, int(time.time()))
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", f"{path}?{urlencode(query)}", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200


def without_words(heard: Any) -> Any:
    """Put a mark in the place of an error's words."""
    if isinstance(heard, list):
        return [without_words(item) for item in heard]
    if isinstance(heard, dict):
        return {name: "…" if name in OURS else without_words(value) for name, value in heard.items()}
    return heard


class TestBesideSoketi:
    @pytest.mark.parametrize(
        "dialogue", [refusals, presence, subscribing, too_many_events, signing_in], ids=lambda each: each.__name__
    )
    def test_both_say_the_same(self, tmp_path: Path, dialogue: Any) -> None:
        with back_end() as told:
            app, *others = apps(told.url)
            with ConfiguredSoketi(tmp_path, app, *others) as soketi:
                soketi_says = dialogue(soketi.port, app)
            with Demo(app, *others) as demo:
                assert without_words(dialogue(demo.port, app)) == without_words(soketi_says)

    def test_both_post_the_same(self, tmp_path: Path) -> None:
        def posted(port: int, app: App, told: BackEnd) -> list[str]:
            """Walk through all that is posted; each step's events are a set, as soketi posts them side by side."""
            steps: list[str] = []

            def note(count: int) -> None:
                events = []
                for delivery in [told.next() for _ in range(count)]:
                    assert delivery.is_signed(app.secret)
                    assert delivery.headers["X-Pusher-Key"] == app.key
                    assert delivery.headers["Content-Type"].startswith("application/json")
                    assert abs(delivery.time_ms - time.time() * 1000) < 60_000
                    events.append(json.dumps(delivery.event).replace(ann.socket_id, "SOCKET"))
                steps.append("\n".join(sorted(events)))

            with peer(port) as ann, peer(port) as bob:
                ann.enter(app, ROOM, "ann")
                note(2)
                bob.enter(app, ROOM, "bob")
                note(1)
                ann.say("client-wave", channel=ROOM, data={"x": [1, "ö"]})
                note(1)
                bob.crash()
                note(1)
                ann.say("pusher:unsubscribe", data={"channel": ROOM})
                note(2)
            return steps

        with back_end() as told:
            app, *others = apps(told.url)
            with ConfiguredSoketi(tmp_path, app, *others) as soketi:
                soketi_posts = posted(soketi.port, app, told)
            with Demo(app, *others) as demo:
                assert posted(demo.port, app, told) == soketi_posts
            assert {name for name in WEBHOOK_EVENTS if f'"{name}"' in "".join(soketi_posts)} == set(WEBHOOK_EVENTS)


class TestGrace:
    """Bob's connection is reset once by a proxy; pusher-js is back about a second later."""

    def story(self, directory: Path, grace_s: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]], float]:
        """Return what Ann and the back end were told of Bob, and how long after his end he was missed, in seconds."""
        with back_end() as told:
            webhook = Webhook(told.url, ("member_added", "member_removed"))
            app = App("app-id", "app-key", "app-secret", grace_s=grace_s, webhooks=(webhook,))
            profile = directory / "one-reset.yaml"
            profile.write_text(ONE_RESET)
            key = SoketiApp(app.id, app.key, app.secret)
            with (
                Demo(app) as demo,
                PusherClient(demo.port, app=key, channels=[ROOM], user_id="ann") as ann,
            ):
                ann.wait_for("subscribed")
                with (
                    Proxy(directory, f"ws://127.0.0.1:{demo.port}", profile=profile) as proxy,
                    PusherClient(proxy.port, app=key, channels=[ROOM], user_id="bob") as bob,
                ):
                    first = bob.wait_for("subscribed")
                    second = bob.wait_for("subscribed", after=first)
                    assert second["members"] == ["ann", "bob"] or second["members"] == ["bob", "ann"]
                    bob.kill()
                    killed_at = ann.now()
                    # With grace, his first removal is his last.
                    removals = 1 if grace_s else 2
                    ann.wait_for(lambda event: _told(ann).count(("member_removed", "bob")) == removals)
                missed_s = (ann.latest()["at"] - killed_at) / 1000
                frames = [(name, who) for name, who in _told(ann) if who == "bob"]
            posts = []
            while not told.deliveries.empty():
                event = told.next_event()
                posts.append((event["name"], event["user_id"]))
            return frames, [each for each in posts if each[1] == "bob"], missed_s

    def test_without_it_a_brief_interruption_is_a_removal_and_an_addition(self, tmp_path: Path) -> None:
        frames, posts, _ = self.story(tmp_path, 0)
        expected = [("member_added", "bob"), ("member_removed", "bob")] * 2
        assert (frames, posts) == (expected, expected)

    def test_with_it_nobody_is_told_of_a_brief_interruption_and_all_of_an_end_later(self, tmp_path: Path) -> None:
        frames, posts, missed_s = self.story(tmp_path, 3)
        expected = [("member_added", "bob"), ("member_removed", "bob")]
        assert (frames, posts) == (expected, expected)
        assert 2.9 < missed_s < 6


def _told(client: PusherClient) -> list[tuple[str, str]]:
    return [
        (event["event"].removeprefix("pusher:"), event["data"]["id"])
        for event in list(client.events)
        if event["kind"] == "message" and event["event"].startswith("pusher:member_")
    ]
