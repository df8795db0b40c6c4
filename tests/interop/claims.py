"""What a handbook says of a Pusher connection's life, claim by claim: what makes it happen, and what really does.

Each claim is a story: a real pusher-js through the proxy, with a shipped profile, before a real server. It asserts what
is true, in windows of time, and leaves behind what was seen. `python -m tests.interop.claims --help` runs them by hand,
and writes docs/pusher.md from such a run.

The numbers come from the source of pusher-js 8.6 (how long it waits, which code means what), not from runs.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.proxy import Proxy
from tests.interop.pusher_client import SHORT_TIMERS, Event, PusherClient
from tests.interop.soketi import APP, trigger

SECRET = "private-orders"
MakeClient = Callable[..., "contextlib.AbstractContextManager[PusherClient]"]


class Scene:
    """A server, a proxy before it, and clients of one runtime. `late_ms` is how late a busy machine may make things."""

    def __init__(self, directory: Path, runtime: str, make_client: MakeClient, server_port: int, late_ms: int) -> None:
        self.runtime = runtime
        self.server_port = server_port
        self.late_ms = late_ms
        self.seen = ""
        self.room = f"presence-{directory.name}"  # nobody else's: others run beside this one
        self._directory = directory
        self._make_client = make_client

    @contextlib.contextmanager
    def proxy(self, profile: str) -> Iterator[Proxy]:
        with Proxy(self._directory, f"ws://127.0.0.1:{self.server_port}", profile=Path(profile)) as proxy:
            yield proxy

    def client(self, port: int, **settings: Any) -> "contextlib.AbstractContextManager[PusherClient]":
        return self._make_client(port, **{"options": SHORT_TIMERS, **settings})

    def observer(self) -> "contextlib.AbstractContextManager[PusherClient]":
        """Somebody else, in Node and straight at the server, who sees who comes and goes."""
        return PusherClient(self.server_port, channels=[self.room], user_id="observer")


class Expected(NamedTuple):
    """All states from the first one on, and how many ms lie between two of them, named by their places."""

    states: tuple[str, ...]
    gaps: Mapping[tuple[int, int], tuple[int, int]] = {}
    errors: tuple[tuple[str, int], ...] | None = ()  # where each code was found, and the code; None: it varies
    quiet_s: float = 0.5  # for so long nothing more may happen
    dials: tuple[tuple[int, int], ...] | None = None  # when clients connected to the proxy, ms since the first time
    dials_between: tuple[int, int] | None = None  # or only how many


class Claim(NamedTuple):
    """One line of the handbook."""

    name: str
    says: str
    truth: str
    profile: str
    story: Callable[[Scene], None]
    is_long: bool = False  # takes most of a minute, or more
    runtimes: tuple[str, ...] = ("node", "undici", "chromium")


# --- What is seen --------------------------------------------------------------------------------------------------


def states_of(client: PusherClient) -> list[Event]:
    return [event for event in client.events if event["kind"] == "state"]


def errors_of(client: PusherClient) -> list[tuple[str, int]]:
    """Where codes were found, and which; errors without one (a bare event, in Node) tell nothing."""
    errors = [event for event in client.events if event["kind"] == "error"]
    return [(event["path"], event["code"]) for event in errors if event["path"]]


def dials_of(proxy: Proxy) -> list[int]:
    """When clients connected to the proxy, in ms since the first time."""
    times = [record["at"] for record in proxy.journal() if record.get("event") == "accepted"]
    return [round((at - times[0]) * 1000) for at in times]


def await_record(proxy: Proxy, kind: str) -> dict[str, Any]:
    """The first record of a kind in the journal, once it is there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := [record for record in proxy.journal() if record.get("event") == kind]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no {kind} in the journal")


def _told(client: PusherClient, proxy: Proxy | None) -> str:
    """What was seen, for people to read."""
    told, before = [], states_of(client)[0]["at"]
    for event in states_of(client):
        after = event["at"] - before
        told.append(event["current"] + (f" (+{after / 1000:.1f} s)" if after >= 150 else ""))
        before = event["at"]
    line = " → ".join(told)
    if errors := errors_of(client):
        line += "; " + ", ".join(f"`err.{path}` {code}" for path, code in dict.fromkeys(errors))
    else:
        line += "; no error"
    if proxy and len(dials := dials_of(proxy)) > 2:
        shown = ", ".join(f"{at / 1000:.0f}" for at in dials[:5])
        line += f"; {len(dials)} dials" + (f" at {shown} s" if len(dials) <= 5 else "")
    return line


