"""The server's HTTP side: what back ends call (signed), and auth endpoints so that pages need no back end at all."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic_ns
from typing import NamedTuple

from aiohttp import web

from chaosproxy.demo.actions import Action
from chaosproxy.demo.auth import App, authorise, authorise_user, is_signed
from chaosproxy.demo.channels import is_guarded, is_presence
from chaosproxy.demo.frames import Json, decode, encode, size_bytes
from chaosproxy.demo.hub import Hub
from chaosproxy.demo.limits import EVENT_BYTES_MAX, EVENT_NAME_LENGTH_MAX

BATCH_MAX = 10
CHANNELS_AT_ONCE_MAX = 100
_SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "*",
}


class Publication(NamedTuple):
    """An event a back end wants sent."""

    event: str
    channels: tuple[str, ...]
    data: Json
    but: str | None  # the socket id of the connection that caused it, which need not hear of it


class Api:
    def __init__(self, hub: Hub, default_app: App, perform: Callable[[Iterable[Action]], None]) -> None:
        self._hub = hub
        self._default_app = default_app
        self._perform = perform

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.post("/apps/{app}/events", self._signed(self._publish)),
            web.post("/apps/{app}/batch_events", self._signed(self._publish_batch)),
            web.get("/apps/{app}/channels", self._signed(self._channels)),
            web.get("/apps/{app}/channels/{channel}/users", self._signed(self._users)),
            web.post("/apps/{app}/users/{user}/terminate_connections", self._signed(self._terminate)),
            web.post("/pusher/auth", self._authorise),
            web.options("/pusher/auth", _preflight),
            web.post("/pusher/user-auth", self._authorise_user),
            web.options("/pusher/user-auth", _preflight),
        ]

    def _signed(
        self, handle: Callable[[App, web.Request], Awaitable[Json]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Let only requests through that carry the signature of the app in their path."""

        async def checked(request: web.Request) -> web.Response:
            app = self._hub.app_with_id(request.match_info["app"])
            if app is None:
                raise _refusal(404, "There is no such app.")
            body = await request.read()
            if not is_signed(app, request.method, request.rel_url.raw_path, request.query, body):
                raise _refusal(401, "The request is not signed by this app.")
            return _json(await handle(app, request))

        return checked

    async def _publish(self, app: App, request: web.Request) -> Json:
        self._send(app, [_read_publication(await _body(request))])
        return {"ok": True}

    async def _publish_batch(self, app: App, request: web.Request) -> Json:
        batch = (await _body(request)).get("batch")
        if not isinstance(batch, list) or len(batch) > BATCH_MAX:
            raise _refusal(400, f"A batch is a list of at most {BATCH_MAX} events.")
        self._send(app, [_read_publication(item) for item in batch])
        return {"ok": True}

    def _send(self, app: App, publications: list[Publication]) -> None:
        for event, channels, data, but in publications:
            for channel in channels:
                self._perform(self._hub.publish(app, channel, event, data, monotonic_ns(), but))

    async def _channels(self, app: App, request: web.Request) -> Json:
        sizes = self._hub.channels(app).sizes()
        return {"channels": {name: {"subscription_count": size, "occupied": True} for name, size in sizes.items()}}

    async def _users(self, app: App, request: web.Request) -> Json:
        channel = request.match_info["channel"]
        if not is_presence(channel):
            raise _refusal(400, "Only presence channels have users.")
        return {"users": [{"id": user_id} for user_id in self._hub.channels(app).members(channel)]}

    async def _terminate(self, app: App, request: web.Request) -> Json:
        self._perform(self._hub.terminate(app, request.match_info["user"], monotonic_ns()))
        return {"ok": True}

    async def _authorise(self, request: web.Request) -> web.Response:
        """Sign any subscription asked for; `app_key` chooses the app, `user_id` the user of a presence channel."""
        socket_id, channel, user_id, key = await _fields(request, "socket_id", "channel_name", "user_id", "app_key")
        app = self._app(key)
        if app is None or not _SOCKET_ID.fullmatch(socket_id) or not is_guarded(channel):
            raise _refusal(403, "Only a socket_id and a private or presence channel_name can be signed for.")
        return _json(authorise(app, socket_id, channel, user_id))

    async def _authorise_user(self, request: web.Request) -> web.Response:
        """Sign anybody in; `app_key` chooses the app, `user_id` who it is."""
        socket_id, user_id, key = await _fields(request, "socket_id", "user_id", "app_key")
        app = self._app(key)
        if app is None or not _SOCKET_ID.fullmatch(socket_id):
            raise _refusal(403, "Only a socket_id can be signed in.")
        return _json(authorise_user(app, socket_id, user_id))

    def _app(self, key: str) -> App | None:
        return self._hub.app_with_key(key) if key else self._default_app


async def allow_any_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of any origin read what the HTTP side answers; a signal for `on_response_prepare`."""
    if not isinstance(response, web.WebSocketResponse):
        response.headers.update(_CORS)


async def _preflight(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def _fields(request: web.Request, *names: str) -> list[str]:
    """Read a form or a JSON object; what is missing or no text is empty."""
    fields = await (_body(request) if request.content_type == "application/json" else _form(request))
    return [value if isinstance(value := fields.get(name), str) else "" for name in names]


async def _body(request: web.Request) -> Mapping[str, Json]:
    try:
        value = decode(await request.read())
    except ValueError as problem:
        raise _refusal(400, f"The body is not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise _refusal(400, "The body is not a JSON object.")
    return value


async def _form(request: web.Request) -> Mapping[str, Json]:
    try:
        fields = await request.post()
    except ValueError as problem:  # a multipart body without a boundary, for example
        raise _refusal(400, f"The body is not a form: {problem}") from None
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _read_publication(value: Json) -> Publication:
    if not isinstance(value, dict):
        raise _refusal(400, "An event is a JSON object.")
    event, data, but = value.get("name"), value.get("data"), value.get("socket_id")
    channels = value.get("channels") or [value.get("channel")]
    if not isinstance(event, str) or not event or data is None:
        raise _refusal(400, "An event needs a name and data.")
    if not isinstance(channels, list) or not all(isinstance(channel, str) and channel for channel in channels):
        raise _refusal(400, "An event needs a channel, or a list of channels.")
    if len(channels) > CHANNELS_AT_ONCE_MAX:
        raise _refusal(400, f"An event goes to at most {CHANNELS_AT_ONCE_MAX} channels at once.")
    if len(event) > EVENT_NAME_LENGTH_MAX:
        raise _refusal(400, f"An event's name has at most {EVENT_NAME_LENGTH_MAX} characters.")
    if size_bytes(data) > EVENT_BYTES_MAX:
        raise _refusal(413, f"An event's data has at most {EVENT_BYTES_MAX} bytes.")
    return Publication(event, tuple(channels), data, but if isinstance(but, str) else None)


def _json(value: Json) -> web.Response:
    return web.Response(text=encode(value), content_type="application/json")


def _refusal(status: int, problem: str) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPClientError]] = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
    }
    body = encode({"error": problem, "code": status})
    if status == 413:
        return web.HTTPRequestEntityTooLarge(0, 0, text=body, content_type="application/json")
    return kinds[status](text=body, content_type="application/json")
