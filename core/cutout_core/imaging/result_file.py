"""Pixels of a result to the file that the options ask for: format, size in bytes, resolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cutout_core.contract import Options
from cutout_core.imaging.archive import write_zip
from cutout_core.imaging.encode import JPEG_QUALITY, encode, write_grey
from cutout_core.imaging.extend import extend_colors
from cutout_core.imaging.fit_bytes import cannot_fit, search_quality

#: First quality of a lossy WebP, which is only written where a lossless one is too large.
WEBP_QUALITY = 95

#: Writes the file of a quality, or as it comes.
_Write = Callable[[int | None], bytes]

UInt8 = npt.NDArray[np.uint8]


def write_alpha(alpha: UInt8, options: Options) -> bytes:
    """The file of a result that is the alpha alone, uint8 [H, W]: grey, in the format of `output`."""
    kind = "png" if options.output == "mask" else options.output
    return _fitted(kind, options, lambda quality: write_grey(alpha, kind, options.dpi, quality))


def write_image(rgb: UInt8, alpha: UInt8 | None, options: Options, icc: bytes | None) -> bytes:
    """The file of a png, webp or jpeg. rgb: uint8 [H, W, 3]. alpha: uint8 [H, W], None where opaque."""
    return _fitted(options.output, options, lambda q: encode(rgb, alpha, options.output, icc, options.dpi, q))


def write_archive(rgb: UInt8, alpha: UInt8, options: Options, icc: bytes | None) -> bytes:
    """The zip of the subject's colours, carried on around it, and its alpha."""
    color = extend_colors(rgb, alpha)
    mask = write_grey(alpha, "png", options.dpi, None)

    def write(quality: int) -> bytes:
        return write_zip(encode(color, None, "jpeg", icc, options.dpi, quality), mask)

    if options.max_bytes is None:
        return write(JPEG_QUALITY)
    return search_quality(write, options.max_bytes, JPEG_QUALITY)


def _fitted(kind: str, options: Options, write: _Write) -> bytes:
    """`write` as it comes, or with `max_bytes` of the quality (0: packed hardest, for PNG) that fits."""
    limit = options.max_bytes
    file = write(None)
    if limit is None or len(file) <= limit:
        return file
    if kind == "png":
        packed = write(0)
        if len(packed) > limit:
            raise cannot_fit(len(packed), limit, "as a PNG, which has no quality to lower as webp and jpeg have")
        return packed
    return search_quality(write, limit, JPEG_QUALITY if kind == "jpeg" else WEBP_QUALITY)
