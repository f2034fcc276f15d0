from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cutout_core.contract import Box
from cutout_core.imaging.subject import CERTAIN, MIN_CERTAIN_AREA, has_subject, measure, subject_box

from .images import Array

pytestmark = pytest.mark.usefixtures("each_path")


def disc(radius: float, peak: float = 1.0) -> Array:
    y, x = np.mgrid[:512, :512]
    return (np.hypot(x - 255.5, y - 255.5) <= radius).astype(np.float32) * np.float32(peak)


def test_a_clear_subject() -> None:
    assert has_subject(disc(100))


def test_a_small_but_certain_subject() -> None:
    assert has_subject(disc(8))


def test_nothing() -> None:
    assert not has_subject(np.zeros((512, 512), np.float32))


def test_a_faint_mask_is_not_stretched_into_a_subject() -> None:
    assert not has_subject(disc(200, peak=CERTAIN - 0.01))


def test_a_few_pixels_are_noise() -> None:
    speck = np.zeros((512, 512), np.float32)
    speck.reshape(-1)[: int(MIN_CERTAIN_AREA * 512 * 512)] = 1
    assert not has_subject(speck)


def test_a_texture_is_possible_everywhere_and_certain_almost_nowhere() -> None:
    texture = np.full((512, 512), 0.4, np.float32)
    assert not has_subject(np.maximum(texture, disc(20)))
    assert has_subject(np.maximum(texture, disc(80)))


def test_the_rule_ignores_what_does_not_change_the_mask() -> None:
    mask = disc(50)
    assert has_subject(np.flip(mask)) == has_subject(mask.T) == has_subject(mask)


def test_box_holds_every_pixel_of_at_least_half() -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[5:20, 7:31] = 128
    alpha[30, 50] = 127
    assert subject_box(alpha) == measure(alpha)[0] == Box(left=7, top=5, width=24, height=15)


def test_no_box_without_a_subject() -> None:
    alpha = np.full((8, 8), 127, np.uint8)
    assert subject_box(alpha) is measure(alpha)[0] is None


def test_box_of_a_single_pixel() -> None:
    alpha = np.full((1, 1), 255, np.uint8)
    assert subject_box(alpha) == measure(alpha)[0] == Box(0, 0, 1, 1)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 70))), st.integers(1, 255))
def test_box_and_mean_of_any_alpha(alpha: Array, level: int) -> None:
    box, mean = measure(alpha, level)
    assert box == subject_box(alpha, level)
    assert mean == pytest.approx(alpha.mean() / 255)


def test_the_mean_of_a_wide_alpha_is_exact() -> None:
    assert measure(np.full((3, 9000), 255, np.uint8)) == (Box(0, 0, 9000, 3), 1.0)
