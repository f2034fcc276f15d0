"""The ramp from probability to alpha: fixed, monotone, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from cutout_core.imaging.levels import HIGH, LOW, mask_to_alpha


def test_the_ends_are_certain_and_the_middle_stays() -> None:
    mask = np.array([[0.0, LOW, 0.5, HIGH, 1.0]], np.float32)
    assert mask_to_alpha(mask)[0] == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-6)
    assert mask_to_alpha(mask).dtype == np.float32


def test_it_is_monotone_and_in_range() -> None:
    ramp = mask_to_alpha(np.linspace(0, 1, 1001, dtype=np.float32))
    assert (np.diff(ramp) >= 0).all()
    assert ramp.min() == 0
    assert ramp.max() == 1


def test_a_pixel_does_not_depend_on_the_others() -> None:
    mask = np.random.default_rng(1).random((64, 64), np.float32)
    alone = mask_to_alpha(mask[:1, :1])
    assert mask_to_alpha(mask)[0, 0] == alone[0, 0]
