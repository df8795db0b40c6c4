"""What a protocol reads in messages, and what it need not read."""

import json

from chaosproxy.events import SubscriptionAsked
from chaosproxy.protocols import NOTHING, Meaning
from chaosproxy.protocols.pusher import Pusher
from chaosproxy.wire.frames import Side
from chaosproxy.wire.pointer import JSON_BYTES_MAX


def test_a_message_too_large_to_be_parsed_in_time_means_nothing() -> None:
    message = json.dumps({"event": "a", "channel": "b"}).encode()

    assert Pusher().read(Side.SERVER, message.ljust(JSON_BYTES_MAX)) == Meaning("a", "b")
    assert Pusher().read(Side.SERVER, message.ljust(JSON_BYTES_MAX + 1)) == NOTHING


def test_only_a_signature_that_is_there_is_told() -> None:
    """pusher-js asks for public channels with an empty one, the same each time."""

    def auth(data: dict[str, str]) -> str:
        text = json.dumps({"event": "pusher:subscribe", "data": {"channel": "news", **data}})
        observed = Pusher().read(Side.CLIENT, text.encode()).observed
        assert isinstance(observed, SubscriptionAsked)
        return observed.auth

    assert auth({}) == auth({"auth": ""}) == ""
    assert "" != auth({"auth": "key:one"}) != auth({"auth": "key:two"})
