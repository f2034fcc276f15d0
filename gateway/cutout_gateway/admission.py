"""Admission: a bounded amount of work is let in, the rest is refused at once.

Work is counted in requests, pixels and encoded bytes, so that a few huge photos weigh as much as many small
ones. Crowds that come by chance may fill all places, or as many as are answered within `crowd_s` by the recent rate. A
queue that has filled them is an overload: from then on only as many requests are let in as are answered within
`wait_s`, until half of that is left. So of a burst those that came before the queue was full wait up to `crowd_s`, and
only while they are worked off; those after them `wait_s`, whatever the machine and the photos, and the service is calm
as soon as the load is.

Whoever does not fit is told when to come back. Only items of a stream may wait for room (`freed`), one step of their
stream at a time; they never take the last quarter of the places, and never more than what is answered
within `wait_s`.
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
    """Upper bounds of what may be in flight at once. `uploads` counts bodies and messages on their way in.

    crowd_s, wait_s: longest wait before and during an overload, seconds; 0 for no such bound. least: requests that are
    let in whatever the rate, enough to keep the engines busy.
    """

    requests: int
    pixels: int
    bytes: int
    uploads: int
    crowd_s: float = 0.0
    wait_s: float = 0.0
    least: int = 1


class Weight:
    """What one upload or permit holds of the shared budget; it grows as more of the image is known."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.bytes = 0
        self.pixels = 0

    def add(self, *, size: int = 0, pixels: int = 0) -> None:
        """Takes `size` more bytes and `pixels` more pixels. Raises `CutoutError` OVERLOADED where they do not fit."""
        self._admission.take(size, pixels)
        self.bytes += size
        self.pixels += pixels


class Admission:
    """Grants permits. Used from one event loop only; granting never awaits."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._open = True
        self._waiting = 0
        self._freed = asyncio.Event()
        self.closed = asyncio.Event()
        self._requests = 0
        self._pixels = 0
        self._bytes = 0
        self._uploads = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_done = 0.0
        self._overloaded = False
        self._seconds_per_request = 0.1

    @property
    def requests(self) -> int:
        """Requests that hold a permit."""
        return self._requests

    @property
    def uploads(self) -> int:
        """Bodies on their way in."""
        return self._uploads

    @property
    def bytes(self) -> int:
        """Encoded bytes held by uploads and permits."""
        return self._bytes

    @property
    def limit(self) -> int:
        """Requests that may hold a permit, as the last one to ask saw it."""
        return self._within(self._budget.wait_s if self._overloaded else self._budget.crowd_s)

    def close(self) -> None:
        """Refuses everything from now on with SHUTTING_DOWN."""
        self._open = False
        self.closed.set()
        self._wake()

    def has_room(self) -> bool:
        """Whether streams may read on: a place is free, and no item that was read waits for one (or for its bytes)."""
        return self._requests < self._bulk_limit and not self._waiting

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait of an item that was read and has no permit; meanwhile no stream reads on."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._wake()

    async def freed(self) -> None:
        """Returns as soon as something was given back, or admission was closed."""
        if self._open:
            await self._freed.wait()

    @contextmanager
    def upload(self) -> Iterator[Weight]:
        """Holds a place while a body arrives; its bytes are added as they come.

        Refuses at the headers what could not be worked on anyway: raises `CutoutError` SHUTTING_DOWN or OVERLOADED.
        """
        self._check_open()
        self._watch_queue()
        if self._requests >= self.limit or self._uploads >= self._budget.uploads:
            raise self._refusal()
        self._uploads += 1
        weight = Weight(self)
        try:
            yield weight
        finally:
            self._uploads -= 1
            self._give_back(weight)

    @contextmanager
    def permit(self, size: int, *, bulk: bool = False) -> Iterator[Weight]:
        """Holds a permit for one image of `size` encoded bytes; its pixels are added once its header is read.

        bulk: for an item of a stream, which leaves a quarter of the places to single calls.
        Raises `CutoutError` SHUTTING_DOWN, or OVERLOADED with the time after which a retry makes sense.
        """
        self._check_open()
        self._watch_queue()
        if self._requests >= (self._bulk_limit if bulk else self.limit):
            raise self._refusal()
        weight = Weight(self)
        weight.add(size=size)
        if self._requests == 0:
            self._last_done = time.monotonic()  # the clock of the rate stands still while nothing is worked on
        self._requests += 1
        self._idle.clear()
        try:
            yield weight
        finally:
            self._requests -= 1
            self._give_back(weight)
            self._completed()

    def take(self, size: int, pixels: int) -> None:
        """Takes bytes and pixels off the budget. Raises `CutoutError` OVERLOADED where they do not fit."""
        if self._bytes + size > self._budget.bytes or self._pixels + pixels > self._budget.pixels:
            raise self._refusal()
        self._bytes += size
        self._pixels += pixels

    async def wait_idle(self) -> None:
        """Returns once no permit is held."""
        await self._idle.wait()

    def retry_after_s(self) -> float:
        """Seconds until about a quarter of the work in flight is done, 1..30, from the recent rate."""
        return min(30.0, max(1.0, self._requests / 4 * self._seconds_per_request))

    def _within(self, seconds: float) -> int:
        """Requests that are answered within so many seconds by the recent rate; all places for 0."""
        budget = self._budget
        if not seconds:
            return budget.requests
        return min(budget.requests, max(budget.least, int(seconds / self._seconds_per_request)))

    @property
    def _bulk_limit(self) -> int:
        fitting = self._within(self._budget.wait_s)
        return fitting - fitting // 4

    def _watch_queue(self) -> None:
        """Sees an overload begin and end; asked before every request that may be let in."""
        if self._requests >= self._within(self._budget.crowd_s):
            self._overloaded = True
        elif 2 * self._requests <= self._within(self._budget.wait_s):
            self._overloaded = False

    def _give_back(self, weight: Weight) -> None:
        self._bytes -= weight.bytes
        self._pixels -= weight.pixels
        self._wake()

    def _wake(self) -> None:
        """Everyone who waits looks again, in the order of arrival."""
        self._freed.set()
        self._freed = asyncio.Event()

    def _check_open(self) -> None:
        if not self._open:
            raise CutoutError(ErrorCode.SHUTTING_DOWN, retry_after_s=1.0)

    def _refusal(self) -> CutoutError:
        return CutoutError(ErrorCode.OVERLOADED, retry_after_s=self.retry_after_s())

    def _completed(self) -> None:
        now = time.monotonic()
        if self._requests > 0:  # one alone tells how long a request takes, not how many are done a second
            gap = min(now - self._last_done, 10.0)
            self._seconds_per_request += _SMOOTHING * (gap - self._seconds_per_request)
        else:
            self._idle.set()
        self._last_done = now
