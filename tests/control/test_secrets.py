"""Judges S13 and S14: what peers say can't forge a line, and what is secret is nowhere to be read."""

import asyncio
import json

from tests.control.conftest import Run
from tests.control.stage import Stage, profile_of, staged

CANARY = "canary-7d1f"
PUSHER = profile_of(protocol="pusher", rules=[{"latency": "1ms"}])


async def everything(stage: Stage) -> str:
    """All that an onlooker can read."""
    pages = [stage.journal.header, *(line.text for line in stage.journal.after(0, stage.journal.last))]
    of_stage = ("state", "journal?format=jsonl", "picture", "report", "phases", "connections", "metrics")
    for path in ("/metrics", "/readyz", *(f"/api/{each}" for each in of_stage)):
        answer = await stage.ask("GET", path)
        assert answer.status == 200
        pages.append(json.dumps(answer.body))
    return "\n".join(pages)


def test_values_of_headers_queries_and_messages_are_nowhere(run: Run) -> None:
    async def story() -> None:
        async with staged(PUSHER) as stage:
            headers = dict.fromkeys(("Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Origin"), CANARY)
            url = f"/app/key?token={CANARY}&auth_signature={CANARY}"
            async with stage.client(url, additional_headers=headers) as client:
                await client.send(json.dumps({"event": "client-x", "channel": "private-a", "data": CANARY}))
                await client.recv()
                seen = await everything(stage)
            assert "/app/key" in seen
            assert "x-api-key" in seen
            assert CANARY not in seen

    run(story())


def test_a_secret_in_a_profile_that_is_played_or_a_rule_that_is_added_is_nowhere(run: Run) -> None:
    secret = {"reject": {"status": 401, "headers": {"Set-Cookie": CANARY}}, "when": {"header": {"X-Key": CANARY}}}

    async def story() -> None:
        async with staged() as stage:
            played = {"version": 1, "rules": [secret], "phases": [{"name": "only", "rules": [secret]}]}
            assert (await stage.ask("POST", "/api/profile", {"profile": played})).status == 200
            assert (await stage.ask("POST", "/api/rules", {"rule": secret})).status == 201
            async with stage.client("/app/key"):
                seen = await everything(stage)
            assert "profile_changed" in seen
            assert "(masked)" in seen
            assert CANARY not in seen

    run(story())


def test_a_refused_request_is_not_quoted(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.proxy.port)
            writer.write(
                f"GET /?token={CANARY} HTTP/1.1\r\nHost: x\r\nCookie: {CANARY}\r\nUpgrade: no\r\n\r\n".encode()
            )
            await reader.read()
            writer.close()
            await stage.until_told("closed")
            assert CANARY not in await everything(stage)

    run(story())


def test_a_path_can_not_forge_a_line(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            path = '/a%0d%0a"},{"event":"forged"}<img%20onerror=x>'
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            _, writer = await asyncio.open_connection("127.0.0.1", stage.proxy.port)
            writer.write(head.encode())
            await stage.until_told("asked")
            (record,) = stage.told("asked")
            assert record["path"] == path
            assert stage.told("forged") == []
            writer.close()
            await stage.until_told("closed")

    run(story())


def test_a_close_reason_can_not_forge_a_line(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            reason = 'a\n{"event":"forged"}\r\x1b[31m\x7f'
            async with stage.client() as client:
                await client.close(4000, reason)
            record = await stage.until_told("ended")
            await stage.until_told("closed")
            assert record["reason"] == reason
            assert all(0x20 <= ord(character) < 0x7F for line in stage.journal.after(0) for character in line.text)

    run(story())


def test_the_token_of_the_scripts_address_is_nowhere(run: Run) -> None:
    async def story() -> None:
        async with staged(client_token=CANARY) as stage:
            body = {"instance": "i", "reports": [{"n": 1, "ms": 1, "what": "state", "state": "connected"}]}
            for token, status in ((CANARY, 204), (f"{CANARY}-", 404)):
                answer = await stage.send("POST", f"/client/{token}/reports", json.dumps(body), {})
                assert answer.status == status
                assert CANARY not in json.dumps(answer.body)
            assert (await stage.ask("GET", f"/client/{CANARY}/chaosproxy.js")).status == 200
            seen = await everything(stage)
        assert "client_state" in seen
        assert CANARY not in seen

    run(story())


def test_what_a_client_reports_can_not_forge_a_line(run: Run) -> None:
    async def story() -> None:
        async with staged(client_token=CANARY) as stage:
            name = 'a\n{"event":"forged"}\r\x1b[31m\x7f'
            report = {"n": 1, "ms": 1, "what": "state", "state": name, "previous": name, "socket_id": name}
            body = {"client": name, "instance": name, "reports": [report, report | {"n": 2, "detail": name}]}
            assert (await stage.send("POST", f"/client/{CANARY}/reports", json.dumps(body), {})).status == 204
            assert [record["state"] for record in stage.told("client_state")] == [name, name]
            assert all(0x20 <= ord(character) < 0x7F for line in stage.journal.after(0) for character in line.text)
            assert "forged" not in (await stage.ask("GET", "/metrics")).body

    run(story())
