"""Judges are judged: each mutant fails exactly its own expectation and no other, the good client passes all."""

import asyncio
import io
from time import monotonic_ns
from typing import Any

from chaosproxy.demo.server import DemoServer
from chaosproxy.expectations import Outcome
from chaosproxy.journal import iter_journal
from chaosproxy.profile import Profile
from chaosproxy.retold import retell
from chaosproxy.sockets import Address
from chaosproxy.stage import Stage
from chaosproxy.units import SECOND
from tests.virtual_loop import run_in_no_time
from tests.zoo.animals import GOOD, MUTANTS, Character, herd

SIZE = 3
PATIENCE = 15 * SECOND
_BEGIN: list[dict[str, Any]] = [
    {"name": "connecting", "until": {"subscribed": SIZE, "within": "10s"}},
    {"name": "calm", "lasts": "300ms"},
]
OUTAGES = {
    "phases": [
        *_BEGIN,
        {"name": "silence", "lasts": "2s", "rules": [{"half_open": {"mode": "blackhole", "heal": "reset"}}]},
        {"name": "well", "lasts": "2500ms"},
        {"name": "down", "lasts": "3500ms", "rules": ["reset", {"reject": "503"}]},
    ],
    "expect": [
        {"detected_within": "1500ms", "phase": "silence"},
        {"reconnected_within": "2s", "phase": "silence"},
        {"resubscribed": {"channels": ["news"], "within": "2s"}, "phase": "silence"},
        {"subscribes_once": "true"},
        {"one_connection": "true"},
        {"fresh_auth": "true"},
        {"backoff": {"grows": "true"}, "phase": "down"},
        {"backoff": {"jitter_at_least": "20%"}, "phase": "down"},
        {"never_gives_up": "true", "phase": "down"},
        {"attempts_per_second_at_most": "30"},
    ],
}
REFUSAL = {
    "phases": [*_BEGIN, {"name": "refusal", "rules": [{"close": "4001"}]}],
    "expect": [{"gives_up_on": {"codes": "4001", "quiet": "1500ms"}}],
}
FAILS = {
    "no backoff": "backoff: {grows: true}",
    "no jitter": "backoff: {jitter_at_least: 20%}",
    "gives up": "never_gives_up: true",
    "zombie": "detected_within: 1500ms",
    "never resubscribes": "resubscribed: {within: 2s, channels: news}",
    "subscribes twice": "subscribes_once: true",
    "reconnects while connected": "one_connection: true",
    "stale socket_id": "fresh_auth: true",
    "ignores close codes": "gives_up_on: {quiet: 1500ms, codes: 4001}",
    "floods": "attempts_per_second_at_most: 30",
}


def _profile(parts: dict[str, Any]) -> Profile:
    return Profile.model_validate({"version": 1, "protocol": "pusher", "identify": {"query": "client"}, **parts})


async def _judge(character: Character | None, parts: dict[str, Any], server: DemoServer) -> list[str]:
    """What a herd of this character fails."""
    file = io.BytesIO()
    stage = Stage(Address("127.0.0.1", server.port), profile=_profile(parts), is_judged=True, file=file)
    await stage.start()
    clients = asyncio.create_task(herd(character, stage.proxy.port, SIZE)) if character else None
    deadline = monotonic_ns() + (PATIENCE if character else SECOND)
    try:
        while not stage.verdict().is_finished and monotonic_ns() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.25)  # no time at all: see virtual_loop
        verdict = stage.verdict(is_over=True)
        records = iter_journal(io.StringIO(file.getvalue().decode()))
        assert retell(next(records), records).judged.rows == verdict.rows
        return [row.name for row in verdict.rows if row.outcome is Outcome.FAILED]
    finally:
        if clients:
            clients.cancel()
            await asyncio.gather(clients, return_exceptions=True)
        await stage.stop()


async def _judge_all(characters: dict[str, Character | None]) -> dict[str, list[str]]:
    server = DemoServer(close_patience_s=0.2)
    await server.start()
    try:
        jobs = [_judge(character, parts, server) for character in characters.values() for parts in (OUTAGES, REFUSAL)]
        failures = await asyncio.gather(*jobs)
    finally:
        await server.stop()
    return {name: failures[2 * index] + failures[2 * index + 1] for index, name in enumerate(characters)}


def test_the_good_client_passes_all_and_each_mutant_fails_its_own_expectation_only() -> None:
    async def story() -> None:
        found = await _judge_all({"good": GOOD, **MUTANTS})
        assert found == {"good": [], **{name: [row] for name, row in FAILS.items()}}

    run_in_no_time(story())


def test_no_client_at_all_fails() -> None:
    async def story() -> None:
        found = await _judge_all({"nobody": None})
        assert "a client came" in found["nobody"]
        struck = {"half_open struck", "reset struck", "reject struck", "close struck"}
        assert {row for row in found["nobody"] if "struck" in row} == struck

    run_in_no_time(story())
