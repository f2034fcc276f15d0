"""The pool of requests: its shares, and that any part of it in order is the mix."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutout_loadtest import mix
from cutout_loadtest.mix import MIX, make_shots


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpg", "c.png"):
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "readme.txt").write_text("no photo")
    return tmp_path


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of the wanted kind, without the work of encoding 12 megapixels."""
    monkeypatch.setattr(mix, "photo_file", lambda photo, megapixels, encoding, seed: photo.name.encode())


def test_every_kind_has_its_share_and_two_photos(photos: Path) -> None:
    shots = make_shots(MIX, photos, "fast", 3)
    total = sum(kind.weight for kind in MIX)
    counts = Counter(shot.kind for shot in shots)
    assert counts == {kind.name("fast"): round(100 * kind.weight / total) for kind in MIX}
    bodies = {kind: {shot.http for shot in shots if shot.kind == kind} for kind in counts}
    assert all(len(found) == 2 for found in bodies.values())
    assert make_shots(MIX, photos, "fast", 3) == shots


def test_a_part_sent_in_order_has_the_mean_size_of_the_whole(photos: Path) -> None:
    sizes = np.array([shot.megapixels for shot in make_shots(MIX, photos, "fast", 3)])
    for count in (20, 40, 60):
        for start in range(0, len(sizes) - count + 1, 5):
            assert sizes[start : start + count].mean() == pytest.approx(sizes.mean(), rel=0.25)


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no PNG or JPEG"):
        make_shots(MIX, tmp_path, "fast", 0)
