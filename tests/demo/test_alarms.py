from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.demo.alarms import Alarms


def ringing(alarms: Alarms[str], now: int) -> list[str]:
    rung = []
    while (key := alarms.pop(now)) is not None:
        rung.append(key)
    return rung


def test_an_alarm_rings_once_and_not_before_its_time() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 5)
    assert (alarms.deadline, ringing(alarms, 4)) == (5, [])
    assert (ringing(alarms, 5), alarms.deadline, ringing(alarms, 9)) == (["a"], None, [])


def test_an_alarm_set_again_rings_at_its_last_time_only() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 5)
    alarms.set("a", 8)
    assert (ringing(alarms, 7), alarms.deadline) == ([], 8)
    alarms.set("a", 3)
    assert (alarms.deadline, ringing(alarms, 9)) == (3, ["a"])


def test_a_cancelled_alarm_does_not_ring() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 5)
    assert (alarms.cancel("a"), alarms.cancel("a")) == (True, False)
    assert (alarms.deadline, ringing(alarms, 9)) == (None, [])


def test_setting_one_again_and_again_keeps_nothing() -> None:
    alarms: Alarms[str] = Alarms()
    for at in range(100_000):
        alarms.set("a", at)
    assert len(alarms._heap) == 1


@given(
    st.lists(
        st.tuples(st.just("set"), st.sampled_from("abc"), st.integers(0, 9))
        | st.tuples(st.just("cancel"), st.sampled_from("abc"), st.just(0))
        | st.tuples(st.just("pop"), st.just(""), st.integers(0, 9))
    )
)
def test_alarms_ring_like_a_list_that_is_searched(steps: list[tuple[str, str, int]]) -> None:
    alarms: Alarms[str] = Alarms()
    plain: dict[str, int] = {}  # in order of setting
    for step, key, at in steps:
        if step == "set":
            alarms.set(key, at)
            plain.pop(key, None)
            plain[key] = at
        elif step == "cancel":
            assert alarms.cancel(key) == (plain.pop(key, None) is not None)
        else:
            first = min(plain, key=lambda each: plain[each], default=None)
            expected = first if first is not None and plain[first] <= at else None
            assert alarms.pop(at) == expected
            plain.pop(expected or "", None)
        assert alarms.deadline == min(plain.values(), default=None)
