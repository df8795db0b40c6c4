"""What clients say: a frame from the wire becomes one of a few values that need no further checking."""

from typing import NamedTuple

from chaosproxy.demo.frames import Json, decode


class Ping(NamedTuple):
    """The client wonders whether the server is still there."""


class Subscribe(NamedTuple):
    channel: str
    auth: str
    channel_data: str | None


class Unsubscribe(NamedTuple):
    channel: str


class Signin(NamedTuple):
    """The client says which user it is; without what it needs, both are empty and no signature fits them."""

    auth: str
    user_data: str


class ClientEvent(NamedTuple):
    """An event one client sends to the others of a channel; its name starts with `client-`."""

    event: str
    channel: str
    data: Json


class Malformed(NamedTuple):
    """An event the protocol knows, but without what it needs."""

    problem: str


class Unknown(NamedTuple):
    """Not JSON, not an object, or an event the server has no use for; soketi stays silent, and so do we."""


Message = Ping | Subscribe | Unsubscribe | Signin | ClientEvent | Malformed | Unknown


def read(frame: str | bytes) -> Message:
    """Tell what a client's frame means. Never raises, whatever the bytes."""
    try:
        value = decode(frame)
    except ValueError:
        return Unknown()
    if not isinstance(value, dict) or not isinstance(event := value.get("event"), str):
        return Unknown()
    if event == "pusher:ping":
        return Ping()
    if event in ("pusher:subscribe", "pusher:unsubscribe"):
        return _read_membership(event, value.get("data"))
    if event == "pusher:signin":
        return _read_signin(value.get("data"))
    if event.startswith("client-"):
        channel = value.get("channel")
        if not isinstance(channel, str):
            return Malformed("A client event needs the name of a channel.")
        return ClientEvent(event, channel, value.get("data"))
    return Unknown()


def _read_membership(event: str, data: Json) -> Message:
    if not isinstance(data, dict) or not isinstance(channel := data.get("channel"), str):
        return Malformed(f"{event} needs data with the name of a channel.")
    if event == "pusher:unsubscribe":
        return Unsubscribe(channel)
    auth, channel_data = data.get("auth"), data.get("channel_data")
    return Subscribe(
        channel,
        auth if isinstance(auth, str) else "",
        channel_data if isinstance(channel_data, str) else None,
    )


def _read_signin(data: Json) -> Signin:
    auth, user_data = (data.get("auth"), data.get("user_data")) if isinstance(data, dict) else (None, None)
    return Signin(auth, user_data) if isinstance(auth, str) and isinstance(user_data, str) else Signin("", "")


def read_user_id(user_data: str) -> str | None:
    """Take the user's id out of what it signed in with; None when there is none."""
    try:
        value = decode(user_data)
    except ValueError:
        return None
    user_id = value.get("id") if isinstance(value, dict) else None
    return str(user_id) if isinstance(user_id, str | int) and user_id else None
