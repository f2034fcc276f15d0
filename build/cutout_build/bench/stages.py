"""The in-process rate: the served functions and engines, one image at a time on one thread, without any server.

Arithmetic is what the service chooses here: the fastest certified precision.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import json
from functools import cache
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from cutout_build.bench.worker import serve
from cutout_build.certificate.runs import capabilities
from cutout_build.errors import BuildError
from cutout_core import allocator
from cutout_core.contract import Limits
from cutout_core.contract.certificate import choose, read_certificate
from cutout_core.contract.engine import EngineManifest, graph_name
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import MATTING, SEGMENTATION, SEGMENTATION_HIGH
from cutout_core.imaging.batch import BatchMapper, limit_threads
from cutout_core.imaging.normalize import NetworkInput
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput, postprocess_row
from cutout_core.imaging.preprocess import (
    MATTING_IMAGE,
    MODE,
    SEGMENTATION_HIGH_IMAGE,
    SEGMENTATION_IMAGE,
    PreprocessSettings,
    preprocess_row,
)
from cutout_core.imaging.tile_pass import TilePass
from cutout_core.serving.fixed_batch import compile_fixed

Float32 = NDArray[np.float32]

#: Most tiles in one call of the matting network, as the service has it on a CPU.
_TILE_BATCH = 4


def main() -> None:
    """Answers until the input ends. Requests name `quality` and `output`."""
    allocator.tune()  # as the service's processes have it: without, a sixth of the time goes into page faults
    limit_threads(1)
    serve(cut_out)


def cut_out(file: bytes, request: dict[str, Any]) -> bytes:
    """One image through all stages of a quality. Raises BuildError where a stage refuses it."""
    quality = request["quality"]
    high = quality == "high"
    name = SEGMENTATION_HIGH.name if high else SEGMENTATION.name
    image = SEGMENTATION_HIGH_IMAGE if high else SEGMENTATION_IMAGE
    recipe = _recipe(name)
    settings = PreprocessSettings(Limits(), None if high else recipe, recipe if high else None)
    options = json.dumps({"output": request["output"]}).encode()
    wanted = (image,) if quality == "fast" else (image, MATTING_IMAGE, MODE)
    tensors, meta = preprocess_row(file, options, settings, wanted)
    mask = _run(name, {"IMAGE": tensors[image][None]})
    alpha = None
    if quality != "fast":
        alpha = _matte(tensors[MATTING_IMAGE][None], mask, tensors[MODE][None])[0]
    row = RowInput(file, options, meta.to_json(), mask[0], alpha)
    result, done = _tiles().run([row])[0] if high else postprocess_row(row, PostprocessSettings(Limits()))
    if done.error is not None:
        raise BuildError(done.error.message)
    return result


def _matte(images: NDArray[np.uint8], masks: Float32, modes: Float32) -> Float32:
    return _run(MATTING.name, {"IMAGE": images, "MASK": masks, "MODE": modes})


def _run(name: str, tensors: dict[str, NDArray[Any]]) -> Float32:
    """The output for all rows, one by one as the service does it."""
    engine, rows = _engine(name), len(next(iter(tensors.values())))
    return np.concatenate([engine({n: t[i : i + 1] for n, t in tensors.items()})[0] for i in range(rows)])


@cache
def _tiles() -> TilePass:
    return TilePass(PostprocessSettings(Limits(), tiles=True), BatchMapper(1), _matte, _TILE_BATCH)


@cache
def _recipe(name: str) -> NetworkInput:
    m = _manifest(name)
    return NetworkInput(m.input_size, m.mean, m.std, m.divide_by_max)


@cache
def _manifest(name: str) -> EngineManifest:
    try:
        return EngineManifest.read(engines_root() / name)
    except (OSError, ValueError) as error:
        raise BuildError(f"the engine {name} is not built: run `make models`") from error


@cache
def _engine(name: str) -> openvino.CompiledModel:
    folder = engines_root() / name
    choice = choose("auto", _manifest(name), read_certificate(folder), capabilities())
    config = {"INFERENCE_PRECISION_HINT": choice.hint, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    return compile_fixed(openvino.Core(), folder / graph_name(choice.precision), 1, config)
