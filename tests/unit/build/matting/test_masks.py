"""Coarse masks are wrong in the ways meant, and in no others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cutout_build.matting.masks import first_pass_alpha, wrong_mask
from cutout_build.quality.baselines import true_coarse_mask

Float32 = NDArray[np.float32]


@pytest.fixture(scope="module")
def disc() -> Float32:
    alpha = np.zeros((192, 192), np.float32)
    cv2.circle(alpha, (96, 96), 60, 1, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 1)


def test_the_true_coarse_mask_is_the_definition_of_the_benchmark() -> None:
    alpha = np.random.default_rng(0).uniform(0, 1, (512, 512)).astype(np.float32)
    small = cv2.resize((alpha > 0.5).astype(np.float32), (320, 320), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.5), (512, 512), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(true_coarse_mask(alpha, 512, 512), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_masks_keep_shape_and_range(disc: Float32, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for mask in (wrong_mask(disc, rng, 1.6), first_pass_alpha(disc, rng, 3.0)):
        assert mask.shape == disc.shape
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert mask.max() <= 1


def test_a_wrong_mask_is_wrong_at_the_edge_and_mostly_right_far_from_it(disc: Float32) -> None:
    errors = np.stack([np.abs(wrong_mask(disc, np.random.default_rng([1, s]), 1.6) - disc) for s in range(40)]).mean(0)
    distance = np.abs(np.hypot(*(np.mgrid[0:192, 0:192] - 96)) - 60)
    assert errors[distance < 4].mean() > 0.15
    assert errors[distance > 30].mean() < 0.06


def test_a_first_pass_is_nearer_to_the_truth_than_a_wrong_mask(disc: Float32) -> None:
    first = np.mean(
        [np.abs(first_pass_alpha(disc, np.random.default_rng([2, s]), 2.0) - disc).mean() for s in range(30)]
    )
    wrong = np.mean([np.abs(wrong_mask(disc, np.random.default_rng([2, s]), 2.0) - disc).mean() for s in range(30)])
    assert first < 0.6 * wrong
