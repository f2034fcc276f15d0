"""Writes the result: PNG, lossless WebP, JPEG or a mask."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.png import write_png
from cutout_core.imaging.wheels import fast_module

simplejpeg = fast_module("simplejpeg", "JPEG results are written by Pillow")

#: Longest side that the format can hold: RFC 9649 section 2.6, and libjpeg's own limit below the 65535 of T.81.
MAX_SIDE = {"webp": 16383, "jpeg": 65500, "zip": 65500}

JPEG_QUALITY = 90
#: No chroma subsampling: a saturated subject on white keeps its edge, for about 40 % more bytes.
JPEG_SUBSAMPLING = "444"

_ICC_MARKER = b"ICC_PROFILE\0"
_ICC_PART = 65533 - len(_ICC_MARKER) - 2

UInt8 = npt.NDArray[np.uint8]


def encode(
    rgb: UInt8,
    alpha: UInt8 | None,
    output: str,
    icc: bytes | None,
    dpi: int | None = None,
    quality: int | None = None,
) -> bytes:
    """The encoded file.

    rgb: uint8 [H, W, 3]. alpha: uint8 [H, W] or None for an opaque image. output: `png`, `webp`, `jpeg` (takes no
    alpha) or `mask` (the alpha alone, as 8-bit grey PNG). icc: the RGB profile of the colours, embedded. dpi: written
    into PNG and JPEG. quality: of JPEG (default 90); makes WebP lossy; 0 packs PNG hardest.
    Raises `CutoutError` INVALID_OPTION for `output` where the format cannot hold the size.
    """
    check_size(rgb.shape[1], rgb.shape[0], output)
    if output == "mask" and alpha is not None:
        return write_png(alpha, dpi=dpi, small=quality == 0)
    if output == "png":
        return write_png(rgb, alpha, icc, dpi, small=quality == 0)
    if output == "webp":
        return _write_webp(rgb, alpha, icc, quality)
    if output == "jpeg" and alpha is None:
        return _write_jpeg(rgb, icc, dpi, quality)
    raise ValueError(f"cannot write {output!r} {'with' if alpha is not None else 'without'} alpha")


def write_grey(grey: UInt8, output: str, dpi: int | None, quality: int | None) -> bytes:
    """The file of uint8 [H, W] as `png`, `webp` (which has no grey: three equal channels) or `jpeg`.

    quality, errors: as for `encode`.
    """
    check_size(grey.shape[1], grey.shape[0], output)
    if output == "png":
        return write_png(grey, dpi=dpi, small=quality == 0)
    if output == "webp":
        return _write_webp(np.repeat(grey[..., None], 3, axis=2), None, None, quality)
    return _write_jpeg(grey, None, dpi, quality)


def check_size(width: int, height: int, output: str) -> None:
    """Raises `CutoutError` INVALID_OPTION where the output format cannot hold an image of this size."""
    limit = MAX_SIDE.get(output)
    if limit is not None and max(width, height) > limit:
        raise CutoutError(
            ErrorCode.INVALID_OPTION,
            f"{output} holds at most {limit} pixels a side and the result has {width} × {height}; "
            "take png, or a smaller size.",
            field="output",
        )


def _write_webp(rgb: UInt8, alpha: UInt8 | None, icc: bytes | None, quality: int | None) -> bytes:
    image = Image.fromarray(rgb if alpha is None else np.dstack((rgb, alpha)))
    file = BytesIO()
    if quality is None:
        image.save(file, "WEBP", lossless=True, method=0, quality=0, exact=True, icc_profile=icc or b"")
    else:
        image.save(file, "WEBP", quality=quality, method=4, icc_profile=icc or b"")
    return file.getvalue()


def _write_jpeg(image: UInt8, icc: bytes | None, dpi: int | None, quality: int | None) -> bytes:
    """RGB or grey; the profile in APP2 segments right after JFIF's APP0 (ICC.1:2022 annex B.4)."""
    file = _jpeg_file(image, quality or JPEG_QUALITY)
    if dpi is not None:  # JFIF 1.02: units 1 for dots an inch, then the densities across and down
        file = b"".join((file[:13], b"\x01", dpi.to_bytes(2, "big") * 2, file[18:]))
    if icc is None:
        return file
    parts = [icc[start : start + _ICC_PART] for start in range(0, len(icc), _ICC_PART)]
    if len(parts) > 255:
        return file
    after_app0 = 4 + int.from_bytes(file[4:6], "big")
    segments = [
        b"\xff\xe2"
        + (2 + len(_ICC_MARKER) + 2 + len(part)).to_bytes(2, "big")
        + _ICC_MARKER
        + bytes((number, len(parts)))
        + part
        for number, part in enumerate(parts, 1)
    ]
    return b"".join((file[:after_app0], *segments, file[after_app0:]))


def _jpeg_file(image: UInt8, quality: int) -> bytes:
    grey = image.ndim == 2
    if simplejpeg is None:
        plain = BytesIO()
        Image.fromarray(image).save(plain, "JPEG", quality=quality, subsampling="4:4:4")
        return plain.getvalue()
    file: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image[..., None] if grey else image),
        quality=quality,
        colorspace="GRAY" if grey else "RGB",
        colorsubsampling="Gray" if grey else JPEG_SUBSAMPLING,
    )
    return file
