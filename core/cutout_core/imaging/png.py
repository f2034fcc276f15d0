"""A PNG writer for speed (PNG Specification, Third Edition): one filter, one fast deflate pass.

Photos are filtered and packed by the compiled kernel `pack_rows` (native/png.c): Paeth, and a Huffman code without a
search for repeats, of which photos have hardly any. Drawings and text, which have, are told by a sample of their rows;
they, grey images, and all where the kernel was not compiled take filter type 2 (Up, section 9.2), which on a cut-out
turns the empty regions into zeros; rows are filtered in bands that stay in the processor's cache and go straight into
ISA-L's deflate, level 2 (as fast as level 1 and half a per cent smaller); zlib's, level 1, where the wheel `isal` is
missing. Large images are packed in strips: the file is the same whether several threads share them or one does all.
"""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.imaging import native
from cutout_core.imaging.wheels import fast_module

isal_zlib = fast_module("isal.isal_zlib", "PNG files are packed by zlib, several times slower")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_UP = 2
#: Bytes of one filtered band, about half of a second-level cache.
_BAND_BYTES = 512 * 1024
#: Bytes of samples in one of the strips that a large image is packed in, so that several cores can share it.
_STRIP_BYTES = 4 * 1024 * 1024
#: Where a sample is taken from an image, how many rows each time, and how much larger it may be without a search for
#: repeats, which takes twice the time.
_SAMPLES, _SAMPLE_ROWS, _LARGER = (0.33, 0.66), 16, 1.1
#: RFC 1950: deflate, a window of 32 KiB, the fastest algorithm; modulus of its checksum. RFC 1951: an empty last block.
_ZLIB_HEADER, _ADLER, _LAST_BLOCK = b"\x78\x01", 65521, b"\x03\x00"

UInt8 = npt.NDArray[np.uint8]


