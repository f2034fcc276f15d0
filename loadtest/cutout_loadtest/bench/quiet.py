"""Whether the machine was quiet: a fixed calculation timed, and what other processes took during each cell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

#: Cores that others may take on average, and how far the calibration may spread, before the report warns.
MAX_FOREIGN_CORES, MAX_SPREAD = 0.1, 0.1
#: The report's sign on a row that was measured while others were busy.
MARK = "†"


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


def is_noisy(foreign_cores: float) -> bool:
    """Whether others took more of the CPU than a measurement bears."""
    return foreign_cores > MAX_FOREIGN_CORES


def warnings(calibration_ms: Sequence[float], foreign_cores: Mapping[str, float]) -> list[str]:
    """What the reader must know before believing the figures; empty on a quiet machine. foreign_cores: by row."""
    found = []
    noisy = {row: cores for row, cores in foreign_cores.items() if is_noisy(cores)}
    if noisy:
        worst = max(noisy, key=lambda row: noisy[row])
        found.append(
            f"The machine was not quiet: in {len(noisy)} of {len(foreign_cores)} rows other processes used more than "
            f"{MAX_FOREIGN_CORES:g} cores, {noisy[worst]:.2f} in the worst ({worst}). These rows are marked {MARK}."
        )
    spread = max(calibration_ms) / min(calibration_ms) - 1 if calibration_ms else 0.0
    if spread > MAX_SPREAD:
        found.append(f"The processor's speed varied: the same calculation took up to {spread:.0%} longer.")
    return found
