"""The best quality whose file is small enough."""

from __future__ import annotations

from collections.abc import Callable

from cutout_core.contract import CutoutError, ErrorCode

#: Lowest quality that is tried, of JPEG and of lossy WebP: below it the edge falls apart.
LEAST_QUALITY = 20


def search_quality(write: Callable[[int], bytes], max_bytes: int, best: int) -> bytes:
    """The file of the highest quality from `best` down to LEAST_QUALITY that has at most `max_bytes` bytes.

    Bisection: a file of a lower quality is taken to be no larger. Raises `CutoutError` INVALID_OPTION for `max_bytes`.
    """
    file = write(best)
    if len(file) <= max_bytes:
        return file
    smallest = write(LEAST_QUALITY)
    if len(smallest) > max_bytes:
        raise cannot_fit(len(smallest), max_bytes, f"even at quality {LEAST_QUALITY}")
    low, high, fitting = LEAST_QUALITY, best, smallest
    while high - low > 1:
        middle = (low + high) // 2
        file = write(middle)
        if len(file) <= max_bytes:
            low, fitting = middle, file
        else:
            high = middle
    return fitting


def cannot_fit(size: int, max_bytes: int, why: str) -> CutoutError:
    """The error of a result that has `size` bytes at least."""
    return CutoutError(
        ErrorCode.INVALID_OPTION,
        f"The result has {size} bytes {why}; 'max_bytes' is {max_bytes}: take a smaller size or canvas.",
        field="max_bytes",
    )
