"""Foreground colours: what the subject's own colour is where the photo shows it mixed with the background.

Every pixel is I = αF + (1 − α)B with two unknown colours. Averaging keeps the equation true wherever F and B hardly
change, so it is solved from coarse to fine, as in Germer, Uelwer, Conrad and Harmeling, "Fast Multi-Level Foreground
Estimation" (ICPR 2020); but each level is one closed-form least squares fit of F and B in a 3 × 3 window, held by the
coarser level's colours, and the last level is the photo's own mixed pixels alone. Nothing iterates.
"""

from __future__ import annotations

from itertools import chain

import cv2
import numpy as np

from cutout_core.imaging.band import Float32, UInt8, mixed_pixels, photo_grid, shrink_to_grid
from cutout_core.imaging.compose import clear_hidden

#: Side of the finest grid, cells.
GRID = 384
#: Weight of the coarser level's colours, against the whole window on a grid and against the one pixel of the photo.
HOLD = 0.1


def decontaminate(rgb: UInt8, alpha: UInt8, small: UInt8 | None = None) -> UInt8:
    """The subject's colours, uint8 [H, W, 3], of a photo with its alpha, uint8 [H, W].

    `rgb` itself where the alpha is 255, zeros where it is 0. small: `photo_grid(rgb)`, where the caller has it already.
    """
    pure = clear_hidden(rgb, alpha)
    mixed = mixed_pixels(alpha, _grid_shape(alpha))
    first = next(mixed, None)
    if first is None:
        return pure
    foreground, background = _coarse_colors(photo_grid(rgb) if small is None else small, alpha)
    pixels, flat = rgb.reshape(-1, 3), pure.reshape(-1, 3)
    for chunk in chain((first,), mixed):
        front, back = chunk.sample(foreground), chunk.sample(background)
        share = _threefold(alpha.take(chunk.index) * np.float32(1 / 255))
        rest = 1 - share
        unexplained = pixels.take(chunk.index, axis=0) - share * front - rest * back
        front += unexplained * share / (share * share + rest * rest + np.float32(HOLD))
        flat[chunk.index] = np.clip(front, 0, 255) + np.float32(0.5)
    return pure


def _coarse_colors(small: UInt8, alpha: UInt8) -> tuple[Float32, Float32]:
    """Foreground and background on the finest grid, float32 [h, w, 3] in 0..255 each."""
    rows, columns = _grid_shape(alpha)
    color = shrink_to_grid(small, rows, columns).astype(np.float32)
    share = shrink_to_grid(alpha, rows, columns) * np.float32(1 / 255)
    levels = [(color, share)]
    while max(share.shape) > 2:
        size = (share.shape[1] + 1) // 2, (share.shape[0] + 1) // 2
        color, share = (cv2.resize(grid, size, interpolation=cv2.INTER_AREA) for grid in (color, share))
        levels.append((color.reshape(size[1], size[0], 3), share.reshape(size[1], size[0])))
    foreground = background = levels[-1][0]
    for color, share in reversed(levels):
        foreground, background = _fit_level(color, share, foreground, background)
    return foreground, background


def _fit_level(color: Float32, share: Float32, foreground: Float32, background: Float32) -> tuple[Float32, Float32]:
    """One level's colours from its photo, its alpha in 0..1 and the coarser level's colours."""
    height, width = share.shape
    held_front, held_back = (
        cv2.resize(coarser, (width, height), interpolation=cv2.INTER_LINEAR) for coarser in (foreground, background)
    )
    total, front_total = _window_mean(color), _window_mean(color * _threefold(share).reshape(color.shape))
    mean, front = _window_mean(share), _window_mean(share * share)
    crossed = mean - front
    front_weight, back_weight = front + np.float32(HOLD), 1 - mean - crossed + np.float32(HOLD)
    scale = 1 / (front_weight * back_weight - crossed * crossed)
    front_scale, back_scale, cross_scale = (
        _threefold(weight * scale).reshape(color.shape) for weight in (back_weight, front_weight, crossed)
    )
    front_sum = front_total + np.float32(HOLD) * held_front
    back_sum = total - front_total + np.float32(HOLD) * held_back
    solved_front = front_scale * front_sum - cross_scale * back_sum
    solved_back = back_scale * back_sum - cross_scale * front_sum
    return np.clip(solved_front, 0, 255), np.clip(solved_back, 0, 255)


def _window_mean(grid: Float32) -> Float32:
    mean: Float32 = cv2.blur(grid, (3, 3), borderType=cv2.BORDER_REPLICATE).reshape(grid.shape)
    return mean


def _threefold(values: Float32) -> Float32:
    """[n] or [h, w] to [n, 3] or [h × w, 3]: arithmetic on whole arrays is many times faster than with broadcasting."""
    repeated: Float32 = cv2.merge([values.reshape(-1)] * 3).reshape(-1, 3)
    return repeated


def _grid_shape(alpha: UInt8) -> tuple[int, int]:
    return min(alpha.shape[0], GRID), min(alpha.shape[1], GRID)
