"""Who has a port, as /proc tells. Other users' processes keep their descriptors to themselves; then nobody is named."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .addresses import another
from .problems import escape
from .sockets import Address

_PROC = Path("/proc")
_LISTEN = "0A"  # include/net/tcp_states.h


def why_not(error: OSError, address: Address, option: str) -> str:
    """Say why we can't listen on an address, which an option or a field named, and what to do. It may block."""
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(address.port)
        by = f" by {holder}" if holder else ""
        return f"port {address.port} ({option}) is taken{by}; choose another: {option} {another(address)}"
    # Of asyncio's errors, those of bind() have long words of their own; those of looking a name up have no errno's.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else error.strerror or str(error)
    remedy = {
        errno.EACCES: "; ports below 1024 need privileges, choose a higher one",
        errno.EADDRNOTAVAIL: "; it is not an address of this machine, 127.0.0.1 and 0.0.0.0 always are",
    }.get(number, "")
    return f"can't listen on {address} ({option}): {reason.lower()}{remedy}"


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
