"""The pool of requests: its shares, and that any part of it in order is the mix."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutout_loadtest import mix
from cutout_loadtest.mix import MIX, make_shots, read_mix


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


def test_a_file_gives_another_mix(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mix.json"
    file.write_text(
        """[{"weight": 3, "megapixels": 0.05, "input": "jpeg", "output": "png"},
            {"weight": 1, "megapixels": 0.1, "input": "webp", "output": "jpeg", "options": {"background": "white"}}]"""
    )
    shots = make_shots(read_mix(str(file)), photos, "fast", 0)
    assert Counter(shot.kind for shot in shots) == {
        "0.05 MP jpeg → png, fast": 75,
        "0.1 MP webp → jpeg, fast, background=white": 25,
    }
    assert {shot.options.get("background") for shot in shots} == {None, "white"}
    assert read_mix("real") is MIX


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a list of kinds"),
        ('[{"weight": 1}]', "kind 1: .*megapixels"),
        ('[{"weight": 1, "megapixels": 1, "input": "jpeg", "output": "png", "size": 3}]', "size"),
        ('[{"weight": 0, "megapixels": 1, "input": "jpeg", "output": "png"}]', "above 0"),
        ('[{"weight": 1, "megapixels": 1, "input": "gif", "output": "png"}]', "input is one of jpeg, png, webp"),
        ('[{"weight": 1, "megapixels": 1, "input": "png", "output": "png", "options": {"crop": 1}}]', "texts"),
        ("[3]", "kind 1"),
    ],
)
def test_a_file_that_is_no_mix_is_told(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "mix.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_mix(str(file))
    with pytest.raises(ValueError, match="neither a file nor one of real, small"):
        read_mix(str(tmp_path / "nothing"))
