"""A photo without a subject gives an empty alpha and a warning, through the served pixel path."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cutout_build.photos import photo
from cutout_core.contract import Limits, ResultWarning, RowMeta
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput, postprocess_row
from tests.quality.conftest import MaskOf


def served_alpha(name: str, mask: NDArray[np.float32]) -> tuple[NDArray[np.uint8], RowMeta]:
    """The result with `output=mask`, uint8 [H, W], and its META."""
    file = photo(name).read_bytes()
    row = RowInput(file, b'{"output": "mask"}', RowMeta(quality="fast").to_json(), mask)
    result, meta = postprocess_row(row, PostprocessSettings(Limits()))
    assert meta.error is None
    return np.asarray(Image.open(io.BytesIO(result))), meta


@pytest.mark.parametrize(
    ("name", "precision"), [("brick", "fp32"), ("brick", "bf16"), ("grass", "fp32"), ("gravel", "fp32")]
)
def test_a_texture_has_no_subject(mask_of: MaskOf, name: str, precision: str) -> None:
    alpha, meta = served_alpha(name, mask_of(name, precision))
    assert not alpha.any()
    assert meta.warnings == [ResultWarning.NO_SUBJECT.value]


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_a_subject_stays(mask_of: MaskOf, name: str) -> None:
    alpha, meta = served_alpha(name, mask_of(name, "fp32"))
    assert alpha.max() == 255
    assert ResultWarning.NO_SUBJECT.value not in meta.warnings
    assert meta.subject is not None
