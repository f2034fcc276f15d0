"""OpenVINO's cache of compiled graphs on disk, for one process at a time.

Who finds a graph there maps the file and reads constants from it at every run. Who does not writes it in place: of two
processes that started at once on an empty cache, one then served from a file that the other was writing, and computed
with what stood there or died of SIGBUS.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import openvino as ov


@contextmanager
def compile_cache(core: ov.Core, folder: str) -> Iterator[None]:
    """While inside, `core` compiles with the cache in `folder` and no other process does; whoever waited finds the
    graph compiled. folder: empty for none. Raises OSError where it cannot be made.
    """
    if not folder:
        yield
        return
    os.makedirs(folder, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        core.set_property({"CACHE_DIR": folder})
        yield
    finally:
        os.close(handle)