# --- Stories -------------------------------------------------------------------------------------------------------


def lives_through(
    profile: str, expected: Expected | Mapping[str, Expected], channels: Sequence[str] = ("news",), **settings: Any
) -> Callable[[Scene], None]:
    """A client that does nothing but live through a profile; what is expected may depend on the runtime."""

    def story(scene: Scene) -> None:
        wanted = expected if isinstance(expected, Expected) else expected[scene.runtime]
        with scene.proxy(profile) as proxy, scene.client(proxy.port, channels=channels, **settings) as client:
            _await_states(client, wanted, scene.late_ms)
            scene.seen = _told(client, proxy)
            _check(client, proxy, wanted, scene.late_ms)

    return story


def _await_states(client: PusherClient, wanted: Expected, late_ms: int) -> None:
    longest_s = (sum(latest for _, latest in wanted.gaps.values()) + late_ms * len(wanted.states)) / 1000 + 10
    deadline = time.monotonic() + longest_s
    while len(states_of(client)) < len(wanted.states):
        seen = states_of(client)
        assert [each["current"] for each in seen] == list(wanted.states[: len(seen)]), client.story()
        after = seen[-1] if seen else None
        client.wait_for("state", after=after, timeout_s=max(0.1, deadline - time.monotonic()))
    with contextlib.suppress(AssertionError):
        client.wait_for("state", after=states_of(client)[-1], timeout_s=wanted.quiet_s)


def _early(late_ms: int) -> int:
    """How much shorter a time may seem, since its beginning may have been told late."""
    return 20 + late_ms // 5


def _check(client: PusherClient, proxy: Proxy, wanted: Expected, late_ms: int) -> None:
    seen = states_of(client)
    assert [each["current"] for each in seen] == list(wanted.states), client.story()
    for (one, other), (at_least, at_most) in wanted.gaps.items():
        took = seen[other]["at"] - seen[one]["at"]
        edge = f"{wanted.states[one]} → {wanted.states[other]}"
        assert at_least - _early(late_ms) <= took <= at_most + late_ms, f"{edge} took {took:.0f} ms\n{client.story()}"
    assert wanted.errors is None or errors_of(client) == list(wanted.errors), client.story()
    dials = dials_of(proxy)
    if wanted.dials is not None:
        assert len(dials) == len(wanted.dials), dials
        for at, (at_least, at_most) in zip(dials, wanted.dials, strict=True):
            assert at_least - _early(late_ms) <= at <= at_most + late_ms, dials
    if wanted.dials_between is not None:
        assert wanted.dials_between[0] <= len(dials) <= wanted.dials_between[1], dials


def _announced(scene: Scene) -> None:
    """Channels that are subscribed at once wait for the connection, and are one connection's."""
    with (
        scene.proxy("normal-startup") as proxy,
        scene.client(proxy.port, channels=("news", SECRET, scene.room)) as client,
    ):
        for channel in ("news", SECRET, scene.room):
            client.wait_for("subscribed", channel=channel)
        scene.seen = _told(client, proxy) + "; 3 channels on 1 connection"
        assert [event["current"] for event in states_of(client)] == ["connecting", "connected"]
        assert len(dials_of(proxy)) == 1


def _a_new_life(scene: Scene) -> None:
    """Back with a new socket id, for which the private channels are signed anew."""
    with (
        scene.proxy("brief-interruption") as proxy,
        scene.client(proxy.port, channels=("news", SECRET, scene.room)) as client,
    ):
        before = client.wait_for("state", current="connected")
        lost = client.wait_for("state", current="connecting", after=before)
        back = client.wait_for("state", current="connected", after=lost)
        for channel in ("news", SECRET, scene.room):
            again = client.wait_for("subscribed", channel=channel, after=back)
            assert again["socket_id"] == back["socket_id"] != before["socket_id"]
        scene.seen = _told(client, proxy) + "; a new socket id, all channels again"


