from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cutout_core.contract import Limits
from cutout_core.imaging import native
from cutout_core.imaging.decode import decode_reduced
from cutout_core.imaging.resize import Picture, downscale, result_size, shrink, squeeze

from .images import Array, save, smooth


def lanczos(rgb: Array, size: int) -> Array:
    return np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.LANCZOS)).astype(np.float64)


def photo(width: int, height: int) -> Array:
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return np.clip(smooth(width, height) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (1001, 703), (1280, 1280), (640, 90), (3, 3)])
def test_shrink_is_close_to_lanczos(size: tuple[int, int]) -> None:
    rgb = photo(*size)
    small = shrink(rgb, 64)
    assert small.shape == (64, 64, 3)
    assert small.dtype == np.uint8
    assert np.abs(small - lanczos(rgb, 64)).mean() < 1.0


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (64, 3)])
def test_shrink_takes_any_shape(size: tuple[int, int]) -> None:
    assert shrink(photo(*size), 64).shape == (64, 64, 3)


@pytest.mark.parametrize("side", [64, 128, 512])
def test_a_square_of_that_size_needs_no_resampling(side: int) -> None:
    rgb = photo(side, side)
    square = Picture(rgb, (0.0, 0.0, float(side), float(side)))
    assert squeeze(square, side) is rgb
    np.testing.assert_array_equal(rgb, lanczos(rgb, side))  # which is what Lanczos gives, here and in the kernel
    if native.KERNELS is not None:
        np.testing.assert_array_equal(rgb, native.KERNELS.lanczos(rgb, square.extent, side))
    narrower = squeeze(Picture(rgb, (0.0, 0.0, side - 0.5, float(side))), side)
    assert not np.array_equal(narrower, rgb)


def test_a_flat_image_stays_flat() -> None:
    assert np.unique(shrink(np.full((333, 1477, 3), 77, np.uint8), 64)).tolist() == [77]


@pytest.mark.parametrize("width", [1024, 1023, 1021, 1017])
def test_shrink_keeps_edges_in_place_whatever_the_size(width: int) -> None:
    """A step at 3/4 of the width lies at 3/4 of the result, also where halvings had to pad."""
    columns = np.clip(np.arange(width) - 0.75 * width + 0.5, 0, 1) * 255
    rgb = np.repeat(np.tile(columns, (width, 1))[..., None], 3, axis=2).astype(np.uint8)
    assert shrink(rgb, 64)[32, :, 0].mean() / 255 == pytest.approx(0.25, abs=0.002)


@pytest.mark.parametrize("width", [1024, 1021, 1017])
def test_a_scaled_jpeg_keeps_edges_in_place(width: int) -> None:
    columns = np.clip(np.arange(width) - 0.75 * width + 0.5, 0, 1) * 255
    rgb = np.repeat(np.tile(columns, (width, 1))[..., None], 3, axis=2).astype(np.uint8)
    decoded = decode_reduced(save(rgb, "JPEG", quality=95), Limits(), 64)
    assert decoded.rgb.shape[0] < 200
    small = shrink(decoded.rgb, 64, decoded.extent)
    assert small[32, :, 0].mean() / 255 == pytest.approx(0.25, abs=0.003)


def test_result_is_never_enlarged() -> None:
    assert result_size(100, 50, None) == (100, 50)
    assert result_size(100, 50, 1.0) == (100, 50)


@pytest.mark.parametrize(
    ("width", "height", "megapixels"), [(4000, 3000, 1.5), (3000, 4000, 0.25), (1, 60000, 0.001), (9999, 7, 0.0001)]
)
def test_result_size_holds_the_limit_and_the_aspect(width: int, height: int, megapixels: float) -> None:
    new_width, new_height = result_size(width, height, megapixels)
    assert min(new_width, new_height) >= 1
    assert new_width * new_height <= max(megapixels * 1e6, new_width, new_height)
    if min(new_width, new_height) > 100:
        assert new_width * new_height > 0.98 * megapixels * 1e6
        assert new_width / new_height == pytest.approx(width / height, rel=0.01)


def test_downscale_is_the_area_average() -> None:
    rgb = photo(64, 32)
    small, alpha = downscale(rgb, None, 16, 8)
    assert alpha is None
    expected = rgb.reshape(8, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).max() <= 0.51


def test_downscale_to_the_same_size_is_free() -> None:
    rgb = photo(8, 8)
    assert downscale(rgb, None, 8, 8)[0] is rgb


@pytest.mark.parametrize("size", [(16, 8), (1, 8), (16, 1), (1, 1)])
def test_hidden_colours_do_not_leak_when_downscaling(size: tuple[int, int]) -> None:
    rgb = np.full((32, 64, 3), 10, np.uint8)
    alpha = np.zeros((32, 64), np.uint8)
    rgb[:, ::2] = 200
    alpha[:, ::2] = 255
    small, small_alpha = downscale(rgb, alpha, *size)
    assert small.shape == (size[1], size[0], 3)
    assert np.unique(small).tolist() == [200]
    assert small_alpha is not None
    assert np.unique(small_alpha).tolist() == [128]
