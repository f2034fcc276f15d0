"""Straight-alpha compositing in exact integer arithmetic (Porter and Duff 1984, operator over).

Almost every pixel of a cut-out is either opaque or empty: these two kinds are copied and only the mixed ones computed.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.imaging import native

UInt8 = npt.NDArray[np.uint8]

#: Rows at once where a photo is gone over in strips that stay in the processor's cache.
_STRIP = 64


def clear_hidden(rgb: UInt8, alpha: UInt8, *, in_place: bool = False) -> UInt8:
    """`rgb` with zeros where `alpha` is 0: nothing of the background leaks out, and the file is smaller.

    in_place: `rgb` itself is changed, which saves a large photo most of the time.
    """
    cleared = rgb if in_place else rgb.copy()
    nothing = np.zeros((_STRIP, *rgb.shape[1:]), np.uint8)
    for top in range(0, len(rgb), _STRIP):
        strip = cleared[top : top + _STRIP]
        cv2.copyTo(nothing[: len(strip)], (alpha[top : top + _STRIP] == 0).view(np.uint8), strip)
    return cleared


def premultiply(rgb: UInt8, alpha: UInt8) -> UInt8:
    """uint8 [H, W, 3] times alpha, round(c × a / 255) for each value."""
    return _divide_255(np.multiply(rgb, alpha[..., None], dtype=np.uint16))


def flatten(rgb: UInt8, alpha: UInt8, color: tuple[int, int, int], *, in_place: bool = False) -> UInt8:
    """uint8 [H, W, 3] on an opaque colour: (c × a + b × (255 − a) + 127) // 255 for each value.

    in_place: `rgb` itself may be changed.
    """
    if native.KERNELS is not None:
        return _compiled(native.KERNELS, rgb, alpha, np.array(color, np.uint8), in_place)
    return _blend(rgb, alpha, _filled(rgb.shape, color), _mixed(alpha), np.array(color, np.uint16))


def flatten_on(rgb: UInt8, alpha: UInt8, picture: UInt8, *, in_place: bool = False) -> UInt8:
    """`flatten` on a picture, uint8 [H, W, 3]."""
    if native.KERNELS is not None:
        return _compiled(native.KERNELS, rgb, alpha, np.ascontiguousarray(picture), in_place)
    mixed = _mixed(alpha)
    behind = picture.reshape(-1, 3).take(mixed, axis=0)
    return _blend(rgb, alpha, picture.copy(), mixed, behind)


def overwritable(rgb: UInt8, in_place: bool) -> UInt8:
    """`rgb` itself where it may and can be overwritten, else a copy."""
    return rgb if in_place and rgb.flags.c_contiguous and rgb.flags.writeable else rgb.copy()


def _compiled(kernels: native.Kernels, rgb: UInt8, alpha: UInt8, behind: UInt8, in_place: bool) -> UInt8:
    flat = overwritable(rgb, in_place)
    kernels.flatten(flat, np.ascontiguousarray(alpha), behind)
    return flat


def _blend(
    rgb: UInt8, alpha: UInt8, flat: UInt8, mixed: npt.NDArray[np.intp], behind: npt.NDArray[np.integer[Any]]
) -> UInt8:
    """`rgb` over `flat`, which is overwritten; behind: its values at the `mixed` pixels, [n, 3] or [3]."""
    flat = cv2.copyTo(rgb, alpha, flat)
    weight = alpha.take(mixed).astype(np.uint16)[:, None]
    back = np.multiply(behind, 255 - weight, dtype=np.uint16)
    blended = np.multiply(rgb.reshape(-1, 3).take(mixed, axis=0), weight, dtype=np.uint16)
    flat.reshape(-1, 3)[mixed] = _divide_255(np.add(blended, back, dtype=np.uint16))
    return flat


def over(rgb: UInt8, alpha: UInt8, color: tuple[int, int, int, int]) -> tuple[UInt8, UInt8]:
    """The image over a colour that may be translucent; returns straight RGB and alpha.

    With a and b the alphas of image and colour in 0..1: alpha is a + b (1 − a), RGB the mean of both colours weighted
    by a and b (1 − a); each value is rounded to nearest from its exact ratio. RGB is zero where the alpha is.
    """
    *color_rgb, color_alpha = color
    if color_alpha == 0:
        return clear_hidden(rgb, alpha), alpha
    out = cv2.copyTo(rgb, alpha, _filled(rgb.shape, color_rgb))
    out_alpha = np.where(alpha == 0, np.uint8(color_alpha), alpha)
    mixed = _mixed(alpha)
    levels = alpha.take(mixed).astype(np.uint32)
    front = levels * np.uint32(255)
    back = (np.uint32(255) - levels) * np.uint32(color_alpha)
    total = front + back
    out_alpha.reshape(-1)[mixed] = (total + 127) // 255
    weighted = rgb.reshape(-1, 3).take(mixed, axis=0) * front[:, None] + np.array(color_rgb, np.uint32) * back[:, None]
    out.reshape(-1, 3)[mixed] = (weighted + total[:, None] // 2) // total[:, None]
    return out, out_alpha


def _filled(shape: tuple[int, ...], color: tuple[int, ...] | list[int]) -> UInt8:
    filled = np.empty(shape, np.uint8)
    filled[0] = np.array(color, np.uint8)
    filled[1:] = filled[0]  # whole rows, many times faster than pixel by pixel
    return filled


def _mixed(alpha: UInt8) -> npt.NDArray[np.intp]:
    """Flat indices of the pixels that are neither opaque nor empty."""
    return np.flatnonzero(alpha - np.uint8(1) < 254)  # 0 wraps round to 255


def _divide_255(values: npt.NDArray[np.uint16]) -> UInt8:
    """(v + 127) // 255 for v up to 255², without a division: v / 255 is never halfway between two integers."""
    rounded = values + np.uint16(128)
    return ((rounded + (rounded >> 8)) >> 8).astype(np.uint8)
