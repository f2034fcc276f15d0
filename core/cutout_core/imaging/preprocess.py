"""One row of `preprocess`: an encoded file to the inputs of the engines that its ensemble runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box, Limits, Options, RowMeta
from cutout_core.contract.tensors import ALPHA_SIZE, MODES
from cutout_core.imaging.compose import flatten
from cutout_core.imaging.decode import decode_reduced
from cutout_core.imaging.frame import region
from cutout_core.imaging.header import read_header
from cutout_core.imaging.mode import choose_mode
from cutout_core.imaging.normalize import NetworkInput, normalize
from cutout_core.imaging.resize import Picture, halve, squeeze
from cutout_core.imaging.row import Stopwatch, read_options, row_error

#: What the network sees behind pixels that are transparent already. On cut-outs of light and dark subjects any grey
#: moved the mean alpha by at most 0.026; a light grey is neither a white logo nor a black one.
BACKDROP = (192, 192, 192)

SEGMENTATION_IMAGE, SEGMENTATION_HIGH_IMAGE = "SEGMENTATION_IMAGE", "SEGMENTATION_HIGH_IMAGE"
MATTING_IMAGE, MODE = "MATTING_IMAGE", "MODE"

#: Output name to array, without the batch axis.
Tensors = dict[str, npt.NDArray[Any]]
UInt8 = npt.NDArray[np.uint8]

_logger = logging.getLogger("cutout.preprocess")


@dataclass(frozen=True, slots=True)
class PreprocessSettings:
    """Limits, and how the segmentation engines want their input; an engine that nobody asks for may be None."""

    limits: Limits
    segmentation: NetworkInput | None
    segmentation_high: NetworkInput | None = None

    def recipes(self, wanted: Collection[str]) -> dict[str, NetworkInput]:
        """The segmentation inputs among the `wanted` outputs. Raises ValueError for one without a recipe."""
        known = {SEGMENTATION_IMAGE: self.segmentation, SEGMENTATION_HIGH_IMAGE: self.segmentation_high}
        found: dict[str, NetworkInput] = {}
        for name in wanted:
            if name in known:
                recipe = known[name]
                if recipe is None:
                    raise ValueError(f"no engine takes {name}")
                found[name] = recipe
        return found


def preprocess_row(
    image: bytes, options: bytes, settings: PreprocessSettings, wanted: Collection[str] = (SEGMENTATION_IMAGE,)
) -> tuple[Tensors, RowMeta]:
    """The wanted inputs, and the row's META.

    wanted: names of outputs; META is always made. The answer holds, contiguous, those of SEGMENTATION_IMAGE and
    SEGMENTATION_HIGH_IMAGE float32 [3, S, S], MATTING_IMAGE uint8 [3, 512, 512] (RGB, the whole photo squeezed to the
    square; made for MODE too) and MODE float32 [3, 1, 1] (`one_hot`). They tell the quality too: with
    SEGMENTATION_HIGH_IMAGE it is `high`, else with MATTING_IMAGE or MODE `standard`, without any of them `fast`.

    A bad row raises nothing: it has `meta.error`, and zeros for inputs. Raises ValueError where an output is wanted
    for which `settings` has no recipe.
    """
    tensors = _zeros(settings, wanted)
    quality = "high" if SEGMENTATION_HIGH_IMAGE in tensors else "standard" if MATTING_IMAGE in tensors else "fast"
    meta = RowMeta(quality=quality)
    watch = Stopwatch(meta)
    meta.stamps["preprocess_start"] = watch.start
    try:
        parsed = read_options(options, quality)
        side = max((t.shape[-1] for t in tensors.values()), default=1)
        picture = _picture(image, parsed, settings.limits, side, meta)
        watch.lap("decode_reduced")
        images, square = _images(picture, settings.recipes(wanted), MATTING_IMAGE in tensors)
        tensors |= images
        if MODE in wanted:
            tensors[MODE] = _mode(parsed, square, meta)
    except Exception as error:  # one bad row never fails its batch
        meta.error = row_error(error, _logger)
    meta.stamps["preprocess_end"] = watch.total("preprocess")
    return tensors, meta


def one_hot(mode: str) -> npt.NDArray[np.float32]:
    """The tensor MODE, float32 [3, 1, 1], in the order of MODES. Raises ValueError for what is no mode."""
    vector = np.zeros((len(MODES), 1, 1), np.float32)
    vector[MODES.index(mode)] = 1
    return vector


def _zeros(settings: PreprocessSettings, wanted: Collection[str]) -> Tensors:
    tensors: Tensors = {
        name: np.zeros((3, recipe.size, recipe.size), np.float32) for name, recipe in settings.recipes(wanted).items()
    }
    if MATTING_IMAGE in wanted or MODE in wanted:
        tensors[MATTING_IMAGE] = np.zeros((3, ALPHA_SIZE, ALPHA_SIZE), np.uint8)
    if MODE in wanted:
        tensors[MODE] = np.zeros((len(MODES), 1, 1), np.float32)
    return tensors


def _picture(image: bytes, options: Options, limits: Limits, min_side: int, meta: RowMeta) -> Picture:
    """The decoded photo, or its searched region, at least `min_side` pixels a side where the file has them; fills
    META's source."""
    if options.roi is not None:
        header = read_header(image, limits)
        part = region(options, header.width, header.height)
        min_side = math.ceil(min_side * min(header.width, header.height) / min(part.width, part.height))
    decoded = decode_reduced(image, limits, min_side)
    meta.source_format = decoded.header.format
    meta.source_width, meta.source_height = decoded.header.width, decoded.header.height
    for warning in decoded.warnings:
        meta.warn(warning)
    rgb = decoded.rgb if decoded.alpha is None else flatten(decoded.rgb, decoded.alpha, BACKDROP)
    return Picture(rgb, decoded.extent) if options.roi is None else _cut(Picture(rgb, decoded.extent), part, meta)


