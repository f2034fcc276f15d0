"""Tells a file that ends too early from one that is damaged, once its decoder has given up on it."""

from __future__ import annotations

from typing import Literal

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.pillow_image import open_image
from cutout_core.imaging.png_file import read_png
from cutout_core.imaging.webp_file import read_webp

#: Tags of the offsets and byte counts of strips and of tiles.
_STRIPS = ((273, 279), (324, 325))
#: Bytes of a value by its type.
_TIFF_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
#: Formats whose files say where they end; Pillow calls them truncated for damage in the middle, too.
_MARKED_ENDS = ("png", "webp", "gif")


def unreadable(format_name: str, data: bytes, error: Exception) -> CutoutError:
    """The error for a file whose decoder raised `error`: TRUNCATED_IMAGE or CORRUPT_IMAGE."""
    if isinstance(error, CutoutError):
        return error
    early = _ends_early(format_name, data)
    if format_name not in _MARKED_ENDS:  # for the others the decoder's word counts too
        early = early or "truncated" in str(error).lower() or isinstance(error, EOFError)
    return CutoutError(ErrorCode.TRUNCATED_IMAGE if early else ErrorCode.CORRUPT_IMAGE)


def _ends_early(format_name: str, data: bytes) -> bool:
    if format_name == "png":
        return not read_png(data).complete
    if format_name == "webp":
        return not read_webp(data).complete
    if format_name == "gif":
        return not data.rstrip(b"\0").endswith(b";")
    if format_name == "tiff":
        return _tiff_ends_early(data)
    if format_name in ("avif", "heic"):
        return _boxes_end_early(data)
    return False


def _tiff_ends_early(data: bytes) -> bool:
    """Whether the first directory, or a value, strip or tile it names, lies beyond the end (TIFF 6.0 section 2)."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    if number(2, 2) == 42:
        directory = number(4, 4)
        end = directory + 2 + 12 * number(directory, 2)
        if end > len(data):
            return True
        for entry in range(directory + 2, end, 12):
            size = _TIFF_TYPE_SIZES.get(number(entry + 2, 2), 0) * number(entry + 4, 4)
            if size > 4 and number(entry + 8, 4) + size > len(data):
                return True
    try:
        tags = open_image("tiff", data).tag_v2  # type: ignore[attr-defined]
    except Exception:  # the directory is there and is no use: damaged
        return False
    for offsets, counts in _STRIPS:
        pairs = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
        if any(offset + count > len(data) for offset, count in pairs):
            return True
    return False


def _boxes_end_early(data: bytes) -> bool:
    """Whether a top-level box (ISO/IEC 14496-12 section 4.2) reaches beyond the end."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 0:
            return False
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:
            return False
        at += size
    return at > len(data)
