"""Server SDKs, for Python and Node, through the proxy's HTTP side, beside clients that lose their connection."""

import json
from pathlib import Path

import pytest

from tests.interop.backends import BACKENDS, node_backend
from tests.interop.processes import node_script
from tests.interop.proxy import Proxy
from tests.interop.pusher_client import SHORT_TIMERS, PusherClient
from tests.interop.soketi import SDK_APP, Soketi


@pytest.mark.parametrize("kind", BACKENDS)
def test_channels_are_signed_anew_and_the_present_socket_id_is_excluded(
    kind: str, soketi: Soketi, tmp_path: Path
) -> None:
    room, secret = f"presence-{kind}", f"private-{kind}"
    with (
        Proxy(tmp_path, soketi.url, profile=Path("brief-interruption")) as proxy,
        BACKENDS[kind](proxy.port) as backend,
    ):
        authorization = {"channelAuthorization": {"endpoint": backend.auth_url, "transport": "ajax"}}
        with (
            PusherClient(
                proxy.port, app=SDK_APP, channels=(secret, room), options={**SHORT_TIMERS, **authorization}
            ) as client,
            PusherClient(soketi.port, app=SDK_APP, channels=(secret,)) as other,
        ):
            first = client.wait_for("state", current="connected")
            lost = client.wait_for("state", current="connecting", after=first, timeout_s=20)
            back = client.wait_for("state", current="connected", after=lost)
            for channel in (secret, room):
                assert client.wait_for("subscribed", channel=channel, after=back)["socket_id"] == back["socket_id"]
            other.wait_for("subscribed", channel=secret)

            backend.trigger(secret, "own", {"n": 1}, but=back["socket_id"])
            backend.trigger(secret, "all", {"n": 2})

            assert client.wait_for("message", channel=secret, event="all")["data"] == {"n": 2}
            assert other.wait_for("message", channel=secret, event="all")["data"] == {"n": 2}
            own = [event for event in client.events if event.get("event") == "own"]
            assert own == [] and other.wait_for("message", channel=secret, event="own")["data"] == {"n": 1}
        statuses = [record["status"] for record in proxy.journal() if record.get("event") == "responded"]
        assert statuses == [200, 200]


def test_laravel_echo_listens_again_after_an_interruption(soketi: Soketi, tmp_path: Path) -> None:
    with (
        Proxy(tmp_path, soketi.url, profile=Path("brief-interruption")) as proxy,
        node_backend(proxy.port) as backend,
    ):
        settings = {
            "host": "127.0.0.1",
            "port": proxy.port,
            "key": SDK_APP.key,
            "auth": backend.auth_url,
            "options": SHORT_TIMERS,
        }
        with node_script("echo_client.mjs", settings) as lines:
            told = map(json.loads, lines)
            seen = [next(told)]
            while [each["kind"] for each in seen].count("subscribed") < 2:
                seen.append(next(told))
            backend.trigger("private-orders", "shipped", {"order": 7})
            while seen[-1]["kind"] != "message":
                seen.append(next(told))
        assert [each["current"] for each in seen if each["kind"] == "state"] == ["connected", "connecting", "connected"]
        first, second = [each["socket_id"] for each in seen if each["kind"] == "subscribed"]
        assert first != second
        assert seen[-1]["data"] == {"order": 7}
