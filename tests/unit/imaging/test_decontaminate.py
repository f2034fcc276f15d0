"""Foreground colours: the subject's own where the photo is mixed, and nothing else changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cutout_core.imaging.band import photo_grid
from cutout_core.imaging.compose import clear_hidden
from cutout_core.imaging.decontaminate import decontaminate

from .images import Array, smooth
from .subjects import SHAPES, Subject, hairy_subject

pytestmark = pytest.mark.usefixtures("each_path")


def error(rgb: Array, subject: Subject) -> float:
    """Mean |ΔRGB| where 0.05 < alpha < 0.95."""
    mixed = (subject.alpha > 13) & (subject.alpha < 242)
    return float(np.abs(rgb.astype(float) - subject.foreground)[mixed].mean())


def test_hair_from_a_green_wall_gets_its_own_colour() -> None:
    subject = hairy_subject()
    assert error(subject.rgb, subject) > 25
    assert error(decontaminate(subject.rgb, subject.alpha), subject) <= 5


def test_an_alpha_one_pixel_off_helps_less_but_helps() -> None:
    subject = hairy_subject()
    wrong = np.roll(subject.alpha, 1, axis=1)
    mixed = (wrong > 0) & (wrong < 255) & (subject.alpha > 13)
    before, after = (
        np.abs(rgb.astype(float) - subject.foreground)[mixed].mean()
        for rgb in (subject.rgb, decontaminate(subject.rgb, wrong))
    )
    assert after <= 0.85 * before


def test_opaque_pixels_are_exact_and_hidden_ones_empty() -> None:
    subject = hairy_subject()
    pure = decontaminate(subject.rgb, subject.alpha)
    assert np.array_equal(pure[subject.alpha == 255], subject.rgb[subject.alpha == 255])
    assert not pure[subject.alpha == 0].any()


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, (6, 9, 3)), hnp.arrays(np.uint8, (6, 9), elements=st.sampled_from([0, 1, 128, 254, 255])))
def test_only_mixed_pixels_change(rgb: Array, alpha: Array) -> None:
    before = rgb.copy()
    pure = decontaminate(rgb, alpha)
    certain = (alpha == 0) | (alpha == 255)
    assert np.array_equal(pure[certain], clear_hidden(rgb, alpha)[certain])
    assert np.array_equal(rgb, before)
    assert decontaminate(before, alpha, in_place=True) is before
    assert np.array_equal(before, pure)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(shape: tuple[int, int]) -> None:
    height, width = shape
    rgb = smooth(width, height)
    alpha = smooth(width, height, 1)[..., 0]
    pure = decontaminate(rgb, alpha)
    assert pure.shape == rgb.shape
    assert pure.dtype == np.uint8


@pytest.mark.parametrize("level", [0, 255])
def test_without_a_mixed_pixel_nothing_is_computed(level: int) -> None:
    rgb = smooth(300, 200)
    alpha = np.full((200, 300), level, np.uint8)
    assert np.array_equal(decontaminate(rgb, alpha), rgb if level else np.zeros_like(rgb))


def test_a_photo_of_one_colour_stays_so() -> None:
    rgb = np.broadcast_to(np.array([10, 200, 90], np.uint8), (700, 800, 3)).copy()
    pure = decontaminate(rgb, np.maximum(smooth(800, 700, 1)[..., 0], 1))
    assert np.abs(pure.astype(int) - rgb).max() <= 1


def test_threads_agree() -> None:
    subject = hairy_subject()
    alone = decontaminate(subject.rgb, subject.alpha)
    small = photo_grid(subject.rgb)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: decontaminate(subject.rgb, subject.alpha, small), range(4)))
    assert all(np.array_equal(result, alone) for result in results)
