"""How close foreground colours come to the known ones: ours, pymatting's multilevel estimate, and doing nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cutout_build.quality.composites import Composite
from cutout_build.quality.peers import Peers
from cutout_core.imaging.decontaminate import decontaminate

UInt8 = NDArray[np.uint8]

NOTHING, MULTILEVEL, OURS = "photo as it is", "pymatting multilevel", "ours"

#: Ground-truth alpha strictly between these is where colours are judged.
MIXED = (0.05, 0.95)


def color_error(colors: UInt8, case: Composite) -> float:
    """Mean |Δ| over the three channels, 0..255, where the true alpha is MIXED; NaN where it nowhere is."""
    mixed = (case.alpha > MIXED[0]) & (case.alpha < MIXED[1])
    if not mixed.any():
        return float("nan")
    return float(np.abs(colors[mixed].astype(np.float64) - case.foreground[mixed]).mean())


def color_errors(case: Composite, peers: Peers) -> Iterator[tuple[str, float]]:
    """Each method's error with the true alpha."""
    photo, alpha = case.photo(), np.rint(case.alpha * 255).astype(np.uint8)
    yield NOTHING, color_error(photo, case)
    yield MULTILEVEL, color_error(peers.run("foreground", photo, alpha)[0], case)
    yield OURS, color_error(decontaminate(photo, alpha), case)
