"""A zoo of clients: one that gets over outages as a good one does, and mutants of it with one flaw each."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chaosproxy.demo.auth import DEFAULT_APP, authorise

PUBLIC, PRIVATE = "news", "private-mail"
ACTIVITY_S, PONG_S = 0.3, 0.3  # notices a silent link within their sum
ATTEMPT_S = 0.3
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 0.8
FLOOD_S = 0.02
PAUSE_S = 0.1  # between a loss and the first attempt
SPREAD = (1.0, 1.3, 1.6)  # what each of a herd multiplies its waits by


@dataclass(frozen=True)
class Character:
    """What a client does otherwise than a good one."""

    backs_off: bool = True
    has_jitter: bool = True
    gives_up_after: int | None = None  # attempts in a row, from its second outage on
    notices: bool = True
    resubscribes: bool = True
    subscriptions: int = 1  # requests for each channel
    doubles: bool = False  # opens another connection while it has one
    keeps_signature: bool = False
    heeds_codes: bool = True
    floods: bool = False  # in its first outage, with attempts that it does not wait for


GOOD = Character()
MUTANTS: dict[str, Character] = {
    "no backoff": Character(backs_off=False),
    "no jitter": Character(has_jitter=False),
    "gives up": Character(gives_up_after=4),
    "zombie": Character(notices=False),
    "never resubscribes": Character(resubscribes=False),
    "subscribes twice": Character(subscriptions=2),
    "reconnects while connected": Character(doubles=True),
    "stale socket_id": Character(keeps_signature=True),
    "ignores close codes": Character(heeds_codes=False),
    "floods": Character(floods=True),
}


class Animal:
    """One client. `run` ends when it has given up, or is cancelled."""

    def __init__(self, character: Character, port: int, number: int) -> None:
        self._character = character
        self._url = f"ws://127.0.0.1:{port}/app/app-key?protocol=7&client={number}"
        self._spread = SPREAD[number % len(SPREAD)] if character.has_jitter else SPREAD[0]
        self._losses = 0
        self._failures = 0
        self._signature: str | None = None
        self._others: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            connection = await self._attempt()
            if connection is None:
                self._failures += 1
                if self._has_given_up:
                    return
                await asyncio.sleep(self._wait_s)
                continue
            self._failures = 0
            try:
                code = await self._live(*connection)
            finally:
                connection[0].transport.abort()
                for task in self._others:
                    task.cancel()
            self._losses += 1
            if self._character.heeds_codes and 4000 <= code < 4100:
                return
            await asyncio.sleep(PAUSE_S * self._spread)

    @property
    def _has_given_up(self) -> bool:
        limit = self._character.gives_up_after
        return limit is not None and self._losses > 1 and self._failures >= limit

    @property
    def _is_flooding(self) -> bool:
        return self._character.floods and self._losses == 1

    @property
    def _wait_s(self) -> float:
        if self._is_flooding:
            return FLOOD_S
        if not self._character.backs_off:
            return LONGEST_WAIT_S / 2 * self._spread
        return min(FIRST_WAIT_S * 2.0 ** (self._failures - 1), LONGEST_WAIT_S) * self._spread

    async def _attempt(self) -> tuple[ClientConnection, str] | None:
        """Connect, and hear that the connection is established: with which socket_id."""
        patience_s = FLOOD_S if self._is_flooding else ATTEMPT_S
        try:
            connection = await connect(
                self._url, open_timeout=patience_s, ping_interval=None, close_timeout=0.1, compression=None
            )
        except (OSError, TimeoutError, InvalidHandshake):
            return None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                message = json.loads(await connection.recv())
            return connection, json.loads(message["data"])["socket_id"]
        except (TimeoutError, ConnectionClosed):
            connection.transport.abort()
            return None

    async def _live(self, connection: ClientConnection, socket_id: str) -> int:
        """Be connected, until that ends; return the close code."""
        try:
            await self._subscribe(connection, socket_id)
            if self._character.doubles and self._losses == 1:
                self._others.add(asyncio.create_task(self._double()))
            while True:
                await self._hear(connection)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        except TimeoutError:
            return 1006

    async def _hear(self, connection: ClientConnection) -> None:
        """Hear a message. Raise TimeoutError where the link is dead."""
        if not self._character.notices:
            await connection.recv()
            return
        try:
            async with asyncio.timeout(ACTIVITY_S):
                await connection.recv()
        except TimeoutError:
            await connection.send(json.dumps({"event": "pusher:ping", "data": {}}))
            async with asyncio.timeout(PONG_S):
                await connection.recv()

    async def _subscribe(self, connection: ClientConnection, socket_id: str) -> None:
        signature = authorise(DEFAULT_APP, socket_id, PRIVATE)["auth"]
        self._signature = self._signature or signature
        if self._character.keeps_signature:
            signature = self._signature
        wanted: list[dict[str, Any]] = [{"channel": PUBLIC}, {"channel": PRIVATE, "auth": signature}]
        if self._losses and not self._character.resubscribes:
            wanted = wanted[1:]
        for data in wanted * self._character.subscriptions:
            await connection.send(json.dumps({"event": "pusher:subscribe", "data": data}))

    async def _double(self) -> None:
        """Have another connection for a while."""
        another = await self._attempt()
        if another:
            try:
                await asyncio.sleep(0.8)
            finally:
                another[0].transport.abort()


async def herd(character: Character, port: int, size: int) -> None:
    """Clients of one character, until all have given up, or it is cancelled."""
    tasks = [asyncio.create_task(Animal(character, port, number).run()) for number in range(size)]
    try:
        await asyncio.gather(*tasks)
        await asyncio.Event().wait()
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


Herds = Sequence[Character]
