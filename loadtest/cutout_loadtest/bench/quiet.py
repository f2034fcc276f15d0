"""Whether the machine was quiet: a fixed calculation timed, and what other processes took during each cell."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cutout_loadtest.stats import percentile

#: Cores that others may take on average, and how far the calibration may spread, before the report warns.
MAX_FOREIGN_CORES, MAX_SPREAD = 0.1, 0.1


def calibrate(rounds: int = 5) -> float:
    """Milliseconds that a fixed loop takes, the best of `rounds`: it tells the clock and stolen time."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        total = 0
        for number in range(400_000):
            total += number & 7
        best = min(best, (time.perf_counter() - begin) * 1000)
    return best


def warnings(calibration_ms: Sequence[float], foreign_cores: Sequence[float]) -> list[str]:
    """What the reader must know before believing the figures; empty on a quiet machine."""
    found = []
    foreign = percentile(foreign_cores, 50)
    if foreign > MAX_FOREIGN_CORES:
        found.append(
            f"The machine was not quiet: other processes used {foreign:.2f} cores in the median cell (at most "
            f"{max(foreign_cores):.2f}). Only ratios within this run mean anything."
        )
    spread = max(calibration_ms) / min(calibration_ms) - 1 if calibration_ms else 0.0
    if spread > MAX_SPREAD:
        found.append(f"The processor's speed varied: the same calculation took up to {spread:.0%} longer.")
    return found
