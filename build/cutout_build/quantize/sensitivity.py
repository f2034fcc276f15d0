"""What INT8 costs convolution by convolution: mean |Δ| from fp32, in OpenVINO, on pictures that calibration never saw.

Each quantized convolution is measured alone (its weights and what it reads in INT8, all else in float); the costliest
also left out (all in INT8 but its weights, and what no other quantized convolution reads), one by one and together:
that is what keeping them in float would gain. The scales are those of the whole plan, so that only the layer differs.
(Wu et al., "Integer quantization for deep learning inference: principles and empirical evaluation", 2020, section 5.2.)

Every answer is kept on disk under the hash of its graph, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from tqdm import tqdm

from cutout_build.certificate.runs import Array, Way, open_graph, times
from cutout_build.quality.cache import cached, digest
from cutout_build.quality.metrics import edge_band
from cutout_build.quantize.layers import Layer, quantized_layers
from cutout_build.quantize.plan import QuantPlan, quant_plan
from cutout_build.quantize.write import int8_graph
from cutout_build.reference import Inputs
from cutout_core.contract.certificate import CPU_RUNTIME
from cutout_core.serving.fixed_batch import ANSWERS

#: How many of the costliest layers are left out one by one, and how many together.
LEFT_OUT, KEPT = 12, (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Mean |Δ| from fp32. mae_alone: only this layer in INT8. mae_without: all but this one; None: not measured."""

    layer: Layer
    mae_alone: float
    mae_without: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The network in INT8 but for `layers`. bytes: of the graph's file. ms: of CPU time an image on one thread."""

    layers: tuple[str, ...]
    mae: float
    bytes: int
    ms: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """layers: the costliest alone first. kept: none, then more and more of them. ms_fp32: as `Kept.ms`."""

    layers: tuple[LayerCost, ...]
    kept: tuple[Kept, ...]
    bytes_fp32: int
    ms_fp32: float


def sensitivity(
    model: ModelProto, scales: dict[str, float], pictures: Sequence[Inputs], *, in_band: bool
) -> Sensitivity:
    """scales: of `quant_plan(model)`. pictures: inputs without batch axis. in_band: only fp32's edge band counts."""
    whole = quant_plan(model)
    layers = quantized_layers(model, whole)
    with tempfile.TemporaryDirectory() as scratch:
        trial = _Trial(model, pictures, Path(scratch), in_band)
        together = [count for count in (0, *KEPT) if count < len(layers)]
        progress = tqdm(total=len(layers) + min(LEFT_OUT, len(layers)) + len(together), unit="graph")

        def cost(keep: Sequence[Layer]) -> float:
            found = trial.mae(partial_graph(model, whole, scales, [layer.output for layer in keep]))
            progress.update()
            return found

        alone = {layer: cost([other for other in layers if other != layer]) for layer in layers}
        order = sorted(layers, key=lambda layer: alone[layer], reverse=True)
        without = {layer: cost([layer]) for layer in order[:LEFT_OUT]}
        chosen = [order[:count] for count in together]
        maes = [cost(keep) for keep in chosen]
        progress.close()
        graphs = [partial_graph(model, whole, scales, [layer.output for layer in keep]) for keep in chosen]
        ms_fp32, *ms = trial.times(graphs)
    kept = tuple(
        Kept(tuple(layer.name for layer in keep), mae, graph.ByteSize(), taken)
        for keep, mae, graph, taken in zip(chosen, maes, graphs, ms, strict=True)
    )
    costs = tuple(LayerCost(layer, alone[layer], without.get(layer)) for layer in order)
    return Sensitivity(costs, kept, model.ByteSize(), ms_fp32)


def partial_graph(model: ModelProto, whole: QuantPlan, scales: dict[str, float], keep: Sequence[str]) -> ModelProto:
    """The Q/DQ graph of `model` at the scales of the whole plan; convolutions whose outputs are in `keep` stay."""
    part = quant_plan(model, tuple(keep))
    own = {group: scales[whole.groups[tensor]] for tensor, group in part.groups.items()}
    return int8_graph(model, part, own)


class _Trial:
    """Runs graphs as they are served on a CPU, and holds them against fp32."""

    def __init__(self, model: ModelProto, pictures: Sequence[Inputs], scratch: Path, in_band: bool) -> None:
        self._pictures, self._scratch, self._in_band = pictures, scratch, in_band
        self._model = model
        self._key = digest(*(value for inputs in pictures for value in inputs.values()))
        self._reference = self._answers(model, "fp32")

    def mae(self, graph: ModelProto) -> float:
        """Mean over the pictures of mean |Δ| from fp32, or 0 for a picture without an edge where that alone counts."""
        key = digest(graph.SerializeToString(), self._model.SerializeToString(), self._key, str(self._in_band))
        kind = f"sensitivity-{ANSWERS}-{CPU_RUNTIME}-{version(CPU_RUNTIME)}"
        return float(cached(kind, key, lambda: {"mae": self._losses(graph)})["mae"].mean())

    def times(self, graphs: Sequence[ModelProto]) -> list[float]:
        """Milliseconds of CPU time an image of fp32 and of each graph, on one thread, in turns."""
        ways = {self._way(str(place)): self._write(graph, str(place)) for place, graph in enumerate(graphs)}
        ways = {self._way("fp32"): self._write(self._model, "fp32"), **ways}
        measured = times(ways, self._pictures[0], (1,), lambda line: None)
        return [measured[way][1] for way in ways]

    def _losses(self, graph: ModelProto) -> NDArray[np.float64]:
        losses = []
        for answer, fp32 in zip(self._answers(graph, "int8"), self._reference, strict=True):
            counted = edge_band(fp32[0]) if self._in_band else np.ones_like(fp32[0], bool)
            difference = np.abs(answer[0] - fp32[0])[counted]
            losses.append(float(difference.mean(dtype=np.float64)) if difference.size else 0.0)
        return np.array(losses)

    def _answers(self, graph: ModelProto, name: str) -> Array:
        run = open_graph(self._write(graph, name), self._way(name))
        rows = [run({key: value[None] for key, value in inputs.items()}) for inputs in self._pictures]
        return np.concatenate(rows)

    def _write(self, graph: ModelProto, name: str) -> Path:
        path = self._scratch / f"{name}.onnx"
        onnx.save(graph, path)
        return path

    @staticmethod
    def _way(name: str) -> Way:
        return Way(name, CPU_RUNTIME, "f32", name)
