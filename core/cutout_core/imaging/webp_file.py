"""The chunk structure of a WebP file (RFC 9649) without its pixels."""

from __future__ import annotations

from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode

_ALPHA, _ANIMATION = 0x10, 0x02


@dataclass(frozen=True, slots=True)
class WebpFile:
    """What the chunks say; sizes as stored. `complete`: the file is as long as it says."""

    width: int
    height: int
    has_alpha: bool
    animated: bool
    exif: bytes | None
    complete: bool


def read_webp(data: bytes) -> WebpFile:
    """Reads the chunks. Raises `CutoutError` TRUNCATED_IMAGE or CORRUPT_IMAGE."""
    if len(data) < 30:
        raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    complete = len(data) >= 8 + int.from_bytes(data[4:8], "little")
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        flags = data[20]
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
        flags = 0
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        flags = _ALPHA if bits >> 28 & 1 else 0
    else:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    if width == 0 or height == 0:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    exif = _find_chunk(data, b"EXIF") if kind == b"VP8X" else None
    return WebpFile(width, height, bool(flags & _ALPHA), bool(flags & _ANIMATION), exif, complete)


def _find_chunk(data: bytes, wanted: bytes) -> bytes | None:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == wanted:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)
    return None
