"""Test images, built in memory."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageCms

from cutout_core.contract import Limits

UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

LIMITS = Limits()
#: Format name to what Pillow calls it, and the largest mean difference a lossy round trip may have.
PILLOW_FORMATS = {
    "jpeg": ("JPEG", 4.0),
    "png": ("PNG", 0.0),
    "webp": ("WEBP", 5.0),
    "tiff": ("TIFF", 0.0),
    "bmp": ("BMP", 0.0),
    "gif": ("GIF", 6.0),
    "avif": ("AVIF", 5.0),
    "heic": ("HEIF", 5.0),
}

pillow_heif.register_heif_opener()


def smooth(width: int = 96, height: int = 64, channels: int = 3) -> UInt8:
    """A smooth random image, uint8 [height, width, channels]; its four corners differ clearly."""
    rng = np.random.default_rng(width * 1000 + height)
    small = rng.integers(0, 256, (4, 5, channels), np.uint8)
    small[0, 0], small[0, -1], small[-1, 0], small[-1, -1] = 20, 90, 160, 230
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)


def save(image: Image.Image | npt.NDArray[Any], pillow_format: str, **options: Any) -> bytes:
    """The encoded file."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = BytesIO()
    image.save(file, pillow_format, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """An EXIF block that holds an orientation."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def upright(stored: UInt8, orientation: int) -> UInt8:
    """EXIF 2.32's table in plain words: where row 0 and column 0 of the stored pixels belong."""
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }
    return np.ascontiguousarray(turned[orientation])


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few dozen bytes that declares an image of any size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


def animated(pillow_format: str) -> bytes:
    """Two frames: the first is `smooth()`, the second black."""
    first, second = Image.fromarray(smooth()), Image.new("RGB", (96, 64))
    return save(first, pillow_format, save_all=True, append_images=[second], duration=100)


@cache
def linear_rgb_profile() -> bytes:
    """An RGB profile far from sRGB: sRGB's own with its three tone curves replaced by a straight line.

    Made once, since a profile holds the second of its creation.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    for entry in range(132, 132 + 12 * count, 12):
        if profile[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            profile[offset : offset + 12] = b"curv" + bytes(8)  # a curve of no points is the identity
    return bytes(profile)


def space_profile(space: bytes) -> bytes:
    """sRGB's profile whose header claims another colour space (`GRAY`, `CMYK`, ...)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = space
    return bytes(profile)


def grey_profile(gamma: float) -> bytes:
    """A minimal grey input profile (ICC.1:2022 section 8.3.2): white point and one gamma curve."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = [(b"wtpt", white), (b"kTRC", curve)]
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    header = bytearray(128)
    header[0:4] = struct.pack(">I", offset + len(body))
    header[8:12] = b"\x02\x40\0\0"
    header[12:24] = b"scnrGRAYXYZ "
    header[36:40] = b"acsp"
    header[68:80] = white[8:20]
    return bytes(header) + struct.pack(">I", len(tags)) + table + body
