"""CPU time and memory of process trees on this machine, read from /proc (Linux; proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


def tree(root: int) -> set[int]:
    """`root` and its descendants, as far as they live."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found, todo = set(), [root] if (_PROC / str(root)).exists() else []
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo += children.get(pid, [])
    return found


def command_line(pid: int) -> list[str]:
    """Program and arguments; empty where the process is gone or has none."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def cpu_s(pids: Collection[int]) -> float:
    """Seconds of CPU of the processes and of their children that have ended and were waited for."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        ticks += sum(map(int, fields[11:15])) if fields else 0
    return ticks / _TICK


def pss_mb(pids: Collection[int]) -> float:
    """Proportional set size now, 10⁶ bytes: of a page that n processes share each has 1/n, so it counts once."""
    kilobytes = 0
    for pid in pids:
        try:
            match = re.search(r"^Pss:\s+(\d+) kB", (_PROC / str(pid) / "smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue  # ended meanwhile, or another user's
        kilobytes += int(match.group(1)) if match else 0
    return kilobytes * 1024 / 1e6


def listener(port: int) -> int | None:
    """The process of this machine that listens on TCP `port`; None where none is seen."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in _pids():
        try:
            if any(os.readlink(entry) in inodes for entry in (_PROC / str(pid) / "fd").iterdir()):
                return pid
        except OSError:
            continue
    return None


def busy_s() -> float:
    """Seconds of CPU that all processes of the machine have used, by all cores together."""
    fields = [int(field) for field in (_PROC / "stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / _TICK


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/pid/stat from the state on; empty where the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
