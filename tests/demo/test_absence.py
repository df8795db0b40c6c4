"""Stories in virtual time: who comes and goes, and who is told of it when, by frames and by webhooks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.demo import frames
from chaosproxy.demo.actions import Close, Send
from chaosproxy.demo.auth import Webhook, authorise
from chaosproxy.units import MILLISECOND, SECOND
from tests.demo.virtual import ANN, BOB, EVE, ROOM, Stage, told


def hook(name: str, channel: str = ROOM, **more: Any) -> dict[str, Any]:
    return {"name": name, "channel": channel, **more}


BOB_COMES = [hook("member_added", user_id="bob"), (ANN, "member_added")]
BOB_GOES = [hook("member_removed", user_id="bob"), (ANN, "member_removed")]


class TestWithoutGrace:
    def test_a_channel_is_occupied_by_its_first_subscriber_and_vacated_by_its_last(self) -> None:
        stage = Stage(ANN, BOB)
        assert stage.enter(ANN, "news") == [hook("channel_occupied", "news")]
        assert stage.enter(BOB, "news") == []
        assert stage.enter(BOB, "news") == []
        assert stage.leave(ANN, "news") == []
        assert stage.lose(BOB) == [hook("channel_vacated", "news")]

    def test_a_user_comes_with_the_first_connection_and_goes_with_the_last(self) -> None:
        stage = Stage(ANN, BOB, EVE)
        assert stage.enter(ANN, user_id="ann") == [hook("channel_occupied"), hook("member_added", user_id="ann")]
        assert stage.enter(BOB, user_id="bob") == BOB_COMES
        assert stage.enter(EVE, user_id="bob") == []
        assert stage.lose(BOB) == []
        assert stage.lose(EVE) == BOB_GOES
        assert stage.lose(ANN) == [hook("member_removed", user_id="ann"), hook("channel_vacated")]

    def test_a_short_absence_is_told_twice_as_with_soketi(self) -> None:
        stage = Stage(ANN, BOB)
        stage.enter(ANN, user_id="ann")
        stage.enter(BOB, user_id="bob")
        assert stage.lose(BOB) == BOB_GOES
        stage.come_back(BOB)
        assert stage.enter(BOB, user_id="bob") == BOB_COMES

    def test_leaving_a_channel_one_is_not_in_tells_nobody(self) -> None:
        stage = Stage(ANN)
        assert stage.leave(ANN) == []


class TestGrace:
    def bob_leaves(self) -> Stage:
        stage = Stage(ANN, BOB, grace_s=3.0)
        stage.enter(ANN, user_id="ann")
        assert stage.enter(BOB, user_id="bob") == BOB_COMES
        assert stage.lose(BOB) == []
        return stage

    def test_a_user_who_stays_away_is_missed_when_it_is_over_and_not_before(self) -> None:
        stage = self.bob_leaves()
        assert stage.wait(3 * SECOND - 1) == []
        assert stage.wait(1) == BOB_GOES
        assert stage.wait(60 * SECOND) == []

    def test_a_user_who_is_back_in_time_was_never_away(self) -> None:
        stage = self.bob_leaves()
        assert stage.wait(1003 * MILLISECOND) == []
        stage.come_back(EVE)
        assert stage.enter(EVE, user_id="bob") == []
        assert stage.wait(60 * SECOND) == []

    def test_a_user_who_is_back_too_late_comes_anew(self) -> None:
        stage = self.bob_leaves()
        assert stage.wait(3 * SECOND) == BOB_GOES
        stage.come_back(BOB)
        assert stage.enter(BOB, user_id="bob") == BOB_COMES

    def test_each_absence_has_its_full_time(self) -> None:
        stage = self.bob_leaves()
        for _ in range(3):
            assert stage.wait(2 * SECOND) == []
            stage.come_back(BOB)
            stage.enter(BOB, user_id="bob")
            assert stage.lose(BOB) == []
        assert stage.wait(3 * SECOND - 1) == []
        assert stage.wait(1) == BOB_GOES

    def test_somebody_elses_coming_does_not_stand_for_the_missing(self) -> None:
        stage = self.bob_leaves()
        stage.come_back(EVE)
        assert stage.enter(EVE, user_id="eve") == [hook("member_added", user_id="eve"), (ANN, "member_added")]
        assert stage.wait(3 * SECOND) == [*BOB_GOES, (EVE, "member_removed")]

    def test_who_comes_meanwhile_sees_the_missing_among_the_members(self) -> None:
        stage = self.bob_leaves()
        stage.come_back(EVE)
        grant = authorise(stage.app, EVE, ROOM, "eve")
        frame = json.dumps({"event": "pusher:subscribe", "data": {**grant, "channel": ROOM}})
        *_, answer = stage.hub.receive(EVE, frame, stage.now)
        everybody: dict[str | int, Any] = {user: {"name": user} for user in ("bob", "ann", "eve")}
        assert answer == Send(EVE, frames.presence_succeeded(ROOM, everybody))

    def test_unsubscribing_is_an_absence_as_well(self) -> None:
        stage = Stage(ANN, BOB, grace_s=3.0)
        stage.enter(ANN, user_id="ann")
        stage.enter(BOB, user_id="bob")
        assert stage.leave(BOB) == []
        assert stage.wait(3 * SECOND) == BOB_GOES

    def test_a_channel_is_vacated_when_it_is_over_after_its_last_user(self) -> None:
        stage = Stage(ANN, grace_s=3.0)
        stage.enter(ANN, user_id="ann")
        assert stage.lose(ANN) == []
        assert stage.wait(3 * SECOND - 1) == []
        assert stage.wait(1) == [hook("member_removed", user_id="ann"), hook("channel_vacated")]
        stage.come_back(ANN)
        assert stage.enter(ANN, user_id="ann")[0] == hook("channel_occupied")

    def test_any_subscriber_back_in_time_keeps_a_channel_occupied(self) -> None:
        stage = Stage(ANN, BOB, grace_s=3.0)
        stage.enter(ANN, "news")
        assert stage.lose(ANN) == []
        assert stage.wait(2 * SECOND) == []
        assert stage.enter(BOB, "news") == []
        assert stage.wait(60 * SECOND) == []

    def test_nobody_is_waited_for_when_the_server_stops(self) -> None:
        stage = self.bob_leaves()
        farewell = [(ANN, "pusher:error"), Close(ANN, 4200)]
        gone = [hook("member_removed", user_id=user) for user in ("bob", "ann")]
        assert told(stage.hub.stop(stage.now)) == [*farewell, *gone, hook("channel_vacated")]
        assert stage.hub.deadline is None

    def test_the_missing_take_their_place_among_the_members_a_channel_may_have(self) -> None:
        stage = Stage(ANN, grace_s=3.0, webhooks=())
        for number in range(100):
            stage.come_back(f"{number}.0")
            stage.enter(f"{number}.0")
        stage.lose("7.0")
        assert stage.enter(ANN, user_id="ann") == [(ANN, "pusher:subscription_error")]
        stage.come_back("7.7")
        assert stage.enter("7.7", user_id="user-7") == []


class TestWebhooks:
    def test_a_client_event_is_told_with_its_sender(self) -> None:
        stage = Stage(ANN, BOB)
        stage.enter(ANN, user_id="ann")
        assert stage.say(ANN, "client-wave", channel=ROOM, data={"x": 1}) == [
            hook("client_event", event="client-wave", data={"x": 1}, socket_id=ANN, user_id="ann")
        ]
        stage.enter(ANN, "private-room")
        stage.enter(BOB, "private-room")
        assert stage.say(ANN, "client-wave", channel="private-room", data="x") == [
            (BOB, "client-wave"),
            hook("client_event", "private-room", event="client-wave", data="x", socket_id=ANN),
        ]

    def test_an_event_of_the_back_end_is_not_told_to_it(self) -> None:
        stage = Stage(ANN)
        stage.enter(ANN, "news")
        assert told(stage.hub.publish(stage.app, "news", "tick", "{}", stage.now)) == [(ANN, "tick")]

    @pytest.mark.parametrize("webhooks", [(), (Webhook("http://hooks/", ("member_added",)),)])
    def test_what_nobody_wants_to_know_is_not_told(self, webhooks: tuple[Webhook, ...]) -> None:
        stage = Stage(ANN, webhooks=webhooks)
        assert stage.enter(ANN, "news") == stage.lose(ANN) == []


@given(
    grace_s=st.sampled_from([0.0, 3.0]),
    steps=st.lists(
        st.tuples(st.sampled_from(["enter", "leave", "lose"]), st.sampled_from([BOB, EVE]), st.sampled_from(["b", "e"]))
        | st.tuples(st.just("wait"), st.just(""), st.sampled_from(["1", "2", "3"]))
    ),
)
def test_comings_and_goings_alternate_and_what_was_told_is_true_in_the_end(
    grace_s: float, steps: list[tuple[str, str, str]]
) -> None:
    """Ann watches; the back end is told the same as she is, and the channel's own events besides."""
    stage = Stage(ANN, grace_s=grace_s, silence_timeout_s=1e6)
    stage.enter(ANN, user_id="ann")
    seen: list[Any] = []
    there: dict[str, str] = {}  # who is in, by connection
    for step, who, what in steps:
        if step == "enter":
            if who not in there:
                stage.come_back(who)
            seen += stage.enter(who, user_id=what)
            there[who] = what
        elif step == "wait":
            seen += stage.wait(int(what) * SECOND)
        elif who in there:
            seen += stage.leave(who) if step == "leave" else []
            seen += stage.lose(who)
            del there[who]
    seen += stage.wait(4 * SECOND)
    by_webhook = [(each["name"], each["user_id"]) for each in seen if isinstance(each, dict) and "user_id" in each]
    for user in ("b", "e"):
        names = [name for name, user_id in by_webhook if user_id == user]
        assert names == ["member_added", "member_removed"] * (len(names) // 2) + ["member_added"] * (len(names) % 2)
        assert bool(len(names) % 2) == (user in there.values())
    assert [each[1] for each in seen if isinstance(each, tuple) and each[0] == ANN] == [name for name, _ in by_webhook]
