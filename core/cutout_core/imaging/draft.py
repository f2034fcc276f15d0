"""A row of `postprocess` between its two halves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box, Limits, Options, RowMeta
from cutout_core.imaging.row import Stopwatch
from cutout_core.imaging.tiles import TilePlan

UInt8 = npt.NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class Photo:
    """The photo at the result's size, or, where the result has a frame of its own, the searched region at its own size.
    rgb: uint8 [H, W, 3]. existing: its own transparency, uint8 [H, W], or None.
    seen: `rgb` as the networks saw it, on the backdrop where it is transparent. grid: `seen`, shrunk by `photo_grid`.
    icc: the profile of the colours. region: the part that is searched of the upright
    photo of full_width × full_height pixels."""

    rgb: UInt8
    existing: UInt8 | None
    seen: UInt8
    grid: UInt8
    icc: bytes | None
    region: Box
    full_width: int
    full_height: int


@dataclass(slots=True, eq=False)
class Draft:
    """A row between its two halves. One that has failed has `meta.error` and nothing else of use.

    alpha: uint8 [H, W] at the photo's size. plan: where a second look is due. background: the encoded picture behind
    the subject, empty for none. limits: of it, and of the result's pixels.
    """

    meta: RowMeta
    watch: Stopwatch
    options: Options = field(default_factory=Options)
    photo: Photo | None = None
    alpha: UInt8 | None = None
    plan: TilePlan | None = None
    background: bytes = b""
    limits: Limits = field(default_factory=Limits)