def _by_hand(scene: Scene) -> None:
    with scene.proxy("normal-startup") as proxy, scene.client(proxy.port) as client:
        first = client.wait_for("state", current="connected")
        client.disconnect()
        gone = client.wait_for("state", current="disconnected", after=first)
        client.connect()
        second = client.wait_for("state", current="connected", after=gone)
        scene.seen = _told(client, proxy)
        assert client.states() == ["connecting", "connected", "disconnected", "connecting", "connected"]
        assert first["socket_id"] != second["socket_id"]
        closed = await_record(proxy, "closed")
        # Browsers send a close frame without a code where the application gives none; faye-websocket says 1000.
        assert (closed["by"], closed["code"]) == ("client", 1000 if scene.runtime == "node" else None)


def _excluded(scene: Scene) -> None:
    """Who sent an event does not get it, as long as its socket id is the present one."""
    with scene.proxy("brief-interruption") as proxy, scene.client(proxy.port) as client:
        first = client.wait_for("state", current="connected")
        channel = scene.room.removeprefix("presence-")
        client.subscribe(channel)
        lost = client.wait_for("state", current="connecting", after=first, timeout_s=20)
        back = client.wait_for("state", current="connected", after=lost)
        client.wait_for("subscribed", channel=channel, after=back)
        trigger(proxy.port, channel, "own", 1, but=back["socket_id"])
        trigger(proxy.port, channel, "stale", 2, but=first["socket_id"])
        client.wait_for("message", event="stale")
        assert [event["event"] for event in client.events if event["kind"] == "message"] == ["stale"]
        scene.seen = "its own event with its present id: not delivered; with the id from before: delivered"


def _noticed(profile: str, at_least_ms: int, at_most_ms: int, *, ends: bool = True) -> Callable[[Scene], None]:
    """When others in a presence channel learn that a client is gone; `ends` is whether it dies, or falls silent."""

    def story(scene: Scene) -> None:
        with scene.observer() as observer:
            observer.wait_for("subscribed", channel=scene.room)
            with (
                scene.proxy(profile) as proxy,
                scene.client(proxy.port, channels=(scene.room,), user_id="ann") as client,
            ):
                client.wait_for("subscribed", channel=scene.room)
                observer.wait_for("message", event="pusher:member_added")
                began = observer.now()
                if ends:
                    client.kill()
                removed = observer.wait_for(
                    "message", event="pusher:member_removed", timeout_s=(at_most_ms + scene.late_ms) / 1000
                )
                took = removed["at"] - began
                scene.seen = f"member_removed after {took / 1000:.1f} s"
                assert at_least_ms - _early(scene.late_ms) <= took, observer.story()

    return story


def _flaps(scene: Scene) -> None:
    """A drop and a return within a second or two are seen as somebody who leaves and comes."""
    with (
        scene.observer() as observer,
        scene.proxy("brief-interruption") as proxy,
        scene.client(proxy.port, channels=(scene.room,), user_id="ann") as client,
    ):
        added = observer.wait_for("message", event="pusher:member_added", timeout_s=20)
        removed = observer.wait_for("message", event="pusher:member_removed", after=added)
        again = observer.wait_for("message", event="pusher:member_added", after=removed)
        client.wait_for("subscribed", after=client.wait_for("state", current="connecting", after=states_of(client)[1]))
        gap = again["at"] - removed["at"]
        scene.seen = f"member_removed at once, member_added {gap / 1000:.1f} s later"
        assert 1000 - 100 <= gap <= 1000 + scene.late_ms


def _ghost(scene: Scene) -> None:
    """While a client is half-open, the server takes it for well: nobody learns that it is gone."""
    with (
        scene.observer() as observer,
        scene.proxy("half-open-client-leg") as proxy,
        scene.client(proxy.port, channels=(scene.room,), user_id="ann") as client,
    ):
        added = observer.wait_for("message", event="pusher:member_added", timeout_s=20)
        noticed = client.wait_for("state", current="connecting", after=states_of(client)[1], timeout_s=30)
        with contextlib.suppress(AssertionError):
            observer.wait_for("message", event="pusher:member_removed", after=added, timeout_s=3)
        gone = [event for event in observer.events if event.get("event") == "pusher:member_removed"]
        assert gone == []
        scene.seen = f"the client gave up after {noticed['at'] / 1000:.0f} s; 3 s later the room still has its member"


