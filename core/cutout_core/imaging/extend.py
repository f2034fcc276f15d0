"""Colours of a subject carried on into what lies around it, so that an image without transparency shows nothing of the
old background and a lossy format has no edge to smear.

Averages over ever larger squares, weighted by alpha, fill what has none ("pull-push": Gortler et al., "The Lumigraph",
SIGGRAPH 1996, section 3.4).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
#: Grey where nothing at all is visible.
_NOTHING = 128


def extend_colors(rgb: UInt8, alpha: UInt8) -> UInt8:
    """uint8 [H, W, 3] without a gap: as given where `alpha`, uint8 [H, W], is above 0, carried on elsewhere."""
    if not alpha.any():
        return np.full_like(rgb, _NOTHING)
    hidden = cv2.compare(alpha, 0, cv2.CMP_EQ)
    size = alpha.shape[1], alpha.shape[0]
    filled = _pull_push(rgb, alpha)
    extended: UInt8 = cv2.copyTo(cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR), hidden, rgb.copy())
    return extended


def _pull_push(rgb: UInt8, alpha: UInt8) -> UInt8:
    """The filled colours at half the size."""
    half = max(1, rgb.shape[1] // 2), max(1, rgb.shape[0] // 2)
    weight = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)
    color = cv2.resize(cv2.multiply(rgb, weight, dtype=cv2.CV_16U), half, interpolation=cv2.INTER_AREA)
    share = cv2.resize(alpha, half, interpolation=cv2.INTER_AREA).reshape(half[::-1]).astype(np.float32)
    levels = [(color.reshape(half[1], half[0], 3).astype(np.float32), share)]
    while max(levels[-1][1].shape) > 1:
        color, share = levels[-1]
        size = (share.shape[1] + 1) // 2, (share.shape[0] + 1) // 2
        smaller = cv2.resize(color, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
        levels.append((smaller, cv2.resize(share, size, interpolation=cv2.INTER_AREA).reshape(size[::-1])))
    filled = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for color, share in levels[-2::-1]:
        size = share.shape[1], share.shape[0]
        grown = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR).reshape(size[1], size[0], 3)
        own = np.minimum(share * np.float32(1 / 32), 1)[..., None]
        filled = grown + own * (color / np.maximum(share, 1e-6)[..., None] - grown)
    levels_8: UInt8 = np.clip(np.rint(filled), 0, 255).astype(np.uint8)
    return levels_8
