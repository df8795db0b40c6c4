"""The journal for those who ask over HTTP: the tail as a file, or what comes as server-sent events.

A follower holds a number, not a queue, so it costs no memory and can't hold up the proxy. One that falls out of the
journal's tail, or does not read for a while, is let go; the journal says so, and it may come back with Last-Event-ID.
"""

import asyncio
from typing import Any

from aiohttp import web

from ..journal import Journal, Line
from .orders import Refused

STREAMS_MAX = 32
PULSE_S = 15.0  # a comment, so that what lies between keeps the connection open and a dead one is found
PATIENCE_S = 30.0  # for a follower to read what was sent


class Streams:
    """All followers of one journal."""

    def __init__(self, journal: Journal, pulse_s: float = PULSE_S, patience_s: float = PATIENCE_S) -> None:
        self._journal = journal
        self._pulse_s = pulse_s
        self._patience_s = patience_s
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        return len(self._tasks)

    def file(self) -> web.Response:
        """The header and the tail, as lines of JSON."""
        lines = [self._journal.header, *(line.text for line in self._journal.after(0, self._journal.last))]
        return web.Response(text="\n".join(lines) + "\n", content_type="application/jsonl")

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send what is behind Last-Event-ID (or all there is), then what comes, until the follower goes."""
        if len(self._tasks) >= STREAMS_MAX:
            raise Refused(503, f"{STREAMS_MAX} others follow the journal already")
        seq = self._read_number(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            await response.prepare(request)
            await self._send(response, f"event: header\ndata: {self._journal.header}\n\n")
            if missed := self._journal.missed(seq):
                await self._send(response, _said("missed", missed))
                seq += missed
            await self._follow(response, seq)
        except TimeoutError:
            self._journal.note("follower_dropped", reason=f"it did not read for {self._patience_s:g} s")
            if request.transport:
                request.transport.abort()
        except ConnectionError:
            pass  # it is gone
        finally:
            self._tasks.discard(task)
        return response

    async def close(self) -> None:
        """Let all followers go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, response: web.StreamResponse, seq: int) -> None:
        while True:
            if missed := self._journal.missed(seq):
                self._journal.note("follower_dropped", reason=f"it fell behind by {missed} records", at_record=seq)
                await self._send(response, _said("dropped", missed))
                return
            lines = self._journal.after(seq)
            if lines:
                seq = lines[-1].seq
                await self._send(response, "".join(map(_event, lines)))
                continue
            try:
                # (Not wait_for: in Python 3.11 it swallows the end of it all where a record comes in the same moment.)
                async with asyncio.timeout(self._pulse_s):
                    await self._journal.wait(seq)
            except TimeoutError:
                await self._send(response, ":\n\n")

    async def _send(self, response: web.StreamResponse, text: str) -> None:
        async with asyncio.timeout(self._patience_s):
            await response.write(text.encode())

    def _read_number(self, request: web.Request) -> int:
        """Where the follower was. A number we have not reached is of another run: then it gets everything."""
        said = request.headers.get("Last-Event-ID", "")
        number = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0
        return number if number <= self._journal.last else 0


def _event(line: Line) -> str:
    return f"id: {line.seq}\ndata: {line.text}\n\n"


def _said(event: str, records: int) -> str:
    return f'event: {event}\ndata: {{"records":{records}}}\n\n'
