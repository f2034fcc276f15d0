"""The orientation tag of an EXIF block, read without trusting anything else in it."""

from __future__ import annotations

from typing import Literal

_TAG = 0x0112
_SHORT = 3


def exif_orientation(exif: bytes | None) -> int:
    """Orientation 1..8 (EXIF 2.32, tag 0x0112 of IFD0); 1 where the block is missing, damaged or does not say.

    `exif` is a TIFF structure, with or without the six bytes `Exif\\0\\0` in front.
    """
    if not exif:
        return 1
    tiff = exif[6:] if exif.startswith(b"Exif\0") else exif
    if tiff[:4] == b"II*\0":
        order: Literal["little", "big"] = "little"
    elif tiff[:4] == b"MM\0*":
        order = "big"
    else:
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    ifd = number(4, 4)
    for entry in range(ifd + 2, ifd + 2 + 12 * min(number(ifd, 2), 512), 12):
        if len(tiff) < entry + 12:
            break
        if number(entry, 2) == _TAG:
            value = number(entry + 8, 2 if number(entry + 2, 2) == _SHORT else 4)
            return value if 1 <= value <= 8 else 1
    return 1
