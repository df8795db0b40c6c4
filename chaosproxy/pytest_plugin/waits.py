"""What a test waits for, as coroutines of the proxy's loop: they are woken by what happens.

They read the journal from its beginning on, so what has happened before a test began to wait is not missed.
"""
# ruff: noqa: ASYNC109 - tests say timeout=, whether they await or not

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..expectations import Outcome
from ..journal import Record, kinds
from ..problems import nearest, one_of, show
from ..verdict import Verdict
from .running import Running
from .thread import Complaint

PATIENCE_S = 10.0
RECORDS_SHOWN = 8
LOOK_S = 0.1  # some expectations are decided by time alone
PARTING_S = 0.5  # for what clients that have just ended still have to say
OF_PROTOCOL = frozenset({"established", "subscribed", "unsubscribed", "subscription_asked", "subscription_refused"})


class NotSeen(AssertionError):
    """What a test waited for did not happen in time."""


class Waits:
    """What can be waited for; each method is offered twice, to block and to be awaited."""

    def __init__(self, running: Callable[[], Running]) -> None:
        self._running = running

    async def wait_for(
        self,
        event: str,
        count: int = 1,
        *,
        client: str | None = None,
        after: Record | None = None,
        timeout: float = PATIENCE_S,
        **fields: Any,
    ) -> Record:
        """Wait until there have been so many events of a kind, and return the record of the last of them.

        Counted are those since the proxy's start, or those behind the record `after`, which another wait returned. More
        `fields` narrow it down: `wait_for("subscribed", channel="private-a")`. Raise NotSeen after `timeout` seconds.
        """
        __tracebackhide__ = True
        self._check_event(event)
        wanted = {"event": event, **fields, **({} if client is None else {"client": client})}
        words = " ".join([event, *(f"{key}={value}" for key, value in wanted.items() if key != "event")])

        def is_wanted(record: Record) -> bool:
            return all(record.get(key) == value for key, value in wanted.items())

        return await self._record(is_wanted, words, count, after, timeout)

    async def wait_for_state(
        self, state: str, *, client: str | None = None, after: Record | None = None, timeout: float = PATIENCE_S
    ) -> Record:
        """Wait until a client is in a state: as it reports itself, or else as the wire shows (connected, lost …)."""
        __tracebackhide__ = True

        def is_wanted(record: Record) -> bool:
            tells = record["event"] in ("client_state", "reported")
            return tells and record["state"] == state and client in (None, record["client"])

        return await self._record(is_wanted, f"state {state}", 1, after, timeout)

    async def wait_for_phase(
        self, phase: str | None, *, after: Record | None = None, timeout: float = PATIENCE_S
    ) -> Record:
        """Wait until a phase has been entered; None stands for the end behind the last one."""
        __tracebackhide__ = True
        known = [each.name for each in self._running().world.profile.phases]
        if phase is not None and phase not in known:
            raise Complaint(f"there is no phase {show(phase)}; there are: {', '.join(known) or 'none'}")
        return await self.wait_for("phase_entered", after=after, timeout=timeout, phase=phase or "")

    async def check(self, *, timeout: float = 0.0) -> None:
        """Assert that the verdict is good: wait so many seconds for what is open, then raise AssertionError with all.

        What still holds but could fail later counts as good, as at the end of a test.
        """
        __tracebackhide__ = True
        running = self._running()
        verdict = running.stage.verdict()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not verdict.failures and any(row.outcome is Outcome.OPEN for row in verdict.rows):
                    await _next_record(running)
                    verdict = running.stage.verdict()
        if not verdict.has_passed:
            raise AssertionError(running.table(verdict))

    async def conclude(self) -> Verdict:
        """Judge the run as over, once clients that have just ended have been heard out."""
        running = self._running()
        for _ in range(3):
            await asyncio.sleep(0)  # let the loop read what has come
        assert running.stage.judge
        attempts = running.stage.judge.history.attempts
        journal = running.stage.journal
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                while any(each.left and not each.closed for each in attempts.values()):
                    await journal.wait(journal.last)
        return running.stage.verdict(is_over=True)

    def _check_event(self, event: str) -> None:
        if event not in kinds():
            near = nearest(event, kinds())
            hint = f"did you mean {one_of(near)}?" if near else f"there are: {', '.join(kinds())}"
            raise Complaint(f"no event is called {show(event)}; {hint}")
        world = self._running().world
        if event in OF_PROTOCOL and world.profile.protocol is None:
            raise Complaint(f"{event} is seen only with protocol: pusher in the profile")
        if event == "framed" and not world.options.frames_journalled:
            raise Complaint("frames are seen only with @pytest.mark.chaos(frames=True)")

    async def _record(
        self, is_wanted: Callable[[Record], bool], words: str, count: int, after: Record | None, timeout: float
    ) -> Record:
        __tracebackhide__ = True
        if count < 1:
            raise Complaint(f"expected a count of at least 1, got {count}")
        running = self._running()
        journal = running.stage.journal
        seq = int(str(after["seq"])) if after is not None else 0
        if missed := journal.missed(seq):
            raise Complaint(f"the first {missed} records are not kept any more: wait for what comes after= a later one")
        found = 0
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for line in journal.after(seq):
                        seq = line.seq
                        record: Record = json.loads(line.text)
                        if is_wanted(record):
                            found += 1
                            if found == count:
                                return record
                    await journal.wait(seq)
        except TimeoutError:
            wanted = f"{words} ({found} of {count})" if count > 1 else words
            last = list(running.last_records(RECORDS_SHOWN)) or ["nothing"]
            lines = [f"not seen within {timeout:g} s: {wanted}. What happened last:", *last]
            raise NotSeen("\n  ".join(lines)) from None


async def _next_record(running: Running) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await running.stage.journal.wait(running.stage.journal.last)
