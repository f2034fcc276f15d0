"""Rows of a batch on threads: decoders, OpenCV, deflate and libjpeg release the interpreter while they work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2

_LOAD = Path("/proc/loadavg")

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchMapper:
    """Maps a function over the rows of a batch on threads that live as long as this object."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cutout-row") if threads > 1 else None

    def map(self, function: Callable[[Item], Result], rows: Iterable[Item]) -> list[Result]:
        """Results in the order of `rows`. What `function` raises is raised here; row functions do not."""
        items = list(rows)
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def close(self) -> None:
        """Waits for running rows and ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def limit_threads(threads: int) -> None:
    """Sets OpenCV's own threads for this process."""
    cv2.setNumThreads(threads)


def take_idle_cores(most: int) -> None:
    """Sets OpenCV's threads to this one and one for each core that is idle right now, at most `most`.

    A photo alone is done sooner on all cores. Where they are busy, the threads that share a photo wait for each other:
    12 MP then cost 6 % more CPU time.
    """
    limit_threads(min(most, 1 + _idle_cores()))


def _idle_cores() -> int:
    """Cores of the whole machine without anything to run, by the kernel's count (proc_loadavg(5)); all but this
    thread's where there is no such count.
    """
    cores = os.cpu_count() or 1
    try:
        ready = int(_LOAD.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        ready = 1
    return max(0, cores - max(1, ready))
