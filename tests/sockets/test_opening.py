"""Faults of opening as a real client sees them: which kind of failed handshake, and when."""

import asyncio
from time import monotonic
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidHeaderValue,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
)

from chaosproxy.events import Ended, Opened, Struck, Suppressed
from chaosproxy.wire.frames import Side
from tests.live import LOOPS, REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage
from tests.sockets.between import between, echo
from tests.virtual import close_frame, text

pytestmark = pytest.mark.parametrize("loop", LOOPS)
FIRST = text("the server's first frame")
MASK = b"mask"


async def quit_at_once(connection: ServerConnection) -> None:
    """Send FIN without a close frame."""
    connection.transport.close()


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        ({"kind": "accept"}, InvalidHeaderValue, "invalid Sec-WebSocket-Accept header"),
        ({"kind": "no_upgrade"}, InvalidUpgrade, "missing Upgrade header"),
        ({"kind": "no_connection"}, InvalidUpgrade, "missing Connection header"),
        ({"kind": "subprotocol"}, NegotiationError, "x-chaos"),
        ({"kind": "subprotocol", "named": "graphql-ws"}, NegotiationError, "graphql-ws"),
        ({"kind": "extension"}, NegotiationError, "x-chaos"),
        ({"kind": "extension", "named": "permessage-deflate"}, NegotiationError, "no extensions supported"),
    ],
)
def test_a_bad_accept_is_a_handshake_that_the_client_refuses(
    loop: str, rule: dict[str, str], error: type[InvalidHandshake], words: str
) -> None:
    async def story() -> None:
        subprotocols = ["chat", "mqtt"] if rule["kind"] == "subprotocol" else None
        async with between({"rules": [{"bad_accept": rule}]}, subprotocols=subprotocols) as stage:
            if rule.get("named") == "permessage-deflate" or rule["kind"] != "extension":
                options: dict[str, Any] = {"subprotocols": subprotocols}
            else:
                options = {"compression": "deflate"}  # extensions are wanted, but not this one
            with pytest.raises(error, match=words):
                async with stage.connect(**options):
                    pass
            assert (await stage.told_of(Struck)).fault == "bad_accept"
            await comes_true(lambda: len(stage.servers) == 1)  # for the server the connection was open
            await stage.servers[0].wait_closed()

    run(loop, story())


def test_a_bad_accept_by_status_is_a_200_with_the_rest_of_the_connection_behind_it(loop: str) -> None:
    async def story() -> None:
        async with between({"rules": [{"bad_accept": "status"}]}, handler=quit_at_once) as stage:
            with pytest.raises(InvalidStatus) as refusal:
                async with stage.connect():
                    pass
            assert refusal.value.response.status_code == 200
            assert refusal.value.response.headers["Upgrade"] == "websocket"

    run(loop, story())


def test_a_bad_accept_that_names_what_the_client_offered_lets_it_be(loop: str) -> None:
    async def story() -> None:
        rule = {"bad_accept": {"kind": "subprotocol", "named": "chat"}}
        async with between({"rules": [rule]}, handler=echo, subprotocols=["chat"]) as stage:
            async with stage.connect(subprotocols=["chat"]) as client:
                await client.send("works")
                assert await client.recv() == "works"
            assert len(stage.events(Suppressed)) == 1 and stage.events(Struck) == []

    run(loop, story())


def test_a_lenient_client_goes_on_behind_a_bad_accept(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"bad_accept": "no_upgrade"}]}) as live:
            client = await Peer.connect(live.proxy.port)
            await client.send(REQUEST)
            server = await live.upstream.accept()
            await server.exactly(len(REQUEST))
            await server.send(RESPONSE + FIRST)
            assert (
                await client.exactly(len(RESPONSE + FIRST) - 20)
                == RESPONSE.replace(b"Upgrade: websocket\r\n", b"", 1) + FIRST
            )
            await client.send(text("goes on", MASK))
            assert await server.exactly(13) == text("goes on", MASK)

    run(loop, story())


async def open_silently(live: Stage) -> tuple[Peer, Peer]:
    """A connection whose first frame comes with the 101 and whose client talks early; all of it is with the proxy."""
    client = await Peer.connect(live.proxy.port)
    await client.send(REQUEST + text("early", MASK))
    server = await live.upstream.accept()
    await server.exactly(len(REQUEST))
    await server.send(RESPONSE + FIRST)
    assert await client.exactly(len(RESPONSE)) == RESPONSE
    await client.send(text("late", MASK))
    (session,) = live.proxy.world.sessions.values()
    held = len(text("early", MASK) + text("late", MASK))
    await comes_true(lambda: session.directions[Side.CLIENT].splitter.bytes == held)
    return client, server


