"""What a protocol reads in messages, and what it need not read."""

import json

from chaosproxy.protocols import NOTHING, Meaning
from chaosproxy.protocols.pusher import Pusher
from chaosproxy.wire.frames import Side
from chaosproxy.wire.pointer import JSON_BYTES_MAX


def test_a_message_too_large_to_be_parsed_in_time_means_nothing() -> None:
    message = json.dumps({"event": "a", "channel": "b"}).encode()

    assert Pusher().read(Side.SERVER, message.ljust(JSON_BYTES_MAX)) == Meaning("a", "b")
    assert Pusher().read(Side.SERVER, message.ljust(JSON_BYTES_MAX + 1)) == NOTHING
