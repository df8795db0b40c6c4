"""One client's socket and what it still has to be sent."""

import asyncio
from typing import assert_never

from aiohttp import web

from chaosproxy.demo.actions import Close, Send

HELD_CHARACTERS_MAX = 1024 * 1024


class Link:
    """Writes to a client's socket.

    A client that does not read must not slow down the others, so nobody waits for it: beyond HELD_CHARACTERS_MAX, what
    it should have been sent is lost, as with soketi.
    """

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self._socket = socket
        self._transport = transport
        self._actions: asyncio.Queue[Send | Close] = asyncio.Queue()
        self._held_characters = 0
        self.writer = asyncio.create_task(self._write())

    def put(self, action: Send | Close) -> None:
        if isinstance(action, Send):
            if self._held_characters and self._held_characters + len(action.text) > HELD_CHARACTERS_MAX:
                return
            self._held_characters += len(action.text)
        self._actions.put_nowait(action)

    async def finish(self, close: Close, patience_s: float) -> None:
        """Close the socket unless that has happened, leave no task behind; a peer that stalls is cut off."""
        self._actions.put_nowait(close)
        try:
            async with asyncio.timeout(patience_s):
                await self.writer
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """End the connection without waiting for anything; both sides of it find out by themselves."""
        if self._transport is not None:
            self._transport.abort()

    async def _write(self) -> None:
        try:
            while True:
                match await self._actions.get():
                    case Send(text=text):
                        await self._socket.send_str(text)
                        self._held_characters -= len(text)
                    case Close(code=code):
                        await self._socket.close(code=code)
                        return
                    case unreachable:
                        assert_never(unreachable)
        except ConnectionError:
            pass  # the peer is gone, which the reading side learns as well
