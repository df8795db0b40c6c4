"""Back ends of an application: each signs channels with a server SDK, and publishes with it, over HTTP."""

import contextlib
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pusher

from tests.interop.processes import node_script
from tests.interop.soketi import SDK_APP


class Backend:
    """Where to reach one."""

    def __init__(self, port: int) -> None:
        self.auth_url = f"http://127.0.0.1:{port}/auth"
        self._trigger_url = f"http://127.0.0.1:{port}/trigger"

    def trigger(self, channel: str, event: str, data: object, but: str | None = None) -> None:
        """Have an event published; `but`, a socket id, does not get it."""
        body = json.dumps({"channel": channel, "event": event, "data": data, "socket_id": but}).encode()
        with urllib.request.urlopen(urllib.request.Request(self._trigger_url, body), timeout=10) as answer:
            assert answer.status == 200


@contextlib.contextmanager
def python_backend(api_port: int) -> Iterator[Backend]:
    """With PyPI's pusher, in a thread."""
    sdk = pusher.Pusher(SDK_APP.id, SDK_APP.key, SDK_APP.secret, ssl=False, host="127.0.0.1", port=api_port)

    def authorize(form: Mapping[str, list[str]]) -> Any:
        channel, socket_id = form["channel_name"][0], form["socket_id"][0]
        member = {"user_id": "ann", "user_info": {"name": "ann"}} if channel.startswith("presence-") else None
        return sdk.authenticate(channel, socket_id, member)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path == "/auth":
                answer = authorize(parse_qs(body))
            else:
                wish = json.loads(body)
                answer = sdk.trigger(wish["channel"], wish["event"], wish["data"], wish["socket_id"])
            payload = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="python-backend")
    thread.start()
    try:
        yield Backend(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def node_backend(api_port: int) -> Iterator[Backend]:
    """With npm's pusher, in a process."""
    with node_script("backend.mjs", {"api": api_port, "app": SDK_APP._asdict()}) as lines:
        yield Backend(int(next(lines)))


BACKENDS: Mapping[str, Callable[[int], "contextlib.AbstractContextManager[Backend]"]] = {
    "python": python_backend,
    "node": node_backend,
}
