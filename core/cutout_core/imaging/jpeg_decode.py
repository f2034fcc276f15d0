"""JPEG pixels through libjpeg-turbo, at full size or scaled inside the inverse DCT.

Where the line is drawn between a photo and a truncated file: libjpeg's warnings alone never refuse one, so trailing
garbage, a missing EOI marker or a flipped bit give what a viewer shows. A file is truncated when more than
`MAX_MISSING` of its rows have no data, or when a progressive one breaks off before all but the last bit of its
coefficients is there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import ImageFile

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.jpeg_file import JpegFile, read_jpeg_end
from cutout_core.imaging.pillow_image import open_image
from cutout_core.imaging.wheels import fast_module

simplejpeg = fast_module("simplejpeg", "JPEG photos are decoded at full size by Pillow, several times slower")

#: Share of the rows that may be missing at the end of a file.
MAX_MISSING = 0.02

_EOI = b"\xff\xd9"
#: Entropy-coded bytes that let the decoder finish the last block that is there; a real scan never has 16 of them.
_LOOK_AHEAD = b"\0" * 16

UInt8 = npt.NDArray[np.uint8]


def decode_jpeg(data: bytes, jpeg: JpegFile, min_side: int = 0) -> UInt8:
    """uint8 [H, W, 3] RGB, or [H, W, 1] for grey, as stored (not upright). Not for CMYK.

    With `min_side` the result may be scaled by n/8 as long as both its sides stay at least that long; a side of N
    pixels becomes ceil(N × n / 8). Raises `CutoutError` TRUNCATED_IMAGE or CORRUPT_IMAGE, and ValueError where
    libjpeg-turbo's simple interface does not know the file's kind or is not installed: `load_with_pillow` is for those.
    """
    if simplejpeg is None:
        raise ValueError("simplejpeg is not installed")
    try:
        return _decode(data, jpeg, min_side, strict=True)
    except ValueError:
        return _decode_damaged(data, jpeg, min_side)


def scaled_extent(jpeg: JpegFile, width: int, height: int) -> tuple[float, float]:
    """Width and height in scaled pixels that the image covers; the last column and row may be covered in part."""
    for eighths in range(1, 8):
        if -(-jpeg.width * eighths // 8) == width and -(-jpeg.height * eighths // 8) == height:
            return jpeg.width * eighths / 8, jpeg.height * eighths / 8
    return float(width), float(height)


def _decode(data: bytes, jpeg: JpegFile, min_side: int, *, strict: bool) -> UInt8:
    assert simplejpeg is not None
    pixels: UInt8 = simplejpeg.decode_jpeg(
        data,
        colorspace="GRAY" if jpeg.components == 1 else "RGB",
        min_height=min_side,
        min_width=min_side,
        strict=strict,
    )
    return pixels


def _decode_damaged(data: bytes, jpeg: JpegFile, min_side: int) -> UInt8:
    end = read_jpeg_end(data, jpeg)
    if end.scans == 0:
        raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    whole = data[: end.end] + _EOI
    if not end.has_eoi and end.complete:
        try:
            return _decode(whole, jpeg, min_side, strict=True)
        except ValueError:
            pass  # data is missing, not only the marker
    pixels = _decode(whole, jpeg, 0, strict=False)
    if end.scans > 1 or jpeg.progressive:
        missing = not (end.has_eoi or end.visible)
    else:
        missing = _missing_rows(data[: end.end], pixels) > MAX_MISSING * jpeg.height
    if missing:
        raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    return _decode(whole, jpeg, min_side, strict=False)


def load_with_pillow(data: bytes, jpeg: JpegFile) -> ImageFile.ImageFile:
    """The loaded Pillow image of a JPEG that `decode_jpeg` is not for. Raises `CutoutError` or what Pillow raises."""
    image = open_image("jpeg", data)
    try:
        image.load()
    except OSError:
        end = read_jpeg_end(data, jpeg)
        image = open_image("jpeg", data[: end.end] + _EOI)
        image.load()
        body = data[: end.end]
        few = end.scans == 1 and _missing_rows(body, np.asarray(image)) <= MAX_MISSING * jpeg.height
        if not (end.visible or few):
            raise CutoutError(ErrorCode.TRUNCATED_IMAGE) from None
    return image


def _missing_rows(body: bytes, tolerant: UInt8) -> int:
    """Rows at the bottom that a decoder which never invents data could not reach.

    Pillow's decoder stops where the data stop and leaves the rows below at zero, where libjpeg's tolerant mode fills
    them in: rows that differ between the two are missing.
    """
    partial = open_image("jpeg", body + _LOOK_AHEAD)
    try:
        partial.load()
    except Exception:  # meant to fail; what it had reached is compared
        partial.tile = []
    try:
        reached = np.asarray(partial).reshape(len(tolerant), -1)
    except Exception:  # not even begun
        return len(tolerant)
    same = (reached == tolerant.reshape(len(tolerant), -1)).all(axis=1)
    return len(tolerant) if not same.any() else int(np.argmax(same[::-1]))
