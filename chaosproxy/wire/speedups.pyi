import builtins
from collections.abc import Callable
from typing import Any

class State:
    bytes: int
    frames: list[int]
    first: int
    need: int
    head: builtins.bytes
    gone: int
    open: bool
    closing: builtins.bytes
    _close_lacks: int

    def scan(self, data: builtins.bytes, /) -> None: ...

class Lane:
    scan: Callable[[bytes], Any] | None
    write: Callable[[bytes], Any]

    def data_received(self, data: bytes, /) -> None: ...
