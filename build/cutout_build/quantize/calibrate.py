"""First scales for the activations, from what the network computes for a few photos.

For each scale the clipping bound that gives the least squared error of rounding to INT8 is searched over a histogram,
as in Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor

from cutout_build.quantize.plan import QuantPlan
from cutout_build.quantize.qdq import QMAX
from cutout_build.quantize.torch_graph import TorchGraph
from cutout_build.quantize.unit_scale import gained_tensors

_BINS = 2048
#: Bounds that are tried, as shares of the largest value.
_SHARES = np.linspace(0.15, 1.0, 35)


def alone_scales(model: ModelProto, plan: QuantPlan, samples: Iterable[dict[str, Tensor]]) -> dict[str, float]:
    """What `unit_scale.equalized` needs, by what the network computes for `samples`."""
    alone = QuantPlan({tensor: tensor for tensor in gained_tensors(model, plan)})
    return calibrated(TorchGraph(model), alone, samples)


def calibrated(graph: TorchGraph, plan: QuantPlan, samples: Iterable[dict[str, Tensor]]) -> dict[str, float]:
    """Name of each scale of `plan` to its value, after `samples` (inputs of the graph)."""
    samples = list(samples)
    largest = dict.fromkeys(plan.scales, 1e-8)
    counts = {name: np.zeros(_BINS) for name in plan.scales}

    def measure(name: str, value: Tensor) -> Tensor:
        if name in plan.groups:
            group = plan.groups[name]
            largest[group] = max(largest[group], float(value.abs().max()))
        return value

    def count(name: str, value: Tensor) -> Tensor:
        if name in plan.groups:
            group = plan.groups[name]
            counts[group] += torch.histc(value.abs(), _BINS, 0, largest[group]).numpy()
        return value

    with torch.no_grad():
        for hook in (measure, count):
            for sample in samples:
                graph(sample, hook)
    return {name: best_scale(counts[name], largest[name]) for name in plan.scales}


def best_scale(counts: NDArray[np.float64], largest: float) -> float:
    """The scale of least squared error for magnitudes counted in equal bins of 0..largest."""
    centres = (np.arange(len(counts)) + 0.5) * largest / len(counts)

    def error(share: float) -> float:
        scale = share * largest / QMAX
        rounded = np.minimum(np.rint(centres / scale), QMAX) * scale
        return float((counts * (rounded - centres) ** 2).sum())

    return float(min(_SHARES, key=error)) * largest / QMAX
