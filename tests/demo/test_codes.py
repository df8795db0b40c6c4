"""Stories in virtual time about how the server ends a connection by itself, and what it refuses."""

import json
from typing import Any

import pytest

from chaosproxy.demo import frames
from chaosproxy.demo.actions import Action, Close, Send
from chaosproxy.demo.auth import App, authorise, authorise_user
from chaosproxy.demo.hub import Hub
from chaosproxy.units import SECOND
from tests.demo.virtual import ANN, BOB, EVE, ROOM, Stage


def code(actions: list[Action]) -> tuple[int, Action]:
    """Return the code of an error frame, and what follows it."""
    error, after = actions
    assert isinstance(error, Send)
    return json.loads(error.text)["data"]["code"], after


def receive(stage: Stage, socket_id: str, event: str, **fields: Any) -> list[Action]:
    return stage.hub.receive(socket_id, json.dumps({"event": event, **fields}), stage.now)


def sign_in(stage: Stage, socket_id: str, user_id: str = "ann") -> list[Action]:
    return receive(stage, socket_id, "pusher:signin", data=authorise_user(stage.app, socket_id, user_id))


class TestOverQuota:
    @pytest.mark.parametrize(
        ("app", "expected"),
        [
            (App("i", "k", "s", max_connections=0), 4100),
            (App("i", "k", "s", max_connections=0, quota_code=4004), 4004),
        ],
    )
    def test_an_app_chooses_the_code(self, app: App, expected: int) -> None:
        hub = Hub([app])
        assert code(hub.connect("k", ANN, 0)) == (expected, Close(ANN, expected))


class TestSilence:
    """A connection to which the server sends nothing, ended with 4201 and without a word."""

    def test_it_is_ended_after_two_minutes_whatever_the_client_says(self) -> None:
        stage = Stage(ANN)
        stage.enter(ANN, "private-room")
        for _ in range(119):
            assert stage.wait(SECOND) == []
            assert stage.say(ANN, "client-wave", channel="private-room")[1:] == []  # the webhook only
        assert stage.wait(SECOND - 1) == []
        assert stage.wait(1) == [
            Close(ANN, 4201),
            {"name": "channel_vacated", "channel": "private-room"},
        ]
        assert stage.say(ANN, "pusher:ping") == []

    def test_whatever_is_sent_begins_it_anew(self) -> None:
        stage = Stage(ANN, BOB, silence_timeout_s=10.0, webhooks=())
        stage.enter(ANN, "news")
        assert stage.wait(6 * SECOND) == []
        assert stage.say(BOB, "pusher:ping") == [(BOB, "pusher:pong")]
        stage.hub.publish(stage.app, "news", "tick", "{}", stage.now)
        assert stage.wait(10 * SECOND - 1) == []
        assert sorted(stage.wait(1)) == [Close(ANN, 4201), Close(BOB, 4201)]

    def test_one_connections_end_is_news_for_another_and_keeps_it(self) -> None:
        stage = Stage(silence_timeout_s=10.0, webhooks=())
        stage.come_back(BOB)
        stage.enter(BOB, user_id="bob")
        stage.wait(SECOND)
        stage.come_back(ANN)
        stage.enter(ANN, user_id="ann")  # bob is told
        stage.wait(SECOND)
        stage.say(ANN, "pusher:ping")
        # The server was busy and comes late, when both are overdue. Bob was the first, of which ann is told.
        stage.now += 30 * SECOND
        assert stage.hub.tick(stage.now) == [Close(BOB, 4201), Send(ANN, frames.member_removed(ROOM, "bob"))]
        assert stage.wait(10 * SECOND) == [Close(ANN, 4201)]

    def test_an_app_may_have_it_switched_off(self) -> None:
        stage = Stage(ANN, silence_timeout_s=None)
        assert (stage.hub.deadline, stage.say(ANN, "pusher:ping")) == (None, [(ANN, "pusher:pong")])
        assert stage.wait(100_000 * SECOND) == []

    def test_a_connection_that_is_gone_is_not_ended_again(self) -> None:
        stage = Stage(ANN)
        stage.lose(ANN)
        assert (stage.hub.deadline, stage.wait(200 * SECOND)) == (None, [])


