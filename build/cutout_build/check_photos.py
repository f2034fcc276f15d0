"""The check's photos as the networks see them: through the serving path's own `preprocess`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutout_build.catalogue import Engine
from cutout_build.errors import BuildError
from cutout_core.contract import Limits
from cutout_core.imaging.preprocess import PreprocessSettings, preprocess_row


def network_input(path: Path, engine: Engine) -> NDArray[np.float32]:
    """A photo file as the engine's input, float32 [3, S, S]. Raises BuildError where it cannot be decoded."""
    settings = PreprocessSettings(Limits(), engine.input_size, engine.mean, engine.std, engine.divide_by_max)
    image, meta = preprocess_row(path.read_bytes(), b"", settings)
    if meta.error is not None:
        raise BuildError(f"{path} cannot be used for the check: {meta.error.message}")
    return image
