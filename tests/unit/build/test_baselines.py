"""The benchmark's simple methods, its cache, its procedural pictures and the colour error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cutout_build.quality import cases as cases_module
from cutout_build.quality.baselines import guided_filter, true_coarse_mask
from cutout_build.quality.cache import cached, digest, result_path
from cutout_build.quality.cases import PROCEDURAL_SETS, cases
from cutout_build.quality.composites import Composite
from cutout_build.quality.decontamination import color_error
from cutout_build.quality.stamps import Backdrop


def half_plane(height: int = 400, width: int = 600) -> NDArray[np.float32]:
    alpha = np.zeros((height, width), np.float32)
    alpha[:, : width // 2] = 1
    return alpha


def test_the_true_coarse_mask_is_right_far_from_the_edge_and_soft_at_it() -> None:
    truth = half_plane()
    mask = true_coarse_mask(truth, 600, 400)
    assert mask.shape == truth.shape
    assert mask[:, :280].min() == 1
    assert mask[:, 320:].max() == 0
    assert mask[200, 299:301].mean() == pytest.approx(0.5, abs=0.02)
    assert 0.1 < mask[200, 302] < 0.4


def test_the_true_coarse_mask_knows_no_soft_alpha() -> None:
    assert true_coarse_mask(np.full((64, 64), 0.4, np.float32), 32, 16).max() == 0
    assert true_coarse_mask(np.full((64, 64), 0.6, np.float32), 32, 16).min() == 1


def test_the_guided_filter_makes_a_soft_edge_steeper_where_the_photo_has_one() -> None:
    truth = half_plane()
    photo = np.repeat((truth * 200 + 20).astype(np.uint8)[..., None], 3, axis=2)
    mask = true_coarse_mask(truth, 600, 400)
    filtered = guided_filter(photo, mask)
    assert filtered.min() >= 0
    assert filtered.max() <= 1
    assert filtered[200, 299] - filtered[200, 300] > 2 * (mask[200, 299] - mask[200, 300])


def test_a_flat_photo_leaves_the_guided_filter_a_blur() -> None:
    mask = true_coarse_mask(half_plane(), 600, 400)
    filtered = guided_filter(np.full((400, 600, 3), 90, np.uint8), mask)
    assert filtered[:, :270].min() == pytest.approx(1, abs=1e-4)
    assert filtered[200, 299:301].mean() == pytest.approx(0.5, abs=0.02)


def test_a_result_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    calls = []

    def compute() -> dict[str, NDArray[np.generic]]:
        calls.append(1)
        return {"alpha": np.arange(4, dtype=np.uint8), "seconds": np.float64(0.5)}

    key = digest(b"photo", np.zeros((2, 2), np.uint8))
    for _ in range(2):
        stored = cached("method-1", key, compute)
        assert stored["alpha"].tolist() == [0, 1, 2, 3]
        assert float(stored["seconds"]) == 0.5
    assert len(calls) == 1
    assert [path.name for path in tmp_path.rglob("*.*")] == [result_path("method-1", key).name]


def test_a_digest_tells_contents_shapes_and_borders_apart() -> None:
    zeros = np.zeros(4, np.uint8)
    parts = [(b"ab", b"c"), (b"a", b"bc"), (zeros,), (zeros.reshape(2, 2),), (zeros.astype(np.int8),), (zeros + 1,)]
    assert len({digest(*part) for part in parts}) == len(parts)


@pytest.fixture
def two_backdrops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, color in (("blue", (0, 0, 200)), ("grey", (90, 90, 90))):
        Image.new("RGB", (1200, 900), color).save(tmp_path / f"{name}.png")
        found.append(Backdrop(name, tmp_path / f"{name}.png", blurred=False))
    monkeypatch.setattr(cases_module, "backdrops", lambda split: found)
    for name, small in (("SUBJECT_SIDE", (200, 260)), ("MIN_PIXELS", 100_000), ("MAX_PIXELS", 160_000)):
        monkeypatch.setattr(cases_module, name, small)


@pytest.mark.usefixtures("two_backdrops")
@pytest.mark.parametrize("name", list(PROCEDURAL_SETS))
def test_procedural_pictures_fit_their_truth(name: str) -> None:
    kinds = PROCEDURAL_SETS[name]
    for index, made in enumerate(cases(name, 2)):
        assert made.stamp == kinds[index % len(kinds)]
        assert made.alpha.max() > 0.9
        assert made.alpha.size >= 0.99 * 100_000
        assert made.alpha.size <= 1.3 * 160_000
        solid = made.alpha == 1
        if solid.any():
            difference = np.abs(made.photo()[solid].astype(float) - made.foreground[solid])
            assert difference.mean() < 12


@pytest.mark.usefixtures("two_backdrops")
def test_a_procedural_picture_depends_on_seed_split_and_place_alone() -> None:
    def jpeg(count: int, seed: int, split: str) -> bytes:
        return next(iter(cases("hard", count, seed, split))).jpeg

    assert jpeg(1, 0, "test") == jpeg(2, 0, "test")
    assert len({jpeg(1, 0, "test"), jpeg(1, 1, "test"), jpeg(1, 0, "train")}) == 3


def test_the_color_error_looks_at_mixed_pixels_only() -> None:
    alpha = np.array([[0.0, 0.5, 1.0, 0.96]], np.float32)
    foreground = np.full((1, 4, 3), 100, np.uint8)
    case = Composite("c", "s", "b", b"", alpha, foreground)
    colors = np.full((1, 4, 3), 250, np.uint8)
    colors[0, 1] = (100, 103, 109)
    assert color_error(colors, case) == pytest.approx(4)
    assert np.isnan(color_error(colors, Composite("c", "s", "b", b"", np.ones((1, 4), np.float32), foreground)))
