"""The convolutions of a graph by their names, for people: what they are, and which of them shall stay in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, shape_inference

from cutout_build.quantize.plan import QuantPlan


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
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = {value.name: value for value in [*graph.value_info, *graph.output]}
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.output[0] in plan.convs:
            outputs, inputs, height, width = weights[node.input[1]]
            rows, columns = (dim.dim_value for dim in values[node.output[0]].type.tensor_type.shape.dim[2:])
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