def _cut(picture: Picture, part: Box, meta: RowMeta) -> Picture:
    """The part, in pixels of the photo, of a picture of it at any scale."""
    before, above, right, bottom = picture.extent  # of a mirrored photo the part beyond the extent comes first
    scale_x, scale_y = (right - before) / meta.source_width, (bottom - above) / meta.source_height
    x0, x1 = before + part.left * scale_x, before + (part.left + part.width) * scale_x
    y0, y1 = above + part.top * scale_y, above + (part.top + part.height) * scale_y
    left, top = math.floor(x0), math.floor(y0)
    rgb = np.ascontiguousarray(picture.rgb[top : math.ceil(y1), left : math.ceil(x1)])
    return Picture(rgb, (x0 - left, y0 - top, min(x1 - left, rgb.shape[1]), min(y1 - top, rgb.shape[0])))


def _images(picture: Picture, recipes: dict[str, NetworkInput], matting: bool) -> tuple[Tensors, UInt8]:
    """The photo as each network wants it, the largest first: the smaller ones go on from its halvings.

    The second value is MATTING_IMAGE as [512, 512, 3], empty without `matting`.
    """
    sizes = {name: recipe.size for name, recipe in recipes.items()} | ({MATTING_IMAGE: ALPHA_SIZE} if matting else {})
    tensors: Tensors = {}
    seen = np.empty((0, 0, 3), np.uint8)
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        picture = halve(picture, size)
        square = squeeze(picture, size)
        if name in recipes:
            recipe = recipes[name]
            tensors[name] = normalize(square, recipe.mean, recipe.std, recipe.divide_by_max)
        else:
            seen, tensors[name] = square, np.stack(cv2.split(square))
    return tensors, seen


def _mode(options: Options, square: UInt8, meta: RowMeta) -> npt.NDArray[np.float32]:
    meta.mode = options.mode
    if options.mode == "auto":
        part = region(options, meta.source_width, meta.source_height)
        choice = choose_mode(square, part.width / part.height)
        meta.mode, meta.mode_certainty = choice.mode, choice.certainty
    return one_hot(meta.mode)
