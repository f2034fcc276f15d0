"""A contact sheet of the worst pictures: photo, fp32, the precision, their difference tenfold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.certificate.cases import Case
from cutout_build.certificate.verdict import CaseLoss
from cutout_build.quality.composites import decode_rgb

CELL, GAIN = 256, 10.0

Array = NDArray[np.float32]


def write_sheet(path: Path, cases: Sequence[Case], reference: Array, answers: Array, worst: Sequence[CaseLoss]) -> Path:
    """Writes a PNG, one row for each of `worst`; its folder is made. reference, answers: [N, 1, 512, 512] in 0..1."""
    index = {case.name: number for number, case in enumerate(cases)}
    lines = []
    for row in worst:
        number = index[row.name]
        fp32, other = reference[number, 0], answers[number, 0]
        photo = cv2.resize(decode_rgb(cases[number].file), (CELL, CELL), interpolation=cv2.INTER_AREA)
        lines.append(np.hstack([photo, *(_grey(plane) for plane in (fp32, other, np.abs(fp32 - other) * GAIN))]))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(lines)).save(path)
    return path


def _grey(plane: Array) -> NDArray[np.uint8]:
    small = cv2.resize(np.clip(plane, 0, 1), (CELL, CELL), interpolation=cv2.INTER_AREA)
    return np.repeat(np.rint(small * 255).astype(np.uint8)[..., None], 3, axis=2)
