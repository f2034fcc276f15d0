from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutout_core.imaging.upscale import upscale

from .images import Array


def bilinear(alpha: Array, width: int, height: int) -> Array:
    """Reference: sample between pixel centres, border pixels extended."""

    def axis(size: int, source: int) -> tuple[Array, Array, Array]:
        centre = (np.arange(size) + 0.5) * source / size - 0.5
        low = np.floor(centre).astype(int)
        return np.clip(low, 0, source - 1), np.clip(low + 1, 0, source - 1), centre - low

    y0, y1, fy = axis(height, alpha.shape[0])
    x0, x1, fx = axis(width, alpha.shape[1])
    top = alpha[y0][:, x0] * (1 - fx) + alpha[y0][:, x1] * fx
    bottom = alpha[y1][:, x0] * (1 - fx) + alpha[y1][:, x1] * fx
    return 255 * (top * (1 - fy[:, None]) + bottom * fy[:, None])


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (1333, 777), (4000, 600)])
def test_growing_is_bilinear_between_pixel_centres(size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).random((16, 16))
    alpha = (bilinear(coarse, 512, 512) / 255).astype(np.float32)
    grown = upscale(alpha, *size)
    assert grown.shape == (size[1], size[0])
    assert grown.dtype == np.uint8
    assert np.abs(grown - bilinear(alpha, *size)).max() <= 1.6


@pytest.mark.parametrize(
    "size", [(512, 512), (1536, 1536), (100, 100), (3000, 64), (1, 1), (1, 4000), (4000, 1), (40_000, 2)]
)
def test_a_centred_edge_stays_centred(size: tuple[int, int]) -> None:
    alpha = np.zeros((512, 512), np.float32)
    alpha[:, 256:] = 1
    grown = upscale(alpha, *size).astype(np.float64) / 255
    assert grown.shape == (size[1], size[0])
    assert grown.mean() == pytest.approx(0.5, abs=0.004)
    assert np.abs(grown + grown[:, ::-1] - 1).max() <= 0.01


@settings(max_examples=30)
@given(st.integers(1, 1200), st.integers(1, 1200), st.integers(0, 2**32 - 1))
def test_never_outside_the_range_of_the_mask(width: int, height: int, seed: int) -> None:
    alpha = (np.random.default_rng(seed).random((512, 512)) * 0.5 + 0.25).astype(np.float32)
    grown = upscale(alpha, width, height)
    assert grown.shape == (height, width)
    assert grown.min() >= round(0.25 * 255)
    assert grown.max() <= round(0.75 * 255)


def test_values_beyond_the_range_are_clipped() -> None:
    alpha = np.array([[-0.5, 1.5]], np.float32).repeat(512, axis=0).repeat(256, axis=1)
    assert upscale(alpha, 512, 512)[0, [0, 511]].tolist() == [0, 255]


def test_empty_and_full_stay_exact() -> None:
    assert not upscale(np.zeros((512, 512), np.float32), 1001, 777).any()
    assert (upscale(np.ones((512, 512), np.float32), 1001, 333) == 255).all()
