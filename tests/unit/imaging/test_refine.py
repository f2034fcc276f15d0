"""The network's alpha at the photo's size: better than plain upscaling where there is detail, never far from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutout_core.imaging.band import mixed_pixels, photo_grid, shrink_to_grid
from cutout_core.imaging.refine import refine_alpha
from cutout_core.imaging.upscale import upscale

from .images import Array, smooth
from .subjects import SHAPES, Subject, hairy_subject

pytestmark = pytest.mark.usefixtures("each_path")


def error(alpha: Array, subject: Subject) -> float:
    """Mean absolute error in the band, levels."""
    return float(np.abs(alpha.astype(float) - subject.alpha)[subject.band()].mean())


def plain(subject: Subject, alpha: Array) -> Array:
    return upscale(alpha, subject.rgb.shape[1], subject.rgb.shape[0])


def slopes(alpha: Array) -> Array:
    magnitude: Array = cv2.magnitude(*(cv2.Sobel(alpha.astype(np.float32), cv2.CV_32F, x, 1 - x) for x in (0, 1)))
    return magnitude


def test_hair_gets_its_detail_back() -> None:
    subject = hairy_subject()
    alpha = subject.grid_alpha()
    refined = refine_alpha(subject.rgb, alpha)
    assert error(refined, subject) <= 0.4 * error(plain(subject, alpha), subject)
    was, now, true = (slopes(a) for a in (plain(subject, alpha), refined, subject.alpha))
    assert np.square(now - true).mean() <= 0.2 * np.square(was - true).mean()


def test_a_blurred_alpha_gets_better_too() -> None:
    subject = hairy_subject()
    alpha = cv2.GaussianBlur(subject.grid_alpha(), (0, 0), 1.0)
    assert error(refine_alpha(subject.rgb, alpha), subject) <= 0.95 * error(plain(subject, alpha), subject)


def test_a_mask_beside_the_edge_is_drawn_to_it() -> None:
    subject = hairy_subject()
    half = (subject.grid_alpha() > 0.5).astype(np.float32)
    mask = cv2.warpAffine(cv2.GaussianBlur(half, (0, 0), 2.5), np.array([[1, 0, 1.0], [0, 1, 0.5]]), (512, 512))
    before = error(plain(subject, mask), subject)
    assert error(refine_alpha(subject.rgb, mask, coarse=True), subject) <= 0.93 * before
    assert error(refine_alpha(subject.rgb, mask), subject) <= before


def test_a_defocused_edge_takes_no_grain() -> None:
    subject = hairy_subject(softness=14.0)
    alpha = subject.grid_alpha()
    assert error(refine_alpha(subject.rgb, alpha), subject) <= 1.1 * error(plain(subject, alpha), subject)


def test_a_subject_of_the_same_colour_as_its_background_is_left_alone() -> None:
    subject = hairy_subject()
    grey = np.random.default_rng(0).normal(128, 3, subject.rgb.shape).round().astype(np.uint8)
    alpha = subject.grid_alpha()
    change = np.abs(refine_alpha(grey, alpha).astype(float) - plain(subject, alpha))[subject.band()]
    assert change.mean() <= 4
    constant = np.full_like(subject.rgb, 77)  # positions are rounded to 1/32 cell, across which alpha may rise 4 levels
    assert np.abs(refine_alpha(constant, alpha).astype(int) - plain(subject, alpha)).max() <= 5


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_and_certain_pixels_stay(shape: tuple[int, int]) -> None:
    height, width = shape
    noise = np.random.default_rng(1).random((512, 512), np.float32)
    alpha = np.clip(3 * cv2.GaussianBlur(noise, (0, 0), 9) * 8 - 11.5, 0, 1)
    for coarse in (False, True):
        refined, base = refine_alpha(smooth(width, height), alpha, coarse), upscale(alpha, width, height)
        assert refined.shape == shape
        assert refined.dtype == np.uint8
        certain = (base == 0) | (base == 255)
        assert np.array_equal(refined[certain], base[certain])
        if max(shape) <= 512:
            assert np.array_equal(refined, base)


@settings(max_examples=15, deadline=None)
@given(st.integers(513, 1300), st.integers(1, 1300), st.integers(0, 2**32 - 1))
def test_certain_pixels_stay_for_any_size(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alpha = np.clip(cv2.resize(rng.random((9, 9), np.float32), (512, 512)) * 3 - 1, 0, 1)
    rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
    refined, base = refine_alpha(rgb, alpha), upscale(alpha, width, height)
    certain = (base == 0) | (base == 255)
    assert np.array_equal(refined[certain], base[certain])


@pytest.mark.parametrize("level", [0.0, 1.0, 0.5])
def test_a_constant_alpha_stays_constant(level: float) -> None:
    refined = refine_alpha(hairy_subject().rgb, np.full((512, 512), level, np.float32))
    assert np.unique(refined).tolist() == [round(level * 255)]


def test_inputs_are_not_changed_and_threads_agree() -> None:
    subject = hairy_subject()
    rgb, alpha = subject.rgb.copy(), subject.grid_alpha()
    kept = alpha.copy()
    alone = refine_alpha(rgb, alpha)
    assert np.array_equal(rgb, subject.rgb)
    assert np.array_equal(alpha, kept)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: refine_alpha(rgb, alpha, small=photo_grid(rgb)), range(4)))
    assert all(np.array_equal(result, alone) for result in results)


@pytest.mark.parametrize(
    ("height", "width"), [(512, 512), (1024, 1536), (1031, 2047), (1099, 523), (100, 3001), (1, 1)]
)
def test_the_small_photo_lies_where_the_alpha_does(height: int, width: int) -> None:
    ramp = np.linspace(0, 255, width)[None] * 0.5 + np.linspace(0, 255, height)[:, None] * 0.5
    rows, columns = min(512, height), min(512, width)
    small = shrink_to_grid(np.rint(ramp).astype(np.uint8), rows, columns)
    exact = cv2.resize(ramp, (columns, rows), interpolation=cv2.INTER_AREA)
    assert small.shape == (rows, columns)
    assert np.abs(small - exact).max() <= 2
    assert abs((small - exact).mean()) <= 0.3


@pytest.mark.parametrize("shape", [(1, 1), (7, 40_000), (900, 1100)])
def test_mixed_pixels_are_found_once_and_located(shape: tuple[int, int]) -> None:
    alpha = np.random.default_rng(2).choice(np.array([0, 1, 254, 255], np.uint8), shape)
    chunks = list(mixed_pixels(alpha, (32, 64)))
    index = np.concatenate([chunk.index for chunk in chunks]) if chunks else np.empty(0, int)
    assert np.array_equal(index, np.flatnonzero((alpha > 0) & (alpha < 255)))
    for chunk in chunks:
        rows, columns = np.divmod(chunk.index, shape[1])
        assert np.allclose(chunk.y[0], (rows + 0.5) * 32 / shape[0] - 0.5, atol=1e-3)
        assert np.allclose(chunk.x[0], (columns + 0.5) * 64 / shape[1] - 0.5, atol=1e-3)
