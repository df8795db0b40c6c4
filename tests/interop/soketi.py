"""A real soketi, which is a Pusher server, and the applications registered with it."""

import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.interop.processes import NODE_FOLDER, ServerProcess, free_ports


class App(NamedTuple):
    """An application registered with every soketi of ours."""

    id: str
    key: str
    secret: str
    connections_max: int = -1
    enabled: bool = True


APP = App("app-id", "app-key", "app-secret")
ONE_CONNECTION_APP = App("app-one", "key-one", "secret-one", connections_max=1)
SDK_APP = App("1001", "key-sdk", "secret-sdk")  # PyPI's pusher wants an id of digits
DISABLED_APP = App("app-off", "key-off", "secret-off", enabled=False)


class Soketi(ServerProcess):
    """Soketi on a free port unless given one, reachable only from this machine; started again, it has the same port.

    Told to stop, it closes every connection with 4200 and answers new ones with 4200 for `shutdown_grace_ms` (its own
    default is 3000); pusher-js comes back at once after a 4200, some hundred times a second, so keep it short.
    """

    name = "soketi"

    def __init__(self, directory: Path, *, port: int | None = None, shutdown_grace_ms: int = 100) -> None:
        super().__init__(directory)
        free_port, metrics_port, cluster_port = free_ports(3)
        self.port = free_port if port is None else port
        self.url = f"ws://127.0.0.1:{self.port}"
        self.ready_url = f"http://127.0.0.1:{self.port}/ready"
        self._config_path = directory / "soketi.json"
        config = {
            "host": "127.0.0.1",
            "port": self.port,
            "metrics.host": "127.0.0.1",
            "metrics.port": metrics_port,  # listened to even when metrics are off
            "cluster.hostname": "127.0.0.1",
            "cluster.port": cluster_port,
            "cluster.unicast": "127.0.0.1",
            "cluster.broadcast": None,
            "shutdownGracePeriod": shutdown_grace_ms,
            "appManager.array.apps": [describe(app) for app in (APP, SDK_APP, ONE_CONNECTION_APP, DISABLED_APP)],
        }
        self._config_path.write_text(json.dumps(config, indent=1))

    def command(self) -> Sequence[str | Path]:
        server = NODE_FOLDER / "node_modules/@soketi/soketi/bin/server.js"
        return ["node", server, "start", f"--config={self._config_path}"]

    def trigger(self, channel: str, event: str, data: object, *, app: App = APP) -> None:
        """Publish an event as an application's backend does."""
        trigger(self.port, channel, event, data, app=app)


def trigger(port: int, channel: str, event: str, data: object, *, app: App = APP, but: str | None = None) -> None:
    """Publish an event over a Pusher server's HTTP API, or a proxy before it; `but`, a socket id, does not get it."""
    body = json.dumps({"name": event, "channels": [channel], "data": json.dumps(data), "socket_id": but})
    path = f"/apps/{app.id}/events"
    query = (
        f"auth_key={app.key}&auth_timestamp={int(time.time())}&auth_version=1.0"
        f"&body_md5={hashlib.md5(body.encode()).hexdigest()}"
    )
    signature = hmac.new(app.secret.encode(), f"POST\n{path}\n{query}".encode(), hashlib.sha256).hexdigest()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        target = f"{path}?{query}&auth_signature={signature}"
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, f"{answer.status}: {answer.read().decode()}"


def describe(app: App) -> dict[str, object]:
    """Return the application as soketi's configuration wants it."""
    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        "maxConnections": app.connections_max,
        "enabled": app.enabled,
        "enableClientMessages": True,
        "webhooks": [],
    }
