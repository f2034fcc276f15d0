"""What a file is, from its header alone: format, upright size, orientation, animation. No pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode, Limits
from cutout_core.imaging.exif import exif_orientation
from cutout_core.imaging.jpeg_file import read_jpeg
from cutout_core.imaging.magic import sniff, unsupported
from cutout_core.imaging.pillow_image import open_image
from cutout_core.imaging.png_file import read_png
from cutout_core.imaging.quiet import quiet_pillow
from cutout_core.imaging.truncation import unreadable
from cutout_core.imaging.webp_file import read_webp

_ORIENTATION, _NEW_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 274, 254, 330, 50706
_HEIC_SEQUENCE_BRANDS = (b"hevc", b"hevx", b"msf1")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts of one file.

    format: one of `contract.FORMATS`.
    width, height: pixels of the upright image, after `orientation`.
    orientation: EXIF orientation 1..8 that brings the stored pixels upright; 1 for HEIC, whose own `irot` and
        `imir` boxes the decoder applies, and 2..8 for AVIF where those boxes say so.
    animated: more than one frame; a JPEG with further pictures (MPO) and a TIFF with pages are not.
    has_alpha: the file declares transparency, whether or not any pixel uses it.
    """

    format: str
    width: int
    height: int
    orientation: int
    animated: bool
    has_alpha: bool


def read_header(data: bytes, limits: Limits) -> ImageHeader:
    """Reads the header of an encoded file.

    Raises `CutoutError`: EMPTY_BODY, TOO_MANY_BYTES, NOT_AN_IMAGE, UNSUPPORTED_FORMAT, TRUNCATED_IMAGE, CORRUPT_IMAGE,
    TOO_MANY_PIXELS; nothing else.
    """
    if not data:
        raise CutoutError(ErrorCode.EMPTY_BODY)
    if len(data) > limits.max_bytes:
        raise CutoutError(
            ErrorCode.TOO_MANY_BYTES,
            f"The file has {len(data)} bytes; the limit is {limits.max_bytes}.",
        )
    name = sniff(data)
    try:
        header = _read(name, data)
    except Exception as error:  # decoders raise SyntaxError, struct.error, OSError and more
        raise unreadable(name, data, error) from error
    pixels = header.width * header.height
    if pixels > limits.max_pixels:
        raise CutoutError(
            ErrorCode.TOO_MANY_PIXELS,
            f"The image has {header.width} × {header.height} pixels; the limit is {limits.max_pixels}.",
        )
    return header


def _read(name: str, data: bytes) -> ImageHeader:
    if name == "jpeg":
        jpeg = read_jpeg(data)
        return _upright(name, (jpeg.width, jpeg.height), exif_orientation(jpeg.exif), False, False)
    if name == "png":
        png = read_png(data)
        size = png.width, png.height
        return _upright(name, size, exif_orientation(png.exif), png.frames > 1, png.has_transparency)
    if name == "webp":
        webp = read_webp(data)
        size = webp.width, webp.height
        return _upright(name, size, exif_orientation(webp.exif), webp.animated, webp.has_alpha)
    with quiet_pillow():
        return _read_with_pillow(name, data)


def _read_with_pillow(name: str, data: bytes) -> ImageHeader:
    image = open_image(name, data)
    width, height = image.size
    if width <= 0 or height <= 0:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    has_alpha = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    if name == "tiff":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if _DNG_VERSION in tags or (_SUB_IFDS in tags and tags.get(_NEW_SUBFILE_TYPE, 0) & 1):
            raise unsupported("camera raw")
        orientation = tags.get(_ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        return ImageHeader(name, width, height, orientation, False, has_alpha)
    if name == "avif":
        orientation = exif_orientation(image.info.get("exif"))
        return _upright(name, image.size, orientation, _is_animated(image), has_alpha)
    animated = data[8:12] in _HEIC_SEQUENCE_BRANDS if name == "heic" else _is_animated(image)
    return ImageHeader(name, width, height, 1, animated, has_alpha)


def _is_animated(image: object) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a first frame is there; what follows it is damaged
        return False


def _upright(name: str, stored: tuple[int, int], orientation: int, animated: bool, has_alpha: bool) -> ImageHeader:
    width, height = stored if orientation < 5 else stored[::-1]
    return ImageHeader(name, width, height, orientation, animated, has_alpha)
