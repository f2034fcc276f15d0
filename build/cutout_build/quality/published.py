"""Published segmentation networks alone: what each gives for a photo without anything of ours behind it."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from cutout_build.catalogue import Catalogue, Network
from cutout_build.errors import BuildError
from cutout_build.fetch import fetch
from cutout_build.quality.cache import cached, digest
from cutout_build.quality.composites import decode_rgb
from cutout_core.contract.tensors import ALPHA_SIZE
from cutout_core.imaging.normalize import normalize
from cutout_core.imaging.resize import shrink

Float32 = NDArray[np.float32]


class PublishedNetworks:
    """The networks of the catalogue's segmentation engines by name (`u2netp`, `u2net`, `isnet`), in fp32."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._networks = {
            network.name: network for engine in Catalogue.load().defaults(high=True) for network in engine.networks
        }
        self._compiled: dict[str, openvino.CompiledModel] = {}

    def mask(self, name: str, file: bytes) -> Float32:
        """The raw mask of an image file, [512, 512] in 0..1, from the disk's cache where it has seen that input.

        Raises BuildError for an unknown network.
        """
        if name not in self._networks:
            raise BuildError(f"The catalogue has no network {name!r}; known are {', '.join(self._networks)}.")
        network = self._networks[name]
        kind = f"published-{network.weights.sha256[:12]}"
        recipe = network.recipe
        square = shrink(decode_rgb(file), recipe.size)
        tensor = normalize(square, recipe.mean, recipe.std, recipe.divide_by_max)
        stored = cached(kind, digest(tensor), lambda: {"mask": self._compute(network, tensor)})
        return stored["mask"].astype(np.float32)

    def _compute(self, network: Network, tensor: Float32) -> Float32:
        found = self._model(network)(tensor[None])[0][0, 0]
        how = cv2.INTER_AREA if network.recipe.size > ALPHA_SIZE else cv2.INTER_LINEAR
        mask: Float32 = cv2.resize(found, (ALPHA_SIZE, ALPHA_SIZE), interpolation=how)
        return mask

    def _model(self, network: Network) -> openvino.CompiledModel:
        if network.name not in self._compiled:
            config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self._threads}
            self._compiled[network.name] = openvino.Core().compile_model(fetch(network.weights), "CPU", config)
        return self._compiled[network.name]
