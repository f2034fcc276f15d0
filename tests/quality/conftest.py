"""The built engine in this process, by OpenVINO: no server."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from cutout_build.photos import photo
from cutout_build.quality.engine import Segmentation

MaskOf = Callable[[str, str], NDArray[np.float32]]


@pytest.fixture(scope="session")
def segmentation() -> Segmentation:
    return Segmentation()


@pytest.fixture(scope="session")
def mask_of(segmentation: Segmentation) -> MaskOf:
    """A photo's raw mask behind the served preprocessing, float32 [512, 512], by name and precision."""

    @cache
    def mask(name: str, precision: str) -> NDArray[np.float32]:
        return segmentation.mask(segmentation.served_input(photo(name).read_bytes()), precision)

    return mask
