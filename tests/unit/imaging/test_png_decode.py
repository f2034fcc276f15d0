"""PNG photos by the fast path: Pillow's pixels bit for bit, and Pillow's word on every file that it is not for."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging import decode as decode_module
from cutout_core.imaging.decode import decode
from cutout_core.imaging.png_decode import decode_png
from tests.compiler import needs_compiler

from .images import LIMITS, Array, linear_rgb_profile, png_chunk, save, smooth

pytestmark = needs_compiler

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def filtered(image: Array, types: list[int]) -> bytes:
    """The rows behind their filter types (PNG Specification, section 9.2), written from its formulas."""
    height, width, channels = image.shape
    padded = np.zeros((height + 1, width + 1, channels), int)
    padded[1:, 1:] = image
    rows = []
    for y, kind in zip(range(1, height + 1), types, strict=True):
        now, left, up, corner = padded[y, 1:], padded[y, :-1], padded[y - 1, 1:], padded[y - 1, :-1]
        estimate = left + up - corner
        choices = np.stack([left, up, corner])
        paeth = np.take_along_axis(choices, np.abs(estimate - choices).argmin(0)[None], 0)[0]
        guess = (0 * now, left, up, (left + up) // 2, paeth)[kind]
        rows.append(bytes([kind]) + ((now - guess) % 256).astype(np.uint8).tobytes())
    return b"".join(rows)


def file_of(image: Array, packed: bytes, *, split: int = 0) -> bytes:
    """A PNG of these compressed rows, in two IDAT chunks where `split` is not 0."""
    height, width, channels = image.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, {3: 2, 4: 6}[channels], 0, 0, 0))
    parts = [packed[:split], packed[split:]] if split else [packed]
    return b"".join(
        (SIGNATURE, png_chunk(b"IHDR", header), *(png_chunk(b"IDAT", p) for p in parts), png_chunk(b"IEND", b""))
    )


def images() -> st.SearchStrategy[Array]:
    shapes = st.tuples(st.integers(1, 8), st.integers(1, 12), st.sampled_from([3, 4]))
    return shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape))


@settings(max_examples=80, deadline=None)
@given(images(), st.data())
def test_every_filter_gives_the_pixels(image: Array, data: st.DataObject) -> None:
    types = data.draw(st.lists(st.integers(0, 4), min_size=len(image), max_size=len(image)))
    packed = zlib.compress(filtered(image, types))
    found = decode_png(file_of(image, packed, split=data.draw(st.integers(0, len(packed) - 1))))
    assert found is not None
    rgb, alpha = found
    assert np.array_equal(rgb, image[..., :3])
    if image.shape[2] == 3:
        assert alpha is None
    else:
        assert alpha is not None
        assert np.array_equal(alpha, image[..., 3])


@pytest.mark.parametrize("channels", [3, 4])
def test_a_photo_is_pillows_and_so_is_its_profile(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = np.dstack((smooth(333, 222), smooth(333, 222)[..., 1]))
    data = save(np.ascontiguousarray(rgba[..., :channels]), "PNG", icc_profile=linear_rgb_profile())
    fast = decode(data, LIMITS)
    monkeypatch.setattr(decode_module, "decode_png", lambda data: None)
    slow = decode(data, LIMITS)
    assert np.array_equal(fast.rgb, slow.rgb)
    assert fast.icc == slow.icc == linear_rgb_profile()
    assert (fast.alpha is None) == (slow.alpha is None) == (channels == 3)
    if fast.alpha is not None and slow.alpha is not None:
        assert np.array_equal(fast.alpha, slow.alpha)


@pytest.mark.parametrize(
    ("image", "settings_"),
    [
        (Image.fromarray(smooth()[..., 0]), {}),
        (Image.fromarray(smooth()).convert("P"), {}),
        (Image.fromarray(smooth()).convert("LA"), {}),
        (Image.fromarray(smooth()), {"transparency": (1, 2, 3)}),
        (Image.fromarray(smooth()[..., 0].astype(np.uint16) * 257), {}),
    ],
    ids=["grey", "palette", "grey with alpha", "a transparent colour", "16 bits"],
)
def test_other_kinds_are_left_to_pillow(image: Image.Image, settings_: dict[str, Any]) -> None:
    file = BytesIO()
    image.save(file, "PNG", **settings_)
    assert decode_png(file.getvalue()) is None
    assert decode(file.getvalue(), LIMITS).rgb.shape == (*smooth().shape[:2], 3)


def damaged() -> dict[str, tuple[bytes, ErrorCode]]:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    rows = filtered(image, [4] * 40)
    wrong_filter = bytearray(rows)
    wrong_filter[91] = 7
    packed = zlib.compress(rows)
    return {
        "a filter that does not exist": (file_of(image, zlib.compress(bytes(wrong_filter))), ErrorCode.CORRUPT_IMAGE),
        "no zlib stream": (file_of(image, b"\0" * 100), ErrorCode.CORRUPT_IMAGE),
        "a file that ends early": (file_of(image, packed)[:-600], ErrorCode.TRUNCATED_IMAGE),
    }


@pytest.mark.parametrize("name", damaged())
def test_pillow_says_what_is_wrong(name: str) -> None:
    data, code = damaged()[name]
    with pytest.raises(CutoutError) as caught:
        decode(data, LIMITS)
    assert caught.value.code is code


def test_rows_that_are_missing_are_left_to_pillow() -> None:
    image = np.full((40, 30, 3), 9, np.uint8)
    assert decode_png(file_of(image, zlib.compress(filtered(image, [4] * 40)[:-91]))) is None


def test_more_rows_than_the_header_tells_are_not_unpacked() -> None:
    """A bomb costs no more than the image that it says it is."""
    image = np.zeros((2, 3, 3), np.uint8)
    data = file_of(image, zlib.compress(filtered(image, [0, 0]) + bytes(50_000_000)))
    rgb = decode(data, LIMITS).rgb
    assert rgb.shape == (2, 3, 3)
    assert not rgb.any()
