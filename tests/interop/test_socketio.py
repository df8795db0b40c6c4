"""socket.io through the proxy, as its users have it: long polling first, then an upgrade, or polling all along."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop.claims import await_record
from tests.interop.processes import node_script
from tests.interop.proxy import Proxy

Told = Iterator[dict[str, Any]]


@contextlib.contextmanager
def running(**settings: object) -> Iterator[Told]:
    """A server or a client; what it tells, line by line."""
    with node_script("socketio_pair.mjs", settings) as lines:
        yield map(json.loads, lines)


def until(told: Told, kind: str) -> dict[str, Any]:
    return next(event for event in told if event["kind"] == kind)


def test_it_polls_and_then_upgrades_to_a_websocket(tmp_path: Path) -> None:
    with running(serve=True) as server:
        port = until(server, "listening")["port"]
        with (
            Proxy(tmp_path, f"ws://127.0.0.1:{port}") as proxy,
            running(port=proxy.port, transports=["polling", "websocket"]) as client,
        ):
            seen: list[dict[str, Any]] = []
            while sorted(event["kind"] for event in seen) != ["answer", "answer", "connect", "open", "upgrade"]:
                seen.append(next(client))
            assert seen[0]["transport"] == "polling"
            assert {event["text"] for event in seen if event["kind"] == "answer"} == {"hello!"}
            assert [record["path"] for record in proxy.journal() if record.get("event") == "asked"] == ["/socket.io/"]


def test_where_websockets_are_blocked_it_goes_on_polling(tmp_path: Path) -> None:
    with running(serve=True) as server:
        port = until(server, "listening")["port"]
        with (
            Proxy(tmp_path, f"ws://127.0.0.1:{port}", profile=Path("websockets-blocked")) as proxy,
            running(port=proxy.port, transports=["polling", "websocket"]) as client,
        ):
            assert until(client, "open")["transport"] == "polling"
            assert until(client, "answer")["text"] == "hello!"
            assert await_record(proxy, "struck")["fault"] == "reject"


def test_polls_that_fail_are_told_and_made_up_for(tmp_path: Path) -> None:
    with running(serve=True) as server:
        port = until(server, "listening")["port"]
        profile = tmp_path / "profile.yaml"
        profile.write_text("version: 1\nrules:\n  - reject: 503\n    when: {request: http, nth: [1, 2]}\n")
        with (
            Proxy(tmp_path / "proxy", f"ws://127.0.0.1:{port}", profile=profile) as proxy,
            running(port=proxy.port, transports=["polling"]) as client,
        ):
            assert until(client, "connect_error")["message"] == "xhr poll error"
            assert until(client, "answer")["text"] == "hello!"
            statuses = [record["status"] for record in proxy.journal() if record.get("event") == "responded"]
            assert statuses[:3] == [503, 503, 200]
