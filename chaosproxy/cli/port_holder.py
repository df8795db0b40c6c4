"""Who has a port, as /proc tells. Other users' processes keep their descriptors to themselves; then nobody is named."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..problems import escape

_PROC = Path("/proc")
_LISTEN = "0A"  # include/net/tcp_states.h


def holder_of(port: int, proc: Path = _PROC) -> str:
    """Name the process that listens on a TCP port: `name (pid 123)`, or nothing where it can't be told."""
    inodes = set(_listening_inodes(port, proc))
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.glob("[0-9]*"):
        if any(target in wanted for target in _descriptors(process)):
            return f"{_name(process)} (pid {process.name})"
    return ""


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _descriptors(process: Path) -> Iterator[str]:
    try:
        for descriptor in (process / "fd").iterdir():
            yield os.readlink(descriptor)
    except OSError:
        return  # ended meanwhile, or not ours to look at


def _name(process: Path) -> str:
    try:
        return escape((process / "comm").read_text().strip()) or "a process"
    except OSError:
        return "a process"
