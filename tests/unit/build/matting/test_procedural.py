"""Procedural subjects: every kind has an edge, is drawn the same twice, and has the kind of alpha its name says."""

from __future__ import annotations

import numpy as np
import pytest

from cutout_build.matting.procedural import KINDS, grain_texture, procedural_subject


@pytest.mark.parametrize("kind", KINDS)
def test_a_subject_has_pixels_of_its_own_and_leaves_some_free(kind: str) -> None:
    alphas = [procedural_subject(kind, np.random.default_rng([1, seed]), 128)[..., 3] for seed in range(4)]
    assert all(alpha.shape == (128, 128) and alpha.dtype == np.uint8 for alpha in alphas)
    assert max(alpha.max() for alpha in alphas) > 50
    assert all((alpha == 0).mean() > 0.05 for alpha in alphas)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_draws_the_same_pixels(kind: str) -> None:
    first, second = (procedural_subject(kind, np.random.default_rng(7), 96) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, procedural_subject(kind, np.random.default_rng(8), 96))


def share_of_soft_pixels(kind: str) -> float:
    """Soft pixels for one of the subject, mean over seeds."""
    shares = []
    for seed in range(6):
        alpha = procedural_subject(kind, np.random.default_rng([2, seed]), 192)[..., 3]
        shares.append(((alpha > 12) & (alpha < 243)).sum() / max(1, (alpha > 127).sum()))
    return float(np.mean(shares))


def test_hair_is_softer_than_a_hard_shape() -> None:
    assert share_of_soft_pixels("hair") > 1.5 * share_of_soft_pixels("shape")


def test_a_texture_gives_the_surface() -> None:
    texture = np.full((50, 50, 3), (10, 200, 30), np.uint8)
    rgba = procedural_subject("shape", np.random.default_rng(3), 128, texture)
    np.testing.assert_array_equal(rgba[rgba[..., 3] > 0][:, :3].mean(0).round(), (10, 200, 30))


def test_streaks_fill_the_size_asked_for_and_depend_on_the_generator_alone() -> None:
    first, second = (grain_texture(np.random.default_rng(5), 60, 90) for _ in range(2))
    assert first.shape == (60, 90, 3)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_streaks_have_a_direction() -> None:
    """The gradients' energy along the main direction and across it (the structure tensor's eigenvalues)."""
    ratios = []
    for seed in range(40):
        down, across = np.gradient(grain_texture(np.random.default_rng([6, seed]), 128, 128)[..., 1])
        tensor = [[(down * down).mean(), (down * across).mean()], [(down * across).mean(), (across * across).mean()]]
        least, most = np.linalg.eigvalsh(tensor)
        ratios.append(most / max(least, 1e-9))
    assert np.median(ratios) > 3