def _storm(scene: Scene) -> None:
    with scene.proxy("reconnect-storm") as proxy, scene.client(proxy.port, channels=("news",)) as client:
        client.wait_for("state", current="connecting", after=client.wait_for("state", current="connected"))
        client.wait_for("subscribed", after=client.wait_for("state", current="connecting", after=states_of(client)[1]))
        dials = len(dials_of(proxy))
        reached = sum(record.get("event") == "dialled" for record in proxy.journal())
        scene.seen = f"{dials} dials in 3 s, {reached} of which reached the server"
        assert client.states() == ["connecting", "connected", "connecting", "connected"]
        assert dials >= 20 and reached == 2


def _over_quota(scene: Scene) -> None:
    with scene.proxy("over-quota") as proxy, PusherClient(proxy.port) as first, PusherClient(proxy.port) as second:
        first.wait_for("state", current="connected")
        second.wait_for("state", current="connected")
        with scene.client(proxy.port) as third:
            for _ in range(3):
                third.wait_for("error", code=4100, after=third.latest())
            assert third.states() == ["connecting"]
            second.disconnect()
            third.wait_for("state", current="connected")
            scene.seen = _told(third, None)
            assert set(errors_of(third)) == {("error.data.code", 4100)}


def _pending(profile: str, kind: str | None) -> Callable[[Scene], None]:
    """A subscription that is not confirmed; the connection is as well as ever."""

    def story(scene: Scene) -> None:
        with scene.proxy(profile) as proxy, scene.client(proxy.port, channels=(SECRET,)) as client:
            client.wait_for("state", current="connected")
            if kind:
                refused = client.wait_for(kind, channel=SECRET)
                scene.seen = f"connected; {kind} {refused['status']}"
            else:
                with contextlib.suppress(AssertionError):
                    client.wait_for("subscribed", timeout_s=4)
                scene.seen = "connected; the channel is still pending after 4 s"
            assert [event for event in client.events if event["kind"] == "subscribed"] == []
            assert client.states() == ["connecting", "connected"]

    return story


def _lossy(scene: Scene) -> None:
    channels = [f"{scene.room}-{number}".removeprefix("presence-") for number in range(40)]
    with scene.proxy("lossy-link") as proxy, scene.client(proxy.port, channels=channels) as client:
        client.wait_for("state", current="connected", timeout_s=30)
        with contextlib.suppress(AssertionError):
            for channel in channels:
                client.wait_for("subscribed", channel=channel, timeout_s=1.5)
        lost = [record for record in proxy.journal() if record.get("event") == "struck"]
        confirmed = {event["channel"] for event in client.events if event["kind"] == "subscribed"}
        scene.seen = f"{len(lost)} messages lost, {len(channels) - len(confirmed)} of {len(channels)} channels pending"
        assert client.states() == ["connecting", "connected"]
        assert len(channels) - len(confirmed) == len(lost) > 0


def _left(scene: Scene) -> None:
    with scene.proxy("normal-startup") as proxy, scene.client(proxy.port) as client:
        client.wait_for("state", current="connected")
        client.leave()
        closed = await_record(proxy, "closed")
        scene.seen = f"closed by the {closed['by']} with {closed['code']}"
        assert (closed["by"], closed["code"]) == ("client", 1001)


def _wrong_key(scene: Scene) -> None:
    nobody = APP._replace(key="no-such-key")
    with scene.proxy("normal-startup") as proxy, scene.client(proxy.port, app=nobody) as client:
        client.wait_for("state", current="disconnected")
        scene.seen = _told(client, proxy)
        assert client.states() == ["connecting", "disconnected"]
        assert errors_of(client) == [("error.data.code", 4001)]


