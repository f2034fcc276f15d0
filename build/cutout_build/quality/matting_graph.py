"""The alpha of a squeezed photo and its mask: by the matting network where its graph is there, else from the mask."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import hashlib
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from cutout_core.imaging.levels import mask_to_alpha
from cutout_core.imaging.preprocess import one_hot

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

#: The graph with the served tensors, in the repository's `build` folder.
GRAPH = Path(__file__).parents[2] / "weights" / "matting.onnx"


class AlphaMaker:
    """Makes alphas as `standard` does, or as `fast` does where `graph` is missing. One thread, fp32."""

    def __init__(self, graph: Path = GRAPH) -> None:
        self._network: openvino.CompiledModel | None = None
        self.name = "from the mask (no matting graph)"
        if graph.is_file():
            config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
            self._network = openvino.Core().compile_model(graph, "CPU", config)
            self.name = f"matting graph {hashlib.sha256(graph.read_bytes()).hexdigest()[:12]}"

    @property
    def has_network(self) -> bool:
        return self._network is not None

    def alpha(self, rgb: UInt8, mask: Float32, mode: str = "object") -> Float32:
        """float32 [512, 512] in 0..1 of uint8 [512, 512, 3] and float32 [512, 512]. mode: one of
        `contract.tensors.MODES`."""
        if self._network is None:
            return mask_to_alpha(mask)
        image = np.ascontiguousarray(rgb.transpose(2, 0, 1))
        inputs = {"IMAGE": image[None], "MASK": mask[None, None], "MODE": one_hot(mode)[None]}
        result: Float32 = self._network(inputs)[0][0, 0].copy()
        return result
