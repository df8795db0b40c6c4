"""bad_certificate and tls_stall as clients see them: the verify code, the time-out, and what comes once they heal."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosproxy.events import Healed, Secured, Struck
from chaosproxy.security import Security, developing
from chaosproxy.wire.frames import Side
from tests.live import LOOPS, REQUEST, Peer, run, stage
from tests.sockets.between import Between, between, echo
from tests.sockets.tls_peer import TlsPeer

EXPIRED, SELF_SIGNED, WRONG_ADDRESS, WRONG_NAME = 10, 18, 64, 62  # X509_V_ERR_*, OpenSSL's x509_vfy.h

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Security]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield developing("127.0.0.1")


def trusting_ours(security: Security) -> ssl.SSLContext:
    assert isinstance(security.ca, Path)
    return ssl.create_default_context(cafile=security.ca)


def hurting(*rules: object) -> dict[str, object]:
    phases = [{"name": "healthy", "until": "step"}, {"name": "hurt", "until": "step", "rules": list(rules)}]
    return {"starts": "launch", "phases": [*phases, {"name": "healed"}]}


def step(on: Between) -> None:
    assert on.proxy.steer(lambda world, now: world.step(now))


@pytest.mark.parametrize(
    ("kind", "host", "code"),
    [
        ("expired", "127.0.0.1", EXPIRED),
        ("wrong_name", "127.0.0.1", WRONG_ADDRESS),
        ("wrong_name", "localhost", WRONG_NAME),
        ("unknown_ca", "127.0.0.1", SELF_SIGNED),
    ],
)
def test_bad_certificate_fails_verification_for_its_own_reason(
    loop: str, security: Security, kind: str, host: str, code: int
) -> None:
    async def story() -> None:
        profile = hurting({"bad_certificate": kind})
        async with (
            between(profile, handler=echo, security=security) as on,
            on.connect(ssl=trusting_ours(security), server_hostname=host) as live,
        ):
            step(on)
            with pytest.raises(ssl.SSLCertVerificationError) as failure:
                async with on.connect(ssl=trusting_ours(security), server_hostname=host):
                    pass
            assert failure.value.verify_code == code
            assert (await on.told_of(Secured, 2)).error  # asyncio sends the alert, uvloop just goes
            assert [told.fault for told in on.events(Struck)] == ["bad_certificate"]
            await live.send("unharmed")
            assert await live.recv() == "unharmed"
            step(on)
            async with on.connect(ssl=trusting_ours(security), server_hostname=host) as healed:
                await healed.send("trusted again")
                assert await healed.recv() == "trusted again"
            assert len(on.servers) == 2

    run(loop, story())


def test_bad_certificate_does_not_hinder_a_client_that_verifies_nothing(loop: str, security: Security) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE

    async def story() -> None:
        rule = {"bad_certificate": "unknown_ca"}
        async with between({"rules": [rule]}, handler=echo, security=security) as on, on.connect(ssl=careless) as link:
            await link.send("whoever you are")
            assert await link.recv() == "whoever you are"

    run(loop, story())


def test_tls_stall_is_a_time_out_and_those_that_still_wait_go_on_as_it_heals(loop: str, security: Security) -> None:
    async def story() -> None:
        async with between(hurting("tls_stall"), handler=echo, security=security) as on:
            step(on)
            with pytest.raises(TimeoutError):
                async with on.connect(ssl=trusting_ours(security), open_timeout=0.3):
                    pass
            waiting = TlsPeer(await Peer.connect(on.proxy.port), trusting_ours(security), "127.0.0.1")
            shaking = asyncio.ensure_future(waiting.shake_hands())
            await on.told_of(Struck, 2)
            await asyncio.wait([shaking], timeout=0.1)
            assert not shaking.done()
            assert waiting.raw == b""
            assert on.servers == []
            step(on)
            await shaking
            await waiting.send(REQUEST)
            assert (await waiting.exactly(12)) == b"HTTP/1.1 101"
            assert (await on.told_of(Healed)).fault == "tls_stall"
            waiting.peer.close()

    run(loop, story())


def test_tls_stall_reads_no_more_than_it_has_room_for(loop: str, security: Security) -> None:
    async def story() -> None:
        async with stage(hurting("tls_stall"), security=security) as on:
            on.proxy.steer(lambda world, now: world.step(now))
            client = await Peer.connect(on.proxy.port)
            await on.told_of(Struck)
            sending = asyncio.ensure_future(client.send(b"\x16\x03\x01" + bytes(50_000_000)))
            await asyncio.wait([sending], timeout=0.3)
            assert not sending.done()
            sending.cancel()
            await asyncio.wait([sending])
            client.reset()
            on.proxy.steer(lambda world, now: world.step(now))
            await on.is_empty()

    run(loop, story())


def test_each_client_is_told_the_same_of_a_failed_handshake(loop: str, security: Security) -> None:
    async def story() -> None:
        async with stage({"rules": [{"bad_certificate": "expired"}]}, security=security) as on:
            for _ in range(2):
                with pytest.raises(ssl.SSLCertVerificationError):
                    await TlsPeer.connect(on.proxy.port, trusting_ours(security))
            await on.is_empty()
            told = [each.event for each in on.told if isinstance(each.event, Secured)]
            assert told == [Secured(Side.CLIENT, "", "the peer says certificate expired")] * 2

    run(loop, story())
