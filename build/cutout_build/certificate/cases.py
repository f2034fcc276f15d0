"""The pictures that certificates are measured on: photographs, and composites with exact alpha of the test split.

No training and no calibration of this repository takes from the test split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cutout_build.catalogue import Engine
from cutout_build.check_photos import network_inputs
from cutout_build.photos import PHOTOS, photo
from cutout_build.quality.cache import digest
from cutout_build.quality.cases import cases as set_cases
from cutout_build.quality.composites import composites
from cutout_build.quality.measure import MIN_PIXELS
from cutout_build.reference import Inputs
from cutout_core.contract.tensors import MATTING


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One picture. file: as sent. inputs: of the engine, without batch axis. key: digest of the inputs. truth: [H, W]
    float32 in 0..1, None of a photograph."""

    name: str
    file: bytes
    inputs: Inputs
    key: str
    truth: NDArray[np.float32] | None


def certificate_cases(engine: Engine, count: int) -> list[Case]:
    """The photographs, and `count` composites: stamps; for `matting` half of them hair and fur of full resolution.

    Raises BuildError where a package cannot be fetched, or the masks for `matting` cannot be made.
    """
    files = {entry.name: photo(entry.name).read_bytes() for entry in PHOTOS.values() if entry.subject}
    truths: dict[str, NDArray[np.float32]] = {}
    if engine.model == MATTING.name:
        made = [*set_cases("stamps", count - count // 2), *set_cases("hair", count // 2)]
    else:
        made = list(composites("test", count, 0, MIN_PIXELS))
    for composite in made:
        files[f"{composite.name} {composite.stamp}"] = composite.jpeg
        truths[f"{composite.name} {composite.stamp}"] = composite.alpha
    inputs = network_inputs(files, engine)
    return [
        Case(name, file, inputs[name], digest(*(inputs[name][n] for n in sorted(inputs[name]))), truths.get(name))
        for name, file in files.items()
    ]
