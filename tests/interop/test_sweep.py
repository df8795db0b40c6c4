"""The verb sweep on real clients: what it tells of them must be what is known of them from elsewhere.

Of pusher-js 8.6 that is its source (protocol.ts: getCloseAction) and docs/pusher.md; of Python's websockets, its
documentation: the iterator of `connect` comes back at once from a connection that was open, and else after a delay.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.interop.demo_server import Demo
from tests.interop.processes import NODE_FOLDER

FAYE = ("node", str(NODE_FOLDER / "plain_client.mjs"))
UNDICI = ("node", "--experimental-websocket", "--no-warnings", FAYE[1])
WEBSOCKETS = (sys.executable, str(Path(__file__).parent / "websockets_client.py"))
PAUSE_MS = range(990, 2000)  # of 1 s, on a busy machine; Node's timers may be a millisecond early
SLOT_MS = range(14_500, 16_000)  # of 15 s, from the start of the attempt that failed
ON_THE_WIRE = {*range(1000, 1004), *range(1007, 1012), *range(3000, 5000)}  # codes that faye-websocket takes


def sweep(upstream: str, command: tuple[str, ...], *options: str) -> list[dict[str, Any]]:
    """Sweep over a client; the cases as JSON has them."""
    ran = subprocess.run(
        [sys.executable, "-m", "chaosproxy", "sweep", "--upstream", upstream, *options, "--json", "-", "--", *command],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    cases: list[dict[str, Any]] = json.loads(ran.stdout)["cases"]
    return cases


def of_pusher_js(case: dict[str, Any]) -> tuple[str, bool]:
    """What pusher-js does: the class, and whether it is back soon."""
    code = case["code"]
    if case["ending"] == "pusher_error":
        code = min(code, 4999)  # in a message, no library judges it
    elif code is None or code not in ON_THE_WIRE:
        code = 1006
    match code // 100:
        case 40 if code == 4000:
            return "at_once", False  # but over TLS, which nobody speaks here
        case 40:
            return "gives_up", False
        case 41:
            return "pauses", True
        case 42:
            return "at_once", True
        case hundreds if hundreds > 42:
            return "gives_up", False
        case _:
            in_the_answers_place = case["stage"] == "handshake" and case["ending"] in ("fin", "reset")
            return ("gives_up", False) if in_the_answers_place else ("pauses", True)


def answer_of_faye(case: dict[str, Any]) -> tuple[str, int | None]:
    """How faye-websocket ends its side, and pusher-js by it."""
    match case["ending"]:
        case "fin":
            return "fin", None
        case "reset":
            return "none", None
        case "pusher_error":
            return "code", 1000
        case _ if case["code"] is None:
            return "code", 1000
        case _:
            return "code", case["code"] if case["code"] in ON_THE_WIRE else 1002


def agree(cases: list[dict[str, Any]]) -> None:
    assert [(name(case), case["reaction"], case["is_back"]) for case in cases] == [
        (name(case), *of_pusher_js(case)) for case in cases
    ]
    pauses = {name(case): round(case["attempts_ms"][0]) for case in cases if case["reaction"] == "pauses"}
    assert {each: ms for each, ms in pauses.items() if ms not in PAUSE_MS} == {}


def name(case: dict[str, Any]) -> str:
    return f"{case['stage']} {case['ending']} {case['code']}"


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    with Demo() as server:
        yield f"ws://127.0.0.1:{server.port}"


def echo(link: ServerConnection) -> None:
    for message in link:
        link.send(message)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serve(echo, "127.0.0.1", 0) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        serving.join()


class TestPusherJs:
    def test_it_goes_by_the_code(self, demo: str) -> None:
        chosen = ("--only", "1012,4000,4001,4100,4200", "--watch", "1800ms", "--jobs", "8")
        cases = sweep(demo, FAYE, "--protocol", "pusher", *chosen)
        assert len(cases) == 5 + 4 + 5
        agree(cases)
        assert [(case["answer"], case["answer_code"]) for case in cases] == [answer_of_faye(case) for case in cases]

    @pytest.mark.slow
    @pytest.mark.parametrize("command", [FAYE, UNDICI], ids=["faye", "undici"])
    def test_it_does_so_with_every_code(self, demo: str, command: tuple[str, ...]) -> None:
        cases = sweep(demo, command, "--protocol", "pusher")
        assert len(cases) > 100
        agree(cases)
        if command is FAYE:
            assert [(case["answer"], case["answer_code"]) for case in cases] == [answer_of_faye(case) for case in cases]

    @pytest.mark.slow
    def test_where_no_answer_came_at_all_it_waits_for_its_next_slot(self, demo: str) -> None:
        """Six seconds are too short to see it: it looks like giving up."""
        cases = sweep(demo, FAYE, "--protocol", "pusher", "--only", "fin,rst,handshake", "--watch", "20s")
        assert [(case["reaction"], case["is_back"]) for case in cases] == [("pauses", True)] * 2
        assert all(round(case["attempts_ms"][0]) in SLOT_MS for case in cases)


class TestWebsockets:
    """Its delays are drawn by chance; the variable of the same name makes them none."""

    @pytest.mark.slow
    def test_it_comes_back_whatever_the_code(self, upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "0")
        cases = sweep(upstream, WEBSOCKETS, "--jobs", "4")
        assert len(cases) > 80
        assert [(name(case), case["reaction"], case["is_back"]) for case in cases] == [
            (name(case), "at_once", True) for case in cases
        ]

    def test_only_what_fails_on_the_way_up_is_worth_a_delay(
        self, upstream: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The delay is drawn from none to so many seconds, and the client draws the same each time."""
        monkeypatch.setenv("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "600")
        cases = sweep(upstream, WEBSOCKETS, "--only", "rst,1008", "--watch", "1s")
        assert {name(case): case["reaction"] for case in cases} == {
            "handshake reset None": "gives_up",
            "handshake close 1008": "at_once",
            "mid-connection reset None": "at_once",
            "mid-connection close 1008": "at_once",
        }
