"""A back end for the server's webhooks, built on the standard library, which knows nothing of aiohttp."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, NamedTuple

PATIENCE_S = 10


class Delivery(NamedTuple):
    """One POST as it arrived."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event it tells of; there has to be exactly one."""
        content = json.loads(self.body)
        assert list(content) == ["time_ms", "events"]
        (event,) = content["events"]
        return dict(event)

    @property
    def time_ms(self) -> int:
        return int(json.loads(self.body)["time_ms"])

    def is_signed(self, secret: str) -> bool:
        signature = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return self.headers["X-Pusher-Signature"] == signature


class BackEnd:
    """Takes POSTs at `url`. While `may_answer` is not set, it keeps them waiting."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks"
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.status = 200
        self.deliveries: SimpleQueue[Delivery] = SimpleQueue()

    def next(self) -> Delivery:
        """Wait for the next POST."""
        return self.deliveries.get(timeout=PATIENCE_S)

    def next_event(self) -> dict[str, Any]:
        return self.next().event


@contextmanager
def back_end() -> Iterator[BackEnd]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.deliveries.put(Delivery(dict(self.headers.items()), body))
            told.may_answer.wait(PATIENCE_S)
            self.send_response(told.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told = BackEnd(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, name="back-end", kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield told
        finally:
            told.may_answer.set()
            server.shutdown()
            thread.join()
