"""How a verb ends: its exit code, and what is said where it can't go on."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    PORT_BUSY = 4
    INTERNAL = 70
    TIMED_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


class Trouble(Exception):
    """It can't go on: what to say, and the exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code
