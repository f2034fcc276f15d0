"""Brings stored pixels upright by their EXIF orientation (EXIF 2.32, tag 0x0112)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

#: Left, top, right, bottom in pixels, fractions allowed.
Extent = tuple[float, float, float, float]

_FLIP_BOTH, _FLIP_HORIZONTAL, _FLIP_VERTICAL = -1, 1, 0


def apply_orientation(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """uint8 [H, W] or [H, W, C] as stored to the upright array, contiguous; `orientation` is 1..8."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = cv2.transpose(pixels)
    flip = {
        2: _FLIP_HORIZONTAL,
        3: _FLIP_BOTH,
        4: _FLIP_VERTICAL,
        6: _FLIP_HORIZONTAL,
        7: _FLIP_BOTH,
        8: _FLIP_VERTICAL,
    }
    if orientation in flip:
        pixels = cv2.flip(pixels, flip[orientation])
    return pixels


def orient_extent(extent: Extent, size: tuple[int, int], orientation: int) -> Extent:
    """The same box after `apply_orientation`; `size` is the stored (width, height)."""
    left, top, right, bottom = extent
    width, height = size
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
        width, height = height, width
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom
