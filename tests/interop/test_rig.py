"""The real client and the real server with nothing between them: how they behave where no proxy is to blame."""

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.processes import free_ports
from tests.interop.pusher_client import CHROMIUM, RUNTIMES, PusherClient, Runtime
from tests.interop.soketi import APP, DISABLED_APP, ONE_CONNECTION_APP, App, Soketi

ROOT = Path(__file__).parents[2]
in_each_runtime = pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)


@in_each_runtime
def test_a_client_connects_and_gets_a_socket_id(soketi: Soketi, runtime: Runtime) -> None:
    with PusherClient(soketi.port, runtime=runtime) as client:
        connected = client.wait_for("state", current="connected")
        assert client.states() == ["connecting", "connected"]
        first, second = connected["socket_id"].split(".")
        assert first.isdigit()
        assert second.isdigit()
        assert 0 < connected["at"] < client.now()


@pytest.mark.parametrize("channel", ["public", "private-signed", "presence-signed"])
def test_a_client_joins_a_channel(soketi: Soketi, channel: str) -> None:
    with PusherClient(soketi.port, channels=[channel]) as client:
        subscribed = client.wait_for("subscribed", channel=channel)
        assert subscribed["socket_id"] == client.wait_for("state", current="connected")["socket_id"]


def test_a_wrongly_signed_channel_is_refused(soketi: Soketi) -> None:
    impostor = APP._replace(secret="guessed")
    with PusherClient(soketi.port, app=impostor, channels=["private-refused"]) as client:
        refused = client.wait_for("subscription_error")
        assert (refused["type"], refused["status"]) == ("AuthError", 401)


@in_each_runtime
def test_a_client_event_reaches_the_others_and_not_its_sender(soketi: Soketi, runtime: Runtime) -> None:
    channel = f"private-talk-{runtime.name}"
    with (
        PusherClient(soketi.port, channels=[channel], runtime=runtime) as sender,
        PusherClient(soketi.port, channels=[channel]) as other,
    ):
        sender.wait_for("subscribed")
        other.wait_for("subscribed")
        sender.trigger(channel, "client-hello", {"word": "öß"})
        assert sender.wait_for("triggered")["sent"] is True
        assert other.wait_for("message", event="client-hello")["data"] == {"word": "öß"}
        other.trigger(channel, "client-answer", None)
        sender.wait_for("message", event="client-answer")
        assert [event["event"] for event in sender.events if event["kind"] == "message"] == ["client-answer"]


def test_an_event_of_the_backend_reaches_a_client(soketi: Soketi) -> None:
    with PusherClient(soketi.port) as client:
        client.subscribe("news")
        client.wait_for("subscribed", channel="news")
        soketi.trigger("news", "headline", {"number": 1})
        assert client.wait_for("message", channel="news", event="headline")["data"] == {"number": 1}


def test_members_see_each_other_come_and_go(soketi: Soketi) -> None:
    channel = "presence-room"
    with PusherClient(soketi.port, channels=[channel], user_id="ann") as ann:
        assert ann.wait_for("subscribed")["members"] == ["ann"]
        with PusherClient(soketi.port, channels=[channel], user_id="bob") as bob:
            assert sorted(bob.wait_for("subscribed")["members"]) == ["ann", "bob"]
            assert ann.wait_for("message", event="pusher:member_added")["data"]["id"] == "bob"
            bob.kill()
        assert ann.wait_for("message", event="pusher:member_removed")["data"]["id"] == "bob"


@in_each_runtime
def test_a_client_disconnects_and_connects_again_under_a_new_socket_id(soketi: Soketi, runtime: Runtime) -> None:
    with PusherClient(soketi.port, channels=["again"], runtime=runtime) as client:
        before = client.wait_for("subscribed")
        client.disconnect()
        disconnected = client.wait_for("state", current="disconnected")
        client.connect()
        after = client.wait_for("subscribed", after=disconnected)
        assert client.states() == ["connecting", "connected", "disconnected", "connecting", "connected"]
        assert after["socket_id"] != before["socket_id"]


@pytest.mark.parametrize(
    ("app", "code"), [(App("none", "no-such-key", ""), 4001), (DISABLED_APP, 4003)], ids=["unknown", "disabled"]
)
def test_an_application_that_may_not_connect_is_refused_for_good(soketi: Soketi, app: App, code: int) -> None:
    with PusherClient(soketi.port, app=app) as client:
        client.wait_for("error", code=code, path="error.data.code")
        client.wait_for("state", current="disconnected")
        assert client.states() == ["connecting", "disconnected"]


