"""Encoded files to upright 8-bit RGB, at full size or only as large as the network needs.

Files that a careful viewer opens are decoded: trailing bytes, harmless warnings, a missing end marker. A file that
lacks a substantial part of its pixels is TRUNCATED_IMAGE: for JPEG see `jpeg_decode`; in the other formats, whose
decoders do not say how far they came, any missing pixel counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from cutout_core.contract import CutoutError, ErrorCode, Limits, ResultWarning
from cutout_core.imaging.color_profile import profile_space
from cutout_core.imaging.header import ImageHeader, read_header
from cutout_core.imaging.jpeg_decode import decode_jpeg, load_with_pillow, scaled_extent
from cutout_core.imaging.jpeg_file import read_jpeg, refuse_scan_bomb
from cutout_core.imaging.orientation import Extent, apply_orientation, orient_extent
from cutout_core.imaging.pillow_image import open_image
from cutout_core.imaging.pixels import image_arrays, profile_of, unless_opaque
from cutout_core.imaging.png_decode import decode_png
from cutout_core.imaging.png_file import only_needed_chunks
from cutout_core.imaging.quiet import quiet_pillow
from cutout_core.imaging.truncation import unreadable

UInt8 = npt.NDArray[np.uint8]

#: Formats whose decoder leaves the orientation to the caller.
_STORED_AS_IS = ("jpeg", "png", "webp", "avif")


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Upright pixels of one file.

    header: what `read_header` found.
    rgb: uint8 [H, W, 3], contiguous.
    alpha: uint8 [H, W], straight, or None where every pixel is opaque.
    icc: the RGB profile that the colours are in, or None for sRGB or unknown.
    warnings: ANIMATED_FIRST_FRAME, COLOR_PROFILE_IGNORED.
    extent: the part of `rgb` that the image covers, in pixels; smaller than the array, by less than a pixel, only
        after a scaled decode of a size that is no multiple of the scale.
    """

    header: ImageHeader
    rgb: UInt8
    alpha: UInt8 | None
    icc: bytes | None
    extent: Extent
    warnings: list[ResultWarning] = field(default_factory=list)


def decode(data: bytes, limits: Limits) -> DecodedImage:
    """Decodes the first frame at full size. Raises `CutoutError` like `read_header`, nothing else."""
    return _decode(data, limits, 0)


def decode_reduced(data: bytes, limits: Limits, min_side: int) -> DecodedImage:
    """Like `decode`, but a JPEG is scaled while decoding, as far as both sides stay at least `min_side` pixels."""
    return _decode(data, limits, min_side)


def _decode(data: bytes, limits: Limits, min_side: int) -> DecodedImage:
    header = read_header(data, limits)
    warnings = [ResultWarning.ANIMATED_FIRST_FRAME] if header.animated else []
    try:
        with quiet_pillow():
            decoded = _decode_jpeg(data, header, min_side, warnings) if header.format == "jpeg" else None
            return decoded or _decode_whole(data, header, warnings)
    except Exception as error:  # decoders raise SyntaxError, struct.error, OSError, MemoryError and more
        raise unreadable(header.format, data, error) from error


def _decode_jpeg(data: bytes, header: ImageHeader, min_side: int, warnings: list[ResultWarning]) -> DecodedImage | None:
    """None where the fast path does not know this kind of JPEG."""
    jpeg = read_jpeg(data)
    refuse_scan_bomb(data, jpeg)
    if jpeg.components == 4:
        return None
    try:
        stored = decode_jpeg(data, jpeg, min_side)
    except ValueError:
        return None
    height, width = stored.shape[:2]
    extent = (0.0, 0.0, *scaled_extent(jpeg, width, height))
    if jpeg.components == 3 and (jpeg.icc is None or profile_space(jpeg.icc) == "RGB"):
        rgb, icc = stored, jpeg.icc
    elif jpeg.icc is None:
        rgb, icc = cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB), None
    else:
        image = Image.fromarray(stored[..., 0] if jpeg.components == 1 else stored)
        image.info["icc_profile"] = jpeg.icc
        rgb, _, icc = image_arrays(image, warnings)
    return DecodedImage(
        header=header,
        rgb=apply_orientation(rgb, header.orientation),
        alpha=None,
        icc=icc,
        extent=orient_extent(extent, (width, height), header.orientation),
        warnings=warnings,
    )


def _decode_whole(data: bytes, header: ImageHeader, warnings: list[ResultWarning]) -> DecodedImage:
    rgb, alpha, icc = _decode_png(data, header, warnings) or image_arrays(_load(data, header.format), warnings)
    if header.format in _STORED_AS_IS:
        rgb = apply_orientation(rgb, header.orientation)
        alpha = None if alpha is None else apply_orientation(alpha, header.orientation)
    height, width = rgb.shape[:2]
    if (width, height) != (header.width, header.height):
        raise CutoutError(ErrorCode.CORRUPT_IMAGE, "The pixels do not have the size that the header tells.")
    return DecodedImage(header, rgb, alpha, icc, (0.0, 0.0, float(width), float(height)), warnings)


def _decode_png(
    data: bytes, header: ImageHeader, warnings: list[ResultWarning]
) -> tuple[UInt8, UInt8 | None, bytes | None] | None:
    """As `image_arrays`; None for what is no PNG, or none of the kinds that the fast path knows."""
    if header.format != "png" or header.animated:
        return None
    try:
        icc = open_image("png", data).info.get("icc_profile") or None
        decoded = decode_png(data)
    except Exception:  # the slow path knows what is wrong, and what can be left out
        return None
    if decoded is None:
        return None
    rgb, alpha = decoded
    return rgb, unless_opaque(alpha), profile_of("RGB", icc, warnings)


def _load(data: bytes, format_name: str) -> ImageFile.ImageFile:
    if format_name == "jpeg":
        return load_with_pillow(data, read_jpeg(data))
    try:
        image = open_image(format_name, data)
        image.load()
    except Exception:
        if format_name != "png":
            raise
        image = open_image(format_name, only_needed_chunks(data))
        image.load()
    return image
