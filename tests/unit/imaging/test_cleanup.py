"""Specks, pinholes and steps go; subjects, wisps, gaps and hair stay, to the last level."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from cutout_core.imaging.cleanup import clean_alpha

from .images import Array, smooth
from .subjects import SHAPES, hairy_subject


def disc(width: int, height: int, x: float, y: float, radius: float) -> Array:
    """An anti-aliased disc, uint8 [height, width]."""
    rows, columns = np.mgrid[0:height, 0:width]
    levels: Array = np.rint(255 * np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1))
    return levels.astype(np.uint8)


@pytest.mark.parametrize("size", [(400, 300), (1400, 1100), (3000, 2000)])
def test_a_speck_goes_and_the_rest_stays(size: tuple[int, int]) -> None:
    width, height = size
    clean = disc(width, height, width * 0.4, height * 0.5, height * 0.3)
    speck = disc(width, height, width * 0.9, height * 0.15, height * 0.012)
    assert np.array_equal(clean_alpha(np.maximum(clean, speck)), clean)


def test_several_subjects_and_wisps_beside_one_are_kept() -> None:
    alpha = disc(900, 700, 300, 350, 180)
    for x, y, radius in ((700, 200, 60), (650, 600, 30), (300, 160, 3), (492, 350, 4)):
        alpha = np.maximum(alpha, disc(900, 700, x, y, radius))
    assert np.array_equal(clean_alpha(alpha), alpha)


@pytest.mark.parametrize("depth", [255, 120, 40])
@pytest.mark.parametrize("size", [(400, 300), (1400, 1100), (3000, 2000)])
def test_a_pinhole_is_filled(size: tuple[int, int], depth: int) -> None:
    width, height = size
    clean = disc(width, height, width * 0.4, height * 0.5, height * 0.3)
    radius = max(1.0, 0.8 * max(size) / 512)
    hole = disc(width, height, width * 0.38, height * 0.45, radius).astype(float) * depth / 255
    assert np.array_equal(clean_alpha((clean - hole).astype(np.uint8)), clean)


def test_a_real_gap_and_a_lattice_of_small_ones_stay_open() -> None:
    clean = disc(1400, 1100, 600, 500, 400) - disc(1400, 1100, 550, 450, 25)
    clean[600:700:6, 500:800:6] = 0
    assert np.array_equal(clean_alpha(clean), clean)


@pytest.mark.parametrize("softness", [0.0, 2.0, 14.0])
def test_hair_passes_through_unchanged(softness: float) -> None:
    alpha = hairy_subject(softness=softness).alpha
    assert np.array_equal(clean_alpha(alpha), alpha)


@pytest.mark.parametrize("slope", [0.13, 0.45, 1.0, 2.2])
def test_steps_are_smoothed_along_the_edge(slope: float) -> None:
    rows, columns = np.mgrid[0:600, 0:700]
    distance = (columns - 350.4 - slope * (rows - 300)) / np.hypot(1, slope)
    jagged = np.where(distance > 0, 255, 0).astype(np.uint8)
    exact = np.clip(distance + 0.5, 0, 1) * 255
    inner = slice(20, -20), slice(20, -20)
    cleaned = clean_alpha(jagged)
    before, after = (np.abs(alpha - exact)[inner].sum() for alpha in (jagged, cleaned))
    assert after <= 0.6 * before
    assert np.array_equal(cleaned[np.abs(distance) > 3], jagged[np.abs(distance) > 3])


def test_straight_edges_and_corners_of_whole_pixels_stay() -> None:
    alpha = np.zeros((500, 600), np.uint8)
    alpha[100:400, 150:450] = 255
    assert np.abs(clean_alpha(alpha).astype(int) - alpha).max() <= 3


def test_strands_of_whole_pixels_stay() -> None:
    alpha = np.zeros((500, 600), np.uint8)
    for index, x in enumerate(range(180, 420, 20)):
        cv2.line(alpha, (x, 400), (x + 15, 30), 255, 1 + index % 2)
    assert np.array_equal(clean_alpha(alpha), alpha)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_constant_alpha_of_any_shape_stays(shape: tuple[int, int], level: int) -> None:
    alpha = np.full(shape, level, np.uint8)
    assert np.array_equal(clean_alpha(alpha), alpha)


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_with_any_values(shape: tuple[int, int]) -> None:
    alpha = np.where(smooth(shape[1], shape[0], 1)[..., 0] > 128, 255, 0).astype(np.uint8)
    cleaned = clean_alpha(alpha)
    assert cleaned.shape == shape
    assert cleaned.dtype == np.uint8


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_the_input_is_not_changed(alpha: Array) -> None:
    before = alpha.copy()
    assert clean_alpha(alpha).shape == alpha.shape
    assert np.array_equal(alpha, before)


def test_cleaning_twice_is_cleaning_once() -> None:
    alpha = np.maximum(disc(1400, 1100, 500, 500, 300), disc(1400, 1100, 1300, 100, 9))
    alpha[480:486, 500:506] = 0
    once = clean_alpha(alpha)
    assert not np.array_equal(once, alpha)
    assert np.array_equal(clean_alpha(once), once)
