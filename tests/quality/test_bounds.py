"""A fixed small part of the benchmark: ours, held against what the peers reach on the same pictures.

The bounds are the peers' own figures (rembg 2.0.86 with u2netp, pymatting 1.1.16), measured once by
`python -m cutout_build.quality benchmark`; the pictures are the first of the sets `stamps`, `hair` and `hard`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from cutout_build.quality.baselines import true_coarse_mask
from cutout_build.quality.cases import cases
from cutout_build.quality.composites import Composite
from cutout_build.quality.decontamination import color_error
from cutout_build.quality.metrics import Scores, score
from cutout_build.quality.ours import MATTING_INT8, Pipeline
from cutout_core.contract.cpu import has_int8_dot_products
from cutout_core.contract.tensors import ALPHA_SIZE
from cutout_core.imaging.decontaminate import decontaminate

COUNTS = {"stamps": 6, "hair": 4, "hard": 3}
PHOTOGRAPHIC = ["stamps", "hair"]

#: Band of closed form and MAE of the upscaled mask, both given the true coarse mask.
GIVEN = {"stamps": (92.4, 4.66), "hair": (137.2, 39.8)}
#: Band of rembg without matting, end to end.
REMBG_BAND = {"stamps": 106.9, "hair": 276.8}
#: Colour error of pymatting's multilevel estimate, given the true alpha.
MULTILEVEL = {"stamps": 22.24, "hair": 12.74}

needs_int8 = pytest.mark.skipif(not has_int8_dot_products(), reason="this CPU is not served INT8: no VNNI, no AMX")
PRECISIONS = ["fp32", pytest.param("int8", marks=needs_int8)]


@cache
def pipeline(precision: str) -> Pipeline:
    return Pipeline() if precision == "fp32" else Pipeline(MATTING_INT8, int8=True)


@cache
def pictures(name: str) -> tuple[Composite, ...]:
    return tuple(cases(name, COUNTS[name]))


@cache
def mean(name: str, quality: str, given: bool, precision: str = "fp32", mode: str = "auto") -> Scores:
    """Of one set, end to end or given the true coarse mask."""
    found = []
    for made in pictures(name):
        mask = true_coarse_mask(made.alpha, ALPHA_SIZE, ALPHA_SIZE) if given else None
        alpha = pipeline(precision).cut(made.jpeg, quality, mode, mask).astype(np.float32) / 255
        found.append(score(alpha, made.alpha))
    return Scores.mean(found)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", PHOTOGRAPHIC)
def test_given_the_true_mask_standard_is_closer_than_closed_form(name: str, precision: str) -> None:
    band, mae = GIVEN[name]
    reached = mean(name, "standard", True, precision)
    assert reached.band <= band
    assert reached.mae <= mae


@pytest.mark.parametrize("name", PHOTOGRAPHIC)
def test_the_matting_network_improves_the_mask(name: str) -> None:
    standard, fast = (mean(name, quality, True) for quality in ("standard", "fast"))
    assert standard.band < fast.band
    assert standard.mae < fast.mae
    assert standard.grad < fast.grad


@pytest.mark.parametrize("name", PHOTOGRAPHIC)
def test_native_tiles_are_a_tenth_closer_than_closed_form(name: str) -> None:
    """Given the mask, the tiles of `high` need no other network than `standard`."""
    assert mean(name, "high", True).band <= 0.9 * GIVEN[name][0]


def test_the_modes_differ_in_the_direction_meant() -> None:
    product, between, portrait = (
        mean("hard", "standard", True, mode=mode) for mode in ("product", "object", "portrait")
    )
    assert product.band < between.band < portrait.band
    product, between, portrait = (
        mean("hair", "standard", True, mode=mode) for mode in ("product", "object", "portrait")
    )
    assert portrait.grad < between.grad < product.grad


@pytest.mark.parametrize("name", PHOTOGRAPHIC)
def test_colours_of_mixed_pixels_are_as_close_as_the_multilevel_estimates(name: str) -> None:
    errors = []
    for made in pictures(name):
        alpha = np.rint(made.alpha * 255).astype(np.uint8)
        errors.append(color_error(decontaminate(made.photo(), alpha), made))
    assert np.nanmean(errors) <= 1.1 * MULTILEVEL[name]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "quality"), [("stamps", "fast"), ("stamps", "standard"), ("hair", "standard")])
def test_end_to_end_the_edge_is_closer_than_rembgs(name: str, quality: str, precision: str) -> None:
    assert mean(name, quality, False, precision).band <= REMBG_BAND[name]
