"""Flaws to put into an upstream's 101: a client that checks the handshake (RFC 6455, section 4.1) must refuse each.

Every byte that is not part of the flaw stays as it came.
"""

from enum import StrEnum

from .http import Request, accept_for

_SUBPROTOCOL, _EXTENSIONS = b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"


class Flaw(StrEnum):
    """What is wrong with the 101."""

    ACCEPT = "accept"
    SUBPROTOCOL = "subprotocol"
    EXTENSION = "extension"
    NO_UPGRADE = "no_upgrade"
    NO_CONNECTION = "no_connection"
    STATUS = "status"


def is_offered(request: Request, flaw: Flaw, named: bytes) -> bool:
    """Whether the client has offered what the flaw would have the server choose: then it would be none."""
    match flaw:
        case Flaw.SUBPROTOCOL:
            offers = [part.strip() for value in request.values(_SUBPROTOCOL.lower()) for part in value.split(b",")]
            return named in offers
        case Flaw.EXTENSION:
            names = [offer.partition(b";")[0].strip() for offer in request.tokens(_EXTENSIONS.lower())]
            return named.partition(b";")[0].strip().lower() in names
        case _:
            return False


def spoil(head: bytes, flaw: Flaw, named: bytes) -> bytes:
    """Put a flaw into the complete head of a 101; `named` is the subprotocol or the extension that it chooses."""
    start, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match flaw:
        case Flaw.ACCEPT:
            lines = [
                _with_value(line, accept_for(_value(line))) if _names(line, b"sec-websocket-accept") else line
                for line in lines
            ]
        case Flaw.SUBPROTOCOL if any(_names(line, _SUBPROTOCOL) for line in lines):
            lines = [_with_value(line, named) if _names(line, _SUBPROTOCOL) else line for line in lines]
        case Flaw.SUBPROTOCOL:
            lines.append(_SUBPROTOCOL + b": " + named)
        case Flaw.EXTENSION:
            # One more line, which counts as one more member of the list (RFC 6455, section 9.1).
            lines.append(_EXTENSIONS + b": " + named)
        case Flaw.NO_UPGRADE:
            lines = [line for line in lines if not _names(line, b"upgrade")]
        case Flaw.NO_CONNECTION:
            lines = [line for line in lines if not _names(line, b"connection")]
        case Flaw.STATUS:
            start = b"HTTP/1.1 200 OK"
    return b"\r\n".join([start, *lines, b"", b""])


def _names(line: bytes, name: bytes) -> bool:
    return line.partition(b":")[0].lower() == name.lower()


def _value(line: bytes) -> bytes:
    return line.partition(b":")[2].strip(b" \t")


def _with_value(line: bytes, value: bytes) -> bytes:
    """The line with another value and its own spelling and padding."""
    name, colon, rest = line.partition(b":")
    return name + colon + (rest.replace(_value(line), value, 1) if _value(line) else b" " + value)
