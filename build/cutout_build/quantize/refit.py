"""Layers on projections (`low_rank.py`), fitted to what the wide ones computed.

Each layer for itself: its projections, weights and bias learn from the squared error of what it computes behind its
activation, on what the network itself gives it to read. That is quick and cannot lead astray; training the network as a
whole by its masks made them worse, in floats (mean |Δ| 0.005 to 0.008 after 60 steps) as in INT8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

from cutout_build.quantize.attributes import attributes_of
from cutout_build.quantize.low_rank import Array, Part, Ranks, convolution, parts_of, with_low_ranks
from cutout_build.quantize.torch_graph import TorchGraph

#: Training steps of a layer, each on a square of this side (in pixels of the layer's output) of one picture.
_STEPS = 800
_SIDE = 160
#: Learning rate of a parameter as a share of its root mean square: they differ by orders of magnitude.
_RATE = 3e-3
#: Mean square below which a square counts as empty, as behind an activation that nothing passes: it teaches nothing.
_SMALLEST = 1e-9
#: Pictures that the layers learn from.
PICTURES = 32

Samples = Sequence[dict[str, Tensor]]
#: What a layer reads, its parts, and what it makes of them; in half precision, as those of all pictures are kept.
Case = tuple[list[Tensor], Tensor]


def refitted(model: ModelProto, ranks: Ranks, samples: Samples, say: Callable[[str], None] = print) -> ModelProto:
    """`with_low_ranks` of `model`, its layers trained on `samples` (inputs of the graph). Raises ValueError."""
    wide = TorchGraph(model).requires_grad_(False)
    parts = {layer: parts_of(model, layer) for layer in ranks}
    narrow = with_low_ranks(
        model, ranks, moments(wide, {part.source for one in parts.values() for part in one}, samples)
    )
    activated = {node.input[0] for node in model.graph.node if node.op_type == "Relu"}
    for layer, of_layer in parts.items():
        output = convolution(model, layer).output[0]
        cases = [_case(wide, sample, of_layer, output) for sample in samples]
        first, last = _fit(narrow, layer, of_layer, cases, activated=output in activated)
        channels = " + ".join(map(str, ranks[layer]))
        say(f"{layer} on {channels} channels: relative squared error {first:.4f} to {last:.4f}")
    return narrow


def moments(graph: TorchGraph, tensors: Iterable[str], samples: Samples) -> dict[str, Array]:
    """Each tensor's mean of x·xᵀ over the pixels of `samples`, [channels, channels]."""
    wanted = set(tensors)
    sums: dict[str, Array] = {}
    pixels = dict.fromkeys(wanted, 0)

    def add(name: str, value: Tensor) -> Tensor:
        if name in wanted:
            rows = value.transpose(0, 1).flatten(1).double()
            sums[name] = sums.get(name, 0) + (rows @ rows.T).numpy()
            pixels[name] += rows.shape[1]
        return value

    with torch.no_grad():
        for sample in samples:
            graph(sample, add)
    return {name: total / pixels[name] for name, total in sums.items()}


def _case(graph: TorchGraph, sample: dict[str, Tensor], parts: Sequence[Part], output: str) -> Case:
    seen: dict[str, Tensor] = {}
    wanted = {part.tensor for part in parts} | {output}

    def keep(name: str, value: Tensor) -> Tensor:
        if name in wanted:
            seen[name] = value.half()
        return value

    with torch.no_grad():
        graph(sample, keep)
    return [seen[part.tensor] for part in parts], seen[output]


def _fit(
    model: ModelProto,
    layer: str,
    parts: Sequence[Part],
    cases: Sequence[Case],
    *,
    activated: bool,
) -> tuple[float, float]:
    """Trains the layer in `model`; its error at first and in the end, means over a tenth of the steps."""
    conv = convolution(model, layer)
    initial = {tensor.name: tensor for tensor in model.graph.initializer}
    margin = _margin(conv, initial[conv.input[1]].dims)
    names = [part.weights(layer) for part in parts] + list(conv.input[1:])
    weights = {name: nn.Parameter(torch.from_numpy(numpy_helper.to_array(initial[name]).copy())) for name in names}
    *projections, kernel, bias = weights.values()
    optimizer = torch.optim.Adam(
        [{"params": [value], "lr": _RATE * float(value.detach().square().mean().sqrt())} for value in weights.values()],
        betas=(0.9, 0.99),
    )
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    rng = np.random.default_rng(0)
    errors = []
    for _ in trange(_STEPS, desc=layer, unit="step"):
        read, made = cases[rng.integers(len(cases))]
        side = min(_SIDE, *made.shape[2:])
        top, left = (int(rng.integers(full - side + 1)) for full in made.shape[2:])
        square = (..., slice(top, top + side), slice(left, left + side))
        joined = torch.cat([functional.conv2d(x[square].float(), p) for x, p in zip(read, projections, strict=True)], 1)
        found = functional.conv2d(joined, kernel, bias)
        wanted = made[square].float()[..., margin : side - margin, margin : side - margin]
        if activated:
            found, wanted = found.relu(), wanted.relu()
        error = (found - wanted).square().mean() / wanted.square().mean().clamp_min(_SMALLEST)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        slower.step()
        errors.append(error.item())
    for name, value in weights.items():
        initial[name].CopyFrom(numpy_helper.from_array(value.detach().numpy(), name))
    tenth = max(1, _STEPS // 10)
    return float(np.mean(errors[:tenth])), float(np.mean(errors[-tenth:]))


def _margin(conv: NodeProto, sizes: Sequence[int]) -> int:
    """Pixels of a square's border whose taps reach beyond it. sizes: of the weights. Raises ValueError."""
    attributes, margin = attributes_of(conv), sizes[2] // 2
    steps, pads = attributes.get("strides", [1]) + attributes.get("dilations", [1]), attributes.get("pads", [0])
    if len(conv.input) != 3 or set(steps) != {1} or set(pads) != {margin} or set(sizes[2:]) != {2 * margin + 1}:
        raise ValueError(f"{conv.output[0]}: only a convolution with a bias that keeps the size can be fitted")
    return margin
