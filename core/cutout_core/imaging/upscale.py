"""The network's alpha to the size of the result."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def upscale(alpha: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.uint8]:
    """float32 [S, S] in 0..1 to uint8 [height, width], 255 where opaque.

    Bilinear between pixel centres where it grows, area average where it shrinks: never outside the range of its
    neighbours, and edges stay where they are. Values are rounded to 8 bits before growing, which costs at most one
    level and makes 12 megapixels a matter of milliseconds.
    """
    levels = cv2.convertScaleAbs(np.maximum(alpha, 0), alpha=255)  # rounds and clips, many times faster than numpy
    rows, columns = levels.shape
    if width < columns or height < rows:
        smaller = min(width, columns), min(height, rows)
        levels = cv2.resize(levels, smaller, interpolation=cv2.INTER_AREA)
    grown: npt.NDArray[np.uint8] = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)
    return grown
