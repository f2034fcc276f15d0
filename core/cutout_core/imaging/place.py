"""Pixels into a frame: copied where the scale is 1, else resampled with their visibility as weight.

Colours are resampled premultiplied by alpha (Porter and Duff 1984), so that hidden ones leave no fringe: area averages
where the picture shrinks, bicubic where it grows.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box
from cutout_core.imaging.frame import Frame, source_span

#: Alpha from which a pixel counts as visible: 5 %.
VISIBLE = 13
#: Rows are brought back to straight colours in bands of about this many pixels.
_BAND = 1 << 18

UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]


def visible_box(alpha: UInt8, least: int = VISIBLE) -> Box | None:
    """The smallest box with every pixel of a uint8 [H, W] alpha of at least `least`; None where there is none."""
    _, shown = cv2.threshold(alpha, least - 1, 255, cv2.THRESH_BINARY)
    left, top, width, height = cv2.boundingRect(shown)
    return Box(left, top, width, height) if width and height else None


def place(rgb: UInt8, alpha: UInt8, frame: Frame, origin: tuple[int, int] = (0, 0)) -> tuple[UInt8, UInt8]:
    """Straight colours uint8 [h, w, 3] and alpha uint8 [h, w] of the frame's size, zero where nothing is.

    rgb: uint8 [H, W, 3], alpha: uint8 [H, W]: the photo, or the part of it whose top left corner is `origin`.
    """
    out_rgb = np.zeros((frame.height, frame.width, 3), np.uint8)
    out_alpha = np.zeros((frame.height, frame.width), np.uint8)
    content = visible_box(alpha, 1)
    if content is None:
        return out_rgb, out_alpha
    left, top, right, bottom = source_span(frame, content, origin)
    if left >= right or top >= bottom:
        return out_rgb, out_alpha
    part = slice(top, bottom), slice(left, right)
    x0, x1 = (frame.left + frame.scale_x * (x + origin[0]) for x in (left, right))
    y0, y1 = (frame.top + frame.scale_y * (y + origin[1]) for y in (top, bottom))
    x, y = round(x0), round(y0)
    columns, rows = max(1, round(x1) - x), max(1, round(y1) - y)
    shown = slice(max(0, y), min(frame.height, y + rows)), slice(max(0, x), min(frame.width, x + columns))
    inside = slice(shown[0].start - y, shown[0].stop - y), slice(shown[1].start - x, shown[1].stop - x)
    if frame.scale_x == frame.scale_y == 1:
        out_rgb[shown] = cv2.copyTo(rgb[part], alpha[part])[inside]
        out_alpha[shown] = alpha[part][inside]
        return out_rgb, out_alpha
    weighted = _premultiplied(rgb[part], alpha[part])
    if frame.scale_x < 1 or frame.scale_y < 1:
        resampled = cv2.resize(weighted, (columns, rows), interpolation=cv2.INTER_AREA)[inside]
    else:
        size = shown[1].stop - shown[1].start, shown[0].stop - shown[0].start
        back = np.array(
            [
                [1 / frame.scale_x, 0, (shown[1].start + 0.5 - x0) / frame.scale_x - 0.5],
                [0, 1 / frame.scale_y, (shown[0].start + 0.5 - y0) / frame.scale_y - 0.5],
            ]
        )
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        resampled = cv2.warpAffine(weighted, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    out_rgb[shown], out_alpha[shown] = _straight(resampled)
    return out_rgb, out_alpha


def _premultiplied(rgb: UInt8, alpha: UInt8) -> UInt16:
    """uint16 [H, W, 4]: half of colour × alpha, and of 255 × alpha; the other half is for what a bicubic overshoots."""
    four = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)  # its fourth value is 255
    weights = cv2.cvtColor(np.ascontiguousarray(alpha), cv2.COLOR_GRAY2RGBA)
    cv2.insertChannel(np.ascontiguousarray(alpha), weights, 3)
    product: UInt16 = cv2.multiply(four, weights, scale=0.5, dtype=cv2.CV_16U)
    return product


def _straight(weighted: UInt16) -> tuple[UInt8, UInt8]:
    """Back from `_premultiplied`."""
    height, width = weighted.shape[:2]
    rgb, alpha = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
    step = max(1, _BAND // width)
    for top in range(0, height, step):
        band = weighted[top : top + step].astype(np.float32)
        weight = band[..., 3]
        level = np.minimum(np.rint(weight * np.float32(2 / 255)), 255)
        share = np.where(level > 0, np.float32(255) / np.maximum(weight, 1), np.float32(0))
        rgb[top : top + step] = np.minimum(np.rint(band[..., :3] * share[..., None]), 255)
        alpha[top : top + step] = level
    return rgb, alpha
