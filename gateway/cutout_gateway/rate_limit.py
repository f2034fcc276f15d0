"""A token bucket in megapixels, as remove.bg documents its own limit: an image costs its megapixels, at least one."""

from __future__ import annotations

import math


def megapixel_cost(pixels: int) -> int:
    """What an image of `pixels` costs: its megapixels (10⁶ pixels), rounded, at least 1."""
    return max(1, math.floor(pixels / 1e6 + 0.5))


class TokenBucket:
    """Holds one minute's worth of megapixels and fills at the same rate. `now` is any monotonic clock, seconds.

    An image above a whole minute's worth goes through when the bucket is full; the rest is then owed, and paid off
    before the next image.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._tokens = per_minute
        self._at = now

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until an image of that cost may go through; 0 where it may now."""
        missing = min(cost, self.per_minute) - self._level(now)
        return max(0.0, missing / self.per_minute * 60)

    def take(self, cost: float, now: float) -> None:
        """Takes the cost, whether it is there or not."""
        self._tokens = self._level(now) - cost
        self._at = now

    def remaining(self, now: float) -> int:
        """Whole megapixels that are there."""
        return max(0, math.floor(self._level(now)))

    def full_in_s(self, now: float) -> float:
        """Seconds until the bucket is full."""
        return (self.per_minute - self._level(now)) / self.per_minute * 60

    def _level(self, now: float) -> float:
        return min(self.per_minute, self._tokens + max(0.0, now - self._at) * self.per_minute / 60)