class TestSigningIn:
    def test_it_is_ignored_unless_the_app_has_it(self) -> None:
        stage = Stage(ANN)
        assert sign_in(stage, ANN) == []

    def test_it_is_answered_by_what_was_said(self) -> None:
        stage = Stage(ANN, signin_within_s=30.0)
        grant = authorise_user(stage.app, ANN, "ann")
        assert sign_in(stage, ANN) == [
            Send(ANN, json.dumps({"event": "pusher:signin_success", "data": grant}, separators=(",", ":")))
        ]

    @pytest.mark.parametrize(
        "data",
        [
            None,
            {},
            {"auth": "app-key:00", "user_data": '{"id":"ann"}'},
            authorise_user(App("i", "k", "s"), BOB, "ann"),
            {"auth": 7, "user_data": 7},
        ],
        ids=["nothing", "empty", "forged", "another's", "odd"],
    )
    def test_a_bad_signature_ends_the_connection_with_4009(self, data: Any) -> None:
        stage = Stage(ANN, signin_within_s=30.0)
        assert code(receive(stage, ANN, "pusher:signin", data=data)) == (4009, Close(ANN, 4009))

    def test_a_signed_user_without_an_id_is_refused_as_well(self) -> None:
        stage = Stage(ANN, signin_within_s=30.0)
        # A private channel's signature over "socket_id::user:…" is that of a user.
        auth = authorise(stage.app, f"{ANN}::user", ':{"id":""}')["auth"]
        data = {"auth": auth, "user_data": '{"id":""}'}
        assert code(receive(stage, ANN, "pusher:signin", data=data)) == (4009, Close(ANN, 4009))

    def test_who_does_not_sign_in_is_ended_in_time_with_4009(self) -> None:
        stage = Stage(ANN, signin_within_s=30.0)
        assert stage.wait(30 * SECOND - 1) == []
        assert stage.wait(1) == [(ANN, "pusher:error"), Close(ANN, 4009)]

    def test_who_signs_in_or_joins_a_guarded_channel_stays(self) -> None:
        stage = Stage(ANN, BOB, EVE, signin_within_s=30.0, webhooks=())
        sign_in(stage, ANN)
        stage.enter(BOB, "private-room")
        stage.enter(EVE, "news")
        assert stage.wait(60 * SECOND) == [(EVE, "pusher:error"), Close(EVE, 4009)]

    def test_a_user_is_terminated_by_signing_in_or_by_presence(self) -> None:
        stage = Stage(ANN, BOB, EVE, signin_within_s=30.0, webhooks=())
        sign_in(stage, ANN, "ann")
        stage.enter(BOB, user_id="ann")
        sign_in(stage, EVE, "eve")
        ended = [action for action in stage.hub.terminate(stage.app, "ann", stage.now) if isinstance(action, Close)]
        assert ended == [Close(ANN, 4009), Close(BOB, 4009)]

    def test_an_event_for_a_user_reaches_its_connections_and_no_others(self) -> None:
        stage = Stage(ANN, BOB, EVE, signin_within_s=30.0)
        sign_in(stage, ANN, "ann")
        sign_in(stage, BOB, "ann")
        sign_in(stage, EVE, "eve")
        channel = "#server-to-user-ann"
        text = frames.channel_event("hello", channel, "{}")
        stage.say(EVE, "pusher:subscribe", data={"channel": channel})
        published = stage.hub.publish(
            stage.app, channel, "hello", "{}", stage.now, but=BOB
        )  # soketi excludes nobody here
        assert published == [Send(ANN, text), Send(BOB, text)]


class TestTooManyClientEvents:
    def test_those_over_the_limit_of_a_second_are_answered_with_4301(self) -> None:
        stage = Stage(ANN, BOB, client_events_per_second=2, webhooks=())
        stage.enter(ANN, "private-room")
        stage.enter(BOB, "private-room")

        def wave() -> list[Any]:
            return stage.say(ANN, "client-wave", channel="private-room")

        assert wave() == wave() == [(BOB, "client-wave")]
        stage.wait(SECOND - 1)
        assert wave() == [(ANN, "pusher:error")]
        assert stage.say(BOB, "client-wave", channel="private-room") == [(ANN, "client-wave")]
        stage.wait(1)
        assert wave() == [(BOB, "client-wave")]


class TestStopping:
    def test_a_stopping_server_refuses_newcomers_with_4200(self) -> None:
        stage = Stage()
        stage.hub.stop(stage.now)
        assert code(stage.hub.connect(stage.app.key, ANN, stage.now)) == (4200, Close(ANN, 4200))
