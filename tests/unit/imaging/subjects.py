"""A subject with strands of hair whose alpha and colours are known exactly, and a photo of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from .images import Array, UInt8, smooth

SHAPES = [
    (1, 1),
    (1, 7),
    (9, 1),
    (1, 3000),
    (3000, 1),
    (2, 2),
    (40, 33),
    (512, 512),
    (513, 511),
    (700, 520),
    (64, 1400),
]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """rgb: the photo; alpha: uint8 [H, W]; foreground: uint8 [H, W, 3], defined everywhere."""

    rgb: UInt8
    alpha: UInt8
    foreground: UInt8

    def grid_alpha(self) -> Array:
        """The alpha as a perfect network would give it, float32 [512, 512]."""
        small: Array = cv2.resize(self.alpha, (512, 512), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255

    def band(self) -> Array:
        """Where the alpha is neither 0 nor 255, and 8 pixels around."""
        mixed = ((self.alpha > 0) & (self.alpha < 255)).astype(np.uint8)
        wide: Array = cv2.dilate(mixed, np.ones((17, 17), np.uint8))
        return wide > 0


@cache
def hairy_subject(width: int = 1400, height: int = 1100, softness: float = 0.0) -> Subject:
    """Brown on green, with noise of σ 2 levels. softness: standard deviation of the defocus, pixels."""
    rng = np.random.default_rng(4)
    big = np.zeros((2 * height, 2 * width), np.uint8)
    middle, radius = np.array([width, height]), 0.4 * height
    cv2.circle(big, middle.tolist(), round(radius), 255, -1)
    for angle in rng.uniform(0, 2 * np.pi, 260):
        start = middle + 0.95 * radius * np.array([np.cos(angle), np.sin(angle)])
        bend = angle + rng.normal(0, 0.6)
        end = start + radius * rng.uniform(0.15, 0.7) * np.array([np.cos(bend), np.sin(bend)])
        cv2.line(big, start.astype(int).tolist(), end.astype(int).tolist(), 255, int(rng.integers(2, 7)), cv2.LINE_AA)
    if softness:
        big = cv2.GaussianBlur(big, (0, 0), 2 * softness)
    alpha = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
    front = np.array([150, 95, 50]) + 0.2 * (smooth(width, height).astype(np.float32) - 128)
    back = np.array([60, 170, 70]) + 0.3 * (smooth(width, height)[::-1].astype(np.float32) - 128)
    share = alpha[..., None].astype(np.float32) / 255
    photo = share * front + (1 - share) * back + rng.normal(0, 2, (height, width, 3))
    return Subject(*(np.clip(np.rint(values), 0, 255).astype(np.uint8) for values in (photo, alpha, front)))
