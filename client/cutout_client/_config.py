"""Value objects that say how long a call may take and how often it is tried."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds; None is "no limit".

    total: the whole call, retries and the pauses between them included. The rest of it travels with each attempt,
    so that the server drops work that would come too late.
    connect: one connection's set-up; longer counts as unreachable (`ConnectError`).
    """

    total: float | None = 60.0
    connect: float | None = 5.0

    def __post_init__(self) -> None:
        for name, value in (("total", self.total), ("connect", self.connect)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; it takes seconds above 0, or None for no limit")


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with full jitter, for errors whose `retryable` is true and for nothing else.

    attempts: tries in all; 1 never retries. Before try n + 1 the pause is drawn from
    0 … min(cap, base · 2ⁿ⁻¹) seconds. Where the server says Retry-After, that is waited first and the draw is added,
    so that callers refused together do not return together. A pause that would outlast the call's total time is
    not begun: the error is raised at once.

    Retrying is safe: removing a background changes nothing on the server.
    """

    attempts: int = 3
    base: float = 0.2
    cap: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts!r}; it takes 1 or more")
        for name, value in (("base", self.base), ("cap", self.cap)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}; it takes seconds from 0")
