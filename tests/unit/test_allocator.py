"""The allocator's settings, in a process of their own each: what the C library makes of them."""

from __future__ import annotations

import os
import subprocess
import sys

from cutout_core import allocator

#: Frees 40 MB from a second thread, and prints how many MB of memory the process then has more than before.
_PROBE = """
import ctypes, threading
from pathlib import Path
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
def work():
    before = resident()
    blocks = [libc.malloc(8 << 20) for _ in range(5)]
    for block in blocks:
        ctypes.memset(block, 1, 8 << 20)
    for block in blocks:
        libc.free(block)
    print((resident() - before) >> 20)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def kept(code: str, variables: dict[str, str]) -> int:
    """MB that are still there after 40 MB were freed."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=base | variables, capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


def test_a_thread_keeps_its_buffers_ready() -> None:
    assert kept(_PROBE, {}) < 20
    assert kept(_PROBE, allocator.environment()) >= 38
    assert kept("from cutout_core import allocator\nassert allocator.tune()\n" + _PROBE, {}) >= 38
