"""Whether the network found anything, and where.

A photo without a subject gets an empty alpha. The mask is never stretched to 0..1: that would invent a subject in
an empty scene, and make a faint one out of noise.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box

#: The most certain pixel of a subject is at least this certain.
MIN_PEAK = 0.5
#: Share of the image that is more likely subject than not.
MIN_AREA = 0.0005


def has_subject(alpha: npt.NDArray[np.float32]) -> bool:
    """Whether a float32 [S, S] alpha in 0..1 shows a subject at all."""
    return bool(alpha.max() >= MIN_PEAK and (alpha > 0.5).mean() >= MIN_AREA)


def subject_box(alpha: npt.NDArray[np.uint8]) -> Box | None:
    """The smallest box with every pixel of a uint8 [H, W] alpha that is at least 128; None where there is none."""
    _, visible = cv2.threshold(alpha, 127, 255, cv2.THRESH_BINARY)
    left, top, width, height = cv2.boundingRect(visible)
    return Box(left, top, width, height) if width and height else None


def coverage(alpha: npt.NDArray[np.uint8]) -> float:
    """Mean of a uint8 [H, W] alpha, 0..1."""
    return float(cv2.mean(alpha)[0] / 255)
