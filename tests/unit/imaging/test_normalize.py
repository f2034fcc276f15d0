from __future__ import annotations

import numpy as np
import pytest

from cutout_core.imaging.normalize import normalize

from .images import smooth

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("divide_by_max", [True, False])
def test_normalize_is_the_formula(divide_by_max: bool) -> None:
    rgb = smooth(32, 32) // 2
    scale = float(rgb.max()) if divide_by_max else 255.0
    expected = ((rgb / scale - MEAN) / STD).transpose(2, 0, 1)
    tensor = normalize(rgb, MEAN, STD, divide_by_max)
    assert tensor.dtype == np.float32
    assert tensor.shape == (3, 32, 32)
    assert tensor.flags.c_contiguous
    assert np.abs(tensor - expected).max() < 1e-5


def test_black_stays_finite() -> None:
    tensor = normalize(np.zeros((4, 4, 3), np.uint8), MEAN, STD, True)
    assert tensor[:, 0, 0] == pytest.approx(-np.array(MEAN) / STD, rel=1e-5)


def test_channels_are_not_swapped() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    tensor = normalize(red, (0, 0, 0), (1, 1, 1), False)
    assert tensor[:, 0, 0].tolist() == [1, 0, 0]