@pytest.mark.parametrize("heal", ["flush", "discard", "reset"])
def test_silent_lets_not_one_byte_behind_the_101_leave_until_it_heals(loop: str, heal: str) -> None:
    async def story() -> None:
        mute = {"name": "mute", "until": "step", "rules": [{"silent": {"heal": heal}}]}
        async with stage({"phases": [mute, {"name": "healed"}]}) as live:
            client, server = await open_silently(live)
            for peer in (client, server):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(peer.receive(), 0.2)
            live.proxy.steer(lambda world, now: world.step(now))
            if heal == "reset":
                assert await client.is_reset() and await server.is_reset()
                return
            await server.send(text("lives on"))
            await client.send(text("so does it", MASK))
            kept = [FIRST, text("early", MASK), text("late", MASK)] if heal == "flush" else [b"", b"", b""]
            for peer, expected in (
                (client, kept[0] + text("lives on")),
                (server, kept[1] + kept[2] + text("so does it", MASK)),
            ):
                assert await peer.exactly(len(expected)) == expected

    run(loop, story())


@pytest.mark.parametrize("how", ["end", "reset"])
def test_silent_performs_at_heal_how_the_server_has_ended_meanwhile(loop: str, how: str) -> None:
    async def story() -> None:
        mute = {"name": "mute", "until": "step", "rules": ["silent"]}
        async with stage({"phases": [mute, {"name": "healed"}]}) as live:
            client, server = await open_silently(live)
            getattr(server, how)()
            await live.told_of(Ended)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.receive(), 0.2)
            live.proxy.steer(lambda world, now: world.step(now))
            if how == "end":
                assert await client.rest() == FIRST
            else:
                assert await client.is_reset()

    run(loop, story())


def test_silent_is_an_open_connection_to_a_client_that_only_its_own_heartbeat_ends(loop: str) -> None:
    async def story() -> None:
        async with between({"rules": ["silent"]}, handler=echo) as stage:
            began = monotonic()
            with pytest.raises(ConnectionClosed) as end:
                async with stage.connect(ping_interval=0.2, ping_timeout=0.2, close_timeout=0.1) as client:
                    await client.recv()
            assert end.value.sent is not None and end.value.sent.code == 1011  # keepalive ping timeout
            assert end.value.rcvd is None
            assert 0.4 <= monotonic() - began < 10
            assert len(stage.events(Opened)) == 1

    run(loop, story())


@pytest.mark.parametrize("fault", ["close", "reset", "fin"])
def test_an_ending_of_new_connections_comes_before_their_first_frame(loop: str, fault: str) -> None:
    async def story() -> None:
        options = {"hits": "new", **({"code": 4200} if fault == "close" else {})}
        async with stage({"rules": [{fault: options}]}) as live:
            client = await Peer.connect(live.proxy.port)
            await client.send(REQUEST)
            server = await live.upstream.accept()
            await server.exactly(len(REQUEST))
            await server.send(RESPONSE + FIRST)
            if fault == "reset":
                assert await client.is_reset()
                return
            await client.exactly(len(RESPONSE))
            if fault == "close":
                assert await client.exactly(4) == close_frame(4200)
                client.end()
            assert await client.rest() == b""

    run(loop, story())


def test_latency_at_accept_connects_at_once_and_reads_nothing_until_its_delay_has_passed(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"latency": {"delay": "300ms", "at": "accept"}}]}) as live:
            began = monotonic()
            client = await Peer.connect(live.proxy.port)
            assert monotonic() - began < 0.3
            await client.send(REQUEST)
            server = await live.upstream.accept()
            assert monotonic() - began >= 0.3
            assert await server.exactly(len(REQUEST)) == REQUEST

    run(loop, story())


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("at", ["accept", "request"])
def test_a_delayed_handshake_does_not_outwait_its_client(loop: str, at: str, how: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"latency": {"delay": "1h", "at": at}}]}) as live:
            client = await Peer.connect(live.proxy.port)
            await client.send(REQUEST)
            assert (await live.told_of(Struck)).fault == "latency"
            getattr(client, how)()
            if how == "end":
                server = await live.upstream.accept()
                assert await server.exactly(len(REQUEST)) == REQUEST
                await server.send(RESPONSE)
                assert await server.rest() == b""
                server.end()
            await live.is_empty()

    run(loop, story())


