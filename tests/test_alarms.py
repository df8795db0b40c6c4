"""Alarms ring at their deadline and not before, in order, on both loops, with the kernel's timer or the loop's."""

import asyncio
import os
import resource
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chaosproxy.alarms
from chaosproxy.alarms import Alarm, Alarms, KernelTimer, LoopTimer
from chaosproxy.units import MILLISECOND, SECOND

from .live import LOOPS, comes_true, run, stage
from .virtual import text

per_loop = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture(params=["kernel", "loop"])
def timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """The kernel's timer, or the loop's where there is none."""
    if request.param == "kernel":
        return KernelTimer
    monkeypatch.setattr(chaosproxy.alarms, "open_timer", LoopTimer)
    return LoopTimer


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@per_loop
class TestRinging:
    def test_each_rings_once_in_the_order_of_the_deadlines_and_never_early(self, loop: str, timer: type[Any]) -> None:
        async def story() -> None:
            alarms = Alarms()
            alarms.open()
            assert type(alarms._timer) is timer
            began = monotonic_ns()
            rang: list[tuple[int, int]] = []

            def ring_at(due: int) -> None:
                alarms.at(due, lambda: rang.append((due, monotonic_ns())))

            dues = [began + offset * MILLISECOND // 8 for offset in (160, 3, 161, 40, 0, 41, -9, 100, 39, 8)]
            for due in dues:
                ring_at(due)
            await comes_true(lambda: len(rang) >= len(dues))
            await asyncio.sleep(0.005)
            assert [due for due, _ in rang] == sorted(dues)
            assert all(at >= due for due, at in rang)
            alarms.close()

        run(loop, story())

    def test_those_of_one_deadline_ring_in_the_order_in_which_they_were_set(self, loop: str, timer: type[Any]) -> None:
        async def story() -> None:
            alarms = Alarms()
            alarms.open()
            rang: list[int] = []
            due = monotonic_ns() + 3 * MILLISECOND
            for number in range(50):
                alarms.at(due, lambda number=number: rang.append(number))
            await comes_true(lambda: len(rang) == 50)
            assert rang == list(range(50))
            alarms.close()

        run(loop, story())

    def test_one_that_was_cancelled_does_not_ring_and_others_do(self, loop: str, timer: type[Any]) -> None:
        async def story() -> None:
            alarms = Alarms()
            alarms.open()
            rang: list[str] = []
            now = monotonic_ns()
            cancelled = [alarms.at(now + ms * MILLISECOND, lambda: rang.append("cancelled")) for ms in (1, 2, 3, 30)]
            kept = alarms.at(now + 2 * MILLISECOND, lambda: rang.append("kept"))
            alarms.at(now + 5 * MILLISECOND, lambda: rang.append("last"))
            for alarm in cancelled * 2:
                alarm.cancel()
            await comes_true(lambda: "last" in rang)
            kept.cancel()  # it has rung: nothing happens
            assert rang == ["kept", "last"]
            alarms.close()

        run(loop, story())

    def test_a_callback_may_set_and_cancel_others(self, loop: str, timer: type[Any]) -> None:
        async def story() -> None:
            alarms = Alarms()
            alarms.open()
            rang: list[str] = []
            due = monotonic_ns() + 2 * MILLISECOND

            def first() -> None:
                rang.append("first")
                victim.cancel()
                alarms.at(due + 2 * MILLISECOND, lambda: rang.append("later"))
                alarms.at(due - SECOND, lambda: rang.append("at once"))

            alarms.at(due, first)
            victim = alarms.at(due, lambda: rang.append("victim"))
            await comes_true(lambda: "later" in rang)
            assert rang == ["first", "at once", "later"]
            alarms.close()

        run(loop, story())

    def test_a_callback_that_raises_is_told_of_and_stops_no_other(self, loop: str, timer: type[Any]) -> None:
        async def story() -> None:
            told: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
            alarms = Alarms()
            alarms.open()
            rang: list[str] = []
            due = monotonic_ns() + MILLISECOND
            alarms.at(due, lambda: rang.append("before"))
            alarms.at(due, lambda: rang.append(str(1 // 0)))
            alarms.at(due, lambda: rang.append("behind"))
            alarms.at(due + MILLISECOND, lambda: rang.append("later"))
            await comes_true(lambda: "later" in rang)
            assert rang == ["before", "behind", "later"]
            assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
            alarms.close()

        run(loop, story())

    def test_one_that_sets_itself_again_at_once_leaves_the_loop_its_turns(self, loop: str, timer: type[Any]) -> None:
        async def story() -> None:
            alarms = Alarms()
            alarms.open()
            rings = 0

            def again() -> None:
                nonlocal rings
                rings += 1
                alarms.at(monotonic_ns(), again)

            again()
            await comes_true(lambda: rings > 20)  # this very loop gets to look
            alarms.close()
            rung = rings
            await asyncio.sleep(0.005)
            assert rings == rung

        run(loop, story())

    def test_what_is_set_before_it_opens_rings_then_and_nothing_does_once_it_is_closed(
        self, loop: str, timer: type[Any]
    ) -> None:
        async def story() -> None:
            before = descriptors()
            alarms = Alarms()
            rang: list[str] = []
            alarms.at(monotonic_ns(), lambda: rang.append("waited"))
            alarms.open()
            await comes_true(lambda: rang == ["waited"])
            alarms.at(monotonic_ns() + MILLISECOND, lambda: rang.append("closed"))
            alarms.close()
            alarms.close()
            alarms.at(monotonic_ns() + MILLISECOND, lambda: rang.append("too late"))
            await asyncio.sleep(0.01)
            assert rang == ["waited"]
            assert descriptors() <= before + (loop == "uvloop")  # libuv opens one of its own, once

        run(loop, story())


class Fake:
    """A timer that is rung by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.settings: list[int | None] = []

    def set(self, due: int | None) -> None:
        self.settings.append(due)

    def close(self) -> None:
        pass


class TestCost:
    """What is asked of the timer, and kept."""

    @pytest.fixture(autouse=True)
    def _fake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(chaosproxy.alarms, "open_timer", Fake)
        monkeypatch.setattr(chaosproxy.alarms, "monotonic_ns", lambda: self.now)

    def opened(self) -> tuple[Alarms, Fake]:
        async def make() -> Alarms:
            alarms = Alarms()
            alarms.open()
            return alarms

        alarms = asyncio.run(make())
        assert isinstance(alarms._timer, Fake)
        alarms._timer.settings.clear()
        return alarms, alarms._timer

    def test_the_timer_is_set_only_where_the_earliest_deadline_changes(self) -> None:
        alarms, timer = self.opened()
        set_by = [alarms.at(due, lambda: None) for due in (50, 60, 50, 40, 70)]
        assert timer.settings == [50, 40]
        set_by[3].cancel()
        assert timer.settings == [50, 40]
        self.now = 40
        timer.ring()
        assert timer.settings == [50, 40, 50]
        self.now = 100
        timer.ring()
        assert timer.settings == [50, 40, 50, None]

    def test_those_that_were_cancelled_do_not_pile_up(self) -> None:
        alarms, _ = self.opened()
        kept = [alarms.at(5, lambda: None) for _ in range(10)]
        for due in range(10_000):
            alarms.at(due, lambda: None).cancel()
            assert len(alarms._heap) <= 128 + len(kept)

    @given(st.lists(st.tuples(st.sampled_from(["set", "cancel", "pass", "ring"]), st.integers(0, 60)), max_size=120))
    def test_in_any_order_of_events_all_ring_that_are_due_and_the_timer_is_set_in_time(
        self, moves: list[tuple[str, int]]
    ) -> None:
        self.now = 0
        alarms, timer = self.opened()
        waiting: dict[int, tuple[int, Alarm]] = {}
        rang: list[int] = []
        for number, (move, value) in enumerate(moves):
            if move == "set":
                due = self.now + value - 5
                waiting[number] = due, alarms.at(due, lambda number=number: rang.append(number))
            elif move == "cancel" and waiting:
                waiting.pop(sorted(waiting)[value % len(waiting)])[1].cancel()
            elif move == "pass":
                self.now += value
            elif move == "ring":
                timer.ring()
                due_now = sorted((due, each) for each, (due, _) in waiting.items() if due <= self.now)
                assert rang == [each for _, each in due_now]
                rang.clear()
                for _, each in due_now:
                    del waiting[each]
            if waiting:
                setting = timer.settings[-1]
                assert setting is not None and setting <= min(due for due, _ in waiting.values())


@per_loop
class TestTimers:
    def test_the_kernels_is_taken_and_closed_with_its_proxy(self, loop: str) -> None:
        async def story() -> None:
            async with stage() as on:
                assert type(on.proxy.alarms._timer) is KernelTimer
            before = descriptors()
            for _ in range(10):
                async with stage():
                    assert descriptors() > before
            assert descriptors() == before

        run(loop, story())

    def test_out_of_descriptors_the_loops_stands_in(self, loop: str) -> None:
        async def story() -> None:
            await asyncio.sleep(0.001)  # what the loop opens once is open now
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            alarms = Alarms()
            try:
                alarms.open()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert type(alarms._timer) is LoopTimer
            due = monotonic_ns() + 2 * MILLISECOND
            rang: list[int] = []
            alarms.at(due, lambda: rang.append(monotonic_ns()))
            await comes_true(lambda: bool(rang))
            assert rang[0] >= due
            alarms.close()

        run(loop, story())

    def test_on_a_system_without_one_the_loops_stands_in(self, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chaosproxy.alarms.ctypes, "PyDLL", lambda name, use_errno: object())

        async def story() -> None:
            async with stage({"rules": [{"latency": "20ms"}]}) as on:
                assert type(on.proxy.alarms._timer) is LoopTimer
                client, server = await on.tunnel()
                for _ in range(5):
                    began = monotonic_ns()
                    await server.send(text("hello"))
                    assert await client.exactly(7) == text("hello")
                    assert monotonic_ns() - began >= 20 * MILLISECOND

        run(loop, story())
