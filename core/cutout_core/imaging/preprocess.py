"""One row of `preprocess`: an encoded file to the segmentation network's input."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutout_core.contract import Limits, RowMeta
from cutout_core.imaging.compose import flatten
from cutout_core.imaging.decode import decode_reduced
from cutout_core.imaging.normalize import normalize
from cutout_core.imaging.resize import shrink
from cutout_core.imaging.row import Stopwatch, read_options, row_error

#: What the network sees behind pixels that are transparent already. On cut-outs of light and dark subjects any grey
#: moved the mean alpha by at most 0.026; a light grey is neither a white logo nor a black one.
BACKDROP = (192, 192, 192)

_logger = logging.getLogger("cutout.preprocess")


@dataclass(frozen=True, slots=True)
class PreprocessSettings:
    """Limits, the ensemble's quality, and how the engine wants its input (see `contract.engine.EngineManifest`)."""

    limits: Limits
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divide_by_max: bool
    quality: str = "fast"


def preprocess_row(
    image: bytes, options: bytes, settings: PreprocessSettings
) -> tuple[npt.NDArray[np.float32], RowMeta]:
    """The network's input, contiguous float32 [3, S, S], and the row's META.

    Never raises: a row that fails has `meta.error` and zeros for an input.
    """
    meta = RowMeta()
    watch = Stopwatch(meta)
    meta.stamps["preprocess_start"] = watch.start
    try:
        tensor = _network_input(image, options, settings, meta, watch)
    except Exception as error:  # one bad row never fails its batch
        meta.error = row_error(error, _logger)
        tensor = np.zeros((3, settings.input_size, settings.input_size), np.float32)
    meta.stamps["preprocess_end"] = watch.total("preprocess")
    return tensor, meta


def _network_input(
    image: bytes, options: bytes, settings: PreprocessSettings, meta: RowMeta, watch: Stopwatch
) -> npt.NDArray[np.float32]:
    read_options(options, settings.quality)
    decoded = decode_reduced(image, settings.limits, settings.input_size)
    meta.source_format = decoded.header.format
    meta.source_width, meta.source_height = decoded.header.width, decoded.header.height
    for warning in decoded.warnings:
        meta.warn(warning)
    watch.lap("decode_reduced")
    rgb = decoded.rgb if decoded.alpha is None else flatten(decoded.rgb, decoded.alpha, BACKDROP)
    small = shrink(rgb, settings.input_size, decoded.extent)
    return normalize(small, settings.mean, settings.std, settings.divide_by_max)
