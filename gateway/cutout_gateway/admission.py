"""Admission: a bounded amount of work is let in, the rest is refused at once.

Work is counted in requests, pixels and encoded bytes, so that a few huge photos weigh as much as many small
ones. Nothing waits here: whoever does not fit is told when to come back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode

#: Weight of the newest completion in the moving average of the time between completions.
_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds of what may be in flight at once. `uploads` counts HTTP bodies on their way in."""

    requests: int
    pixels: int
    bytes: int
    uploads: int


class Admission:
    """Grants permits. Used from one event loop only; granting never awaits."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._open = True
        self._requests = 0
        self._pixels = 0
        self._bytes = 0
        self._uploads = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_done: float | None = None
        self._seconds_per_request = 0.1

    @property
    def requests(self) -> int:
        """Requests that hold a permit."""
        return self._requests

    @property
    def uploads(self) -> int:
        """Bodies on their way in."""
        return self._uploads

    def close(self) -> None:
        """Refuses everything from now on with SHUTTING_DOWN."""
        self._open = False

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Holds a place while a body arrives.

        Refuses at the headers what could not be worked on anyway: raises `CutoutError` SHUTTING_DOWN or OVERLOADED.
        """
        self._check_open()
        if self._requests >= self._budget.requests or self._uploads >= self._budget.uploads:
            raise self._overloaded()
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    @contextmanager
    def permit(self, *, pixels: int, size: int) -> Iterator[None]:
        """Holds a permit for one image of `pixels` and `size` encoded bytes.

        Raises `CutoutError` SHUTTING_DOWN, or OVERLOADED with the time after which a retry makes sense.
        """
        self._check_open()
        if (
            self._requests >= self._budget.requests
            or self._pixels + pixels > self._budget.pixels
            or self._bytes + size > self._budget.bytes
        ):
            raise self._overloaded()
        self._requests += 1
        self._pixels += pixels
        self._bytes += size
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            self._pixels -= pixels
            self._bytes -= size
            self._completed()

    async def wait_idle(self) -> None:
        """Returns once no permit is held."""
        await self._idle.wait()

    def retry_after_s(self) -> float:
        """Seconds until about a quarter of the work in flight is done, 1..30, from the recent rate."""
        return min(30.0, max(1.0, self._requests / 4 * self._seconds_per_request))

    def _check_open(self) -> None:
        if not self._open:
            raise CutoutError(ErrorCode.SHUTTING_DOWN, retry_after_s=1.0)

    def _overloaded(self) -> CutoutError:
        return CutoutError(ErrorCode.OVERLOADED, retry_after_s=self.retry_after_s())

    def _completed(self) -> None:
        now = time.monotonic()
        if self._last_done is not None and self._requests > 0:
            gap = min(now - self._last_done, 10.0)
            self._seconds_per_request += _SMOOTHING * (gap - self._seconds_per_request)
        self._last_done = now
        if self._requests == 0:
            self._idle.set()