@pytest.mark.parametrize("at", ["accept", "request", "response"])
def test_a_handshake_with_latency_takes_so_much_longer_and_the_rest_does_not(loop: str, at: str) -> None:
    async def story() -> None:
        rule = {"latency": {"delay": "300ms", "jitter": "50ms", "at": at}}
        async with between({"rules": [rule]}, handler=echo) as stage:
            began = monotonic()
            async with stage.connect() as client:
                opened = monotonic()
                assert opened - began >= 0.25
                for number in range(20):
                    await client.send(str(number))
                    assert await client.recv() == str(number)
                assert monotonic() - opened < 20 * 0.25  # not one of them waited
            assert [event.fault for event in stage.events(Struck)] == ["latency"]

    run(loop, story())


def test_a_client_times_out_where_the_handshake_takes_too_long(loop: str) -> None:
    async def story() -> None:
        async with between({"rules": [{"latency": {"delay": "1h", "at": "response"}}]}) as stage:
            with pytest.raises(TimeoutError):
                async with stage.connect(open_timeout=0.3):
                    pass
            await stage.servers[0].wait_closed()  # our end of it does not linger

    run(loop, story())


def test_latency_at_response_delays_a_refusal_with_the_fin_behind_it(loop: str) -> None:
    async def story() -> None:
        refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
        async with stage({"rules": [{"latency": {"delay": "300ms", "at": "response"}}]}) as live:
            client = await Peer.connect(live.proxy.port)
            await client.send(REQUEST)
            server = await live.upstream.accept()
            await server.exactly(len(REQUEST))
            began = monotonic()
            await server.send(refusal)
            server.end()
            assert await client.rest() == refusal
            assert monotonic() - began >= 0.3

    run(loop, story())


def test_latency_at_first_frame_delays_the_first_message_only(loop: str) -> None:
    async def story() -> None:
        rule = {"latency": {"delay": "300ms", "at": "first_frame"}, "when": {"from": "client"}}
        async with between({"rules": [rule]}, handler=echo) as stage, stage.connect() as client:
            began = monotonic()
            await client.send("first")
            assert await client.recv() == "first"
            answered = monotonic()
            assert answered - began >= 0.3
            for number in range(20):
                await client.send(str(number))
                assert await client.recv() == str(number)
            assert monotonic() - answered < 20 * 0.3

    run(loop, story())


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (401, {"WWW-Authenticate": 'Basic realm="chaos"'}, "Unauthorized"),
        (426, {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}, "Upgrade Required"),
        (429, {"Retry-After": "30"}, "Too Many Requests"),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "Service Unavailable"),
        (599, {}, "Unknown"),
    ],
)
def test_a_reject_is_any_status_with_its_headers(loop: str, status: int, headers: dict[str, str], reason: str) -> None:
    async def story() -> None:
        rule = {"reject": {"status": status, "headers": headers, "body": "no"}}
        async with between({"rules": [rule]}) as stage:
            with pytest.raises(InvalidStatus) as rejection:
                async with stage.connect():
                    pass
            response = rejection.value.response
            assert (response.status_code, response.reason_phrase, response.body) == (status, reason, b"no")
            assert {name: response.headers[name] for name in headers} == headers

    run(loop, story())


@pytest.mark.parametrize("status", [600, 799, 999])
def test_a_reject_may_have_a_status_that_no_registry_knows(loop: str, status: int) -> None:
    async def story() -> None:
        async with between({"rules": [{"reject": status}]}) as stage, aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.WSServerHandshakeError) as rejection:
                await client.ws_connect(stage.url)
            assert rejection.value.status == status

    run(loop, story())


def test_a_reject_without_a_body_ends_with_its_head(loop: str) -> None:
    async def story() -> None:
        async with stage({"rules": [{"reject": 204}]}) as live:
            client = await Peer.connect(live.proxy.port)
            await client.send(REQUEST)
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204 No Content\r\n") and b"content-length" not in head.lower()
            client.end()
            assert await client.rest() == b""

    run(loop, story())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_reject_with_a_location_is_a_redirect_that_the_client_follows(loop: str, status: int) -> None:
    async def story() -> None:
        rule = {
            "reject": {"status": status, "headers": {"Location": "/moved?here=1"}},
            "when": {"path": "/app/*"},
        }
        async with between({"rules": [rule]}, handler=echo) as stage, stage.connect() as client:
            assert client.request is not None and client.request.path == "/moved?here=1"
            await client.send("arrived")
            assert await client.recv() == "arrived"
            assert [each.request.path for each in stage.servers if each.request] == ["/moved?here=1"]

    run(loop, story())
