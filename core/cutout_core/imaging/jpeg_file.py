"""The marker structure of a JPEG file (ITU-T T.81 Annex B) without its pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.magic import unsupported

_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_READABLE_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_PROGRESSIVE_FRAMES = {0xC2, 0xCA}
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SOS, _EOI = 0xDA, 0xD9
#: Encoders write about ten scans for a progressive file.
MAX_SCANS = 100
#: Markers before the first scan; a photo has some dozens, and each costs a step here.
MAX_MARKERS = 10_000
#: A marker before or inside entropy-coded data: not a stuffed zero, not a restart, not a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class JpegFile:
    """What the markers in front of the first scan say; sizes as stored, before the EXIF orientation."""

    width: int
    height: int
    components: int
    progressive: bool
    first_scan: int
    exif: bytes | None
    icc: bytes | None


@dataclass(frozen=True, slots=True)
class JpegEnd:
    """How the scans end.

    end: offset of EOI, or the file's length. scans: how many have begun.
    complete: the last pass over every coefficient has at least begun.
    visible: passes that have ended give every coefficient but for its last bit, so that a progressive file which breaks
        off in a refinement looks as it should.
    """

    end: int
    has_eoi: bool
    scans: int
    complete: bool
    visible: bool


def read_jpeg(data: bytes) -> JpegFile:
    """Reads the markers up to the first scan.

    Raises `CutoutError` TRUNCATED_IMAGE, CORRUPT_IMAGE, or UNSUPPORTED_FORMAT (lossless or not 8 bits).
    """
    frame: tuple[int, bytes] | None = None
    exif: bytes | None = None
    icc: dict[int, bytes] = {}
    at = 2
    for _ in range(MAX_MARKERS):
        found = _MARKER.search(data, at)
        if found is None:
            raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
        at = found.end() - 2
        marker = data[at + 1]
        at += 2
        if marker in _NO_LENGTH or marker == 0:
            continue
        if marker == _EOI:
            raise CutoutError(ErrorCode.CORRUPT_IMAGE, "The JPEG file ends before its first scan.")
        length = int.from_bytes(data[at : at + 2], "big")
        segment = data[at + 2 : at + length]
        if length < 2:
            raise CutoutError(ErrorCode.CORRUPT_IMAGE)
        if at + length > len(data):
            raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
        if marker == _SOS:
            break
        if marker in _FRAMES and frame is None:
            frame = marker, segment
        elif marker == 0xE1 and exif is None and segment.startswith(b"Exif\0"):
            exif = segment
        elif marker == 0xE2 and segment.startswith(b"ICC_PROFILE\0") and len(segment) > 14:
            icc[segment[12]] = segment[14:]
        at += length
    else:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE, f"The JPEG file has more than {MAX_MARKERS} markers.")
    if frame is None:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE, "The JPEG file has no frame header.")
    profile = b"".join(icc[number] for number in sorted(icc)) or None
    return _checked(frame[0], frame[1], at - 2, exif, profile)


def _checked(marker: int, segment: bytes, first_scan: int, exif: bytes | None, icc: bytes | None) -> JpegFile:
    if len(segment) < 6:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    bits, components = segment[0], segment[5]
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    if marker not in _READABLE_FRAMES:
        raise unsupported("lossless or hierarchical JPEG")
    if bits != 8:
        raise unsupported(f"JPEG with {bits} bits a sample")
    if components not in (1, 3, 4) or width == 0 or height == 0:
        raise CutoutError(ErrorCode.CORRUPT_IMAGE)
    return JpegFile(width, height, components, marker in _PROGRESSIVE_FRAMES, first_scan, exif, icc)


def refuse_scan_bomb(data: bytes, jpeg: JpegFile) -> None:
    """Raises `CutoutError` CORRUPT_IMAGE for more than `MAX_SCANS` scans: each costs a pass over all pixels.

    The marker cannot occur in entropy-coded data, so counting its bytes is enough. It takes 2 ms for a photo of 12
    megapixels, and is left out where a first scan that is not progressive has all components: of such a file libjpeg
    reads no other.
    """
    if not jpeg.progressive and data[jpeg.first_scan + 4 : jpeg.first_scan + 5] == bytes([jpeg.components]):
        return
    if data.count(b"\xff\xda", jpeg.first_scan) > MAX_SCANS:
        raise _too_many_scans()


def _too_many_scans() -> CutoutError:
    return CutoutError(ErrorCode.CORRUPT_IMAGE, f"The JPEG file has more than {MAX_SCANS} scans.")


def read_jpeg_end(data: bytes, jpeg: JpegFile) -> JpegEnd:
    """Walks the scans up to EOI or the end of the data (T.81 B.2.3; spectral selection and approximation G.1.1.1).

    Raises `CutoutError` CORRUPT_IMAGE for more than `MAX_SCANS`.
    """
    unfinished = {(component, k) for component in range(jpeg.components) for k in range(64)}
    invisible = set(unfinished)
    begun: set[tuple[int, int]] = set()
    ids: dict[int, int] = {}
    scans, at = 0, jpeg.first_scan
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            return JpegEnd(len(data), False, scans, not unfinished, not invisible)
        invisible -= begun
        begun.clear()
        at = found.start()
        if data[at + 1] == _EOI:
            return JpegEnd(at, True, scans, not unfinished, not invisible)
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if data[at + 1] == _SOS and len(segment) >= 4 and len(segment) >= 4 + 2 * segment[0]:
            scans += 1
            if scans > MAX_SCANS:
                raise _too_many_scans()
            count = segment[0]
            first, last, approximation = segment[1 + 2 * count : 4 + 2 * count]
            if not jpeg.progressive:
                first, last, approximation = 0, 63, 0
            components = [ids.setdefault(name, len(ids)) for name in segment[1 : 1 + 2 * count : 2]]
            passed = {(component, k) for component in components for k in range(first, last + 1)}
            if approximation & 15 <= 1:
                begun |= passed
            if approximation & 15 == 0:
                unfinished -= passed
        at += 2 + max(length, 2)
