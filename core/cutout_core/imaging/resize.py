"""Resampling of colours: down to the network's square, and down to the size that a caller asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from cutout_core.contract import Box
from cutout_core.imaging import native
from cutout_core.imaging.orientation import Extent

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """rgb: uint8 [H, W, 3]. extent: the part of it (left, top, right, bottom, pixels) that the image covers."""

    rgb: UInt8
    extent: Extent


def shrink(rgb: UInt8, size: int, extent: Extent | None = None) -> UInt8:
    """The whole image, aspect not kept, as uint8 [size, size, 3]; smaller images are enlarged.

    `extent` is a Picture's; None for all of `rgb`. Exact 2 × 2 averages while both sides stay at least `size`, then
    Lanczos (a = 3), the filter that U²-Net is commonly fed with: within a few levels of Lanczos alone, and many times
    faster on large photos.
    """
    height, width = rgb.shape[:2]
    return squeeze(halve(Picture(rgb, extent or (0.0, 0.0, float(width), float(height))), size), size)


def halve(picture: Picture, size: int) -> Picture:
    """`shrink`'s first half: 2 × 2 averages while both sides stay at least `size`."""
    rgb, (left, top, right, bottom) = picture.rgb, picture.extent
    while min(rgb.shape[:2]) >= 2 * size:
        height, width = rgb.shape[:2]
        if height % 2 or width % 2:  # the added row or column lies outside the extent
            rgb = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            height, width = rgb.shape[:2]
        rgb = cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        left, top, right, bottom = left / 2, top / 2, right / 2, bottom / 2
    return Picture(rgb, (left, top, right, bottom))


def squeeze(picture: Picture, size: int) -> UInt8:
    """`shrink`'s second half: Lanczos, whatever the size; by Pillow where it was not compiled, two times slower.

    A picture that is that square already is returned itself, as Lanczos between pixels' own places changes nothing.
    """
    if picture.rgb.shape[:2] == (size, size) and picture.extent == (0, 0, size, size):
        return picture.rgb
    if native.KERNELS is not None:
        return native.KERNELS.lanczos(np.ascontiguousarray(picture.rgb), picture.extent, size)
    resized = Image.fromarray(picture.rgb).resize((size, size), Image.Resampling.LANCZOS, box=picture.extent)
    return np.asarray(resized)


def cut(pixels: UInt8, part: Box) -> UInt8:
    """The part of uint8 [H, W] or [H, W, 3], contiguous; the same array where it is all of it."""
    if pixels.shape[:2] == (part.height, part.width):
        return pixels
    rows, columns = slice(part.top, part.top + part.height), slice(part.left, part.left + part.width)
    return np.ascontiguousarray(pixels[rows, columns])


def result_size(width: int, height: int, megapixels: float | None) -> tuple[int, int]:
    """Width and height of the result: at most `megapixels` × 10⁶ pixels, the aspect kept, never enlarged."""
    if megapixels is None or width * height <= megapixels * 1e6:
        return width, height
    scale = math.sqrt(megapixels * 1e6 / (width * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def downscale(rgb: UInt8, alpha: UInt8 | None, width: int, height: int) -> tuple[UInt8, UInt8 | None]:
    """Area-averaged to `width` × `height`, both at most the source's.

    With an alpha the colours are averaged by their visibility, so that what is hidden leaves no fringe.
    """
    if rgb.shape[:2] == (height, width):
        return rgb, alpha
    size = width, height
    if alpha is None:
        return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), None
    weights = alpha.astype(np.float32)
    weighted = cv2.resize(rgb * weights[..., None], size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(weights, size, interpolation=cv2.INTER_AREA)
    weighted /= np.maximum(mean, 1e-6).reshape(height, width, 1)
    small = np.rint(np.minimum(weighted.reshape(height, width, 3), 255)).astype(np.uint8)
    return small, np.rint(mean).astype(np.uint8).reshape(height, width)
