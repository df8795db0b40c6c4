"""Every example and every shipped profile is played in virtual time to lively peers: each of its faults strikes."""

import json
from collections import deque

import pytest

from chaosproxy import library
from chaosproxy.faults import FAULTS
from chaosproxy.legs import State
from chaosproxy.profile import Profile
from chaosproxy.profile_yaml import example, load
from chaosproxy.units import SECOND
from tests.virtual import CLIENT, MS, SERVER, Connection, Network, close_frame, frame, request, switching, text

STEP = 100 * MS
PATIENCE = 5 * SECOND
M = b"mask"


def _event(name: str, **fields: object) -> bytes:
    return text(json.dumps({"event": name, **fields}))


class Life:
    """A client that dials whenever it has no connection or hears nothing, and a server that answers; both talk.

    Now and then another one sends a plain request, or visits for a while.
    """

    def __init__(self, profile: Profile) -> None:
        self.network = Network(profile)
        self._connection: Connection | None = None
        self._heard = 0  # bytes, by the last look
        self._heard_at = 0
        self._turn = 0
        self._trigger_connection: Connection | None = None
        self._visitors: deque[Connection] = deque()

    def live(self, duration: int, wanted: set[str]) -> set[str]:
        """The faults that have struck, once all that are wanted have or the time is over."""
        end = self.network.now + duration
        while self.network.now < end and not wanted <= self._strikes:
            self._turn += 1
            self._dial()
            self._visit()
            self._answer()
            self._talk()
            self._trigger()
            self.network.wait(STEP)
        return self._strikes

    @property
    def _strikes(self) -> set[str]:
        return set(self.network.world.tally.strikes)

    def _dial(self) -> None:
        c = self._connection
        if c is not None and len(c.client.received) > self._heard:
            self._heard, self._heard_at = len(c.client.received), self.network.now
        is_deaf = c is not None and self.network.now - self._heard_at > PATIENCE
        if c is not None and is_deaf:
            c.rst(CLIENT)
        if c is not None and not (is_deaf or c.is_over or c.client.fin_at is not None or c.client.has_ended):
            return
        if c is not None:
            c.fin(CLIENT)
        self._connection = None
        if self.network.world.is_listening:
            self._connection = self.network.connect()
            self._connection.send(CLIENT, request())
            self._heard, self._heard_at = 0, self.network.now

    def _visit(self) -> None:
        if self._turn % 10 == 0 and self.network.world.is_listening:
            self._visitors.append(self.network.connect())
            self._visitors[-1].send(CLIENT, request())
        if len(self._visitors) > 3:
            gone = self._visitors.popleft()
            gone.send(CLIENT, close_frame(1000, mask=M))
            gone.fin(CLIENT)

    def _answer(self) -> None:
        for c in filter(None, (self._connection, *self._visitors)):
            if not c.is_connected or not c.server.data.startswith(b"GET ") or c.session.state is not State.ANSWER:
                continue
            established = _event("pusher:connection_established", data='{"socket_id":"1.1","activity_timeout":120}')
            c.send(SERVER, switching() + established)

    def _talk(self) -> None:
        c = self._connection
        if c is None or c.session.state is not State.TUNNEL:
            return
        c.send(CLIENT, text(json.dumps({"event": "client-typing", "channel": "private-a", "n": self._turn}), M))
        data = json.dumps({"n": self._turn, "text": "hello " * (5000 if self._turn % 50 == 0 else 5)})
        c.send(SERVER, _event("message", channel="private-a", data=data))
        if self._turn % 3 == 0:
            c.send(CLIENT, text(json.dumps({"event": "pusher:subscribe", "data": {"channel": "private-a"}}), M))
        if self._turn % 5 == 0:
            c.send(SERVER, frame(b"beat", 9), _event("pusher_internal:subscription_succeeded", channel="private-a"))
            c.send(CLIENT, frame(b"beat", 10, mask=M), frame(b"beat", 9, mask=M))
        if self._turn % 7 == 0:
            c.send(CLIENT, text(json.dumps({"event": "pusher:ping", "data": {}}), M))
            c.send(SERVER, _event("pusher:pong", data="{}"))
        if self._turn % 1000 == 0:
            c.fin(SERVER)  # now and then the server ends one

    def _trigger(self) -> None:
        c = self._trigger_connection
        if c and c.is_connected and c.server.data and not c.server.outbox and not c.is_over:
            c.send(SERVER, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            self._trigger_connection = None
        elif c is None and self._turn % 10 == 0 and self.network.world.is_listening:
            self._trigger_connection = self.network.connect()
            self._trigger_connection.send(
                CLIENT, b"POST /apps/1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
            )


@pytest.mark.parametrize("name", FAULTS)
def test_a_faults_example_makes_it_strike(name: str) -> None:
    life = Life(load(example(FAULTS[name]), name))
    assert name in life.live(150 * SECOND, {name})


@pytest.mark.parametrize("name", library.names())
def test_every_fault_of_a_shipped_profile_strikes(name: str) -> None:
    profile = library.load(name)
    faults = {rule.fault_name for rule in profile.every_rule()}
    assert Life(profile).live(300 * SECOND, faults) == faults
