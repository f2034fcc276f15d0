"""Composites from two made-up pictures, the split, and the conclusions drawn from scores."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutout_build.errors import BuildError
from cutout_build.quality import composites as module
from cutout_build.quality.composites import MAX_PIXELS, MIN_SCALE, Composite, composites
from cutout_build.quality.engine import stretched
from cutout_build.quality.measure import Measured, is_harmless, losses
from cutout_build.quality.metrics import Scores
from cutout_build.quality.stamps import Backdrop, family_of, load_stamp, package_folder, split_of


@pytest.fixture
def two_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A red disc with a transparent frame as the only stamp, plain blue as the only backdrop."""
    down, across = np.mgrid[0:340, 0:300]
    rgba = np.zeros((340, 300, 4), np.uint8)
    rgba[..., 0] = 250
    rgba[np.hypot(down - 170, across - 150) < 130, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "disc.png")
    Image.new("RGB", (1200, 900), (0, 0, 200)).save(tmp_path / "blue.png")
    monkeypatch.setattr(module, "stamps", lambda split: [tmp_path / "disc.png"])
    monkeypatch.setattr(module, "backdrops", lambda split: [Backdrop("blue", tmp_path / "blue.png", blurred=False)])
    return tmp_path


def made(count: int, seed: int = 0, min_pixels: int = 150_000) -> list[Composite]:
    return list(composites("test", count, seed, min_pixels))


def test_a_stamp_is_cut_to_what_is_visible(two_pictures: Path) -> None:
    assert load_stamp(two_pictures / "disc.png").shape == (259, 259, 4)


def test_the_photo_shows_the_stamp_where_its_alpha_is(two_pictures: Path) -> None:
    for composite in made(3):
        photo = composite.photo().astype(int)
        assert photo.shape[:2] == composite.alpha.shape
        inside, outside = composite.alpha == 1, composite.alpha == 0
        assert photo[inside].mean(axis=0) == pytest.approx([250, 0, 0], abs=8)
        assert photo[outside].mean(axis=0) == pytest.approx([0, 0, 200], abs=8)
        assert set(np.unique(composite.alpha)) > {0, 1}


def test_sizes_stay_within_their_limits(two_pictures: Path) -> None:
    for composite in made(6, min_pixels=500_000):
        assert 0.99 * 500_000 <= composite.alpha.size <= MAX_PIXELS
        rows = np.flatnonzero((composite.alpha > 0.5).any(axis=1))
        assert 259 * MIN_SCALE - 1 <= rows[-1] - rows[0] + 1 <= 260


def test_the_seed_alone_decides(two_pictures: Path) -> None:
    first, again, other = made(2), made(2), made(2, seed=1)
    assert [c.jpeg for c in first] == [c.jpeg for c in again]
    assert first[0].jpeg != other[0].jpeg
    assert first[0].jpeg != first[1].jpeg


def test_the_split_is_by_the_hash_of_the_family() -> None:
    assert family_of("gnu-baby-stand.png") == family_of("gnu-stand.png") == "gnu"
    assert family_of("otter.png") == "otter.png"
    for name in ("gnu", "otter.png", "Blinds"):
        expected = "test" if hashlib.sha1(name.encode()).hexdigest()[0] < "4" else "train"
        assert split_of(name) == expected


def test_a_package_that_cannot_be_fetched_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="apt-get update"):
        package_folder("mate-backgrounds", echo=lambda text: None)
    assert list((tmp_path / "quality").iterdir()) == []


def measured(fp32_iou: float, bf16_iou: float, fp32_band: float, bf16_band: float) -> Measured:
    def scores(iou: float, band: float) -> Scores:
        return Scores(sad=1, mse=1, mae=10, grad=1, band=band, iou=iou)

    return Measured("x", {"served": scores(fp32_iou, fp32_band)}, scores(bf16_iou, bf16_band))


def test_losses_are_relative_and_positive_when_worse() -> None:
    rows = {row.metric: row for row in losses([measured(0.9, 0.81, 50, 55), measured(0.9, 0.9, 50, 50)])}
    assert rows["iou"].relative == pytest.approx(0.05)
    assert rows["iou"].error == pytest.approx(0.05)
    assert rows["band"].relative == pytest.approx(0.05)
    assert rows["mae"].relative == 0


def test_harmless_is_at_most_one_percent_of_band_and_of_iou() -> None:
    assert is_harmless(losses([measured(0.9, 0.8919, 50, 50.4)]))
    assert not is_harmless(losses([measured(0.9, 0.9, 50, 50.6)]))
    assert not is_harmless(losses([measured(0.9, 0.88, 50, 50)]))


def test_stretching_fills_the_range_even_of_almost_nothing() -> None:
    mask = stretched(np.array([[0.01, 0.02], [0.03, 0.05]], np.float32))
    assert (mask.min(), mask.max()) == (0, pytest.approx(1))
    assert stretched(np.zeros((2, 2), np.float32)).max() == 0
