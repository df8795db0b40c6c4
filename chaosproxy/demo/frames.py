"""What the server says: each frame of the Pusher protocol as text, shaped as soketi shapes it.

Two habits of the protocol matter to clients: `data` is a JSON *string* in what tells them something, but an *object* in
`pusher:error`, `pusher:subscription_error`, `pusher:signin_success` and `pusher:pong`; and there is no space after a
separator.
"""

import json
import math
from collections.abc import Mapping, Sequence

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None

NESTING_MAX = 64  # deeper JSON is refused, so that no frame built around it can exhaust the interpreter's stack


def encode(value: Json) -> str:
    """Write JSON as a browser would: compact, not escaped, lone surrogates excepted."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def decode(text: str | bytes) -> Json:
    """Read JSON. Raises ValueError for what could not be written again as well: bad UTF-8, NaN, deep nesting."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value: Json = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested deeper than {NESTING_MAX} levels") from None
    if not _is_shallow(value):
        raise ValueError(f"nested deeper than {NESTING_MAX} levels")
    return value


def size_bytes(data: Json) -> int:
    """Measure an event's data as soketi does: a string by itself, anything else as JSON."""
    return len((data if isinstance(data, str) else encode(data)).encode("utf-8", "backslashreplace"))


def connection_established(socket_id: str, activity_timeout: int) -> str:
    data = encode({"socket_id": socket_id, "activity_timeout": activity_timeout})
    return encode({"event": "pusher:connection_established", "data": data})


def pong() -> str:
    return encode({"event": "pusher:pong", "data": {}})


def error(code: int, message: str, channel: str | None = None) -> str:
    place: dict[str, Json] = {} if channel is None else {"channel": channel}
    return encode({"event": "pusher:error", **place, "data": {"code": code, "message": message}})


def signin_success(auth: str, user_data: str) -> str:
    return encode({"event": "pusher:signin_success", "data": {"auth": auth, "user_data": user_data}})


def subscription_succeeded(channel: str) -> str:
    return encode({"event": "pusher_internal:subscription_succeeded", "channel": channel})


def presence_succeeded(channel: str, members: Mapping[str | int, Json]) -> str:
    infos = {str(user_id): info for user_id, info in members.items() if info is not None}
    data = encode({"presence": {"ids": list(members), "hash": infos, "count": len(members)}})
    return encode({"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": data})


def subscription_error(channel: str, kind: str, problem: str, status: int) -> str:
    data: dict[str, Json] = {"type": kind, "error": problem, "status": status}
    return encode({"event": "pusher:subscription_error", "channel": channel, "data": data})


def member_added(channel: str, user_id: str | int, user_info: Json) -> str:
    info: dict[str, Json] = {} if user_info is None else {"user_info": user_info}  # as soketi: nothing known, no field
    data = encode({"user_id": user_id, **info})
    return encode({"event": "pusher_internal:member_added", "channel": channel, "data": data})


def member_removed(channel: str, user_id: str | int) -> str:
    data = encode({"user_id": user_id})
    return encode({"event": "pusher_internal:member_removed", "channel": channel, "data": data})


def channel_event(event: str, channel: str, data: Json, user_id: str | int | None = None) -> str:
    """Shape an event for subscribers; `user_id` is who sent a client event on a presence channel."""
    sender: dict[str, Json] = {} if user_id is None else {"user_id": user_id}
    return encode({"event": event, "channel": channel, "data": data, **sender})


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float | None:
    number = float(text)  # 1e999 is valid JSON, but an infinity is not; null is what browsers write for it
    return number if math.isfinite(number) else None


def _is_shallow(value: Json) -> bool:
    level: list[Json] = [value]
    for _ in range(NESTING_MAX):
        level = [child for item in level for child in _children(item)]
        if not level:
            return True
    return False


def _children(value: Json) -> Sequence[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
