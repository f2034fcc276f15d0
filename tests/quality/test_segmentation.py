"""The segmentation engine behind the served preprocessing, against a reference and between precisions."""

from __future__ import annotations

import numpy as np
import pytest

from cutout_build.photos import photo
from cutout_build.quality import metrics
from cutout_build.quality.engine import RECIPES, Segmentation, recipe_masks
from tests.quality.astronaut_polygon import astronaut_alpha
from tests.quality.conftest import MaskOf


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_astronaut_is_cut_out_as_a_person_would(mask_of: MaskOf, precision: str) -> None:
    assert metrics.iou(mask_of("astronaut", precision), astronaut_alpha()) >= 0.93


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_bf16_stays_near_fp32(mask_of: MaskOf, name: str) -> None:
    fp32, bf16 = mask_of(name, "fp32"), mask_of(name, "bf16")
    assert metrics.iou(bf16, fp32) >= 0.97
    assert metrics.mae(bf16, fp32) <= 10
    assert not np.array_equal(bf16, fp32), "bf16 was not used"


def test_the_reference_is_a_hand_drawn_shape_with_soft_edges() -> None:
    alpha = astronaut_alpha()
    assert alpha.shape == (512, 512)
    assert alpha.mean() == pytest.approx(0.535, abs=0.005)
    face, suit, helmet = alpha[110, 220], alpha[320, 100], alpha[450, 400]
    flag, backdrop, shuttle, pedestal = alpha[120, 30], alpha[60, 340], alpha[150, 400], alpha[320, 440]
    assert (face, suit, helmet) == (1, 1, 1)
    assert (flag, backdrop, shuttle, pedestal) == (0, 0, 0, 0)


def test_every_recipe_gives_a_mask_and_only_stretching_fills_the_range(segmentation: Segmentation) -> None:
    masks = recipe_masks(segmentation, photo("grass").read_bytes())
    assert list(masks) == [recipe.name for recipe in RECIPES]
    for recipe in RECIPES:
        mask = masks[recipe.name]
        assert mask.shape == (512, 512)
        assert (mask.max() == pytest.approx(1)) == recipe.stretch
