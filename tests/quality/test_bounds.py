"""A fixed small part of the benchmark: ours, held against what the peers reach on the same pictures.

The bounds are the peers' own figures (rembg 2.0.86 with u2netp, pymatting 1.1.16), measured once by
`python -m cutout_build.quality benchmark`; the pictures are the first of the sets `stamps` and `hair`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from cutout_build.quality.baselines import true_coarse_mask
from cutout_build.quality.cases import cases
from cutout_build.quality.composites import Composite
from cutout_build.quality.metrics import Scores, score
from cutout_build.quality.ours import MATTING_INT8, Pipeline
from cutout_core.contract.cpu import has_int8_dot_products
from cutout_core.contract.tensors import ALPHA_SIZE

COUNTS = {"stamps": 6, "hair": 4}

#: Band of closed form and MAE of the upscaled mask, both given the true coarse mask.
GIVEN = {"stamps": (92.4, 4.66), "hair": (137.2, 39.8)}
#: Band of rembg without matting, end to end.
REMBG_BAND = 106.9


needs_int8 = pytest.mark.skipif(not has_int8_dot_products(), reason="this CPU is not served INT8: no VNNI, no AMX")
PRECISIONS = ["fp32", pytest.param("int8", marks=needs_int8)]


@cache
def pipeline(precision: str) -> Pipeline:
    return Pipeline() if precision == "fp32" else Pipeline(MATTING_INT8, int8=True)


@cache
def pictures(name: str) -> tuple[Composite, ...]:
    return tuple(cases(name, COUNTS[name]))


@cache
def mean(name: str, quality: str, given: bool, precision: str = "fp32") -> Scores:
    """Of one set, end to end or given the true coarse mask."""
    found = []
    for made in pictures(name):
        mask = true_coarse_mask(made.alpha, ALPHA_SIZE, ALPHA_SIZE) if given else None
        alpha = pipeline(precision).cut(made.jpeg, quality, mask=mask).astype(np.float32) / 255
        found.append(score(alpha, made.alpha))
    return Scores.mean(found)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", list(COUNTS))
def test_given_the_true_mask_standard_is_closer_than_closed_form(name: str, precision: str) -> None:
    band, mae = GIVEN[name]
    reached = mean(name, "standard", True, precision)
    assert reached.band <= band
    assert reached.mae <= mae


@pytest.mark.parametrize("name", list(COUNTS))
def test_the_matting_network_improves_the_mask(name: str) -> None:
    standard, fast = (mean(name, quality, True) for quality in ("standard", "fast"))
    assert standard.band < fast.band
    assert standard.mae < fast.mae
    assert standard.grad < fast.grad


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("quality", ["fast", "standard"])
def test_end_to_end_the_edge_is_closer_than_rembgs(quality: str, precision: str) -> None:
    assert mean("stamps", quality, False, precision).band <= REMBG_BAND
