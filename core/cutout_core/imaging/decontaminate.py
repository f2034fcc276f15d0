"""Foreground colours: what the subject's own colour is where the photo shows it mixed with the background.

Every pixel is I = αF + (1 − α)B with two unknown colours. Averaging keeps the equation true wherever F and B hardly
change, so it is solved from coarse to fine, as in Germer, Uelwer, Conrad and Harmeling, "Fast Multi-Level Foreground
Estimation" (ICPR 2020); but each level is one closed-form least squares fit of F and B in a 3 × 3 window, held by the
coarser level's colours, and the last level is the photo's own mixed pixels alone. Nothing iterates.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.imaging import native
from cutout_core.imaging.band import Float32, UInt8, mixed_pixels, photo_grid, set_cells, shrink_to_grid, write_pixels
from cutout_core.imaging.compose import clear_hidden, overwritable

#: Side of the finest grid, cells.
GRID = 384
#: Weight of the coarser level's colours, against the whole window on a grid and against the one pixel of the photo.
HOLD = 0.1


def decontaminate(rgb: UInt8, alpha: UInt8, small: UInt8 | None = None, *, in_place: bool = False) -> UInt8:
    """The subject's colours, uint8 [H, W, 3], of a photo with its alpha, uint8 [H, W].

    `rgb`'s where the alpha is 255, zeros where it is 0. small: `photo_grid(rgb)`, where the caller has it already.
    in_place: `rgb`, contiguous, is overwritten and returned.
    """
    if native.KERNELS is not None:
        colors = _compiled_colors(native.KERNELS, photo_grid(rgb) if small is None else small, alpha)
        pure = overwritable(rgb, in_place)
        native.KERNELS.unmix(pure, np.ascontiguousarray(alpha), colors, HOLD)
        return pure
    mixed = mixed_pixels(alpha, _grid_shape(alpha))
    first = next(mixed, None)
    if first is None:
        return clear_hidden(rgb, alpha, in_place=in_place)
    # before anything is cleared: the grid of a small photo is the photo
    foreground, background = _coarse_colors(photo_grid(rgb) if small is None else small, alpha)
    pure = clear_hidden(rgb, alpha, in_place=in_place)
    pixels = pure.reshape(-1, 3)  # mixed ones are still the photo's
    for chunk in chain((first,), mixed):
        front, back = chunk.sample(foreground), chunk.sample(background)
        level = alpha.take(chunk.index)
        # the photo minus what both colours explain of it: I - αF - (1 - α)B
        explained = front - back
        explained *= _SHARE.take(level, axis=0)
        unexplained = np.subtract(pixels.take(chunk.index, axis=0), back, out=back)
        unexplained -= explained
        unexplained *= _PULL.take(level, axis=0)
        front += unexplained
        write_pixels(pure, chunk.index, front)
    return pure


def _coarse_colors(small: UInt8, alpha: UInt8) -> tuple[Float32, Float32]:
    """Foreground and background on the finest grid, float32 [h, w, 3] in 0..255 each."""
    levels = _levels(small, alpha)
    foreground = background = levels[0][..., :3].astype(np.float32)
    for level in levels:
        foreground, background = _fit_level(level, foreground, background)
    return foreground, background


def _compiled_colors(kernels: native.Kernels, small: UInt8, alpha: UInt8) -> Float32:
    """`_coarse_colors` as `Kernels.unmix` wants them, float32 [h, w, 8]."""
    levels = _levels(small, alpha)
    colors = np.concatenate([levels[0], levels[0]], axis=2).astype(np.float32)
    for level in levels:
        colors = kernels.fit_colors(level, colors, HOLD)
    return colors


def _levels(small: UInt8, alpha: UInt8) -> list[UInt8]:
    """Photo and alpha, uint8 [h, w, 4], from at most 2 × 2 cells to the finest grid."""
    rows, columns = _grid_shape(alpha)
    levels: list[UInt8] = [cv2.merge([shrink_to_grid(small, rows, columns), shrink_to_grid(alpha, rows, columns)])]
    while max(levels[-1].shape[:2]) > 2:
        height, width = ((side + 1) // 2 for side in levels[-1].shape[:2])
        coarser = cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA)
        levels.append(coarser.reshape(height, width, 4))
    return levels[::-1]


def _fit_level(level: UInt8, foreground: Float32, background: Float32) -> tuple[Float32, Float32]:
    """One level's colours from its photo and alpha, uint8 [h, w, 4], and the coarser level's colours.

    Fitted in and beside cells that are neither empty nor opaque; no other is ever looked up. The windows' sums are
    those of whole numbers: exact, and in a quarter of the memory.
    """
    height, width = level.shape[:2]
    foreground, background = (
        cv2.resize(coarser, (width, height), interpolation=cv2.INTER_LINEAR).reshape(-1, 3)
        for coarser in (foreground, background)
    )
    alpha = cv2.extractChannel(level, 3)
    index = set_cells(cv2.dilate(cv2.inRange(alpha, 1, 254), _NEIGHBOURS))
    if len(index):
        weighted = cv2.multiply(level, cv2.merge([alpha] * 4), dtype=cv2.CV_16U)
        total = _window_sums(level, cv2.CV_16U, index) * np.float32(1 / 9)
        front = _window_sums(weighted, cv2.CV_32F, index) * np.float32(1 / (9 * 255))
        mean, squares = total[:, 3] * np.float32(1 / 255), front[:, 3] * np.float32(1 / 255)
        crossed = mean - squares
        front_weight, back_weight = squares + np.float32(HOLD), 1 - mean - crossed + np.float32(HOLD)
        scale = 1 / (front_weight * back_weight - crossed * crossed)
        front_scale, back_scale, cross_scale = (
            _threefold(weight * scale) for weight in (back_weight, front_weight, crossed)
        )
        front_sum = front[:, :3] + np.float32(HOLD) * foreground.take(index, axis=0)
        back_sum = total[:, :3] - front[:, :3] + np.float32(HOLD) * background.take(index, axis=0)
        foreground[index] = np.clip(front_scale * front_sum - cross_scale * back_sum, 0, 255)
        background[index] = np.clip(back_scale * back_sum - cross_scale * front_sum, 0, 255)
    return foreground.reshape(height, width, 3), background.reshape(height, width, 3)


def _window_sums(grid: npt.NDArray[Any], depth: int, index: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Sums over the 3 × 3 windows around the cells at `index` of [h, w, 4]: [n, 4] of OpenCV's type `depth`."""
    sums = cv2.boxFilter(grid, depth, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
    chosen: npt.NDArray[Any] = sums.reshape(-1, 4).take(index, axis=0)
    return chosen


def _threefold(values: Float32) -> Float32:
    """[n] to [n, 3]: arithmetic on whole arrays is many times faster than with broadcasting."""
    repeated: Float32 = cv2.merge([values] * 3).reshape(-1, 3)
    return repeated


def _grid_shape(alpha: UInt8) -> tuple[int, int]:
    return min(alpha.shape[0], GRID), min(alpha.shape[1], GRID)


_NEIGHBOURS = np.ones((3, 3), np.uint8)
#: For each level of alpha, three times: its share α, and that of what is unexplained which goes to the foreground.
_SHARE = _threefold(np.arange(256, dtype=np.float32) / 255)
_PULL = _SHARE / (_SHARE**2 + (1 - _SHARE) ** 2 + np.float32(HOLD))
