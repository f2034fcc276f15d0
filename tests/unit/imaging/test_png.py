from __future__ import annotations

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cutout_core.imaging import native
from cutout_core.imaging.png import write_png

from .images import Array, linear_rgb_profile, smooth

pytestmark = pytest.mark.usefixtures("each_path")


def with_pillow(data: bytes) -> Array:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


def with_opencv(data: bytes) -> Array:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return pixels


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of every chunk, with its checksum verified."""
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(name + content),)
        found.append((name, content))
        at += 12 + length
    return found


shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=40)
@given(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape)))
def test_grey_decodes_to_what_was_written(grey: Array) -> None:
    data = write_png(grey)
    assert np.array_equal(with_pillow(data), grey)
    assert np.array_equal(with_opencv(data), grey)


@settings(max_examples=40)
@given(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, (*shape, 3))))
def test_rgb_decodes_to_what_was_written(rgb: Array) -> None:
    data = write_png(rgb)
    assert np.array_equal(with_pillow(data), rgb)
    assert np.array_equal(with_opencv(data), rgb)


@settings(max_examples=40)
@given(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, (*shape, 4))))
def test_rgba_decodes_to_what_was_written(rgba: Array) -> None:
    data = write_png(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]))
    assert np.array_equal(with_pillow(data), rgba)
    assert np.array_equal(with_opencv(data), rgba)


@pytest.mark.parametrize("size", [(2000, 700), (1, 300_000), (300_000, 1), (1023, 513)])
def test_images_of_many_bands(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    alpha = rng.integers(0, 256, (size[1], size[0]), np.uint8)
    assert np.array_equal(with_pillow(write_png(rgb, alpha)), np.dstack((rgb, alpha)))
    assert np.array_equal(with_pillow(write_png(alpha)), alpha)


def test_a_large_image_is_the_same_file_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (1900, 1301, 3), np.uint8)
    alpha = rng.integers(0, 256, (1900, 1301), np.uint8)
    before = cv2.getNumThreads()
    try:
        files = []
        for threads in (1, 3):
            cv2.setNumThreads(threads)
            files.append(write_png(rgb, alpha))
    finally:
        cv2.setNumThreads(before)
    assert files[0] == files[1]
    assert np.array_equal(with_pillow(files[0]), np.dstack((rgb, alpha)))
    assert np.array_equal(with_opencv(files[0]), np.dstack((rgb, alpha)))


def test_structure() -> None:
    data = write_png(smooth(), smooth()[..., 0], linear_rgb_profile())
    names = [name for name, _ in chunks(data)]
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert names[:2] == [b"IHDR", b"iCCP"]
    assert names[-1] == b"IEND"
    assert set(names[2:-1]) == {b"IDAT"}


def test_pixels_are_one_whole_zlib_stream() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    parts = [content for name, content in chunks(write_png(rgb)) if name == b"IDAT"]
    assert len(parts) > 1
    stream = zlib.decompressobj()  # the checksum at its end is verified
    raw = stream.decompress(b"".join(parts))
    assert stream.eof
    assert stream.unused_data == b""
    rows = np.frombuffer(raw, np.uint8).reshape(600, 1 + 800 * 3)
    if native.KERNELS is not None:  # test_native.py looks at its rows
        assert (rows[:, 0] == 4).all()
        return
    assert (rows[:, 0] == 2).all()
    assert np.array_equal(np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(rgb.shape), rgb)


def test_profile_comes_back() -> None:
    with Image.open(BytesIO(write_png(smooth(), None, linear_rgb_profile()))) as image:
        assert image.info["icc_profile"] == linear_rgb_profile()


def test_a_cut_out_is_small() -> None:
    rgb = np.zeros((800, 800, 3), np.uint8)
    rgb[300:500, 300:500] = smooth(200, 200)
    alpha = (rgb.any(axis=2) * 255).astype(np.uint8)
    best = BytesIO()
    Image.fromarray(np.dstack((rgb, alpha))).save(best, "PNG", compress_level=6)
    assert len(write_png(rgb, alpha)) < 2 * len(best.getvalue())


def test_what_repeats_itself_is_small_too() -> None:
    """A pattern of two levels, in which nothing but repeats can be saved."""
    rows, columns = np.indices((600, 800))
    pattern = ((rows + columns) % 2 * 255).astype(np.uint8)
    assert len(write_png(np.dstack([pattern] * 3))) < 0.03 * 3 * pattern.size
