"""The hub's stories: what is put in, and all that comes out, no socket involved."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.demo import frames
from chaosproxy.demo.actions import Action, Close, Post, Send
from chaosproxy.demo.auth import DEFAULT_APP, App, authorise
from chaosproxy.demo.hub import Hub
from chaosproxy.demo.limits import EVENT_BYTES_MAX, EVENT_NAME_LENGTH_MAX, MEMBER_BYTES_MAX, MEMBERS_MAX

NOW = 0
ANN, BOB, EVE = "1.1", "2.2", "3.3"


def hub_with(*socket_ids: str, app: App = DEFAULT_APP) -> Hub:
    hub = Hub([app])
    for socket_id in socket_ids:
        hub.connect(app.key, socket_id, NOW)
    return hub


def say(hub: Hub, socket_id: str, event: str, **fields: Any) -> list[Action]:
    return hub.receive(socket_id, json.dumps({"event": event, **fields}), NOW)


def subscribe(hub: Hub, socket_id: str, channel: str, user_id: str | None = None) -> list[Action]:
    grant = authorise(DEFAULT_APP, socket_id, channel, user_id)
    return say(hub, socket_id, "pusher:subscribe", data={**grant, "channel": channel})


def hearers(actions: list[Action]) -> set[str]:
    return {action.socket_id for action in actions if not isinstance(action, Post)}


def codes(actions: list[Action]) -> list[int]:
    return [json.loads(action.text)["data"]["code"] for action in actions if isinstance(action, Send)]


def statuses(actions: list[Action]) -> list[int]:
    return [json.loads(action.text)["data"]["status"] for action in actions if isinstance(action, Send)]


class TestConnecting:
    def test_a_connection_is_welcomed_with_its_socket_id_and_the_apps_timeout(self) -> None:
        hub = Hub([App("i", "k", "s", activity_timeout=7)])
        assert hub.connect("k", ANN, NOW) == [Send(ANN, frames.connection_established(ANN, 7))]

    def test_an_unknown_key_is_refused_with_4001(self) -> None:
        assert Hub([DEFAULT_APP]).connect("nope", ANN, NOW) == [
            Send(ANN, frames.error(4001, "App key nope does not exist.")),
            Close(ANN, 4001),
        ]

    def test_a_disabled_app_is_refused_with_4003(self) -> None:
        error, close = Hub([App("i", "k", "s", enabled=False)]).connect("k", ANN, NOW)
        assert (codes([error]), close) == ([4003], Close(ANN, 4003))

    def test_a_connection_over_quota_is_refused_with_4100_until_another_ends(self) -> None:
        hub = hub_with(ANN, app=App("i", "k", "s", max_connections=1))
        error, close = hub.connect("k", BOB, NOW)
        assert (codes([error]), close) == ([4100], Close(BOB, 4100))
        hub.disconnect(BOB, NOW)
        assert len(hub.connect("k", BOB, NOW)) == 2
        hub.disconnect(ANN, NOW)
        assert hub.connect("k", BOB, NOW) == [Send(BOB, frames.connection_established(BOB, 30))]

    def test_a_refused_connection_is_not_listened_to(self) -> None:
        hub = Hub([DEFAULT_APP])
        hub.connect("nope", ANN, NOW)
        assert say(hub, ANN, "pusher:ping") == []
        assert hub.disconnect(ANN, NOW) == []


class TestSubscribing:
    def test_a_public_channel_needs_no_signature(self) -> None:
        hub = hub_with(ANN)
        answer = say(hub, ANN, "pusher:subscribe", data={"channel": "news"})
        assert answer == [Send(ANN, frames.subscription_succeeded("news"))]

    def test_a_private_channel_needs_a_valid_signature(self) -> None:
        hub = hub_with(ANN)
        assert subscribe(hub, ANN, "private-room") == [Send(ANN, frames.subscription_succeeded("private-room"))]
        for auth in ("", "app-key:00", authorise(DEFAULT_APP, BOB, "private-room")["auth"]):
            assert say(hub, ANN, "pusher:subscribe", data={"auth": auth, "channel": "private-room"}) == [
                Send(
                    ANN,
                    frames.subscription_error("private-room", "AuthError", "The connection is unauthorized.", 401),
                )
            ]

    def test_a_name_that_is_too_long_or_odd_is_refused_with_4009(self) -> None:
        hub = hub_with(ANN)
        for channel in ("x" * 201, "two words", ""):
            assert statuses(say(hub, ANN, "pusher:subscribe", data={"channel": channel})) == [4009]
        assert hub.channels(DEFAULT_APP).sizes() == {}

    def test_subscribing_twice_is_answered_twice_and_counts_once(self) -> None:
        hub = hub_with(ANN)
        assert subscribe(hub, ANN, "private-room") == subscribe(hub, ANN, "private-room")
        assert hub.channels(DEFAULT_APP).sizes() == {"private-room": 1}

    def test_unsubscribing_ends_delivery(self) -> None:
        hub = hub_with(ANN)
        subscribe(hub, ANN, "private-room")
        assert say(hub, ANN, "pusher:unsubscribe", data={"channel": "private-room"}) == []
        assert hub.publish(DEFAULT_APP, "private-room", "e", "x", NOW) == []

    def test_apps_do_not_share_channels(self) -> None:
        other = App("other-id", "other-key", "s")
        hub = Hub([DEFAULT_APP, other])
        hub.connect(DEFAULT_APP.key, ANN, NOW)
        hub.connect(other.key, BOB, NOW)
        for socket_id in (ANN, BOB):
            say(hub, socket_id, "pusher:subscribe", data={"channel": "news"})
        assert hub.publish(other, "news", "e", "x", NOW) == [Send(BOB, frames.channel_event("e", "news", "x"))]


class TestPresence:
    def test_others_are_told_when_a_user_comes_and_goes(self) -> None:
        hub = hub_with(ANN, BOB)
        subscribe(hub, ANN, "presence-room", "ann")
        assert subscribe(hub, BOB, "presence-room", "bob") == [
            Send(ANN, frames.member_added("presence-room", "bob", {"name": "bob"})),
            Send(BOB, frames.presence_succeeded("presence-room", {"ann": {"name": "ann"}, "bob": {"name": "bob"}})),
        ]
        assert hub.disconnect(BOB, NOW) == [Send(ANN, frames.member_removed("presence-room", "bob"))]

    def test_a_users_second_connection_comes_and_goes_unannounced(self) -> None:
        hub = hub_with(ANN, BOB, EVE)
        subscribe(hub, ANN, "presence-room", "ann")
        subscribe(hub, BOB, "presence-room", "bob")
        answer = subscribe(hub, EVE, "presence-room", "bob")
        assert (len(answer), hearers(answer)) == (1, {EVE})
        assert hub.disconnect(BOB, NOW) == []
        assert hub.disconnect(EVE, NOW) == [Send(ANN, frames.member_removed("presence-room", "bob"))]

    def test_coming_back_as_somebody_else_removes_the_former_user(self) -> None:
        hub = hub_with(ANN, BOB)
        subscribe(hub, ANN, "presence-room", "ann")
        subscribe(hub, BOB, "presence-room", "bob")
        assert subscribe(hub, BOB, "presence-room", "eve")[:-1] == [
            Send(ANN, frames.member_removed("presence-room", "bob")),
            Send(ANN, frames.member_added("presence-room", "eve", {"name": "eve"})),
        ]

    def test_signed_channel_data_without_a_user_is_refused_with_4302(self) -> None:
        hub = hub_with(ANN)
        signed = _sign_presence(ANN, "presence-room", "{}")
        assert statuses(say(hub, ANN, "pusher:subscribe", data=signed)) == [4302]

    def test_a_member_that_is_too_large_is_refused_with_4301(self) -> None:
        hub = hub_with(ANN)
        channel_data = json.dumps({"user_id": "ann", "user_info": "x" * (MEMBER_BYTES_MAX + 1)})
        signed = _sign_presence(ANN, "presence-room", channel_data)
        assert statuses(say(hub, ANN, "pusher:subscribe", data=signed)) == [4301]

    def test_a_full_channel_refuses_further_users_with_4100_but_not_further_connections(self) -> None:
        hub = hub_with(*(f"{number}.0" for number in range(MEMBERS_MAX)), ANN)
        for number in range(MEMBERS_MAX):
            subscribe(hub, f"{number}.0", "presence-room")
        assert statuses(subscribe(hub, ANN, "presence-room", "ann")) == [4100]
        assert hearers(subscribe(hub, ANN, "presence-room", "user-0")) == {ANN}


class TestClientEvents:
    def test_a_client_event_reaches_the_others_of_the_channel(self) -> None:
        hub = hub_with(ANN, BOB, EVE)
        subscribe(hub, ANN, "private-room")
        subscribe(hub, BOB, "private-room")
        assert say(hub, ANN, "client-wave", channel="private-room", data={"x": 1}) == [
            Send(BOB, frames.channel_event("client-wave", "private-room", {"x": 1}))
        ]

    def test_on_a_presence_channel_it_names_its_sender(self) -> None:
        hub = hub_with(ANN, BOB)
        subscribe(hub, ANN, "presence-room", "ann")
        subscribe(hub, BOB, "presence-room", "bob")
        assert say(hub, ANN, "client-wave", channel="presence-room", data={}) == [
            Send(BOB, '{"event":"client-wave","channel":"presence-room","data":{},"user_id":"ann"}')
        ]

    def test_who_is_not_in_the_channel_is_ignored(self) -> None:
        hub = hub_with(ANN, BOB)
        subscribe(hub, BOB, "private-room")
        assert say(hub, ANN, "client-wave", channel="private-room", data={}) == []

    def test_what_is_not_allowed_is_answered_with_4301(self) -> None:
        hub = hub_with(ANN)
        for fields in (
            {"event": "client-wave", "channel": "news"},
            {"event": "client-" + "x" * EVENT_NAME_LENGTH_MAX, "channel": "private-room"},
            {"event": "client-wave", "channel": "private-room", "data": "x" * (EVENT_BYTES_MAX + 1)},
            {"event": "client-wave"},
        ):
            assert codes(say(hub, ANN, **fields)) == [4301]

    def test_an_app_may_have_them_switched_off(self) -> None:
        hub = hub_with(ANN, app=App("i", "k", "s", client_events=False))
        assert codes(say(hub, ANN, "client-wave", channel="private-room")) == [4301]


class TestPublishing:
    def test_an_event_reaches_all_subscribers_but_the_excluded_one(self) -> None:
        hub = hub_with(ANN, BOB)
        subscribe(hub, ANN, "private-room")
        subscribe(hub, BOB, "private-room")
        text = '{"event":"news","channel":"private-room","data":"{}"}'
        assert hub.publish(DEFAULT_APP, "private-room", "news", "{}", NOW) == [Send(ANN, text), Send(BOB, text)]
        assert hub.publish(DEFAULT_APP, "private-room", "news", "{}", NOW, but=ANN) == [Send(BOB, text)]
        assert hub.publish(DEFAULT_APP, "private-room", "news", "{}", NOW, but="9.9") == [
            Send(ANN, text),
            Send(BOB, text),
        ]


class TestEnding:
    def test_a_terminated_user_is_closed_with_4009_and_missed_by_the_others(self) -> None:
        hub = hub_with(ANN, BOB)
        subscribe(hub, ANN, "presence-room", "ann")
        subscribe(hub, BOB, "presence-room", "bob")
        error, close, removed = hub.terminate(DEFAULT_APP, "bob", NOW)
        assert (codes([error]), close) == ([4009], Close(BOB, 4009))
        assert removed == Send(ANN, frames.member_removed("presence-room", "bob"))
        assert hub.disconnect(BOB, NOW) == []

    def test_everybody_is_dismissed_with_4200_when_the_server_stops(self) -> None:
        hub = hub_with(ANN, BOB)
        actions = hub.stop(NOW)
        assert codes(actions) == [4200, 4200]
        assert [action for action in actions if isinstance(action, Close)] == [Close(ANN, 4200), Close(BOB, 4200)]
        assert hub.stop(NOW) == []


@given(
    st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from(["pusher:subscribe", "pusher:unsubscribe", "pusher:ping", "client-a", "other"])},
            optional={
                "channel": st.sampled_from(["news", "private-room", "", "\ud800"]) | st.none() | st.integers(),
                "data": st.none()
                | st.text()
                | st.fixed_dictionaries(
                    {"channel": st.sampled_from(["news", "private-room", "presence-room"]) | st.integers()},
                    optional={"auth": st.text() | st.none(), "channel_data": st.text() | st.none()},
                ),
            },
        )
        | st.integers()
    )
)
def test_whatever_a_client_says_only_itself_hears_of_it_unless_it_is_let_in(said: list[Any]) -> None:
    hub = hub_with(ANN, BOB)
    subscribe(hub, BOB, "private-room")
    answers = [action for message in said for action in hub.receive(ANN, json.dumps(message), NOW)]
    assert hearers(answers) <= {ANN}


def _sign_presence(socket_id: str, channel: str, channel_data: str) -> dict[str, str]:
    # A private channel's signature over "socket_id:channel:channel_data" is that of the presence channel.
    grant = authorise(DEFAULT_APP, f"{socket_id}:{channel}", channel_data)
    return {**grant, "channel": channel, "channel_data": channel_data}
