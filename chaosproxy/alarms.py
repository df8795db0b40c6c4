"""Call back at a deadline: never early, and as little late as the kernel can wake us.

The timers of event loops are coarse: uvloop's count whole milliseconds and fire up to one early or late, asyncio's are
up to a millisecond late. So all deadlines of a proxy are in one heap behind one timerfd, which the loop watches like a
socket. Where there is none to be had (not Linux, out of descriptors), the loop's own timer stands in: still never
early, and as late as that loop's timers are.

Times are those of `monotonic_ns`, which is the clock of the timerfd too: steps of the wall clock change nothing.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import CLOCK_MONOTONIC, monotonic_ns

from .units import MILLISECOND, SECOND

_CANCELLED_MIN = 64  # from so many on, those that were cancelled are thrown out once they are the half
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME


class Alarm:
    """A deadline that is waited for."""

    __slots__ = ("_alarms", "call")

    def __init__(self, alarms: "Alarms", call: Callable[[], None]) -> None:
        self._alarms = alarms
        self.call: Callable[[], None] | None = call  # none once it has rung, or never will

    def cancel(self) -> None:
        """Never call back; no matter where it has."""
        if self.call is not None:
            self.call = None
            self._alarms.forget()


class Alarms:
    """All alarms of one proxy. None rings before `open`, or after `close`."""

    def __init__(self) -> None:
        self._timer: Timer | None = None
        self._heap: list[tuple[int, int, Alarm]] = []  # the number keeps the order of those with one deadline
        self._number = 0
        self._cancelled = 0  # still in the heap
        self._armed: int | None = None  # what the timer is set to
        self._is_ringing = False

    def open(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._timer = open_timer(self._loop, self._ring)
        self._arm_first()

    def at(self, due: int, call: Callable[[], None]) -> Alarm:
        """Call back once the time has come; in the order of the deadlines, then in that of these calls."""
        alarm = Alarm(self, call)
        self._number += 1
        heappush(self._heap, (due, self._number, alarm))
        if not self._is_ringing and (self._armed is None or due < self._armed):
            self._arm_first()
        return alarm

    def forget(self) -> None:
        """One has been cancelled. The timer stays as it is: it finds nothing due, or something else."""
        self._cancelled += 1
        if self._cancelled >= _CANCELLED_MIN and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Let go of the timer and of all that is waited for."""
        self._heap.clear()
        self._cancelled = 0
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _ring(self) -> None:
        """Call back for what is due now; what becomes due meanwhile comes in the loop's next round, behind the I/O."""
        now, last = monotonic_ns(), self._number
        self._is_ringing = True
        try:
            while self._heap and self._heap[0][0] <= now and self._heap[0][1] <= last:
                alarm = heappop(self._heap)[2]
                if alarm.call is None:
                    self._cancelled -= 1
                    continue
                call, alarm.call = alarm.call, None
                self._call(call)
        finally:
            self._is_ringing = False
            self._arm_first()

    def _arm_first(self) -> None:
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
            self._cancelled -= 1
        if self._timer is not None:
            self._armed = self._heap[0][0] if self._heap else None
            self._timer.set(self._armed)

    def _call(self, call: Callable[[], None]) -> None:
        """As the loop calls its own: an error is told, and in nobody else's way."""
        try:
            call()
        except Exception as error:
            told = {"message": f"Exception in callback {call!r}", "exception": error}
            self._loop.call_exception_handler(told)


# -- the timer ------------------------------------------------------------------------------------------------------


class LoopTimer:
    """The loop's own timer, at its own grain."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due: int | None) -> None:
        self.close()
        if due is not None:
            remaining = due - monotonic_ns()
            # Not for less than its grain: for less than half of that, uvloop would go round and round.
            wait = max(remaining, MILLISECOND) / SECOND if remaining > 0 else 0.0
            self._handle = self._loop.call_later(wait, self._ring)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class KernelTimer:
    """A timerfd. Raise OSError where there is none to be had. (Python itself knows them from 3.13 on only.)"""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        libc = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL: these calls are quick
        try:
            create, self._settime = libc.timerfd_create, libc.timerfd_settime
        except AttributeError:
            raise OSError("this system has no timerfd") from None
        self._loop = loop
        self._descriptor: int = create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._setting = _Setting()
        loop.add_reader(self._descriptor, ring)

    def set(self, due: int | None) -> None:
        """Ring at this time. To set it also takes back that it has rung, so nothing needs to be read."""
        # A time of nothing disarms it, so the first nanosecond stands for what is long past.
        self._setting.seconds, self._setting.nanoseconds = (0, 0) if due is None else divmod(max(due, 1), SECOND)
        if self._settime(self._descriptor, _ABSOLUTE, ctypes.byref(self._setting), None):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


class _Setting(ctypes.Structure):
    """struct itimerspec: an interval, which stays nothing, and the time."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("_every", "_every_part", "seconds", "nanoseconds"))
    seconds: int
    nanoseconds: int


Timer = KernelTimer | LoopTimer


def open_timer(loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> Timer:
    """Open the best timer that is to be had here."""
    try:
        return KernelTimer(loop, ring)
    except OSError:
        return LoopTimer(loop, ring)
