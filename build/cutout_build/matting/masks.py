"""Coarse masks as the matting network gets them: wrong in the ways in which a segmentation is wrong, or an alpha from
a first pass that is now seen at a larger scale.

Everything takes an exact alpha, float32 [H, W] in 0..1, and gives a mask of the same shape and range.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

#: Side of the segmentation's own mask, and of the square that the matting network sees.
SEGMENTATION_SIDE, MATTING_SIDE = 320, 512


def wrong_mask(alpha: Float32, rng: np.random.Generator, scale: float) -> Float32:
    """A mask with a segmentation's faults: displaced edges, filled or eaten detail, doubt, holes and stray blobs.

    scale: pixels of `alpha` for one pixel of the segmentation.
    """
    height, width = alpha.shape
    small_size = (max(8, round(width / scale)), max(8, round(height / scale)))
    mask = cv2.resize(alpha, small_size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.6:
        mask = (mask > rng.uniform(0.15, 0.85)).astype(np.float32)
    if rng.random() < 0.6:
        size = int(rng.integers(1, 6))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        operation = rng.choice([cv2.MORPH_OPEN, cv2.MORPH_CLOSE, cv2.MORPH_DILATE, cv2.MORPH_ERODE])
        mask = cv2.morphologyEx(mask, int(operation), kernel)
    if rng.random() < 0.7:
        mask = _displaced(mask, rng, rng.uniform(0.3, 3.5))
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.3 else 0):
        mask = _spotted(mask, rng)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.6, 3.0))
    if rng.random() < 0.35:
        doubt = rng.uniform(0.35, 1.0, (3, 3)).astype(np.float32)
        mask = mask * np.clip(cv2.resize(doubt, small_size, interpolation=cv2.INTER_CUBIC), 0, 1)
    if rng.random() < 0.3:  # a steeper or a flatter transition, moved a little
        mask = np.clip((mask - 0.5) * rng.uniform(0.8, 2.5) + 0.5 + rng.normal(0, 0.1), 0, 1)
    return _grown(mask, width, height)


def first_pass_alpha(alpha: Float32, rng: np.random.Generator, scale: float) -> Float32:
    """The alpha that a first pass over the shrunk image gives, brought back to this scale.

    scale: pixels of `alpha` for one pixel of the first pass.
    """
    height, width = alpha.shape
    small_size = (max(8, round(width / scale)), max(8, round(height / scale)))
    small = cv2.resize(alpha, small_size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = _displaced(small, rng, rng.uniform(0.1, 0.8))
    if rng.random() < 0.6:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 1.6))
    if rng.random() < 0.4:
        field = cv2.resize(rng.normal(1, 0.25, (6, 6)).astype(np.float32), small_size, interpolation=cv2.INTER_CUBIC)
        small = (
            np.clip((small - 0.5) * np.abs(field) * rng.uniform(0.9, 1.8) + 0.5, 0, 1)
            if rng.random() < 0.5
            else (np.clip(small * field, 0, 1))
        )
    small = np.clip(small + rng.normal(0, 0.02) * (small > 0) * (small < 1), 0, 1).astype(np.float32)
    return _grown(small, width, height)


def _grown(small: Float32, width: int, height: int) -> Float32:
    grown: Float32 = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(grown, 0, 1)


def _displaced(mask: Float32, rng: np.random.Generator, amount: float) -> Float32:
    """Moves the edges by a smooth random field of standard deviation `amount` pixels."""
    height, width = mask.shape
    cells = int(rng.integers(3, 14))
    field = rng.normal(0, amount, (2, cells, cells)).astype(np.float32)
    dx, dy = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in field)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    moved: Float32 = cv2.remap(mask, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved


def _spotted(mask: Float32, rng: np.random.Generator) -> Float32:
    """A hole or a stray blob."""
    height, width = mask.shape
    center = (int(rng.integers(width)), int(rng.integers(height)))
    axes = (int(rng.integers(1, max(2, width // 8))), int(rng.integers(1, max(2, height // 8))))
    spot = np.zeros_like(mask)
    cv2.ellipse(spot, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    spot = cv2.GaussianBlur(spot, (0, 0), rng.uniform(0.7, 2))
    strength = rng.uniform(0.3, 1)
    return np.asarray(mask * (1 - spot * strength) if rng.random() < 0.5 else np.maximum(mask, spot * strength))
