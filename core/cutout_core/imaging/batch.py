"""Rows of a batch on threads: decoders, OpenCV, deflate and libjpeg release the interpreter while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

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
    """Sets OpenCV's own threads for this process; a step calls it once, so that rows in parallel do not multiply."""
    cv2.setNumThreads(threads)
