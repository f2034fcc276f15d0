"""The built segmentation engine in this process, and the ways to feed it that are compared."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray
from PIL import Image

from cutout_build.build_engine import build_engine
from cutout_build.catalogue import Catalogue
from cutout_build.errors import BuildError
from cutout_build.quality.composites import decode_rgb
from cutout_core.contract import Limits
from cutout_core.contract.engine import EngineManifest, graph_name
from cutout_core.contract.tensors import SEGMENTATION
from cutout_core.imaging.normalize import NetworkInput, normalize
from cutout_core.imaging.preprocess import SEGMENTATION_IMAGE, PreprocessSettings, preprocess_row
from cutout_core.imaging.resize import shrink
from cutout_core.serving.fixed_batch import compile_fixed

Tensor = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

#: Manifest's name of a precision to OpenVINO's; what an INT8 graph leaves in floats runs in fp32 here.
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


class Segmentation:
    """The default engine of the model `segmentation` or `segmentation_high`, built where it is missing.

    Each precision is compiled on first use, for `threads` threads. OpenVINO computes bf16 on any CPU of x86-64; without
    AVX-512 BF16 or AMX it only emulates it, slowly and with the same arithmetic.
    """

    def __init__(self, threads: int = 1, model: str = SEGMENTATION.name) -> None:
        built = build_engine(Catalogue.load().default(model))
        self.manifest: EngineManifest = built.manifest
        self._folder = built.folder
        self._threads = threads
        self._compiled: dict[str, openvino.CompiledModel] = {}

    @property
    def recipe(self) -> NetworkInput:
        """How the engine wants its input."""
        m = self.manifest
        return NetworkInput(m.input_size, m.mean, m.std, m.divide_by_max)

    def mask(self, tensor: Tensor, precision: str = "fp32") -> Tensor:
        """The raw mask, [512, 512] float32 in 0..1, of one input [3, S, S]."""
        if precision not in self._compiled:
            config = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": self._threads}
            graph = self._folder / graph_name(precision)
            self._compiled[precision] = compile_fixed(openvino.Core(), graph, 1, config)
        result: Tensor = self._compiled[precision](tensor[None])[0][0, 0].copy()
        return result

    def served_input(self, file: bytes) -> Tensor:
        """The input as the served `preprocess` makes it, [3, S, S]. Raises BuildError where the file is refused."""
        tensors, meta = preprocess_row(file, b"", PreprocessSettings(Limits(), self.recipe), (SEGMENTATION_IMAGE,))
        if meta.error is not None:
            raise BuildError(meta.error.message)
        tensor: Tensor = tensors[SEGMENTATION_IMAGE]
        return tensor

    def input_from(self, rgb: UInt8, resize: Callable[[UInt8, int], UInt8], divide_by_max: bool) -> Tensor:
        """The input by another recipe, [3, S, S]."""
        m = self.manifest
        return normalize(resize(rgb, m.input_size), m.mean, m.std, divide_by_max)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way from a photo to a mask: a filter (None: the served path with its divisor), a divisor, and whether the
    mask is stretched to 0..1 afterwards."""

    name: str
    resize: Callable[[UInt8, int], UInt8] | None = None
    divide_by_max: bool = True
    stretch: bool = False


def recipe_masks(engine: Segmentation, file: bytes) -> dict[str, Tensor]:
    """The raw mask of an image file by each of RECIPES, [512, 512] float32; each input is run once."""
    rgb = decode_rgb(file)
    raw: dict[tuple[object, bool], Tensor] = {}
    masks = {}
    for recipe in RECIPES:
        key = recipe.resize, recipe.divide_by_max
        if key not in raw:
            tensor = (
                engine.input_from(rgb, recipe.resize, recipe.divide_by_max)
                if recipe.resize
                else engine.served_input(file)
            )
            raw[key] = engine.mask(tensor)
        masks[recipe.name] = stretched(raw[key]) if recipe.stretch else raw[key]
    return masks


def lanczos(rgb: UInt8, size: int) -> UInt8:
    """Pillow's Lanczos over the full picture, as rembg does."""
    return np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.LANCZOS))


def area(rgb: UInt8, size: int) -> UInt8:
    """Area averages: halved while that stays at least `size`, then the rest."""
    while min(rgb.shape[:2]) >= 2 * size:
        rgb = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_AREA if min(rgb.shape[:2]) >= size else cv2.INTER_LINEAR
    small: UInt8 = cv2.resize(rgb, (size, size), interpolation=how)
    return small


def stretched(mask: Tensor) -> Tensor:
    """Minimum to 0, maximum to 1, as rembg does."""
    low, high = mask.min(), mask.max()
    result: Tensor = (mask - low) / max(high - low, np.float32(1e-6))
    return result


RECIPES = (
    Recipe("served"),
    Recipe("as served, ÷ 255", shrink, divide_by_max=False),
    Recipe("Lanczos on the full picture", lanczos),
    Recipe("area averages", area),
    Recipe("area averages, ÷ 255", area, divide_by_max=False),
    Recipe("served, mask stretched", stretch=True),
    Recipe("rembg (Lanczos, ÷ max, stretched)", lanczos, stretch=True),
)