def _wrong_path(scene: Scene) -> None:
    options = {**SHORT_TIMERS, "wsPath": "/nowhere"}
    with scene.proxy("normal-startup") as proxy, scene.client(proxy.port, options=options) as client:
        client.wait_for("state", current="unavailable")
        scene.seen = _told(client, proxy)
        assert client.states() == ["connecting", "unavailable"] and errors_of(client) == []
        refusals = [record for record in proxy.journal() if record.get("event") == "answered"]
        assert [record["status"] for record in refusals] == [404]


def _never_supported(scene: Scene) -> None:
    with scene.proxy("normal-startup") as proxy:
        options = {**SHORT_TIMERS, "enabledTransports": ["wss"]}
        with scene.client(proxy.port, options=options) as client:
            scene.seen = _told(client, None)
            assert client.states() == ["failed"]
            assert [record for record in proxy.journal() if record.get("event") == "accepted"] == []


# --- The claims ----------------------------------------------------------------------------------------------------

UP = ("connecting", "connected")
BACK = (*UP, "connecting", "connected")
DOWN = (*UP, "connecting", "unavailable", "connected")
# Reset when it has been open for 5 s, and for 22 s nobody gets in: what comes back is the slot that begins behind that.
RESET_AND_AWAY = Expected(
    DOWN, {(1, 2): (6000, 6500), (2, 3): (4000, 4500), (2, 4): (15_000, 46_000)}, errors=(("data.code", 1006),)
)
AT_ONCE = (0, 300)
AFTER_ONE_SECOND = (1000, 1300)  # pusher-js: retryIn(1000) behind a plain close, and behind 4100 to 4199
MID = "data.code"
ACTED = "error.data.code"


def _told_off(code: int) -> tuple[tuple[str, int], ...]:
    """On an open connection, pusher:error and then the close: of the message, the close, and what follows from it."""
    return ((MID, code), (MID, code), (ACTED, code))