def test_a_connection_over_the_quota_is_told_to_come_back_in_a_second(soketi: Soketi) -> None:
    with PusherClient(soketi.port, app=ONE_CONNECTION_APP) as first:
        first.wait_for("state", current="connected")
        with PusherClient(soketi.port, app=ONE_CONNECTION_APP) as second:
            second.wait_for("error", code=4100, path="error.data.code")
            assert second.wait_for("connecting_in")["seconds"] == 1
            first.disconnect()
            second.wait_for("state", current="connected")
            assert second.states() == ["connecting", "connected"]


def test_a_client_outlives_the_end_of_its_server(tmp_path: Path) -> None:
    with Soketi(tmp_path) as server, PusherClient(server.port, options={"unavailableTimeout": 1000}) as client:
        client.wait_for("state", current="connected")
        server.signal_stop()
        client.wait_for("error", code=4200)
        client.wait_for("state", current="unavailable")
        assert client.states() == ["connecting", "connected", "connecting", "unavailable"]
        server.wait_stopped()


def test_a_client_waits_a_second_after_its_server_crashed(tmp_path: Path) -> None:
    with Soketi(tmp_path) as server, PusherClient(server.port) as client:
        connected = client.wait_for("state", current="connected")
        crashed_at = client.now()
        server.kill()
        assert client.wait_for("error", path="data.code")["code"] == 1006
        connecting = client.wait_for("state", after=connected, current="connecting")
        assert 990 <= connecting["at"] - crashed_at < 3000


@pytest.mark.slow
def test_a_client_finds_its_server_when_it_is_back(tmp_path: Path) -> None:
    with Soketi(tmp_path) as server, PusherClient(server.port, options={"unavailableTimeout": 1000}) as client:
        client.wait_for("state", current="connected")
        server.kill()
        unavailable = client.wait_for("state", current="unavailable")
        server.start()
        client.wait_for("state", after=unavailable, current="connected", timeout_s=60)  # it dials after 15, then 30 s
        assert client.states() == ["connecting", "connected", "connecting", "unavailable", "connected"]


def test_two_servers_live_side_by_side_and_share_nothing(tmp_path: Path, soketi: Soketi) -> None:
    with Soketi(tmp_path) as server, PusherClient(server.port, channels=["shared"]) as client:
        client.wait_for("subscribed")
        soketi.trigger("shared", "from-the-other", None)
        server.trigger("shared", "from-its-own", None)
        assert client.wait_for("message")["event"] == "from-its-own"


def test_what_a_client_told_so_far_is_in_the_failure_when_an_event_does_not_come(soketi: Soketi) -> None:
    with PusherClient(soketi.port) as client:
        connected = client.wait_for("state", current="connected")
        with pytest.raises(
            AssertionError, match=r"no event state .*not seen in 0\.1 s(?s:.*)" + connected["socket_id"]
        ):
            client.wait_for("state", after=connected, timeout_s=0.1)


@in_each_runtime
def test_waiting_fails_at_once_when_the_client_is_gone(soketi: Soketi, runtime: Runtime) -> None:
    with PusherClient(soketi.port, runtime=runtime) as client:
        client.kill()
        with pytest.raises(AssertionError, match="the driver has ended"):
            client.wait_for("never", timeout_s=100)


def test_a_server_that_cannot_start_fails_with_its_log(tmp_path: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        server = Soketi(tmp_path, port=squatter.getsockname()[1])
        with pytest.raises(AssertionError, match="EADDRINUSE"):
            server.start()


def test_a_machine_without_a_browser_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(AssertionError, match="run `make interop` as root"):
        PusherClient(1, runtime=CHROMIUM)


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(50))) == 50


def test_of_processes_at_once_each_has_ports_of_its_own() -> None:
    code = "from tests.interop.processes import free_ports; print(*free_ports(600), flush=True); input()"
    with contextlib.ExitStack() as stack:
        others = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        given = [str(port) for port in free_ports(600)]
        for each in others:
            assert each.stdout is not None
            given += each.stdout.readline().split()
        for each in others:
            each.communicate("\n")
    assert len(set(given)) == len(given) == 3 * 600
