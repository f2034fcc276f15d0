"""The chunk structure of a PNG file (PNG Specification, Third Edition, sections 5 and 11) without its pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.magic import unsupported

_BIT_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
#: The chunks that say how the first image looks; others (text, time, animation ...) are of no use here.
_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"}


@dataclass(frozen=True, slots=True)
class PngFile:
    """What the chunks say; sizes as stored. `complete`: the end chunk is there."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    has_transparency: bool
    frames: int
    exif: bytes | None
    complete: bool
    interlaced: bool


def read_png(data: bytes) -> PngFile:
    """Reads the chunks. Raises `CutoutError` TRUNCATED_IMAGE, CORRUPT_IMAGE or UNSUPPORTED_FORMAT."""
    if len(data) < 33:
        raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    if data[12:16] == b"CgBI":
        raise unsupported("PNG optimised for iOS")
    if data[8:16] != b"\0\0\0\x0dIHDR" or zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bit_depth, color_type, compression, filtering, interlace = data[24:29]
    valid = bit_depth in _BIT_DEPTHS.get(color_type, ()) and compression == 0 and filtering == 0 and interlace < 2
    if not (valid and 0 < width < 2**31 and 0 < height < 2**31):
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    transparency, frames, exif, has_pixels, complete = color_type in (4, 6), 1, None, False, False
    for name, start, length in _chunks(data):
        if name == b"IDAT":
            has_pixels = True
        elif name == b"tRNS":
            transparency = True
        elif name == b"acTL" and not has_pixels and length == 8:
            frames = int.from_bytes(data[start : start + 4], "big")
        elif name == b"eXIf":
            exif = data[start : start + length]
        elif name == b"IEND":
            complete = True
    if not has_pixels:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE if complete else ErrorCode.TRUNCATED_IMAGE)
    return PngFile(width, height, bit_depth, color_type, transparency, frames, exif, complete, interlace == 1)


def only_needed_chunks(data: bytes) -> bytes:
    """The same image without chunks that a viewer ignores when they are damaged (section 13.2)."""
    kept = [data[:8]]
    for name, start, length in _chunks(data):
        crc = int.from_bytes(data[start + length : start + length + 4], "big")
        if name in _NEEDED and (name == b"IDAT" or zlib.crc32(data[start - 4 : start + length]) == crc):
            kept.append(data[start - 8 : start + length + 4])
    return b"".join(kept)


def pixel_data(data: bytes) -> bytes:
    """The compressed pixels: the contents of all IDAT chunks (section 10), as far as the file goes."""
    return b"".join(data[start : start + length] for name, start, length in _chunks(data) if name == b"IDAT")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the content and its length, chunk by chunk up to IEND or to where the file breaks off."""
    at = 8
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name != b"IEND" and at + 8 + length > len(data) and name != b"IDAT":
            return
        yield name, at + 8, length
        if name == b"IEND":
            return
        at += 12 + length
