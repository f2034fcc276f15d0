"""How much to ask of a server at a time: additive increase, multiplicative decrease, after its own refusals.

As TCP does with a network (RFC 5681): every round of successes allows one request more, a refusal halves the number and
makes everybody wait for as long as the server said.
"""

from __future__ import annotations

import asyncio
import random
import time

#: Pause after a refusal that names no time, seconds.
_DEFAULT_PAUSE_S = 1.0


class Pace:
    """The bound of requests in flight, 1 to `most`, beginning at `start`. Used from one event loop."""

    def __init__(self, most: int, start: int = 4) -> None:
        self.most = most
        self.limit = float(min(most, start))
        self.in_flight = 0
        self.peak = 0
        self.refusals = 0
        self._resume_at = 0.0
        self._changed = asyncio.Event()

    async def enter(self) -> None:
        """Waits for a place and, after a refusal, until its time has passed."""
        while True:
            pause = self._resume_at - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            elif self.in_flight < int(self.limit):
                break
            else:
                self._changed.clear()
                await self._changed.wait()
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def leave(self) -> None:
        """Gives the place back."""
        self.in_flight -= 1
        self._changed.set()

    def succeeded(self) -> None:
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._changed.set()

    def refused(self, retry_after_s: float | None) -> None:
        """The server had no room. Refusals of requests that were sent together count as one."""
        self.refusals += 1
        now = time.monotonic()
        if now >= self._resume_at:
            self.slow_down()
        wait = _DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s
        self._resume_at = max(self._resume_at, now + wait * random.uniform(1.0, 1.25))

    def slow_down(self) -> None:
        """Half as many at a time from now on."""
        self.limit = max(1.0, self.limit / 2)
