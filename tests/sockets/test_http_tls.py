"""Plain HTTP with TLS on either leg or both: kept legs, their ends, and upgrades behind plain requests."""

import ssl

import pytest

from chaosproxy.security import Security
from tests.live import LOOPS, REQUEST, RESPONSE, Peer, Stage, comes_true, run, stage
from tests.sockets.tls_peer import TlsPeer, securities

pytestmark = [
    pytest.mark.parametrize("loop", LOOPS),
    pytest.mark.parametrize("security", [pytest.param(each, id=name) for name, each in securities()]),
]
ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nto the end"


async def accepted(on: Stage, security: Security) -> Peer | TlsPeer:
    peer = await on.upstream.accept()
    return await TlsPeer.accept(peer) if security.upstream else peer


def raw(peer: Peer | TlsPeer) -> Peer:
    return peer.peer if isinstance(peer, TlsPeer) else peer


async def server_leg_is_gone(on: Stage) -> None:
    (relay,) = on.proxy._relays
    await comes_true(lambda: relay.legs[1] is None)


def test_legs_that_end_in_any_way_are_dialled_anew_and_the_client_ends_in_order(loop: str, security: Security) -> None:
    async def story() -> None:
        async with stage(security=security) as on:
            client = await (TlsPeer if security.listen else Peer).connect(on.proxy.port)
            for how in ("in order", "fin", "rst", "fin"):
                await client.send(ASKED)
                server = await accepted(on, security)
                assert await server.exactly(len(ASKED)) == ASKED
                await server.send(ANSWER)
                assert await client.exactly(len(ANSWER)) == ANSWER
                if how == "rst":
                    raw(server).reset()
                elif how == "fin" or not isinstance(server, TlsPeer):
                    raw(server).end()
                else:
                    await server.end()
                await server_leg_is_gone(on)
            await client.send(LAST)
            server = await accepted(on, security)
            assert await server.exactly(len(LAST)) == LAST
            await server.send(ANSWER)
            assert await client.rest() == ANSWER  # over TLS up to close_notify: not truncated
            assert await server.rest() == b""
            raw(client).close()
            raw(server).close()
            await on.is_empty()

    run(loop, story())


@pytest.mark.parametrize("is_truncated", [False, True])
def test_a_body_to_the_end_is_truncated_where_the_upstreams_is(
    loop: str, security: Security, is_truncated: bool
) -> None:
    async def story() -> None:
        async with stage(security=security) as on:
            client = await (TlsPeer if security.listen else Peer).connect(on.proxy.port)
            await client.send(ASKED)
            server = await accepted(on, security)
            await server.exactly(len(ASKED))
            await server.send(ENDLESS)
            assert await client.exactly(len(ENDLESS)) == ENDLESS
            if isinstance(server, TlsPeer) and not is_truncated:
                await server.end()
            else:
                raw(server).end()
            if isinstance(client, TlsPeer) and isinstance(server, TlsPeer) and is_truncated:
                with pytest.raises(ssl.SSLEOFError):
                    await client.receive()
            else:
                assert await client.rest() == b""

    run(loop, story())


def test_an_upgrade_behind_a_plain_request_on_a_leg_of_its_own_or_the_same(loop: str, security: Security) -> None:
    async def story() -> None:
        async with stage(security=security) as on:
            for is_kept in (True, False):
                client = await (TlsPeer if security.listen else Peer).connect(on.proxy.port)
                await client.send(ASKED)
                server = await accepted(on, security)
                await server.exactly(len(ASKED))
                await server.send(ANSWER)
                assert await client.exactly(len(ANSWER)) == ANSWER
                if not is_kept:
                    raw(server).end()
                    await comes_true(lambda: any(relay.legs[1] is None for relay in on.proxy._relays))
                await client.send(REQUEST)
                server = server if is_kept else await accepted(on, security)
                assert await server.exactly(len(REQUEST)) == REQUEST
                await server.send(RESPONSE)
                assert await client.exactly(len(RESPONSE)) == RESPONSE
                await client.send(b"\x81\x82mask" + bytes(2))
                assert await server.exactly(8) == b"\x81\x82mask" + bytes(2)

    run(loop, story())


def test_a_half_open_freezes_both_legs_and_all_goes_on_at_its_heal(loop: str, security: Security) -> None:
    phases = [
        {"name": "a", "until": "step"},
        {"name": "b", "until": "step", "rules": ["half_open"]},
        {"name": "c", "until": "step"},
    ]

    async def story() -> None:
        async with stage({"phases": phases, "starts": "launch"}, security=security) as on:
            client = await (TlsPeer if security.listen else Peer).connect(on.proxy.port)
            await client.send(ASKED)
            server = await accepted(on, security)
            await server.exactly(len(ASKED))
            assert on.proxy.steer(lambda world, now: world.step(now, "b"))
            assert on.proxy.paused_legs == 2
            await server.send(ANSWER)
            assert on.proxy.steer(lambda world, now: world.step(now, "c"))
            assert await client.exactly(len(ANSWER)) == ANSWER
            await client.send(ASKED)
            assert await server.exactly(len(ASKED)) == ASKED

    run(loop, story())
