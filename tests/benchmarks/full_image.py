"""The edge as it is done on every pixel of a photo: what `refine_alpha` and `decontaminate` are measured against."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


def guided_alpha(rgb: UInt8, alpha: Float32, radius: int = 8, noise: float = 1e-3) -> UInt8:
    """He, Sun and Tang's guided filter (TPAMI 2013) with the grey photo as its guide, at full size.

    rgb: uint8 [H, W, 3]. alpha: float32 [S, S] in 0..1. Returns uint8 [H, W].
    """
    height, width = rgb.shape[:2]
    guide = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    value = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    guide_mean, value_mean = _mean(guide, radius), _mean(value, radius)
    slope = (_mean(guide * value, radius) - guide_mean * value_mean) / (
        _mean(guide * guide, radius) - guide_mean * guide_mean + noise
    )
    offset = value_mean - slope * guide_mean
    refined = _mean(slope, radius) * guide + _mean(offset, radius)
    return np.rint(np.clip(refined, 0, 1) * 255).astype(np.uint8)


def blur_fusion(rgb: UInt8, alpha: UInt8) -> UInt8:
    """Foreground colours by Forte's two-pass blur fusion (2021, "Approximate Fast Foreground Colour Estimation").

    rgb: uint8 [H, W, 3]. alpha: uint8 [H, W]. Returns uint8 [H, W, 3].
    """
    photo, share = rgb.astype(np.float32), alpha.astype(np.float32)[..., None] / 255
    front, back = photo, photo
    for radius in (45, 3):
        weight, rest = _mean(share, radius)[..., None], _mean(1 - share, radius)[..., None]
        front = _mean(front * share, radius) / (weight + 1e-5)
        back = _mean(back * (1 - share), radius) / (rest + 1e-5)
        front = np.clip(front + share * (photo - share * front - (1 - share) * back), 0, 255)
    return np.rint(front).astype(np.uint8)


def _mean(values: Float32, radius: int) -> Float32:
    mean: Float32 = cv2.blur(values, (2 * radius + 1,) * 2)
    return mean
