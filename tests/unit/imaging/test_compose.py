from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cutout_core.imaging.compose import clear_hidden, flatten, flatten_on, over

from .images import Array

pytestmark = pytest.mark.usefixtures("each_path")

BYTES = st.integers(0, 255)
#: Every pair of a colour and an alpha, as an image of 256 × 256.
ALL_COLORS = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, axis=2)
ALL_ALPHAS = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 256))


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (1, 127, 254), (10, 200, 128)])
def test_flatten_is_exact_for_every_colour_and_alpha(color: tuple[int, int, int]) -> None:
    c, a, b = ALL_COLORS.astype(int), ALL_ALPHAS.astype(int)[..., None], np.array(color)
    flat = flatten(ALL_COLORS, ALL_ALPHAS, color)
    assert np.array_equal(flat, (c * a + b * (255 - a) + 127) // 255)
    assert np.array_equal(flat, np.rint((c * a + b * (255 - a)) / 255.0))


def test_on_a_picture_it_is_exact_too() -> None:
    c, a = ALL_COLORS.astype(int), ALL_ALPHAS.astype(int)[..., None]
    picture = np.random.default_rng(0).integers(0, 256, ALL_COLORS.shape, np.uint8)
    flat = flatten_on(ALL_COLORS, ALL_ALPHAS, picture)
    assert np.array_equal(flat, (c * a + picture.astype(int) * (255 - a) + 127) // 255)


@settings(max_examples=40)
@given(hnp.arrays(np.uint8, (5, 70, 3)), hnp.arrays(np.uint8, (5, 70), elements=st.sampled_from([0, 0, 0, 7, 255])))
def test_in_place_it_is_the_same(rgb: Array, alpha: Array) -> None:
    for behind in ((9, 9, 9), (1, 2, 3)):
        assert np.array_equal(flatten(rgb, alpha, behind), flatten(rgb.copy(), alpha, behind, in_place=True))
    picture = np.ascontiguousarray(rgb[::-1])
    assert np.array_equal(flatten_on(rgb, alpha, picture), flatten_on(rgb.copy(), alpha, picture, in_place=True))


def test_what_cannot_be_overwritten_is_copied() -> None:
    rgb = ALL_COLORS.copy()
    rgb.setflags(write=False)
    flat = flatten(rgb, ALL_ALPHAS, (1, 2, 3), in_place=True)
    assert np.array_equal(flat, flatten(ALL_COLORS, ALL_ALPHAS, (1, 2, 3)))
    assert np.array_equal(rgb, ALL_COLORS)


@pytest.mark.parametrize("color", [(255, 255, 255, 128), (7, 130, 250, 1), (7, 130, 250, 254), (0, 0, 0, 77)])
def test_over_is_exact_for_every_colour_and_alpha(color: tuple[int, int, int, int]) -> None:
    rgb, alpha = over(ALL_COLORS, ALL_ALPHAS, color)
    front = ALL_ALPHAS / 255.0
    back = color[3] / 255.0 * (1 - front)
    total = front + back
    assert np.abs(alpha - 255 * total).max() <= 0.5 + 1e-9
    mean = (ALL_COLORS * front[..., None] + np.array(color[:3]) * back[..., None]) / total[..., None]
    assert np.abs(rgb - mean).max() <= 0.5 + 1e-9


@given(BYTES, BYTES, BYTES, BYTES)
def test_over_against_exact_fractions(c: int, a: int, b: int, ab: int) -> None:
    pixel = np.full((1, 1, 3), c, np.uint8)
    rgb, alpha = over(pixel, np.full((1, 1), a, np.uint8), (b, b, b, ab))
    total = Fraction(a, 255) + Fraction(ab, 255) * (1 - Fraction(a, 255))
    assert abs(int(alpha[0, 0]) - 255 * total) <= Fraction(1, 2)
    if total == 0:
        assert not rgb.any()
    else:
        mean = (c * Fraction(a, 255) + b * Fraction(ab, 255) * (1 - Fraction(a, 255))) / total
        assert abs(int(rgb[0, 0, 0]) - mean) <= Fraction(1, 2)


def test_over_a_transparent_colour_changes_nothing_visible() -> None:
    rgb, alpha = over(ALL_COLORS, ALL_ALPHAS, (255, 0, 0, 0))
    assert np.array_equal(alpha, ALL_ALPHAS)
    assert np.array_equal(rgb[1:], ALL_COLORS[1:])
    assert not rgb[0].any()


@settings(max_examples=40)
@given(hnp.arrays(np.uint8, (5, 7, 3)), hnp.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 254, 255])))
def test_hidden_colours_are_cleared_and_others_kept(rgb: Array, alpha: Array) -> None:
    before = rgb.copy()
    cleared = clear_hidden(rgb, alpha)
    assert np.array_equal(cleared, np.where(alpha[..., None] == 0, 0, rgb))
    assert np.array_equal(rgb, before)
    assert clear_hidden(before, alpha, in_place=True) is before
    assert np.array_equal(before, cleared)


def test_inputs_are_not_changed() -> None:
    rgb, alpha = ALL_COLORS.copy(), ALL_ALPHAS.copy()
    flatten(rgb, alpha, (1, 2, 3))
    flatten_on(rgb, alpha, rgb[::-1].copy())
    over(rgb, alpha, (1, 2, 3, 4))
    assert np.array_equal(rgb, ALL_COLORS)
    assert np.array_equal(alpha, ALL_ALPHAS)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1)])
def test_thin_images(shape: tuple[int, int]) -> None:
    alpha = np.full(shape, 128, np.uint8)
    rgb = np.full((*shape, 3), 100, np.uint8)
    assert np.unique(flatten(rgb, alpha, (0, 0, 0))).tolist() == [50]
    assert clear_hidden(rgb, alpha).shape == rgb.shape
    assert over(rgb, alpha, (0, 0, 0, 9))[0].shape == rgb.shape
