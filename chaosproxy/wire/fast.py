"""What each chunk of an idle connection passes through: in C where it was built (speedups.c), in Python elsewhere.

What the classes of both have in common is all that others may use. The Python is the reference.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

PURE_VARIABLE = "CHAOSPROXY_PURE"  # set to anything, it keeps the C from being used

if TYPE_CHECKING:
    from .speedups import Lane as Lane
    from .speedups import State as State
else:
    try:
        if os.environ.get(PURE_VARIABLE):
            raise ImportError
        from .speedups import Lane, State
    except ImportError:  # a platform without the compiled module

        class State:
            """What a splitter remembers between two chunks."""

            __slots__ = ("_close_lacks", "bytes", "closing", "first", "frames", "gone", "head", "need", "open")

        class Lane:
            """Where chunks come in that may only be counted and passed on."""

            scan: Callable[[bytes], Any] | None
            write: Callable[[bytes], Any]

            def data_received(self, data: bytes) -> None:
                """Pass a chunk on, or have it received."""
                if self.scan is not None:
                    self.scan(data)
                    self.write(data)
                    return
                self.receive(data)


IS_COMPILED = hasattr(State, "scan")
LANE_IN = "C" if IS_COMPILED else "Python"
