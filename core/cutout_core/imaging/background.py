"""The picture behind a subject: read under the same limits as a photo, and fitted to the result.

Every error names the field `background_image`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import CutoutError, Limits
from cutout_core.imaging.compose import flatten
from cutout_core.imaging.decode import decode_reduced
from cutout_core.imaging.header import ImageHeader, read_header

FIELD = "background_image"
_WHITE = (255, 255, 255)

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """rgb: uint8 [H, W, 3], opaque. icc: the RGB profile that the colours are in, None for sRGB or unknown."""

    rgb: UInt8
    icc: bytes | None


def read_background_header(data: bytes, limits: Limits) -> ImageHeader:
    """`read_header` of the picture for the background. Raises `CutoutError` like it."""
    try:
        return read_header(data, limits)
    except CutoutError as error:
        raise _named(error) from error


def read_background(data: bytes, limits: Limits, width: int, height: int) -> Backdrop:
    """The picture, grown or shrunk to cover `width` × `height` pixels, its middle shown; what it has of transparency
    is put on white. Raises `CutoutError` like `read_header`."""
    try:
        decoded = decode_reduced(data, limits, max(width, height))
    except CutoutError as error:
        raise _named(error) from error
    left, top = math.ceil(decoded.extent[0]), math.ceil(decoded.extent[1])
    right, bottom = max(left + 1, math.floor(decoded.extent[2])), max(top + 1, math.floor(decoded.extent[3]))
    rgb = decoded.rgb if decoded.alpha is None else flatten(decoded.rgb, decoded.alpha, _WHITE)
    return Backdrop(cover(rgb[top:bottom, left:right], width, height), decoded.icc)


def cover(rgb: UInt8, width: int, height: int) -> UInt8:
    """uint8 [H, W, 3] to uint8 [height, width, 3]: the aspect kept, the middle shown; untouched where it fits."""
    rows, columns = rgb.shape[:2]
    if (rows, columns) == (height, width):
        return rgb
    scale = max(width / columns, height / rows)
    shown_columns, shown_rows = min(columns, width / scale), min(rows, height / scale)
    left, top = (columns - shown_columns) / 2, (rows - shown_rows) / 2
    x0, y0 = math.floor(left), math.floor(top)
    x1, y1 = min(columns, math.ceil(left + shown_columns)), min(rows, math.ceil(top + shown_rows))
    part = np.ascontiguousarray(rgb[y0:y1, x0:x1])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted: UInt8 = cv2.resize(part, (width, height), interpolation=method)
    return fitted


def _named(error: CutoutError) -> CutoutError:
    return CutoutError(error.code, f"{FIELD}: {error.message}", field=FIELD)