def _given_up(code: int) -> Expected:
    return Expected(("connecting", "disconnected"), errors=((ACTED, code),), quiet_s=3, dials_between=(1, 1))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "starts-by-itself",
        "The connection starts as the object is made, and subscriptions made before that are queued.",
        "true",
        "normal-startup",
        _announced,
    ),
    Claim(
        "normal-startup",
        "A normal start goes initialized → connecting → connected.",
        "true, but the first two are over before anyone can bind: read `state` at the start",
        "normal-startup",
        lives_through("normal-startup", Expected(UP)),
    ),
    Claim(
        "one-connection",
        "One connection carries all channels.",
        "true, in one client object",
        "normal-startup",
        _announced,
    ),
    Claim(
        "brief-interruption",
        "A brief interruption goes connected → connecting → connected.",
        "true, after 1 s in which it still says connected and sends nothing",
        "brief-interruption",
        lives_through(
            "brief-interruption",
            Expected(BACK, {(1, 2): AFTER_ONE_SECOND, (2, 3): AT_ONCE}, errors=((MID, 1006),)),
        ),
    ),
    Claim(
        "fin-without-close",
        "A server that vanishes is a brief interruption.",
        "true: FIN without a close frame is like a reset",
        "fin-1006",
        lives_through("fin-1006", Expected(BACK, {(1, 2): (6000, 6500), (2, 3): AT_ONCE}, errors=((MID, 1006),))),
    ),
    Claim(
        "half-open",
        "A lost link is noticed after about 30 s.",
        "after 30 to 60 s with soketi's defaults: activity timeout (from the last message) and pong timeout; here 3 s "
        "and 2 s, and the server lives on, so it is back at once",
        "half-open",
        lives_through("half-open", Expected(BACK, {(1, 2): (5000, 10_500), (2, 3): AT_ONCE})),
    ),
    Claim(
        "half-open-one-way",
        "A lost link is noticed whichever way is lost.",
        "true while nothing comes; on a busy channel a lost way to the server is not noticed",
        "half-open-server-silent",
        lives_through(
            "half-open-server-silent",
            Expected((*UP, "connecting", "unavailable"), {(1, 2): (5000, 6500), (2, 3): (4000, 4500)}),
        ),
    ),
    Claim(
        "extended-outage",
        "An extended loss goes connected → connecting → unavailable, and back to connected.",
        "true, and back only with the first dial behind the outage: slots end 15, 45, 105 s after connecting began",
        "extended-outage-fast",
        lives_through(
            "extended-outage-fast",
            Expected(DOWN, {(1, 2): (5000, 5500), (2, 3): (4000, 4500), (2, 4): (45_000, 46_000)}),
        ),
        is_long=True,
    ),
    Claim(
        "extended-outage-defaults",
        "An extended loss is noticed after about 30 s.",
        "with default timers 59.5 s after the last message: 30 s that soketi announces, and 30 s for the pong; "
        "unavailable 10 s later",
        "extended-outage",
        lives_through(
            "extended-outage",
            Expected(DOWN, {(1, 2): (59_000, 61_500), (2, 3): (10_000, 10_500), (2, 4): (45_000, 106_000)}),
            options={},
        ),
        is_long=True,
    ),
    Claim(
        "retry-slots",
        "In unavailable it tries again every 15 s.",
        "after 15 s, then 30 s, then every 60 s, counted from the start of connecting; not adjustable",
        "not-found-404",
        lives_through(
            "not-found-404",
            Expected(
                ("connecting", "unavailable", "connected"),
                {(0, 1): (4000, 4500), (0, 2): (45_000, 46_000)},
                dials=((0, 0), (15_000, 15_500), (45_000, 46_000)),
            ),
        ),
        runtimes=("node", "undici"),
        is_long=True,
    ),
    Claim(
        "http-refusals",
        "Errors tell what went wrong.",
        "not on the way up: a refused connection, HTTP 404 or 503, a redirect, a certificate that is not trusted: none "
        "of them emits an error, all are connecting → unavailable",
        "unavailable-503",
        lives_through(
            "unavailable-503",
            RESET_AND_AWAY,
        ),
        is_long=True,
    ),
    Claim(
        "refused",
        "unavailable goes to connected once the server is back.",
        "true, without connecting in between, at the next slot and not before",
        "refused",
        lives_through(
            "refused",
            RESET_AND_AWAY,
        ),
        is_long=True,
    ),
    Claim(
        "failed",
        "failed means that there is no WebSocket, and there is no retry.",
        "no network fault leads there (so no proxy can): only a client without a transport it may use, such as "
        "enabledTransports: ['wss'] alone",
        "normal-startup",
        _never_supported,
    ),
    Claim(
        "disconnect",
        "disconnected follows from disconnect() and stays; connect() comes back with a new socket id.",
        "true",
        "normal-startup",
        _by_hand,
    ),
    Claim(
        "disconnected-by-code",
        "disconnected means that the connection was closed on purpose.",
        "codes 4001 to 4099, and from 4300, lead there too, for good",
        "pusher-4009-unauthorized",
        lives_through("pusher-4009-unauthorized", Expected((*UP, "disconnected"), errors=_told_off(4009), quiet_s=3)),
    ),
    Claim(
        "4001",
        "4001: the app key was not found.",
        "true; disconnected, no retry",
        "pusher-4001-unknown-key",
        lives_through("pusher-4001-unknown-key", _given_up(4001)),
    ),
    Claim("4001-real", "A wrong key is answered 4001.", "true", "normal-startup", _wrong_key),
    Claim(
        "4003",
        "4003: the app is disabled.",
        "true; disconnected, no retry",
        "pusher-4003-disabled-app",
        lives_through("pusher-4003-disabled-app", _given_up(4003)),
    ),
    Claim(
        "4004",
        "4004: the app is over its limit.",
        "what soketi says is 4100, see there; on 4004 pusher-js gives up",
        "pusher-4004-over-limit",
        lives_through("pusher-4004-over-limit", _given_up(4004)),
    ),
    Claim(
        "4100",
        "(over the limit, as soketi says it)",
        "4100 is asked again about once a second, for as long as it takes, and is never unavailable",
        "pusher-4100-over-capacity",
        lives_through(
            "pusher-4100-over-capacity",
            Expected(BACK, {(1, 2): AFTER_ONE_SECOND, (2, 3): (9_500, 13_500)}, errors=None, dials_between=(8, 15)),
        ),
        runtimes=("node", "undici"),
    ),
    Claim(
        "quota",
        "(the same, with two connections that have room)",
        "in as soon as one has gone",
        "over-quota",
        _over_quota,
    ),
    Claim(
        "4005",
        "4005: the path was not found.",
        "as a code it is given up on; soketi never says it, see wrong-path",
        "pusher-4005-path-not-found",
        lives_through("pusher-4005-path-not-found", _given_up(4005)),
    ),
    Claim(
        "wrong-path",
        "A wrong path is told by 4005.",
        "soketi answers HTTP 404: no error, unavailable",
        "normal-startup",
        _wrong_path,
    ),
    Claim(
        "4200",
        "(a server that stops says 4200)",
        "back at once, without the second that a plain close costs",
        "pusher-4200-reconnect",
        lives_through(
            "pusher-4200-reconnect", Expected(BACK, {(1, 2): AT_ONCE, (2, 3): AT_ONCE}, errors=_told_off(4200))
        ),
    ),
    Claim(
        "4201",
        "(soketi closes by 4201 whom it has not sent anything for 2 minutes)",
        "back at once; no message before it, so the code is told twice",
        "pusher-4201-pong-timeout",
        lives_through(
            "pusher-4201-pong-timeout",
            Expected(BACK, {(1, 2): AT_ONCE, (2, 3): AT_ONCE}, errors=((MID, 4201), (ACTED, 4201))),
        ),
    ),
    Claim(
        "4301",
        "(a client event is rejected)",
        "the message changes no state; its code is at `err.data.code`",
        "pusher-4301-rejected-event",
        lives_through("pusher-4301-rejected-event", Expected(UP, errors=((MID, 4301),), quiet_s=2)),
    ),
    Claim(
        "reconnect-storm",
        "(4200 again and again)",
        "no back-off at all: tens to hundreds of dials a second",
        "reconnect-storm",
        _storm,
    ),
    Claim(
        "auth-again",
        "The socket id is what private channels are signed for.",
        "true, and all are signed anew for the new one after each return",
        "brief-interruption",
        _a_new_life,
    ),
    Claim(
        "exclusion",
        "An event can exclude the socket id of who caused it.",
        "true until the next reconnection: a stale id excludes nobody, and says nothing",
        "brief-interruption",
        _excluded,
    ),
    Claim(
        "noticed-when-it-dies",
        "The server notices within a few seconds that a client is gone.",
        "at once, where FIN, RST or a close frame tells it",
        "normal-startup",
        _noticed("normal-startup", 0, 1000),
        runtimes=("node",),
    ),
    Claim(
        "noticed-half-open",
        "The server notices within a few seconds that a client is gone.",
        "not where nothing tells it: soketi takes about two minutes",
        "half-open-client-leg",
        _ghost,
        runtimes=("node",),
    ),
    Claim(
        "grace",
        "Presence waits about 3 s before it tells that a member is gone.",
        "soketi tells at once, so each brief interruption is a member who leaves and comes",
        "brief-interruption",
        _flaps,
        runtimes=("node",),
    ),
    Claim(
        "grace-emulated",
        "Presence waits about 3 s before it tells that a member is gone.",
        "with this profile it does: the server learns of it 3 s late",
        "grace-period",
        _noticed("grace-period", 3000, 4000),
        runtimes=("node",),
    ),
    Claim(
        "lost-pong",
        "(the answer to pusher:ping is lost)",
        "a reconnection after activity and pong timeout, each time, where nothing else comes",
        "lost-pusher-pong",
        lives_through("lost-pusher-pong", Expected(BACK, {(1, 2): (5000, 5600), (2, 3): AT_ONCE}, quiet_s=0.1)),
    ),
    Claim(
        "lost-established",
        "(connection_established is lost, once)",
        "the slot of 15 s is waited out, as with no answer at all",
        "lost-established",
        lives_through(
            "lost-established",
            Expected(("connecting", "unavailable", "connected"), {(0, 1): (4000, 4500), (0, 2): (15_000, 15_500)}),
        ),
        runtimes=("node", "undici"),
    ),
    Claim(
        "lost-subscription",
        "(subscription_succeeded is lost, once)",
        "the channel is pending for ever, and nobody asks again",
        "lost-subscription",
        _pending("lost-subscription", None),
    ),
    Claim(
        "subscription-refused",
        "(a private channel is refused)",
        "an error of the channel's, not of the connection's; never asked again",
        "subscription-refused",
        _pending("subscription-refused", "subscription_error"),
    ),
    Claim(
        "half-open-way-to-the-server",
        "A lost link is noticed whichever way is lost.",
        "true while nothing comes; where events go on coming, a lost way to the server is not noticed",
        "half-open-one-way",
        lives_through("half-open-one-way", Expected(BACK, {(1, 2): (5000, 10_500), (2, 3): AT_ONCE})),
    ),
    Claim(
        "short-heartbeat",
        "(a server that announces a short activity timeout)",
        "an unchanged client pings after it, here 2 s; how long it waits for the pong is its own pongTimeout, here 2 s",
        "half-open-short-heartbeat",
        lives_through(
            "half-open-short-heartbeat",
            Expected(BACK, {(1, 2): (5000, 8000), (2, 3): AT_ONCE}),
            options={"pongTimeout": 2000},
        ),
    ),
    Claim(
        "hang",
        "(connections are accepted and never answered)",
        "no error, unavailable, and each dial is waited for to the end of its slot",
        "hang",
        lives_through(
            "hang",
            RESET_AND_AWAY,
        ),
        is_long=True,
    ),
    Claim(
        "flapping",
        "(a link that comes and goes)",
        "back each time, a second after each loss",
        "flapping",
        lives_through(
            "flapping",
            Expected(
                (*BACK, *BACK[2:], *BACK[2:]),
                {(1, 2): (6000, 6500), (3, 4): (6000, 6500), (5, 6): (6000, 6500)},
                errors=((MID, 1006),) * 3,
            ),
        ),
    ),
    Claim(
        "rolling-deploy",
        "(a deploy closes all connections with 1001)",
        "no error, and back after a second; each server of the deploy costs one more",
        "close-1001-rolling-deploy",
        lives_through(
            "close-1001-rolling-deploy",
            Expected((*BACK, *BACK[2:]), {(1, 2): (6000, 6500), (2, 3): AT_ONCE, (3, 4): (19_000, 21_500)}),
        ),
    ),
    Claim(
        "restart-1012",
        "(a server or proxy that restarts closes with 1012)",
        "back after a second; the code is told as what it is by browsers, and as 1002 by faye-websocket in Node",
        "close-1012-restart",
        lives_through(
            "close-1012-restart",
            {
                "node": Expected(BACK, {(1, 2): (6000, 6500), (2, 3): AT_ONCE}, errors=((MID, 1002), (ACTED, 1002))),
                "undici": Expected(BACK, {(1, 2): (6000, 6500), (2, 3): AT_ONCE}, errors=((MID, 1012),)),
                "chromium": Expected(BACK, {(1, 2): (6000, 6500), (2, 3): AT_ONCE}, errors=((MID, 1012),)),
            },
        ),
    ),
    Claim(
        "server-restart",
        "(a server stops and comes back 10 s later)",
        "a storm of dials while it says 4200, then unavailable, and back with the slot that begins behind it",
        "server-restart",
        lives_through(
            "server-restart",
            Expected(DOWN, {(2, 3): (6500, 8500), (2, 4): (15_000, 20_000)}, errors=None),
        ),
    ),
    Claim(
        "tunnel",
        "(everything comes to a halt for 40 s)",
        "the old connection is given up, and the dial that waits when the link is back gets through",
        "tunnel",
        lives_through(
            "tunnel",
            Expected(DOWN, {(1, 2): (5000, 13_000), (2, 3): (4000, 4500), (2, 4): (28_000, 42_000)}, errors=None),
        ),
        is_long=True,
    ),
    Claim(
        "mobile-link",
        "(a poor mobile network)",
        "slow, and nothing else",
        "mobile-link",
        lives_through("mobile-link", Expected(UP, quiet_s=3)),
    ),
    Claim(
        "lossy-link",
        "(messages are lost here and there)",
        "what is lost is not asked for again: each lost message leaves one channel pending",
        "lossy-link",
        _lossy,
    ),
    Claim(
        "navigation",
        "Browsers close the connection when a page is left.",
        "true: close code 1001, at once",
        "normal-startup",
        _left,
        runtimes=("chromium",),
    ),
)
