"""As much of RFC 6455 as both ends need: the opening handshake, masked frames one way, their echo the other way."""

import base64
import hashlib
import os
import random
import re

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets without its C extension
    from websockets.utils import apply_mask

HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 16_384
SWITCHING = b"HTTP/1.1 101 "

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_BINARY = 0x82  # FIN and opcode 2, section 5.2
_MASKED = 0x80
_KEY = re.compile(rb"^sec-websocket-key:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


def request(port: int) -> bytes:
    """Return the head of an opening handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /bench HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def response(head: bytes) -> bytes:
    """Return the answer to a request head, whose fields a proxy may have put in another case and order."""
    found = _KEY.search(head)
    if not found:
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    accept = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return SWITCHING + b"Switching Protocols\r\n" + fields + accept + HEAD_END


def frame(payload: bytes, mask_key: bytes = b"") -> bytes:
    """Build one message of one binary frame, masked if there is a key of 4 bytes."""
    masked = _MASKED if mask_key else 0
    size = len(payload)
    if size < 126:
        head = bytes((_BINARY, masked | size))
    elif size < 65_536:
        head = bytes((_BINARY, masked | 126)) + size.to_bytes(2)
    else:
        head = bytes((_BINARY, masked | 127)) + size.to_bytes(8)
    return head + mask_key + (apply_mask(payload, mask_key) if mask_key else payload)


def echo(data: bytes) -> tuple[bytes, bytes]:
    """Answer every whole masked frame in `data` with the same frame unmasked; return the answers and what is left over.

    Each message comes back as its own message, whatever its opcode: the load sends no control frames.
    """
    answers = []
    at, end = 0, len(data)
    while end - at >= 6:  # the shortest masked head
        length = data[at + 1] & 0x7F
        payload_at = at + 6
        if length >= 126:
            payload_at += 2 if length == 126 else 8
            if payload_at > end:
                break
            length = int.from_bytes(data[at + 2 : payload_at - 4])
        if payload_at + length > end:
            break
        answers.append(bytes((data[at], data[at + 1] & 0x7F)) + data[at + 2 : payload_at - 4])
        answers.append(apply_mask(data[payload_at : payload_at + length], data[payload_at - 4 : payload_at]))
        at = payload_at + length
    return b"".join(answers), data[at:]


def tapes(payload_bytes: int, messages: int) -> tuple[list[bytes], list[bytes]]:
    """Return so many different messages as a client sends them, and as an echo server returns them; always the same."""
    dice = random.Random(0)
    payloads = [dice.randbytes(payload_bytes) for _ in range(messages)]
    return [frame(payload, dice.randbytes(4)) for payload in payloads], [frame(payload) for payload in payloads]
