import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.recovery import Backoff, Heartbeat, Reaction, Silence, reaction_to


class TestReactions:
    @pytest.mark.parametrize(
        ("codes", "reaction"),
        [
            ([None, 1000, 1001, 1002, 1004, 1005, 1006, 1011, 1015, 3000, 3999], Reaction.AFTER_PAUSE),
            ([4000, 4001, 4003, 4004, 4009, 4099], Reaction.GIVE_UP),
            ([4100, 4150, 4199], Reaction.AFTER_PAUSE),
            ([4200, 4201, 4299], Reaction.AT_ONCE),
            ([4300, 4301, 4302, 4999, 65535], Reaction.GIVE_UP),
        ],
    )
    def test_a_code_asks_for_what_its_range_means(self, codes: list[int | None], reaction: Reaction) -> None:
        assert {reaction_to(code) for code in codes} == {reaction}


class TestBackoff:
    def test_a_connection_that_worked_is_replaced_after_a_second_or_at_once(self) -> None:
        assert Backoff().delay_s(Reaction.AFTER_PAUSE, 0, "ann") == 1.0
        assert Backoff().delay_s(Reaction.AT_ONCE, 0, "ann") == 0.0

    def test_failed_attempts_wait_twice_as_long_each_time_up_to_the_limit(self) -> None:
        delays_s = [Backoff().delay_s(Reaction.AFTER_PAUSE, failed, "ann") for failed in range(1, 9)]
        longest_s = [1, 2, 4, 8, 16, 30, 30, 30]
        assert all(half / 2 <= delay < half for delay, half in zip(delays_s, longest_s, strict=True))

    def test_a_server_that_keeps_saying_at_once_is_not_stormed(self) -> None:
        assert Backoff().delay_s(Reaction.AT_ONCE, 1, "ann") >= 0.5

    def test_each_client_waits_differently_and_each_run_alike(self) -> None:
        delays_s = [Backoff().delay_s(Reaction.AFTER_PAUSE, 3, f"client-{number}") for number in range(100)]
        again_s = [Backoff().delay_s(Reaction.AFTER_PAUSE, 3, f"client-{number}") for number in range(100)]
        assert delays_s == again_s
        assert len(set(delays_s)) == 100

    @given(st.sampled_from(Reaction), st.integers(min_value=0, max_value=10**9), st.text())
    def test_no_wait_exceeds_the_limit(self, reaction: Reaction, failed_attempts: int, name: str) -> None:
        assert 0 <= Backoff(limit_s=5).delay_s(reaction, failed_attempts, name) <= 5


class TestHeartbeat:
    def test_after_silence_it_asks_and_after_more_silence_the_link_is_lost(self) -> None:
        heartbeat = Heartbeat(activity_timeout_s=30, pong_timeout_s=10, now_s=100)
        assert heartbeat.deadline_s == 130
        assert heartbeat.expire(130) is Silence.ASK
        assert heartbeat.deadline_s == 140
        assert heartbeat.expire(140) is Silence.LOST

    def test_whatever_is_heard_puts_the_question_off(self) -> None:
        heartbeat = Heartbeat(activity_timeout_s=30, pong_timeout_s=10, now_s=100)
        heartbeat.heard(120)
        assert heartbeat.deadline_s == 150

    def test_whatever_is_heard_after_the_question_answers_it(self) -> None:
        heartbeat = Heartbeat(activity_timeout_s=30, pong_timeout_s=10, now_s=100)
        heartbeat.expire(130)
        heartbeat.heard(135)
        assert heartbeat.deadline_s == 165
        assert heartbeat.expire(165) is Silence.ASK
