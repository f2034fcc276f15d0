"""Guards one Triton server: whatever dies, no process of it and no shared-memory region stays behind.

A file of its own that needs the standard library only; run as `python -I -S guardian.py`, in a session of its own.
Standard input is the lifeline to the gateway:

    first line      JSON: command, env, prefix (of the regions), marker (of the processes), grace_s, folder
    `stop SECONDS`  ends Triton, with that much grace
    end of file     the gateway is gone, in whatever way: ends Triton and removes the run's folder

Triton is started in a process group of its own. The guardian is the subreaper of everything below it
(prctl(2), PR_SET_CHILD_SUBREAPER), so that a Python stub whose parent was killed becomes its child instead of init's;
it leaves only when none is left. Its exit status is Triton's, 128 + the signal's number where a signal ended it.

`kill_marked` and `unlink_regions` are also what the gateway uses where the guardian itself was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_IN_ATTRIB = 0x4
_KILL_TIMEOUT_S = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


def open_marked(marker: str) -> list[tuple[int, int]]:
    """This user's processes whose environment holds `marker` (`NAME=value`): process id and an open pidfd.

    The pidfd is opened before the environment is read, so that it never stands for a process that took over the id.
    """
    wanted, found = marker.encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            handle = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or of another user
            environment = []
        if wanted in environment:
            found.append((int(entry.name), handle))
        else:
            os.close(handle)
    return found


def kill_marked(marker: str) -> int:
    """Kills the processes that `open_marked` finds; returns how many."""
    found = open_marked(marker)
    for _, handle in found:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    return len(found)


def unlink_regions(prefix: str) -> int:
    """Unlinks the shared-memory regions whose name begins with `prefix`; returns how many."""
    regions = list(SHARED_MEMORY.glob(f"{prefix}*"))
    for region in regions:
        region.unlink(missing_ok=True)
    return len(regions)


def _start(command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts Triton as a batch job (SCHED_BATCH, sched(7)); its stubs inherit that. Their threads then do not interrupt
    each other when they wake up, so that caches stay warm where more are ready than there are cores.
    """
    guardian = os.getpid()

    def die_with_guardian() -> None:
        os.setpgid(0, 0)
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guardian:
            os._exit(1)

    return subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, preexec_fn=die_with_guardian
    )


def _watch_regions() -> int:
    """An inotify descriptor that is readable after each change of an attribute in the shared-memory folder."""
    descriptor: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    _libc.inotify_add_watch(descriptor, os.fsencode(SHARED_MEMORY), _IN_ATTRIB)
    return descriptor


def _close_to_others(prefix: str) -> None:
    """Takes the regions' permissions from everybody but the owner: they hold users' pixels.

    Triton's backend makes them readable to all, whatever the umask is, by an fchmod after their creation.
    """
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            if region.stat().st_mode & 0o077:
                region.chmod(0o600)


def _wait_for_order(handle: int, lifeline: int, prefix: str) -> float | None:
    """Waits for Triton's end (None), or for the order to end it: its grace in seconds, -1 at the end of file."""
    changes = _watch_regions()
    poller = select.poll()
    for descriptor in (handle, lifeline, changes):
        poller.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if changes in ready:
            os.read(changes, 65536)
            _close_to_others(prefix)
        if lifeline in ready:
            order = os.read(lifeline, 256).decode()
            return float(order.split()[1]) if order else -1.0
        if handle in ready:
            return None


def _end(server: subprocess.Popen[bytes], handle: int, grace_s: float) -> None:
    """Asks Triton to end and waits, without reaping it: until then its group's number cannot be reused."""
    server.send_signal(signal.SIGTERM)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.poll(grace_s * 1000)


def _kill_all(server: subprocess.Popen[bytes], marker: str) -> None:
    """Kills Triton's group and whatever left the group, and reaps until no descendant is left."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    give_up = time.monotonic() + _KILL_TIMEOUT_S
    while time.monotonic() < give_up:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        kill_marked(marker)
        time.sleep(0.01)


def main() -> int:
    """Starts Triton, waits, cleans up; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # the gateway decides; not SIG_IGN, which Triton would inherit
    lifeline = sys.stdin.fileno()
    with os.fdopen(os.dup(lifeline), "rb", buffering=0) as stream:
        first_line = stream.readline()
    if not first_line:
        return 0
    order = json.loads(first_line)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = _start(order["command"], order["env"])
    handle = os.pidfd_open(server.pid)
    grace_s = _wait_for_order(handle, lifeline, order["prefix"])
    orphaned = grace_s is not None and grace_s < 0
    if grace_s is not None:
        _end(server, handle, order["grace_s"] if orphaned else grace_s)
    _kill_all(server, order["marker"])
    unlink_regions(order["prefix"])
    if orphaned:
        shutil.rmtree(order["folder"], ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


if __name__ == "__main__":
    sys.exit(main())
