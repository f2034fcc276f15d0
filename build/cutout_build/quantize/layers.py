"""The convolutions of a graph by their names, for people: what they are, and which of them shall stay in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto

from cutout_build.quantize.plan import QuantPlan
from cutout_build.shapes import inferred_shapes


@dataclass(frozen=True, slots=True)
class Layer:
    """One quantized convolution. output: the tensor that it makes, its name in a plan. side: of that tensor, pixels.
    gmac: billions of multiply-adds an image.
    """

    name: str
    output: str
    kernel: int
    inputs: int
    outputs: int
    side: int
    gmac: float


def quantized_layers(model: ModelProto, plan: QuantPlan) -> list[Layer]:
    """The convolutions that `plan` quantizes, in the graph's order."""
    graph = model.graph
    shapes = inferred_shapes(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.output[0] in plan.convs:
            outputs, inputs, height, width = weights[node.input[1]]
            rows, columns = shapes[node.output[0]][2:]
            gmac = outputs * inputs * height * width * rows * columns / 1e9
            found.append(Layer(node.name or node.output[0], node.output[0], height, inputs, outputs, rows, gmac))
    return found


def outputs_of(model: ModelProto, names: Sequence[str]) -> tuple[str, ...]:
    """The outputs of the convolutions with these names. Raises ValueError for a name that no convolution has."""
    known = {node.name or node.output[0]: node.output[0] for node in model.graph.node if node.op_type == "Conv"}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"The graph has no convolution {', '.join(map(repr, unknown))}; it has {', '.join(known)}.")
    return tuple(known[name] for name in names)
