"""A soft shadow below a subject: its own outline, blurred and moved down.

All lengths go with the subject's longer side, so that a shadow looks the same at every size of the result.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box

#: Standard deviation of the blur, and how far it is moved down, as shares of the subject's longer side.
BLUR, DROP = 0.022, 0.03
#: The blur is computed where its standard deviation is about this many pixels.
_SMALL_SIGMA = 4.0

UInt8 = npt.NDArray[np.uint8]


def soft_shadow(alpha: UInt8, subject: Box, opacity: float) -> UInt8:
    """The shadow's own alpha, uint8 [H, W].

    alpha: uint8 [H, W], the subject's. subject: its box. opacity: percent, where the shadow is darkest.
    """
    height, width = alpha.shape
    side = max(subject.width, subject.height)
    shrink = max(1.0, BLUR * side / _SMALL_SIGMA)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).reshape(size[::-1])
    sigma = max(0.3, BLUR * side / shrink)
    pad = int(np.ceil(3 * sigma))
    blurred = cv2.GaussianBlur(
        cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0), (0, 0), sigma
    )
    drop = DROP * side / shrink
    moved = cv2.warpAffine(
        blurred, np.array([[1, 0, -pad], [0, 1, drop - pad]], np.float64), size, flags=cv2.INTER_LINEAR
    ).reshape(size[::-1])
    grown = cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)
    shadow: UInt8 = cv2.convertScaleAbs(grown, alpha=opacity / 100)
    return shadow


def with_shadow(rgb: UInt8, alpha: UInt8, shadow: UInt8) -> tuple[UInt8, UInt8]:
    """Straight colours and alpha of the subject over its black shadow (`over` of Porter and Duff 1984).

    rgb: uint8 [H, W, 3]; alpha, shadow: uint8 [H, W].
    """
    out_rgb, out_alpha = rgb.copy(), alpha.copy()
    mixed = np.flatnonzero((alpha < 255) & (shadow > 0))
    front = alpha.take(mixed).astype(np.uint32)
    total = front * 255 + (255 - front) * shadow.take(mixed)
    out_alpha.reshape(-1)[mixed] = (total + 127) // 255
    weighted = rgb.reshape(-1, 3).take(mixed, axis=0) * (front * 255)[:, None]
    out_rgb.reshape(-1, 3)[mixed] = (weighted + total[:, None] // 2) // total[:, None]
    return out_rgb, out_alpha
