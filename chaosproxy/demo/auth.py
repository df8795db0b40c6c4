"""Who may do what: apps, their secrets, and what a secret signs (a subscription, a user, a request, a webhook's body).

The signatures are Pusher's: HMAC-SHA256 in lower-case hex, over the UTF-8 text named in each function.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chaosproxy.demo.frames import encode

WEBHOOK_EVENTS = ("channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event")


class Webhook(NamedTuple):
    """An address that is told of an app's events, in a POST for each."""

    url: str
    events: tuple[str, ...] = WEBHOOK_EVENTS


@dataclass(frozen=True)
class App:
    """One tenant of the server. Clients know its key, back ends its id and secret. The defaults are soketi's."""

    id: str
    key: str
    secret: str
    enabled: bool = True
    max_connections: int | None = None  # None: no quota
    quota_code: int = 4100  # what a connection over quota is told; the handbooks promise 4004
    client_events: bool = True  # soketi: False
    client_events_per_second: int | None = None  # of one connection; None: no limit
    activity_timeout: int = 30  # seconds of silence after which clients are told to ping
    silence_timeout_s: float | None = 120.0  # 4201 for who was sent nothing for so long, whatever it says; None: never
    signin_within_s: float | None = None  # None: signing in is ignored; else 4009 for who does not do it (soketi: 30)
    grace_s: float = 0.0  # how long a user or the last subscriber may be away without anybody being told
    webhooks: tuple[Webhook, ...] = ()


DEFAULT_APP = App(id="app-id", key="app-key", secret="app-secret")


def authorise(app: App, socket_id: str, channel: str, user_id: str | None = None) -> dict[str, str]:
    """Answer as an auth endpoint does: `auth`, and for a presence channel the signed `channel_data` beside it.

    Without a `user_id`, each connection is a user of its own.
    """
    if not channel.startswith("presence-"):
        return {"auth": _channel_auth(app, socket_id, channel, None)}
    user = user_id or _own_user(socket_id)
    channel_data = encode({"user_id": user, "user_info": {"name": user}})
    return {"auth": _channel_auth(app, socket_id, channel, channel_data), "channel_data": channel_data}


def admits(app: App, socket_id: str, channel: str, channel_data: str | None, auth: str) -> bool:
    """Tell whether `auth` lets this connection into this private or presence channel."""
    return _same(auth, _channel_auth(app, socket_id, channel, channel_data))


def authorise_user(app: App, socket_id: str, user_id: str | None = None) -> dict[str, str]:
    """Answer as a user-authentication endpoint does: the signed `user_data`, and `auth`.

    Without a `user_id`, each connection is a user of its own.
    """
    user_data = encode({"id": user_id or _own_user(socket_id)})
    return {"auth": _user_auth(app, socket_id, user_data), "user_data": user_data}


def is_user(app: App, socket_id: str, user_data: str, auth: str) -> bool:
    """Tell whether `auth` lets this connection sign in with these data."""
    return _same(auth, _user_auth(app, socket_id, user_data))


def webhook_headers(app: App, body: str) -> dict[str, str]:
    """Return what tells a webhook's receiver that the body is from this app's server."""
    return {"X-Pusher-Key": app.key, "X-Pusher-Signature": _sign(app, body)}


def sign_request(
    app: App, method: str, path: str, body: bytes, timestamp_s: int, query: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the query that makes this an authentic request to the HTTP API, the given `query` included."""
    signed = {
        **(query or {}),
        "auth_key": app.key,
        "auth_timestamp": str(timestamp_s),
        "auth_version": "1.0",
        "body_md5": _md5(body),
    }
    return {**signed, "auth_signature": _request_signature(app, method, path, signed)}


def is_signed(app: App, method: str, path: str, query: Mapping[str, str], body: bytes) -> bool:
    """Tell whether the request carries this app's signature, over this very body.

    The age of `auth_timestamp` is not looked at, as soketi does not either.
    """
    signed = {name: value for name, value in query.items() if name != "auth_signature"}
    return (
        signed.get("auth_key") == app.key
        and signed.get("body_md5", _md5(b"")) == _md5(body)
        and _same(query.get("auth_signature", ""), _request_signature(app, method, path, signed))
    )


def _channel_auth(app: App, socket_id: str, channel: str, channel_data: str | None) -> str:
    parts = [socket_id, channel] if channel_data is None else [socket_id, channel, channel_data]
    return f"{app.key}:{_sign(app, ':'.join(parts))}"


def _own_user(socket_id: str) -> str:
    return f"user-{socket_id.partition('.')[0]}"


def _user_auth(app: App, socket_id: str, user_data: str) -> str:
    return f"{app.key}:{_sign(app, f'{socket_id}::user::{user_data}')}"


def _request_signature(app: App, method: str, path: str, query: Mapping[str, str]) -> str:
    ordered = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
    return _sign(app, f"{method.upper()}\n{path}\n{ordered}")


def _sign(app: App, text: str) -> str:
    return hmac.new(_bytes(app.secret), _bytes(text), hashlib.sha256).hexdigest()


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str) -> bytes:
    # JSON can smuggle in lone surrogates, which strict UTF-8 refuses to encode.
    return text.encode("utf-8", "backslashreplace")
