from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.encode import check_size, encode

from .images import Array, linear_rgb_profile, smooth

RGB = smooth()
ALPHA = np.ascontiguousarray(smooth(channels=4)[..., 3])


def read(data: bytes) -> tuple[str, Array, bytes | None]:
    with Image.open(BytesIO(data)) as image:
        return image.format or "", np.asarray(image), image.info.get("icc_profile")


@pytest.mark.parametrize("output", ["png", "webp"])
@pytest.mark.parametrize("icc", [None, linear_rgb_profile()])
def test_lossless_outputs_come_back_bit_for_bit(output: str, icc: bytes | None) -> None:
    assert read(encode(RGB, ALPHA, output, icc))[0] == output.upper()
    assert np.array_equal(read(encode(RGB, ALPHA, output, icc))[1], np.dstack((RGB, ALPHA)))
    assert np.array_equal(read(encode(RGB, None, output, icc))[1], RGB)
    assert read(encode(RGB, ALPHA, output, icc))[2] == icc


def test_webp_keeps_colours_under_transparency() -> None:
    assert np.array_equal(read(encode(RGB, np.zeros_like(ALPHA), "webp", None))[1][..., :3], RGB)


@pytest.mark.parametrize("icc", [None, linear_rgb_profile(), bytes(200_000)], ids=["none", "small", "several segments"])
def test_jpeg(icc: bytes | None) -> None:
    kind, pixels, profile = read(encode(RGB, None, "jpeg", icc))
    assert kind == "JPEG"
    assert np.abs(pixels.astype(int) - RGB).mean() < 2
    assert profile == icc


def test_jpeg_keeps_saturated_edges() -> None:
    """A red subject of odd width on white does not bleed, as it would with chroma subsampling."""
    rgb = np.full((33, 33, 3), 255, np.uint8)
    rgb[:, 11:22] = (220, 0, 30)
    pixels = read(encode(rgb, None, "jpeg", None))[1].astype(int)
    assert np.abs(pixels - rgb).max() < 40


def test_mask_is_a_grey_png() -> None:
    kind, pixels, _ = read(encode(RGB, ALPHA, "mask", linear_rgb_profile()))
    assert kind == "PNG"
    assert np.array_equal(pixels, ALPHA)


@pytest.mark.parametrize(("output", "limit"), [("webp", 16383), ("jpeg", 65500)])
def test_a_side_that_the_format_cannot_hold_is_refused(output: str, limit: int) -> None:
    assert encode(np.zeros((1, limit, 3), np.uint8), None, output, None)
    with pytest.raises(CutoutError, match=str(limit)) as caught:
        encode(np.zeros((1, limit + 1, 3), np.uint8), None, output, None)
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_OPTION, "output")


def test_png_has_no_such_limit() -> None:
    check_size(10**6, 1, "png")
    check_size(10**6, 1, "mask")


def test_jpeg_takes_no_alpha() -> None:
    with pytest.raises(ValueError, match="with alpha"):
        encode(RGB, ALPHA, "jpeg", None)
