"""The served pipeline in this process: the same pixel functions and graphs as in the model repository, without Triton.

In fp32, so that the figures do not depend on the machine, or as served on a CPU that sums INT8 products in 32 bits:
in INT8 every network that has such a graph. What bf16 costs is in `precision.md`.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from PIL import Image

from cutout_build.errors import BuildError
from cutout_build.quality.cache import cached, digest
from cutout_build.quality.engine import Segmentation
from cutout_core.contract import Limits, RowMeta
from cutout_core.contract.tensors import QUALITY_ENGINES
from cutout_core.imaging.batch import BatchMapper
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput, postprocess_row
from cutout_core.imaging.preprocess import (
    MATTING_IMAGE,
    MODE,
    PreprocessSettings,
    Tensors,
    preprocess_row,
)
from cutout_core.imaging.tile_pass import TilePass
from cutout_core.serving.fixed_batch import ANSWERS, compile_fixed

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

#: The matting network in the repository's `build` folder, and the same in INT8.
MATTING_GRAPH = Path(__file__).parents[2] / "weights" / "matting.onnx"
MATTING_INT8 = MATTING_GRAPH.with_name("cutout-matting_int8.onnx")

#: Most tiles in one call of the matting network.
_BATCH = 4


class Pipeline:
    """All three qualities. Engines are built and compiled on first use, for `threads` threads.

    int8: runs the segmentation in INT8 where its engine has such a graph; `matting` is then to be one, too.
    Raises BuildError where the matting network's graph is missing.
    """

    def __init__(self, matting: Path = MATTING_GRAPH, threads: int = 1, *, int8: bool = False) -> None:
        if not matting.is_file():
            raise BuildError(f"{matting} is missing: train the matting network, or name another graph.")
        self._threads = threads
        self._int8 = int8
        self.matting_sha256 = hashlib.sha256(matting.read_bytes()).hexdigest()
        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._matting = compile_fixed(openvino.Core(), matting, 1, config)
        self._segmentations: dict[str, Segmentation] = {}
        self._tiles = TilePass(PostprocessSettings(Limits(), tiles=True), BatchMapper(1), self.matte, _BATCH)

    def segmentation(self, quality: str) -> Segmentation:
        """The engine of a quality, built where it is missing. Raises BuildError."""
        name = QUALITY_ENGINES[quality][0]
        if name not in self._segmentations:
            self._segmentations[name] = Segmentation(self._threads, name)
        return self._segmentations[name]

    def mask(self, file: bytes, quality: str, *, fresh: bool = False) -> Float32:
        """The segmentation's mask, [512, 512] in 0..1, from the disk's cache where that graph has seen that input.
        fresh: never from there.

        Raises BuildError where the pipeline refuses the file.
        """
        engine = self.segmentation(quality)
        image, precision = engine.served_input(file), self._precision(engine)
        if fresh:
            return engine.mask(image, precision)
        kind = f"{ANSWERS}-mask-{engine.manifest.graphs[precision][:12]}"
        stored = cached(kind, digest(image), lambda: {"mask": engine.mask(image, precision)})
        return stored["mask"].astype(np.float32)

    def cut(self, file: bytes, quality: str, mode: str = "auto", mask: Float32 | None = None) -> UInt8:
        """The alpha that a caller gets for `output=mask`, [H, W].

        mask: [512, 512] in 0..1, instead of the segmentation's. Raises BuildError where the pipeline refuses the file.
        """
        result, meta = self.run(file, quality, {"mode": mode, "output": "mask"}, mask)
        if meta.error is not None:
            raise BuildError(meta.error.message)
        with Image.open(io.BytesIO(result)) as image:
            return np.asarray(image)

    def run(
        self, file: bytes, quality: str, options: dict[str, str], mask: Float32 | None = None, *, fresh: bool = False
    ) -> tuple[bytes, RowMeta]:
        """The encoded result and META, as the ensemble of `quality` gives them. fresh: no mask from the cache."""
        if mask is None:
            mask = self.mask(file, quality, fresh=fresh)
        text = json.dumps(options).encode()
        alpha = None
        if quality == "fast":
            meta = RowMeta(quality=quality)
        else:
            tensors, meta = _matting_inputs(file, options.get("mode", "auto"))
            alpha = self.matte(tensors[MATTING_IMAGE][None], mask[None, None], tensors[MODE][None])[0]
        meta.quality = quality
        row = RowInput(file, text, meta.to_json(), mask[None], alpha)
        return self._tiles.run([row])[0] if quality == "high" else postprocess_row(row, PostprocessSettings(Limits()))

    def matte(self, images: UInt8, masks: Float32, modes: Float32) -> Float32:
        """The matting network: uint8 [N, 3, 512, 512], float32 [N, 1, 512, 512] in 0..1 and one-hot [N, 3, 1, 1] to
        alphas, float32 [N, 1, 512, 512]."""
        rows = zip(images, masks, modes, strict=True)
        alphas = [self._matting({"IMAGE": i[None], "MASK": m[None], "MODE": o[None]})[0].copy() for i, m, o in rows]
        return np.concatenate(alphas)

    def _precision(self, engine: Segmentation) -> str:
        return "int8" if self._int8 and "int8" in engine.manifest.graphs else "fp32"


def _matting_inputs(file: bytes, mode: str) -> tuple[Tensors, RowMeta]:
    """MATTING_IMAGE and MODE as the served `preprocess` makes them. Raises BuildError where it refuses the file."""
    options = json.dumps({"mode": mode}).encode()
    tensors, meta = preprocess_row(file, options, PreprocessSettings(Limits(), None), (MATTING_IMAGE, MODE))
    if meta.error is not None:
        raise BuildError(meta.error.message)
    return tensors, meta
