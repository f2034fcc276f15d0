"""The attempts of one call, without any input or output: how long each may take and what to wait between them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cutout_client._config import Retry
from cutout_client._exceptions import CutoutClientError


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, replaceable in tests. `now` is monotonic seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    sleep_async: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


class Attempts:
    """Counts the attempts of one call against its total time."""

    def __init__(self, retry: Retry, total_s: float | None, clock: Clock) -> None:
        self._retry = retry
        self._clock = clock
        self._deadline = None if total_s is None else clock.now() + total_s
        self._failed = 0

    def remaining_s(self) -> float | None:
        """Seconds that the next attempt may take, at least a millisecond; None is "no limit"."""
        if self._deadline is None:
            return None
        return max(self._deadline - self._clock.now(), 0.001)

    def pause_after(self, error: CutoutClientError) -> float:
        """Seconds to wait before the next attempt. Raises `error` where it is final."""
        self._failed += 1
        if not error.retryable or self._failed >= self._retry.attempts:
            raise error
        ceiling = min(self._retry.cap, self._retry.base * 2.0 ** min(self._failed - 1, 60))
        pause = self._clock.uniform(0.0, ceiling) + (error.retry_after_s or 0.0)
        remaining = self.remaining_s()
        if remaining is not None and pause >= remaining:
            raise error
        return pause
