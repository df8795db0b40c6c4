"""A Node client over TLS that trusts the development CA by NODE_EXTRA_CA_CERTS, as the greeting says."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaosproxy.security import Security, developing
from tests.interop.processes import NODE_FOLDER
from tests.live import PATIENCE_S
from tests.live import run as run_story
from tests.sockets.between import Between, between, echo


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Security]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield developing("127.0.0.1")


class NodeClient:
    """The client's process, and what it tells."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tells(self) -> dict[str, Any]:
        assert self._process.stdout
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        told: dict[str, Any] = json.loads(line)
        return told


@asynccontextmanager
async def node_client(on: Between, *, trusts: object = None) -> AsyncIterator[NodeClient]:
    env = {name: value for name, value in os.environ.items() if name != "NODE_EXTRA_CA_CERTS"}
    env |= {"NODE_EXTRA_CA_CERTS": str(trusts)} if trusts else {}
    process = await asyncio.create_subprocess_exec(
        "node", NODE_FOLDER / "tls_client.mjs", on.url, env=env, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield NodeClient(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def phases(*rules: object) -> dict[str, object]:
    return {"phases": [{"name": "healthy", "until": "step"}, {"name": "hurt", "rules": list(rules)}]}


OPEN = {"event": "open", "protocol": "TLSv1.3", "authorized": True}
WORD = {"event": "message", "text": "a word"}


def test_it_trusts_the_ca_it_is_given_and_no_other(security: Security) -> None:
    async def story() -> None:
        async with between(handler=echo, security=security) as on:
            async with node_client(on, trusts=security.ca) as client:
                assert await client.tells() == OPEN
                assert await client.tells() == WORD
            async with node_client(on) as client:
                assert (await client.tells())["code"] == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

    run_story("asyncio", story())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("expired", "CERT_HAS_EXPIRED"),
        ("wrong_name", "ERR_TLS_CERT_ALTNAME_INVALID"),
        ("unknown_ca", "DEPTH_ZERO_SELF_SIGNED_CERT"),
    ],
)
def test_it_names_what_is_wrong_with_a_certificate(security: Security, kind: str, code: str) -> None:
    async def story() -> None:
        async with (
            between({"rules": [{"bad_certificate": kind}]}, security=security) as on,
            node_client(on, trusts=security.ca) as client,
        ):
            assert (await client.tells())["code"] == code
            assert await client.tells() == {"event": "close", "code": 1006}

    run_story("asyncio", story())


@pytest.mark.parametrize(
    ("rule", "ends"),
    [
        ("reset", [{"event": "socket error", "code": "ECONNRESET"}, 1006]),
        ("fin", [1006]),
        ({"close": 4200}, [4200]),
    ],
)
def test_an_end_is_what_it_is_without_tls(security: Security, rule: object, ends: list[object]) -> None:
    async def story() -> None:
        async with (
            between(phases(rule), handler=echo, security=security) as on,
            node_client(on, trusts=security.ca) as client,
        ):
            assert [await client.tells(), await client.tells()] == [OPEN, WORD]
            on.proxy.steer(lambda world, now: world.step(now))
            for end in ends:
                assert await client.tells() == ({"event": "close", "code": end} if isinstance(end, int) else end)

    run_story("asyncio", story())