def write_png(
    color: UInt8, alpha: UInt8 | None = None, icc: bytes | None = None, dpi: int | None = None, *, small: bool = False
) -> bytes:
    """The file of a grey uint8 [H, W] or RGB [H, W, 3] image, 8 bits a sample.

    `alpha`: uint8 [H, W], makes RGBA of RGB. `icc`: a profile for an iCCP chunk. `dpi`: dots an inch, for a
    pHYs chunk. `small`: packed by zlib's level 6 instead, many times slower. Decodes bit-exactly to what was given.
    """
    height, width = color.shape[:2]
    channels = 1 if color.ndim == 2 else 3 if alpha is None else 4
    color = np.ascontiguousarray(color)
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, _COLOR_TYPES[channels], 0, 0, 0))
    parts: list[bytes] = [_SIGNATURE, *_chunk(b"IHDR", header)]
    if icc is not None:
        parts += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc, 6))
    if dpi is not None:  # pixels a metre, section 11.3.4.3
        density = round(dpi / 0.0254).to_bytes(4, "big")
        parts += _chunk(b"pHYs", density + density + b"\x01")
    count = max(1, round(width * height * channels / _STRIP_BYTES))
    cuts = [height * n // count for n in range(count + 1)]
    kernels = None if small else _kernels(color, alpha)
    strips = [_Strip(color, alpha, top, bottom, kernels, small) for top, bottom in pairwise(cuts) if top < bottom]
    parts += _chunk(b"IDAT", _ZLIB_HEADER)
    checksum = zlib.adler32(b"")
    for strip in _deflated(strips):
        for piece in strip.pieces:
            parts += _chunk(b"IDAT", piece)
        checksum = _adler32_combined(checksum, strip.checksum, strip.length)
    end = _LAST_BLOCK + checksum.to_bytes(4, "big")
    parts += [*_chunk(b"IDAT", end), *_chunk(b"IEND", b"")]
    return b"".join(parts)


class _Strip:
    """Rows of an image, packed on their own.

    pieces: deflate blocks that end on a whole byte, none of them the stream's last. checksum: Adler-32 of
    the `length` bytes that they hold.
    """

    def __init__(
        self,
        color: UInt8,
        alpha: UInt8 | None,
        top: int,
        bottom: int,
        kernels: native.Kernels | None,
        small: bool = False,
    ) -> None:
        self._color, self._alpha, self._rows = color, alpha, range(top, bottom)
        self._kernels, self._small = kernels, small
        self.pieces: list[bytes] = []
        self.checksum, self.length = zlib.adler32(b""), 0

    def deflate(self) -> None:
        """Fills `pieces`."""
        if self._kernels is None:
            self._deflate_in_bands()
            return
        packed, self.checksum = self._kernels.pack_rows(self._color, self._alpha, self._rows.start, self._rows.stop)
        self.pieces = [packed]
        self.length = len(self._rows) * (1 + self._color.shape[1] * (3 if self._alpha is None else 4))

    def _deflate_in_bands(self) -> None:
        """Rows are filtered in bands that stay in the processor's cache."""
        width = self._color.shape[1]
        channels = 1 if self._color.ndim == 2 else 3 if self._alpha is None else 4
        stride = width * channels
        count = min(len(self._rows), max(1, _BAND_BYTES // stride))
        filtered = np.empty((count, 1 + stride), np.uint8)
        filtered[:, 0] = _UP
        band = np.zeros((1 + count, stride), np.uint8)  # its first row is the one above: zeros above the image
        if self._rows.start:
            _copy_samples(self._color, self._alpha, self._rows.start - 1, band[:1].reshape(1, width, channels))
        module = zlib if self._small or isal_zlib is None else isal_zlib
        packer = module.compressobj(level=6 if self._small else 1 if isal_zlib is None else 2, wbits=-15)
        adler32 = (isal_zlib or zlib).adler32
        for top in self._rows[::count]:
            rows = min(count, self._rows.stop - top)
            _copy_samples(self._color, self._alpha, top, band[1 : 1 + rows].reshape(rows, width, channels))
            np.subtract(band[1 : 1 + rows], band[:rows], out=filtered[:rows, 1:])
            band[0] = band[rows]
            plain = filtered[:rows].data
            self.checksum = adler32(plain, self.checksum)
            self.length += plain.nbytes
            self.pieces.append(packer.compress(plain))
        self.pieces.append(packer.flush(zlib.Z_SYNC_FLUSH))
        self.pieces = [piece for piece in self.pieces if piece]


def _kernels(color: UInt8, alpha: UInt8 | None) -> native.Kernels | None:
    """The compiled kernels, where they are there and pack a sample of the image's rows as well as ISA-L."""
    kernels = native.KERNELS
    if kernels is None or color.ndim == 2:
        return None
    sizes = [0, 0]
    for place in _SAMPLES:
        top = int(place * len(color))
        for n, way in enumerate((kernels, None)):
            strip = _Strip(color, alpha, top, min(top + _SAMPLE_ROWS, len(color)), way)
            strip.deflate()
            sizes[n] += sum(map(len, strip.pieces))
    return kernels if sizes[0] <= _LARGER * sizes[1] else None


def _deflated(strips: list[_Strip]) -> list[_Strip]:
    """Packs the strips, beside each other where OpenCV may use more than one thread too."""
    threads = min(len(strips), cv2.getNumThreads())
    if threads < 2:
        for strip in strips:
            strip.deflate()
        return strips
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_Strip.deflate, strips))
    return strips


def _adler32_combined(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces in a row from their own (RFC 1950, section 9); length: bytes of the second."""
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _ADLER
    high = ((first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)) % _ADLER
    return high << 16 | low


def _copy_samples(color: UInt8, alpha: UInt8 | None, top: int, out: UInt8) -> None:
    """Rows of the image from `top` on into uint8 [rows, W, channels]."""
    bottom = top + len(out)
    if alpha is None:
        out[...] = color[top:bottom].reshape(out.shape)
    else:
        cv2.cvtColor(color[top:bottom], cv2.COLOR_RGB2RGBA, dst=out)
        cv2.insertChannel(alpha[top:bottom], out, 3)


def _chunk(name: bytes, content: bytes) -> tuple[bytes, bytes, bytes]:
    """What is written for a chunk (section 5.3), one part after the other; the content is not copied."""
    crc32 = (isal_zlib or zlib).crc32
    crc = crc32(content, crc32(name))
    return len(content).to_bytes(4, "big") + name, content, crc.to_bytes(4, "big")
