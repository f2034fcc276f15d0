"""The connected regions of a mask."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.imaging import native

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]


class Regions(NamedTuple):
    """labels: int32 [h, w], 0 where the mask is. left, top, width, height: each region's box, and area: its cells,
    int32 [n + 1] by label, of which the first, the ground's, mean nothing."""

    labels: Int32
    left: Int32
    top: Int32
    width: Int32
    height: Int32
    area: Int32


def find_regions(mask: UInt8) -> Regions:
    """Those of a contiguous uint8 [h, w] of 0 and 255; cells that touch at a corner are of one region."""
    if native.KERNELS is not None:
        labels, stats = native.KERNELS.regions(mask)
    else:
        _, found, stats, _ = cv2.connectedComponentsWithStats(mask)
        labels = found.astype(np.int32, copy=False)
    return Regions(labels, *stats.T)
