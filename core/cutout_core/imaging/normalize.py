"""The network's input from 8-bit RGB (torchvision's convention: scale to 0..1, subtract mean, divide by deviation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """How a segmentation network wants its photo: side of the square in pixels, and `normalize`'s arguments."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divide_by_max: bool


def normalize(
    rgb: npt.NDArray[np.uint8], mean: Sequence[float], std: Sequence[float], divide_by_max: bool
) -> npt.NDArray[np.float32]:
    """uint8 [S, S, 3] to contiguous float32 [3, S, S].

    `mean` and `std` are per channel, of RGB in 0..1. `divide_by_max`: scale by the image's largest value instead of by
    255, as U²-Net's training did; an all-black image stays at zero.
    """
    largest = max(int(rgb.max()), 1) if divide_by_max else 255
    levels = np.arange(256, dtype=np.float64) / largest
    planes = np.empty((3, *rgb.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(rgb)):
        table = ((levels - mean[channel]) / std[channel]).astype(np.float32)
        cv2.LUT(plane, table, dst=planes[channel])  # in a third of numpy's time
    return planes
