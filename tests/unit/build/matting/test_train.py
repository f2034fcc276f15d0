"""A training run: it can be interrupted, and is refused where its folder holds another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the group `train` only")

from cutout_build.matting import train as training  # noqa: E402
from cutout_build.matting.procedural import procedural_subject  # noqa: E402
from cutout_build.matting.samples import Frame  # noqa: E402
from cutout_build.matting.sources import BANK_SHARES, Cutout  # noqa: E402
from cutout_build.matting.train import LOG, PLOT, TrainSettings, learning_rate, load_average, train  # noqa: E402

SETTINGS = TrainSettings(steps=4, batch=2, side=64, warm_up=2, frames=1, bank=1)


@pytest.fixture(autouse=True)
def tiny_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cutouts = [Cutout(kind, kind, procedural_subject(kind, rng, 96)) for kind in (*BANK_SHARES,)]
    stamp = Cutout("stamp", "stamp", procedural_subject("fur", rng, 128))
    plane = np.full((512, 512), 200, np.uint8)
    frame = Frame("stamp", np.zeros((512, 512, 3), np.uint8), plane, plane)
    monkeypatch.setattr(training, "scenes", lambda: [rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)])
    monkeypatch.setattr(training, "training_stamps", lambda: [stamp])
    monkeypatch.setattr(training, "procedural_bank", lambda *_: cutouts)
    monkeypatch.setattr(training, "segmented_frames", lambda *_: [frame])
    monkeypatch.setattr(training, "taught_frames", lambda: [replace(frame, kind="photo", known=plane)])


def weights(folder: Path) -> dict[str, Any]:
    return {name: value.clone() for name, value in load_average(folder)[0].state_dict().items()}


def test_a_run_that_goes_on_ends_where_an_unbroken_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backdrop = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    monkeypatch.setattr(training, "scenes", lambda: [backdrop])
    # the same learning rates: an unbroken run's course depends on its length
    monkeypatch.setattr(training, "learning_rate", lambda step, settings: 1e-3)
    train(tmp_path / "whole", SETTINGS, workers=0)
    train(tmp_path / "broken", replace(SETTINGS, steps=2), workers=0)
    half = weights(tmp_path / "broken")
    train(tmp_path / "broken", SETTINGS, workers=0)
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    for name, value in whole.items():
        torch.testing.assert_close(broken[name], value, rtol=0, atol=1e-6)
    assert any(not torch.equal(half[name], value) for name, value in whole.items())
    assert len((tmp_path / "broken" / LOG).read_text().splitlines()) == 1 + SETTINGS.steps
    assert "<svg" in (tmp_path / "broken" / PLOT).read_text()


def test_another_run_in_the_folder_is_not_overwritten(tmp_path: Path) -> None:
    train(tmp_path, replace(SETTINGS, steps=1), workers=0)
    with pytest.raises(ValueError, match="other settings"):
        train(tmp_path, replace(SETTINGS, batch=1), workers=0)


def test_the_learning_rate_rises_and_falls() -> None:
    settings = TrainSettings(steps=1000, warm_up=100, learning_rate=1e-3)
    rates = [learning_rate(step, settings) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == rates[100] == pytest.approx(1e-3)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
