"""The benchmark's simple methods: the true coarse mask, plain upscaling, and the guided filter."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

#: Side and blur (standard deviation, pixels) of the true coarse mask: what a faultless segmentation at 320² could say.
COARSE_SIDE, COARSE_SIGMA = 320, 1.5
#: The guided filter's radius, as a part of the longer side, and its regularisation in squared units of grey 0..1: the
#: best of 12 settings on the training split.
GUIDED_RADIUS, GUIDED_EPSILON = 1 / 200, 1e-5


def true_coarse_mask(alpha: Float32, width: int, height: int, side: int = COARSE_SIDE) -> Float32:
    """Ground truth, [H, W] in 0..1, as a coarse mask at `width` × `height`: alpha > 0.5 averaged to a square of `side`
    pixels, blurred and enlarged linearly."""
    inside = (alpha > 0.5).astype(np.float32)
    small = cv2.resize(inside, (side, side), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), COARSE_SIGMA)
    mask: Float32 = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(mask, 0, 1)


def guided_filter(
    photo: UInt8, mask: Float32, radius: float = GUIDED_RADIUS, epsilon: float = GUIDED_EPSILON
) -> Float32:
    """The mask, [H, W] in 0..1, filtered with the photo's grey as guide (He, Sun and Tang, "Guided Image Filtering",
    TPAMI 2013), every pixel at full size. photo: RGB, [H, W, 3]; radius: as a part of the longer side."""
    guide = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    reach = max(1, round(radius * max(mask.shape)))

    def mean(values: Float32) -> Float32:
        result: Float32 = cv2.blur(values, (2 * reach + 1,) * 2, borderType=cv2.BORDER_REFLECT)
        return result

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - mean_guide * mean_mask) / (mean(guide * guide) - mean_guide**2 + epsilon)
    offset = mean_mask - slope * mean_guide
    filtered: Float32 = np.clip(mean(slope) * guide + mean(offset), 0, 1)
    return filtered
