"""The CPU time a tree of processes has used, from /proc (Linux). Threads that have ended are not counted."""

import os
from pathlib import Path

PROC = Path("/proc")
HAS_SCHEDSTAT = Path("/proc/self/schedstat").exists()
SOURCE = "/proc/PID/task/*/schedstat (ns)" if HAS_SCHEDSTAT else f"/proc/PID/stat ({os.sysconf('SC_CLK_TCK')} ticks/s)"


def tree(root: int) -> list[int]:
    """Return the process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def spent_ns(pids: list[int]) -> int:
    """Return the user and system time of all threads of these processes."""
    return sum(_threads_ns(pid) if HAS_SCHEDSTAT else _ticks_ns(pid) for pid in pids)


def _threads_ns(pid: int) -> int:
    # The kernel's Documentation/scheduler/sched-stats.rst: the first field is the time spent on the CPU.
    return sum(int(file.read_text().split()[0]) for file in PROC.glob(f"{pid}/task/*/schedstat"))


def _ticks_ns(pid: int) -> int:
    fields = _stat(pid)
    return sum(map(int, fields[11:13])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the third on; nothing if the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
